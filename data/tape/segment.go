package tape

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/apache/arrow/go/v17/parquet/file"

	"arbiter/data"
)

// footerMax and groupMax bound what a manifest may ask to be held in memory.
const (
	footerMax = 64 << 20
	groupMax  = 1 << 30
)

// verified is the io.ReaderAt that arrow reads from: it serves nothing but bytes whose hash was checked and that are
// already in memory, so a file that changes under the reader cannot change what is read.
type verified struct {
	size   int64
	pos    int64
	footer held
	group  held
}

type held struct {
	at int64
	b  []byte
}

func (v *verified) ReadAt(p []byte, off int64) (int, error) {
	for _, h := range [2]*held{&v.group, &v.footer} {
		if off >= h.at && off+int64(len(p)) <= h.at+int64(len(h.b)) {
			return copy(p, h.b[off-h.at:]), nil
		}
	}
	return 0, fmt.Errorf("bytes %d to %d belong to no verified part: %w", off, off+int64(len(p)), ErrTape)
}

func (v *verified) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		v.pos = off
	case io.SeekCurrent:
		v.pos += off
	case io.SeekEnd:
		v.pos = v.size + off
	}
	return v.pos, nil
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadAt(p, v.pos)
	v.pos += int64(n)
	return n, err
}

// segmentReader decodes one segment, row group by row group. Only one row group is in memory.
type segmentReader struct {
	seg      *Segment
	path     string
	f        *os.File
	v        verified
	pr       *file.Reader
	recvUnit data.Time
	exchUnit data.Time
	group    int
	left     int64
	cols     [columns]file.ColumnChunkReader
	i64      [columns][]int64
	i32      [columns][]int32
}

const batchRows = 4096

// openSegment checks the file's length and footer and opens it.
func openSegment(dir string, src *Source, seg *Segment) (r *segmentReader, err error) {
	r = &segmentReader{seg: seg, path: filepath.Join(dir, seg.Name)}
	ru, _ := unitOf(src.RecvUnit)
	eu, _ := unitOf(src.ExchUnit)
	r.recvUnit, r.exchUnit = data.Time(ru), data.Time(eu)
	defer func() {
		if p := recover(); p != nil {
			err = r.refuse(fmt.Sprintf("the Parquet footer cannot be parsed: %v", p))
		}
		if err != nil {
			r.close()
			r = nil
		}
	}()
	if r.f, err = os.Open(r.path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return r, r.refuse("the file is missing")
		}
		return r, fmt.Errorf("tape segment %s: %w", r.path, err)
	}
	st, err := r.f.Stat()
	if err != nil {
		return r, fmt.Errorf("tape segment %s: %w", r.path, err)
	}
	if st.Size() != seg.Bytes {
		return r, r.refuse(fmt.Sprintf("%d bytes long, the manifest says %d: truncated or foreign", st.Size(), seg.Bytes))
	}
	r.v.size = seg.Bytes
	if r.v.footer.b, err = r.load(seg.Footer, footerMax, "footer"); err != nil {
		return r, err
	}
	r.v.footer.at = seg.Footer.Offset
	if seg.Footer.Offset+seg.Footer.Bytes != seg.Bytes {
		return r, r.refuse("the manifest's footer is not at the end")
	}
	if r.pr, err = file.NewParquetReader(&r.v); err != nil {
		return r, r.refuse("the Parquet footer cannot be parsed: " + err.Error())
	}
	return r, r.checkShape()
}

func (r *segmentReader) refuse(why string) error {
	return fmt.Errorf("tape segment %s: %s: import or record it again: %w", r.path, why, ErrTape)
}

// load reads a part and compares its hash.
func (r *segmentReader) load(p Part, limit int64, what string) ([]byte, error) {
	if p.Offset < 0 || p.Bytes <= 0 || p.Bytes > limit || p.Offset+p.Bytes > r.seg.Bytes {
		return nil, r.refuse(what + ": impossible extent in the manifest")
	}
	b := make([]byte, p.Bytes)
	if _, err := r.f.ReadAt(b, p.Offset); err != nil {
		return nil, fmt.Errorf("tape segment %s: %s: %w", r.path, what, err)
	}
	if hashOf(b) != p.SHA256 {
		return nil, r.refuse(what + ": the bytes do not match the manifest's hash: damaged")
	}
	return b, nil
}

func (r *segmentReader) checkShape() error {
	sc := r.pr.MetaData().Schema
	if sc.NumColumns() != columns {
		return r.refuse(fmt.Sprintf("%d columns, want %d", sc.NumColumns(), columns))
	}
	for i, want := range columnNames {
		if got := sc.Column(i).Name(); got != want {
			return r.refuse(fmt.Sprintf("column %d is %q, want %q", i, got, want))
		}
	}
	if r.pr.NumRowGroups() != len(r.seg.Groups) || r.pr.NumRows() != r.seg.Rows {
		return r.refuse("row counts differ from the manifest's")
	}
	return nil
}

func (r *segmentReader) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// next appends up to batchRows events to out with the source's local instrument ids; io.EOF ends the segment.
func (r *segmentReader) next(out []data.Event, keys []bool) (_ []data.Event, _ []bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = r.refuse(fmt.Sprintf("row group %d cannot be decoded: %v", r.group-1, p))
		}
	}()
	if r.left == 0 {
		if err := r.nextGroup(); err != nil {
			return out, keys, err
		}
	}
	n := min(r.left, batchRows)
	for i := range r.cols {
		if err := r.readColumn(i, n); err != nil {
			return out, keys, r.refuse(fmt.Sprintf("column %s: %v", columnNames[i], err))
		}
	}
	r.left -= n
	for i := range int(n) {
		flags := r.i32[colFlags][i]
		out = append(out, data.Event{
			Recv: data.Time(r.i64[colRecv][i]) * r.recvUnit, Exch: data.Time(r.i64[colExch][i]) * r.exchUnit, Seq: uint64(r.i64[colSeq][i]),
			Inst: data.InstrumentID(r.i32[colInst][i]), Kind: data.Kind(r.i32[colKind][i]), Side: data.Side(r.i32[colSide][i]),
			Price: data.Price(r.i32[colPrice][i]), Qty: data.Qty(r.i64[colQty][i]), Cash: data.Money(r.i64[colCash][i]),
			Order: data.OrderID(r.i64[colOrder][i]), Arg: uint32(r.i32[colArg][i]), Last: flags&flagLast != 0,
		})
		keys = append(keys, flags&flagKeyframe != 0)
	}
	return out, keys, nil
}

func (r *segmentReader) nextGroup() error {
	if r.group == len(r.seg.Groups) {
		return io.EOF
	}
	p := r.seg.Groups[r.group]
	b, err := r.load(p, groupMax, fmt.Sprintf("row group %d", r.group))
	if err != nil {
		return err
	}
	r.v.group = held{p.Offset, b}
	g := r.pr.RowGroup(r.group)
	if g.NumRows() != p.Rows {
		return r.refuse(fmt.Sprintf("row group %d has %d rows, the manifest says %d", r.group, g.NumRows(), p.Rows))
	}
	for i := range r.cols {
		if r.cols[i], err = g.Column(i); err != nil {
			return r.refuse(fmt.Sprintf("row group %d, column %s: %v", r.group, columnNames[i], err))
		}
	}
	r.left = p.Rows
	r.group++
	return nil
}

func (r *segmentReader) readColumn(i int, n int64) error {
	got := int64(0)
	switch c := r.cols[i].(type) {
	case *file.Int64ColumnChunkReader:
		if r.i64[i] == nil {
			r.i64[i] = make([]int64, batchRows)
		}
		for got < n {
			m, _, err := c.ReadBatch(n-got, r.i64[i][got:n], nil, nil)
			if err != nil {
				return err
			}
			if m == 0 {
				return fmt.Errorf("%d values short", n-got)
			}
			got += m
		}
	case *file.Int32ColumnChunkReader:
		if r.i32[i] == nil {
			r.i32[i] = make([]int32, batchRows)
		}
		for got < n {
			m, _, err := c.ReadBatch(n-got, r.i32[i][got:n], nil, nil)
			if err != nil {
				return err
			}
			if m == 0 {
				return fmt.Errorf("%d values short", n-got)
			}
			got += m
		}
	default:
		return fmt.Errorf("unexpected physical type")
	}
	return nil
}
