package tape

import (
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"arbiter/data"
)

// The columns, in file order. FORMAT.md says what each holds.
const (
	colRecv = iota
	colExch
	colSeq
	colInst
	colKind
	colSide
	colPrice
	colQty
	colCash
	colOrder
	colArg
	colFlags
	columns
)

var columnNames = [columns]string{"recv", "exch", "seq", "inst", "kind", "side", "price", "qty", "cash", "ord", "arg", "flags"}

const (
	flagLast     = 1
	flagKeyframe = 2
)

func timeType(unit data.Duration) schema.LogicalType {
	switch unit {
	case data.Millisecond:
		return schema.NewTimestampLogicalType(true, schema.TimeUnitMillis)
	case data.Microsecond:
		return schema.NewTimestampLogicalType(true, schema.TimeUnitMicros)
	}
	return schema.NewTimestampLogicalType(true, schema.TimeUnitNanos)
}

func root(recvUnit, exchUnit data.Duration) (*schema.GroupNode, error) {
	u8, u32, u64 := schema.NewIntLogicalType(8, false), schema.NewIntLogicalType(32, false), schema.NewIntLogicalType(64, false)
	types := [columns]struct {
		logical  schema.LogicalType
		physical parquet.Type
	}{
		{timeType(recvUnit), parquet.Types.Int64}, {timeType(exchUnit), parquet.Types.Int64}, {u64, parquet.Types.Int64}, {u32, parquet.Types.Int32},
		{u8, parquet.Types.Int32}, {u8, parquet.Types.Int32}, {schema.NewDecimalLogicalType(9, 4), parquet.Types.Int32},
		{schema.NewDecimalLogicalType(18, 6), parquet.Types.Int64}, {schema.NewDecimalLogicalType(18, 6), parquet.Types.Int64}, {u64, parquet.Types.Int64},
		{u32, parquet.Types.Int32}, {u8, parquet.Types.Int32},
	}
	fields := make(schema.FieldList, 0, columns)
	for i, t := range types {
		n, err := schema.NewPrimitiveNodeLogical(columnNames[i], parquet.Repetitions.Required, t.logical, t.physical, 0, int32(i+1))
		if err != nil {
			return nil, err
		}
		fields = append(fields, n)
	}
	return schema.NewGroupNode("tape", parquet.Repetitions.Required, fields, -1)
}

// compressRows is the least size of a row group that is compressed: arrow makes a new zstd encoder, of megabytes, for
// every column chunk.
const compressRows = 4096

// properties choose what measured smallest at good speed on real captures: times and sequence as binary-packed
// differences, everything else by dictionary, zstd where it pays.
func properties(groupRows int) *parquet.WriterProperties {
	opts := []parquet.WriterProperty{
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithCreatedBy(Format), parquet.WithDictionaryDefault(true),
		parquet.WithDataPageSize(1 << 20),
		parquet.WithBatchSize(4096), parquet.WithStats(false),
	}
	for _, c := range []int{colRecv, colExch, colSeq} {
		opts = append(opts, parquet.WithDictionaryFor(columnNames[c], false), parquet.WithEncodingFor(columnNames[c], parquet.Encodings.DeltaBinaryPacked))
	}
	for _, c := range []int{colRecv, colQty} {
		if groupRows < compressRows {
			break
		}
		opts = append(opts, parquet.WithCompressionFor(columnNames[c], compress.Codecs.Zstd))
	}
	opts = append(opts, parquet.WithStatsFor(columnNames[colRecv], true), parquet.WithStatsFor(columnNames[colInst], true))
	return parquet.NewWriterProperties(opts...)
}
