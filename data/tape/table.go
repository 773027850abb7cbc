package tape

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"arbiter/data"
)

// ColumnType says how a table's column is written.
type ColumnType uint8

// The column types: integers of package data keep their scale as a decimal, times are nanoseconds UTC.
const (
	TextColumn ColumnType = iota
	IntColumn
	TimeColumn
	PriceColumn
	QtyColumn
	MoneyColumn
	BoolColumn
)

// Column is one column of a Table: Texts for TextColumn, else Ints.
type Column struct {
	Name  string
	Type  ColumnType
	Texts []string
	Ints  []int64
}

// Table is a small result table.
type Table struct {
	columns []Column
	rows    int
}

// NewTable makes an empty table: alternate names and types are given as columns without values.
func NewTable(columns ...Column) *Table { return &Table{columns: columns} }

// Append adds a row; values are string, bool, int, uint64 or the integer types of package data, in column order.
func (t *Table) Append(values ...any) {
	if len(values) != len(t.columns) {
		panic(fmt.Sprintf("tape: a row of %d values for %d columns", len(values), len(t.columns)))
	}
	for i, v := range values {
		c := &t.columns[i]
		switch v := v.(type) {
		case string:
			c.Texts = append(c.Texts, v)
		case bool:
			n := int64(0)
			if v {
				n = 1
			}
			c.Ints = append(c.Ints, n)
		case int:
			c.Ints = append(c.Ints, int64(v))
		case int64:
			c.Ints = append(c.Ints, v)
		case uint64:
			c.Ints = append(c.Ints, int64(v))
		case data.Time:
			c.Ints = append(c.Ints, int64(v))
		case data.Duration:
			c.Ints = append(c.Ints, int64(v))
		case data.Price:
			c.Ints = append(c.Ints, int64(v))
		case data.Qty:
			c.Ints = append(c.Ints, int64(v))
		case data.Money:
			c.Ints = append(c.Ints, int64(v))
		default:
			panic(fmt.Sprintf("tape: column %s: a value of type %T", c.Name, v))
		}
	}
	t.rows++
}

// Rows is the number of rows.
func (t *Table) Rows() int { return t.rows }

func (c *Column) node(id int32) (schema.Node, error) {
	req := parquet.Repetitions.Required
	i64 := parquet.Types.Int64
	switch c.Type {
	case TextColumn:
		return schema.NewPrimitiveNodeLogical(c.Name, req, schema.StringLogicalType{}, parquet.Types.ByteArray, 0, id)
	case TimeColumn:
		return schema.NewPrimitiveNodeLogical(c.Name, req, timeType(1), i64, 0, id)
	case PriceColumn:
		return schema.NewPrimitiveNodeLogical(c.Name, req, schema.NewDecimalLogicalType(9, 4), i64, 0, id)
	case QtyColumn, MoneyColumn:
		return schema.NewPrimitiveNodeLogical(c.Name, req, schema.NewDecimalLogicalType(18, 6), i64, 0, id)
	case BoolColumn:
		return schema.NewPrimitiveNode(c.Name, req, parquet.Types.Boolean, id, -1)
	}
	return schema.NewPrimitiveNodeLogical(c.Name, req, schema.NewIntLogicalType(64, true), i64, 0, id)
}

// WriteParquet writes the table with zstd.
func (t *Table) WriteParquet(w io.Writer) error {
	fields := make(schema.FieldList, 0, len(t.columns))
	for i := range t.columns {
		n, err := t.columns[i].node(int32(i + 1))
		if err != nil {
			return err
		}
		fields = append(fields, n)
	}
	root, err := schema.NewGroupNode("table", parquet.Repetitions.Required, fields, -1)
	if err != nil {
		return err
	}
	pw := file.NewParquetWriter(w, root, file.WithWriterProps(parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCreatedBy("arbiter"))))
	g := pw.AppendRowGroup()
	for i := range t.columns {
		c := &t.columns[i]
		cw, err := g.NextColumn()
		if err != nil {
			return err
		}
		switch cw := cw.(type) {
		case *file.Int64ColumnChunkWriter:
			_, err = cw.WriteBatch(c.Ints, nil, nil)
		case *file.BooleanColumnChunkWriter:
			b := make([]bool, len(c.Ints))
			for j, v := range c.Ints {
				b[j] = v != 0
			}
			_, err = cw.WriteBatch(b, nil, nil)
		case *file.ByteArrayColumnChunkWriter:
			b := make([]parquet.ByteArray, len(c.Texts))
			for j, s := range c.Texts {
				b[j] = parquet.ByteArray(s)
			}
			_, err = cw.WriteBatch(b, nil, nil)
		}
		if err != nil {
			return err
		}
		if err := cw.Close(); err != nil {
			return err
		}
	}
	if err := g.Close(); err != nil {
		return err
	}
	return pw.Close()
}

// WriteCSV writes the table with a header; numbers carry their decimals, times are RFC 3339.
func (t *Table) WriteCSV(w io.Writer) error {
	cw := csv.NewWriter(w)
	row := make([]string, len(t.columns))
	for i := range t.columns {
		row[i] = t.columns[i].Name
	}
	if err := cw.Write(row); err != nil {
		return err
	}
	for r := range t.rows {
		for i := range t.columns {
			row[i] = t.columns[i].text(r)
		}
		if err := cw.Write(row); err != nil {
			return err
		}
	}
	cw.Flush()
	return cw.Error()
}

func (c *Column) text(r int) string {
	if c.Type == TextColumn {
		return c.Texts[r]
	}
	v := c.Ints[r]
	switch c.Type {
	case TimeColumn:
		return data.Time(v).String()
	case PriceColumn:
		return data.Price(v).String()
	case QtyColumn:
		return data.Qty(v).String()
	case MoneyColumn:
		return data.Money(v).String()
	case BoolColumn:
		return strconv.FormatBool(v != 0)
	}
	return strconv.FormatInt(v, 10)
}
