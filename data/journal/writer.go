package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"arbiter/data"
)

// Writer appends to the newest segment of a folder. Records are buffered until Write hands them to the operating
// system (they survive the end of the process) and flushed by Sync (they survive the end of the machine). The first
// error sticks.
type Writer struct {
	dir    string
	lock   *os.File
	header Header
	buf    []byte
	seq    uint64
	recv   data.Time

	mu      sync.Mutex // guards what follows: Sync runs beside the others
	f       *os.File
	written int64 // bytes of the segment handed to the operating system
	synced  int64 // bytes of it known to be on the disk
	marked  int64 // the offset in the newest mark
	seqs    uint64
	seqSync uint64
	err     error
}

// Create starts a session in a folder, which Recover has put in order. It takes the folder's lock.
func Create(dir string, h Header) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	segs, err := Segments(dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	h.Version, h.First, h.Seq, h.Segment = Version, true, 0, 1
	if n := len(segs); n > 0 {
		h.Segment = segs[n-1].Number + 1
	}
	w := &Writer{dir: dir, lock: lock, header: h, recv: h.Began}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return w, nil
}

// lockFolder makes sure that one process writes a folder.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: another process records into it", dir), f.Close())
	}
	return f, nil
}

func segmentName(n int) string { return fmt.Sprintf("journal-%08d.arj", n) }

// open starts the segment that the header names.
func (w *Writer) open() error {
	path := filepath.Join(w.dir, segmentName(w.header.Segment))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	b, err := json.Marshal(&w.header)
	if err != nil {
		return errors.Join(fmt.Errorf("journal: %w", err), f.Close())
	}
	w.buf = append(w.buf[:0], magic...)
	w.buf = appendRecord(w.buf, head{recv: w.recv, kind: kindHeader}, b, nil)
	w.mu.Lock()
	w.f, w.written, w.synced, w.marked = f, 0, 0, 0
	w.mu.Unlock()
	if err := w.Write(); err != nil {
		return err
	}
	d, err := os.Open(w.dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return errors.Join(w.Sync(), d.Sync(), d.Close()) // the folder must know the file, or a power cut takes it whole
}

// Input appends what came in.
func (w *Writer) Input(in *data.Input) {
	if len(in.Text) > payloadMax {
		panic(fmt.Sprintf("journal: an input of %d bytes: sockets and REST clients have lower limits", len(in.Text)))
	}
	w.advance(in.Recv)
	w.buf = appendRecord(w.buf, head{recv: in.Recv, conn: in.Conn, kind: byte(in.Kind), venue: byte(in.Venue)}, in.Text, nil)
}

// Events appends what an input was decoded to.
func (w *Writer) Events(events []data.Event) {
	for i := range events {
		e := &events[i]
		if e.Seq != w.seq+1 {
			panic(fmt.Sprintf("journal: event %d after event %d (J1)", e.Seq, w.seq))
		}
		w.advance(e.Recv)
		w.seq = e.Seq
	}
	w.events(events, 0)
}

// Keyframe appends events that repeat what was known when the segment began. They carry the Seq of the event before.
func (w *Writer) Keyframe(events []data.Event) { w.events(events, flagKeyframe) }

func (w *Writer) events(events []data.Event, flags uint8) {
	if len(events) == 0 {
		return
	}
	at := len(w.buf)
	w.buf = append(w.buf, make([]byte, headSize)...)
	for i := range events {
		w.buf = appendEvent(w.buf, &events[i])
	}
	seal(w.buf[at:], head{recv: events[len(events)-1].Recv, kind: kindEvents, flags: flags})
}

// Listing appends a dictionary record; it precedes its first use.
func (w *Writer) Listing(index uint32, l *data.Listing) { w.record(kindListing, index, l) }

// Fees appends a dictionary record; it precedes its first use.
func (w *Writer) Fees(index uint32, f *data.FeeSchedule) { w.record(kindFees, index, f) }

// Pairing appends a dictionary record; it precedes its first use.
func (w *Writer) Pairing(index uint32, p *data.Pairing) { w.record(kindPairing, index, p) }

// Session appends what a session of decisions needs beside its events to be run again; it precedes the first event.
func (w *Writer) Session(doc []byte) {
	w.buf = appendRecord(w.buf, head{recv: w.recv, kind: kindSession}, doc, nil)
}

// Commands appends what the newest event caused.
func (w *Writer) Commands(cmds []data.Command) {
	var b []byte
	for i := range cmds {
		b = appendCommand(b, &cmds[i])
	}
	if len(b) > 0 {
		w.buf = appendRecord(w.buf, head{recv: w.recv, kind: kindCommand}, b, nil)
	}
}

// Digest appends the decisions' digest after the newest event.
func (w *Writer) Digest(sum [32]byte) {
	w.buf = appendRecord(w.buf, head{recv: w.recv, kind: kindDigest}, binary.LittleEndian.AppendUint64(nil, w.seq), sum[:])
}

func (w *Writer) record(kind uint8, index uint32, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("journal: %v", err)) // plain structs of ours
	}
	w.buf = appendRecord(w.buf, head{recv: w.recv, kind: kind}, binary.LittleEndian.AppendUint32(nil, index), b)
}

func (w *Writer) advance(recv data.Time) {
	if recv < w.recv {
		panic(fmt.Sprintf("journal: %s after %s (J2)", recv, w.recv))
	}
	w.recv = recv
}

// Buffered is the number of bytes that wait for Write.
func (w *Writer) Buffered() int { return len(w.buf) }

// Write hands what is buffered to the operating system, behind a mark of what was flushed before. On an error (a full
// disk) the segment is cut back to its last whole record.
func (w *Writer) Write() error { return w.write(true) }

func (w *Writer) write(mark bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if mark {
		w.mark()
	}
	n, err := w.f.Write(w.buf)
	if err != nil {
		err = fmt.Errorf("journal: %w", err)
		if n > 0 {
			err = errors.Join(err, w.f.Truncate(w.written))
		}
		w.err = err
		return err
	}
	w.written += int64(n)
	w.seqs = w.seq
	w.buf = w.buf[:0]
	return nil
}

// mark appends what was flushed, if it is more than the mark before says.
func (w *Writer) mark() {
	if w.synced > w.marked {
		mark := append([]byte(markMagic), make([]byte, 8)...)
		binary.LittleEndian.PutUint64(mark[8:], uint64(w.synced))
		w.buf = appendRecord(w.buf, head{recv: w.recv, kind: kindMark}, mark, nil)
		w.marked = w.synced
	}
}

// Sync flushes what Write has handed over. It may run beside the other methods.
func (w *Writer) Sync() error {
	w.mu.Lock()
	f, upTo, seq, err := w.f, w.written, w.seqs, w.err
	done := upTo == w.synced
	w.mu.Unlock()
	if err != nil || done {
		return err
	}
	err = f.Sync()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.f != f: // rolled meanwhile, which flushed it
	case err != nil:
		// After a failed fsync the pages are marked clean although they are lost: nothing may be claimed any more.
		w.err = fmt.Errorf("journal: flush: %w", err)
		return w.err
	case upTo > w.synced:
		w.synced, w.seqSync = upTo, seq
	}
	return nil
}

// Roll ends the segment and starts the next one. Its owner then appends what the new segment needs to stand alone.
func (w *Writer) Roll() error {
	if err := w.finish("rolled"); err != nil {
		return err
	}
	w.header.Segment++
	w.header.First, w.header.Seq, w.header.Began = false, w.seq, w.recv
	return w.open()
}

// finish ends the segment: everything is flushed and marked before the end is written, so that damage in a segment that
// has an end is told from a torn tail.
func (w *Writer) finish(reason string) error {
	if err := errors.Join(w.write(false), w.Sync()); err != nil {
		return err
	}
	w.mu.Lock()
	w.mark()
	w.mu.Unlock()
	b, err := json.Marshal(End{Seq: w.seq, Recv: w.recv, Reason: reason})
	if err != nil {
		return err
	}
	w.buf = appendRecord(w.buf, head{recv: w.recv, kind: kindEnd}, b, nil)
	if err := w.write(false); err != nil { // nothing stands behind the end
		return err
	}
	if err := w.Sync(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.f.Close()
}

// Close ends the session.
func (w *Writer) Close() error {
	return errors.Join(w.finish("closed"), w.lock.Close())
}

// Abandon gives the folder up as a crash would: nothing more is written.
func (w *Writer) Abandon() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.f.Close(), w.lock.Close())
}

// Position is how far the newest segment has got.
type Position struct {
	Segment         int
	Written, Synced int64  // bytes
	Seq, SeqSynced  uint64 // events
}

// Position may be asked beside the other methods.
func (w *Writer) Position() Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Position{w.header.Segment, w.written, w.synced, w.seqs, w.seqSync}
}
