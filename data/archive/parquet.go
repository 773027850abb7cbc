package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"arbiter/data"
)

// readParquet hands every record batch of a foreign file to each, in file order. Nothing vouches for such a file, so
// it is read in the calling goroutine (arrow's parallel reader would panic where no recover can reach) and a panic of
// the decoder becomes an error. What it cannot stop is unbounded memory: `arbiter data import` runs these formats in a
// child process with a limit.
func readParquet(ctx context.Context, path string, need []string, each func(rec arrow.Record) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: damaged Parquet: %v", path, p)
		}
	}()
	pf, err := file.OpenParquetFile(path, false)
	if err != nil {
		return fmt.Errorf("%s: not a readable Parquet file: %w", path, err)
	}
	defer pf.Close()
	fr, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: 16384, Parallel: false}, memory.DefaultAllocator)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	sc, err := fr.Schema()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, n := range need {
		if !sc.HasField(n) {
			return fmt.Errorf("%s: column %s is missing: not this archive's schema", path, n)
		}
	}
	rr, err := fr.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer rr.Release()
	for rr.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(rr.Record()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := rr.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// columnOf finds a batch's column by name.
func columnOf(rec arrow.Record, name string) arrow.Array {
	for i, f := range rec.Schema().Fields() {
		if f.Name == name {
			return rec.Column(i)
		}
	}
	return nil
}

// textAt reads a string, however it is encoded; ok is false for null.
func textAt(a arrow.Array, i int) (string, bool, error) {
	if a == nil || a.IsNull(i) {
		return "", false, nil
	}
	switch a := a.(type) {
	case *array.String:
		return a.Value(i), true, nil
	case *array.LargeString:
		return a.Value(i), true, nil
	case *array.Binary:
		return string(a.Value(i)), true, nil
	case *array.FixedSizeBinary:
		return string(a.Value(i)), true, nil
	case *array.Dictionary:
		return textAt(a.Dictionary(), a.GetValueIndex(i))
	}
	return "", false, fmt.Errorf("a %s where text belongs", a.DataType())
}

// decimalAt reads a decimal exactly at a scale of ours; digits beyond it must be zeros. Floats are refused.
func decimalAt(a arrow.Array, i int, scale int32) (int64, bool, error) {
	if a == nil || a.IsNull(i) {
		return 0, false, nil
	}
	d, ok := a.(*array.Decimal128)
	if !ok {
		return 0, false, fmt.Errorf("a %s where a decimal belongs", a.DataType())
	}
	v := d.Value(i)
	have := d.DataType().(*arrow.Decimal128Type).Scale
	if have != scale {
		r, err := v.Rescale(have, scale)
		if err != nil {
			return 0, false, fmt.Errorf("decimal %s does not fit: %w", v.ToString(have), err)
		}
		v = r
	}
	if !v.FitsInPrecision(18) {
		return 0, false, errors.New("decimal out of range")
	}
	return int64(v.LowBits()), true, nil
}

// timeAt reads a timestamp of any unit as ours.
func timeAt(a arrow.Array, i int) (data.Time, bool, error) {
	if a == nil || a.IsNull(i) {
		return 0, false, nil
	}
	t, ok := a.(*array.Timestamp)
	if !ok {
		return 0, false, fmt.Errorf("a %s where a timestamp belongs", a.DataType())
	}
	unit := map[arrow.TimeUnit]data.Duration{arrow.Second: data.Second, arrow.Millisecond: data.Millisecond, arrow.Microsecond: data.Microsecond, arrow.Nanosecond: 1}
	u := int64(unit[t.DataType().(*arrow.TimestampType).Unit])
	v := int64(t.Value(i))
	if v < 0 || v > int64(7e18)/u {
		return 0, false, fmt.Errorf("timestamp %d is out of range", v)
	}
	return data.Time(v * u), true, nil
}
