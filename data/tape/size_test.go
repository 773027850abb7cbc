package tape

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
)

// The same rows in the same schema take at most 0.85 of the bytes of the library's default encoding with zstd.
func TestSegment_IsSmallerThanTheLibrarysDefault(t *testing.T) {
	const dir = "../../testdata/tapes/demo"
	m, err := ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Sources {
		src := &m.Sources[i]
		seg := &src.Segments[0]
		sr, err := openSegment(dir, src, seg)
		if err != nil {
			t.Fatal(err)
		}
		var i64 [columns][]int64
		var i32 [columns][]int32
		for {
			events, _, err := sr.next(nil, nil)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for c := range columns {
				if sr.i64[c] != nil {
					i64[c] = append(i64[c], sr.i64[c][:len(events)]...)
				} else {
					i32[c] = append(i32[c], sr.i32[c][:len(events)]...)
				}
			}
		}
		sr.close()
		plain := defaultBytes(t, src, i64, i32)
		ratio := float64(seg.Bytes) / float64(plain)
		t.Logf("%s: %d rows, %d bytes; the library's default with zstd %d: %.2f", src.Key(), seg.Rows, seg.Bytes, plain, ratio)
		if ratio > 0.85 {
			t.Errorf("%s: %.2f of the library's default, want at most 0.85", src.Key(), ratio)
		}
	}
}

func defaultBytes(t *testing.T, src *Source, i64 [columns][]int64, i32 [columns][]int32) int {
	t.Helper()
	ru, _ := unitOf(src.RecvUnit)
	eu, _ := unitOf(src.ExchUnit)
	node, err := root(ru, eu)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	pw := file.NewParquetWriter(&b, node, file.WithWriterProps(parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd))))
	g := pw.AppendRowGroup()
	for c := range columns {
		cw, err := g.NextColumn()
		if err != nil {
			t.Fatal(err)
		}
		switch cw := cw.(type) {
		case *file.Int64ColumnChunkWriter:
			_, err = cw.WriteBatch(i64[c], nil, nil)
		case *file.Int32ColumnChunkWriter:
			_, err = cw.WriteBatch(i32[c], nil, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := cw.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(g.Close(), pw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}
