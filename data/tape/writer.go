package tape

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/parquet/file"

	"arbiter/data"
)

// Options of a Writer. Zero values take the defaults.
type Options struct {
	Commit      string
	Origin      string
	Notes       []string
	GroupRows   int   // rows of a row group; default 131072
	SegmentRows int64 // rows of a segment; default 4194304
}

// SourceOptions describe one source.
type SourceOptions struct {
	Venue                data.Venue
	Recorder, Connection string
	Synthetic            bool
	Unverified           bool
	RecvCoarse           bool
	RecvUnit, ExchUnit   data.Duration // 1, Microsecond or Millisecond; a stamp that does not fit is refused. Default 1
	Session              string        // of a recording that is cut into tapes; "": this tape stands alone
	Part                 int           // of that session, without a gap
}

// Writer makes a tape. It writes beside the final folder and renames at Close, so a tape is whole or absent, and it
// refuses to overwrite one.
type Writer struct {
	dir, temp string
	opt       Options
	manifest  Manifest
	sources   []*SourceWriter
	closed    bool
}

// Create starts a tape that will be at dir.
func Create(dir string, opt Options) (*Writer, error) {
	if opt.GroupRows <= 0 {
		opt.GroupRows = 131072
	}
	if opt.SegmentRows <= 0 {
		opt.SegmentRows = 4194304
	}
	dir = filepath.Clean(dir)
	if _, err := os.Stat(dir); err == nil {
		return nil, fmt.Errorf("tape %s: already exists, and tapes are written once: choose another name or remove it", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("tape %s: %w", dir, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".writing-")
	if err != nil {
		return nil, fmt.Errorf("tape %s: %w", dir, err)
	}
	return &Writer{dir: dir, temp: temp, opt: opt,
		manifest: Manifest{Format: Format, Version: Version, Commit: opt.Commit, Origin: opt.Origin, Notes: opt.Notes}}, nil
}

// Note adds something that the tape cannot support.
func (w *Writer) Note(text string) {
	if !slices.Contains(w.manifest.Notes, text) {
		w.manifest.Notes = append(w.manifest.Notes, text)
	}
}

// Source adds a source. Sources are written independently of each other.
func (w *Writer) Source(opt SourceOptions) (*SourceWriter, error) {
	if opt.RecvUnit == 0 {
		opt.RecvUnit = 1
	}
	if opt.ExchUnit == 0 {
		opt.ExchUnit = 1
	}
	name := func(d data.Duration) string {
		return map[data.Duration]string{1: "ns", data.Microsecond: "us", data.Millisecond: "ms"}[d]
	}
	s := &SourceWriter{w: w, opt: opt, meta: Source{Venue: opt.Venue.String(), Recorder: opt.Recorder, Connection: opt.Connection,
		Session: opt.Session, Part: opt.Part, Synthetic: opt.Synthetic, Unverified: opt.Unverified, RecvCoarse: opt.RecvCoarse, RecvUnit: name(opt.RecvUnit), ExchUnit: name(opt.ExchUnit)}}
	for _, o := range w.sources {
		if o.meta.Key() == s.meta.Key() {
			return nil, fmt.Errorf("tape %s: source %s twice", w.dir, s.meta.Key())
		}
	}
	s.prefix = fmt.Sprintf("%s-%02d", opt.Venue, len(w.sources))
	w.sources = append(w.sources, s)
	return s, nil
}

// Close finishes the tape and puts it in place.
func (w *Writer) Close() (*Manifest, error) {
	if w.closed {
		return nil, errors.New("tape: closed twice")
	}
	for _, s := range w.sources {
		if err := s.finish(); err != nil {
			w.Abort()
			return nil, fmt.Errorf("tape %s: source %s: %w", w.dir, s.meta.Key(), err)
		}
		w.manifest.Sources = append(w.manifest.Sources, s.meta)
	}
	w.closed = true
	b, err := w.manifest.seal()
	if err == nil {
		err = writeSynced(filepath.Join(w.temp, manifestName), b)
	}
	if err == nil {
		err = os.Chmod(w.temp, 0o755)
	}
	if err == nil {
		err = os.Rename(w.temp, w.dir)
	}
	if err != nil {
		os.RemoveAll(w.temp)
		return nil, fmt.Errorf("tape %s: %w", w.dir, err)
	}
	w.manifest.location = w.dir
	return &w.manifest, nil
}

// Abort drops what was written. After Close it does nothing.
func (w *Writer) Abort() {
	if w.closed {
		return
	}
	w.closed = true
	for _, s := range w.sources {
		if s.f != nil {
			s.f.Close()
		}
	}
	os.RemoveAll(w.temp)
}

func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SourceWriter writes one source's messages in order.
type SourceWriter struct {
	w      *Writer
	opt    SourceOptions
	meta   Source
	prefix string
	dict   data.Dictionary
	state  []instState // by local instrument id
	byKey  map[data.MarketKey]data.InstrumentID
	status uint32 // of the venue

	f      *os.File
	out    *hashing
	pw     *file.Writer
	seg    Segment
	cols   columnsBuffer
	lastIn data.Time
	seq    uint64
}

// instState is what a keyframe repeats of an instrument.
type instState struct {
	book    data.Book
	valid   bool
	partial bool // inside a snapshot
	inSeg   bool // has rows in the current segment
	tick    data.Price
	status  uint32
	fees    []uint32
	meta    Instrument
}

// Listing adds a market to the source's dictionary and returns its local id. A Listed event must follow by Write.
func (s *SourceWriter) Listing(l data.Listing) (data.InstrumentID, error) {
	if s.byKey == nil {
		s.byKey = map[data.MarketKey]data.InstrumentID{}
	}
	if _, ok := s.byKey[l.Key]; ok {
		return 0, fmt.Errorf("%s listed twice", l.Key)
	}
	if l.Key.Venue != s.opt.Venue {
		return 0, fmt.Errorf("%s in a source of %s", l.Key, s.opt.Venue)
	}
	if err := data.CheckBands(l.Bands); err != nil {
		return 0, fmt.Errorf("%s: %w", l.Key, err)
	}
	id := data.InstrumentID(len(s.state))
	s.byKey[l.Key] = id
	s.meta.Synthetic = s.meta.Synthetic || l.Synthetic
	s.dict.Listings = append(s.dict.Listings, l)
	s.state = append(s.state, instState{meta: Instrument{Key: l.Key, Listing: uint32(id)}})
	return id, nil
}

// Fees adds a schedule to the dictionary and returns its index for a Fees event.
func (s *SourceWriter) Fees(f data.FeeSchedule) (uint32, error) {
	if err := f.Check(); err != nil {
		return 0, err
	}
	s.dict.Fees = append(s.dict.Fees, f)
	return uint32(len(s.dict.Fees) - 1), nil
}

// Resume tells what was known before this tape began, as the events that say it: its keyframe holds it, its rows do not.
// It precedes every Write.
func (s *SourceWriter) Resume(events ...data.Event) error {
	if s.pw != nil {
		return errors.New("resumed after rows were written")
	}
	for i := range events {
		e := &events[i]
		if e.Inst != data.NoInstrument && int(e.Inst) >= len(s.state) {
			return fmt.Errorf("instrument %d is not in the dictionary", e.Inst)
		}
		s.apply(e)
	}
	for i := range s.state {
		m := &s.state[i].meta
		*m = Instrument{Key: m.Key, Listing: m.Listing, Listed: m.Listed, Settled: m.Settled, Payout: m.Payout}
	}
	return nil
}

// Write appends one message: one or more world events of one Recv, the last of them with Last. Seq is assigned.
func (s *SourceWriter) Write(events ...data.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := s.checkMessage(events); err != nil {
		return err
	}
	if s.pw != nil && s.seg.Rows+int64(s.cols.n) >= s.w.opt.SegmentRows {
		if err := s.closeSegment(); err != nil {
			return err
		}
	}
	if s.pw == nil {
		if err := s.openSegment(events[0].Recv); err != nil {
			return err
		}
	}
	if s.cols.n >= s.w.opt.GroupRows {
		if err := s.flush(); err != nil {
			return err
		}
	}
	for i := range events {
		e := &events[i]
		s.seq++
		e.Seq = s.seq
		s.row(e, 0)
		s.apply(e)
	}
	s.seg.LastRecv, s.seg.LastSeq = events[0].Recv, s.seq
	s.lastIn = events[0].Recv
	return nil
}

func (s *SourceWriter) checkMessage(events []data.Event) error {
	recv := events[0].Recv
	if recv < s.lastIn {
		return fmt.Errorf("message received at %s after one of %s: a source is written in receive order", recv, s.lastIn)
	}
	for i := range events {
		e := &events[i]
		switch {
		case !e.Kind.World():
			return fmt.Errorf("a %s event: tapes hold world events only", e.Kind)
		case e.Recv != recv:
			return fmt.Errorf("one message with two receive times")
		case e.Last != (i == len(events)-1):
			return fmt.Errorf("a message that does not end with its last event")
		case e.Inst != data.NoInstrument && int(e.Inst) >= len(s.state):
			return fmt.Errorf("instrument %d is not in the dictionary", e.Inst)
		case int64(e.Recv)%int64(s.opt.RecvUnit) != 0 || int64(e.Exch)%int64(s.opt.ExchUnit) != 0:
			return fmt.Errorf("a stamp finer than the source's unit: recv %s exch %s", e.Recv, e.Exch)
		case e.Cash < -data.MoneyMax || e.Cash > data.MoneyMax || e.Qty >= 1e18 || e.Qty <= -1e18:
			return fmt.Errorf("an amount out of bounds")
		case e.Kind == data.Fees && int(e.Arg) >= len(s.dict.Fees), e.Kind == data.Listed && int(e.Arg) >= len(s.dict.Listings), e.Kind == data.Paired:
			return fmt.Errorf("a %s event without its dictionary record", e.Kind)
		}
	}
	return nil
}

// apply follows the state that keyframes repeat, and counts.
func (s *SourceWriter) apply(e *data.Event) {
	if e.Inst == data.NoInstrument {
		s.applyVenue(e)
		return
	}
	k := &s.state[e.Inst]
	k.inSeg = true
	m := &k.meta
	m.Rows++
	if m.First == 0 {
		m.First = e.Recv
	}
	m.Last = e.Recv
	switch e.Kind {
	case data.Listed:
		m.Listed = e.Recv
	case data.Clear:
		k.book.Clear()
		k.valid, k.partial = true, !e.Last
		m.Snapshots++
	case data.Level:
		k.book.Set(e.Side, e.Price, e.Qty)
		if e.Last && !k.partial {
			m.Deltas++
		}
	case data.Delta:
		if !k.book.Add(e.Side, e.Price, e.Qty) {
			k.valid = false
		}
		if e.Last {
			m.Deltas++
		}
	case data.Gap:
		k.book.Clear()
		k.valid = false
		m.Gaps++
	case data.Trade:
		m.Trades++
	case data.TickSize:
		k.tick = e.Price
	case data.Status:
		k.status = e.Arg
	case data.Fees:
		k.fees = append(k.fees, e.Arg)
	case data.Settle:
		m.Settled, m.Payout = true, e.Cash
	}
	if e.Last {
		k.partial = false
	}
}

// applyVenue follows what concerns a venue: its status, and holes in all its books.
func (s *SourceWriter) applyVenue(e *data.Event) {
	s.seg.Venue = true
	switch e.Kind {
	case data.Status:
		s.status = e.Arg
	case data.Gap:
		for i := range s.state {
			if k := &s.state[i]; k.valid {
				k.book.Clear()
				k.valid = false
				k.meta.Gaps++
			}
		}
	}
}

// openSegment starts a file with a keyframe of all that is known before its first message.
func (s *SourceWriter) openSegment(recv data.Time) error {
	name := fmt.Sprintf("%s-%05d.parquet", s.prefix, len(s.meta.Segments))
	f, err := os.Create(filepath.Join(s.w.temp, name))
	if err != nil {
		return err
	}
	node, err := root(s.opt.RecvUnit, s.opt.ExchUnit)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.f = f
	s.out = &hashing{w: f, h: sha256.New()}
	s.pw = file.NewParquetWriter(s.out, node, file.WithWriterProps(properties(min(s.w.opt.GroupRows, int(s.w.opt.SegmentRows)))))
	s.out.part = s.out.n // the magic belongs to no part: it is checked with the footer's reader
	s.out.h.Reset()
	s.seg = Segment{Name: name, FirstRecv: recv, FirstSeq: s.seq + 1}
	for i := range s.state {
		s.state[i].inSeg = false
	}
	s.keyframe(recv)
	s.seg.Keyframe = int64(s.cols.n)
	return nil
}

func (s *SourceWriter) keyframe(recv data.Time) {
	order := make([]data.InstrumentID, 0, len(s.state))
	for id := range s.state {
		if s.state[id].meta.Listed != 0 {
			order = append(order, data.InstrumentID(id))
		}
	}
	slices.SortFunc(order, func(a, b data.InstrumentID) int {
		return strings.Compare(s.state[a].meta.Key.Native, s.state[b].meta.Key.Native)
	})
	venue := uint32(s.opt.Venue) << 8
	if s.status != 0 {
		e := data.Event{Kind: data.Status, Inst: data.NoInstrument, Recv: recv, Seq: s.seq, Arg: s.status, Last: true}
		s.row(&e, flagKeyframe)
		s.seg.Venue = true
	}
	for _, id := range order {
		k := &s.state[id]
		at := data.Event{Inst: id, Recv: recv, Seq: s.seq}
		put := func(kind data.Kind, arg uint32, price data.Price) {
			e := at
			e.Kind, e.Arg, e.Price, e.Last = kind, arg, price, true
			s.row(&e, flagKeyframe)
		}
		put(data.Listed, k.meta.Listing, 0)
		for _, i := range k.fees {
			put(data.Fees, i, 0)
		}
		if k.tick != 0 {
			put(data.TickSize, venue, k.tick)
		}
		if k.status != 0 {
			put(data.Status, k.status, 0)
		}
		if k.meta.Settled {
			e := at
			e.Kind, e.Cash, e.Last = data.Settle, k.meta.Payout, true
			s.row(&e, flagKeyframe)
		}
		if k.valid {
			s.keyframeBook(&k.book, at)
		}
	}
}

func (s *SourceWriter) keyframeBook(b *data.Book, at data.Event) {
	rows := []data.Event{at}
	rows[0].Kind = data.Clear
	for _, side := range [2]data.Side{data.Buy, data.Sell} {
		for r := b.Best(side); r.Qty != 0; r = b.Next(side, r.Price) {
			e := at
			e.Kind, e.Side, e.Price, e.Qty = data.Level, side, r.Price, r.Qty
			rows = append(rows, e)
		}
	}
	rows[len(rows)-1].Last = true
	for i := range rows {
		s.row(&rows[i], flagKeyframe)
	}
}

// columnsBuffer holds one row group as columns.
type columnsBuffer struct {
	n   int
	i64 [columns][]int64
	i32 [columns][]int32
}

func (s *SourceWriter) row(e *data.Event, flags int32) {
	c := &s.cols
	if e.Last {
		flags |= flagLast
	}
	c.i64[colRecv] = append(c.i64[colRecv], int64(e.Recv)/int64(s.opt.RecvUnit))
	c.i64[colExch] = append(c.i64[colExch], int64(e.Exch)/int64(s.opt.ExchUnit))
	c.i64[colSeq] = append(c.i64[colSeq], int64(e.Seq))
	c.i32[colInst] = append(c.i32[colInst], int32(e.Inst))
	c.i32[colKind] = append(c.i32[colKind], int32(e.Kind))
	c.i32[colSide] = append(c.i32[colSide], int32(e.Side))
	c.i32[colPrice] = append(c.i32[colPrice], int32(e.Price))
	c.i64[colQty] = append(c.i64[colQty], int64(e.Qty))
	c.i64[colCash] = append(c.i64[colCash], int64(e.Cash))
	c.i64[colOrder] = append(c.i64[colOrder], int64(e.Order))
	c.i32[colArg] = append(c.i32[colArg], int32(e.Arg))
	c.i32[colFlags] = append(c.i32[colFlags], flags)
	c.n++
}

// flush writes the buffered rows as a row group.
func (s *SourceWriter) flush() error {
	c := &s.cols
	if c.n == 0 {
		return nil
	}
	g := s.pw.AppendRowGroup()
	for i := range columns {
		cw, err := g.NextColumn()
		if err != nil {
			return err
		}
		switch cw := cw.(type) {
		case *file.Int64ColumnChunkWriter:
			_, err = cw.WriteBatch(c.i64[i], nil, nil)
		case *file.Int32ColumnChunkWriter:
			_, err = cw.WriteBatch(c.i32[i], nil, nil)
		}
		if err != nil {
			return err
		}
		if err := cw.Close(); err != nil {
			return err
		}
		c.i64[i], c.i32[i] = c.i64[i][:0], c.i32[i][:0]
	}
	if err := g.Close(); err != nil {
		return err
	}
	p := s.out.cut()
	p.Rows = int64(c.n)
	s.seg.Groups = append(s.seg.Groups, p)
	s.seg.Rows += int64(c.n)
	c.n = 0
	return nil
}

func (s *SourceWriter) closeSegment() error {
	if s.pw == nil {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	pw := s.pw
	s.pw = nil
	if err := pw.Close(); err != nil { // writes the footer and closes nothing of ours
		return err
	}
	s.seg.Footer = s.out.cut()
	s.seg.Bytes = s.out.n
	for id := range s.state {
		if s.state[id].inSeg {
			s.seg.Inst = append(s.seg.Inst, uint32(id))
		}
	}
	err := errors.Join(s.f.Sync(), s.f.Close())
	s.f = nil
	s.meta.Segments = append(s.meta.Segments, s.seg)
	return err
}

func (s *SourceWriter) finish() error {
	if err := s.closeSegment(); err != nil {
		return err
	}
	b, err := encodeDictionary(&s.dict)
	if err != nil {
		return err
	}
	name := s.prefix + "-dictionary.ndjson"
	if err := writeSynced(filepath.Join(s.w.temp, name), b); err != nil {
		return err
	}
	s.meta.Dictionary = File{Name: name, Bytes: int64(len(b)), SHA256: hashOf(b)}
	for i := range s.state {
		s.meta.Instruments = append(s.meta.Instruments, s.state[i].meta)
	}
	return nil
}

// Book is the source's current book of a local instrument, nil while it is not valid; for statistics at import.
func (s *SourceWriter) Book(id data.InstrumentID) *data.Book {
	if k := &s.state[id]; k.valid {
		return &k.book
	}
	return nil
}

// hashing counts and hashes what is written, in parts.
type hashing struct {
	w    io.Writer
	h    hash.Hash
	n    int64
	part int64
}

func (c *hashing) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.h.Write(b[:n])
	c.n += int64(n)
	return n, err
}

// Close satisfies arrow, which closes its sink; the file is ours to close.
func (c *hashing) Close() error { return nil }

func (c *hashing) cut() Part {
	p := Part{Offset: c.part, Bytes: c.n - c.part, SHA256: hex.EncodeToString(c.h.Sum(nil))}
	c.part = c.n
	c.h.Reset()
	return p
}
