package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"arbiter/data"
)

// Segment is one file of a journal.
type Segment struct {
	Path   string
	Number int
}

// Segments lists a folder's files in order.
func Segments(dir string) ([]Segment, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "journal-*.arj"))
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	slices.Sort(paths)
	var out []Segment
	for _, p := range paths {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(p), "journal-%08d.arj", &n); err != nil || filepath.Base(p) != segmentName(n) {
			return nil, fmt.Errorf("journal %s: its name is not one of ours: %w", p, ErrJournal)
		}
		out = append(out, Segment{p, n})
	}
	return out, nil
}

// Recovered is what opening a folder again found.
type Recovered struct {
	Segments int       // files before this session
	Session  string    // the last one
	Seq      uint64    // its last event that reads back
	Recv     data.Time // of its last record
	Torn     int64     // bytes of a torn tail that were cut off
	Clean    bool      // the last session was closed
}

// Recover puts a folder in order after a crash: the newest segment is cut behind its last whole record and ended.
// Nothing is cut that a flush had covered: that is damage, and an error.
func Recover(dir string) (Recovered, error) {
	var r Recovered
	segs, err := Segments(dir)
	if err != nil || len(segs) == 0 {
		return r, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return r, err
	}
	defer lock.Close()
	last := segs[len(segs)-1]
	r, err = recoverSegment(last)
	if err == nil && r.Segments < 0 { // its header was never written: as if it had not been begun
		if len(segs) == 1 {
			return Recovered{}, nil
		}
		torn := r.Torn
		r, err = recoverSegment(segs[len(segs)-2])
		r.Torn += torn
		segs = segs[:len(segs)-1]
	}
	r.Segments = len(segs)
	return r, err
}

func recoverSegment(s Segment) (Recovered, error) {
	var r Recovered
	b, err := os.ReadFile(s.Path)
	if err != nil {
		return r, fmt.Errorf("journal: %w", err)
	}
	good, end, err := scan(s.Path, b, func(rec *Record, recv data.Time) error {
		switch {
		case rec.What == IsHeader:
			r.Session, r.Seq = rec.Header.Session, rec.Header.Seq
		case rec.What == IsEvents && !rec.Keyframe:
			r.Seq = rec.Events[len(rec.Events)-1].Seq
		}
		r.Recv = max(r.Recv, recv)
		return nil
	})
	if err != nil {
		return r, err
	}
	if end != nil {
		r.Clean = end.Reason == "closed"
		return r, nil
	}
	r.Torn = int64(len(b) - good)
	if at, ok := flushedBeyond(b, good); ok {
		return r, fmt.Errorf("journal %s: byte %d does not read back, and a flush had covered %d bytes: the file is damaged, not torn; restore it or move it away: %w",
			s.Path, good, at, ErrJournal)
	}
	if good == 0 {
		r.Segments = -1
		return r, os.Remove(s.Path)
	}
	e, err := json.Marshal(End{Seq: r.Seq, Recv: r.Recv, Torn: r.Torn, Reason: "recovered"})
	if err != nil {
		return r, err
	}
	f, err := os.OpenFile(s.Path, os.O_WRONLY, 0)
	if err != nil {
		return r, fmt.Errorf("journal: %w", err)
	}
	err = f.Truncate(int64(good))
	if err == nil {
		_, err = f.WriteAt(appendRecord(nil, head{recv: r.Recv, kind: kindEnd}, e, nil), int64(good))
	}
	return r, errors.Join(err, f.Sync(), f.Close())
}

// flushedBeyond looks behind the last good byte for a mark which says that more had been flushed.
func flushedBeyond(b []byte, good int) (int64, bool) {
	rest := b[good:]
	for {
		i := bytes.Index(rest, []byte(markMagic))
		if i < 0 {
			return 0, false
		}
		if i >= headSize {
			if h, p, n := parseRecord(rest[i-headSize:]); n > 0 && h.kind == kindMark && len(p) == 16 {
				if at := int64(binary.LittleEndian.Uint64(p[8:])); at > int64(good) {
					return at, true
				}
			}
		}
		rest = rest[i+len(markMagic):]
	}
}

// scan walks the sound records of a segment from its start. It returns the offset behind the last one and the End
// record, if there is one. A file that does not begin as a journal is an error, unless it is a beginning cut short.
func scan(path string, b []byte, each func(rec *Record, recv data.Time) error) (good int, end *End, err error) {
	if len(b) < len(magic) {
		if string(b) != magic[:len(b)] {
			return 0, nil, fmt.Errorf("journal %s: does not begin as a journal: %w", path, ErrJournal)
		}
		return 0, nil, nil
	}
	if string(b[:len(magic)]) != magic {
		if len(bytes.Trim(b, "\x00")) == 0 {
			return 0, nil, nil // a power cut left the length and not the bytes
		}
		return 0, nil, fmt.Errorf("journal %s: does not begin as a journal: %w", path, ErrJournal)
	}
	var rec Record
	at := len(magic)
	for {
		h, payload, n := parseRecord(b[at:])
		if n == 0 {
			return good, end, nil
		}
		more, err := rec.fill(h, payload)
		if err == nil {
			err = order(&rec, more, good == 0, end != nil)
		}
		if err != nil {
			return good, end, fmt.Errorf("journal %s: byte %d: %w: %w", path, at, err, ErrJournal)
		}
		at += n
		good = at
		if more {
			if rec.What == IsEnd {
				e := rec.End
				end = &e
			}
			if err := each(&rec, h.recv); err != nil {
				return good, end, err
			}
		}
	}
}

// order checks where a record stands.
func order(rec *Record, more, first, ended bool) error {
	isHeader := more && rec.What == IsHeader
	switch {
	case first != isHeader:
		return errors.New("the header is not the first record, and only that")
	case isHeader && rec.Header.Version != Version:
		return fmt.Errorf("version %d: this program reads version %d", rec.Header.Version, Version)
	case ended:
		return errors.New("a record behind the end")
	}
	return nil
}

// Walk hands over every record of a closed segment, in order. A segment that was not ended is refused: Recover first.
func Walk(s Segment, each func(rec *Record) error) error {
	f, err := os.Open(s.Path)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var first [len(magic)]byte
	if _, err := io.ReadFull(r, first[:]); err != nil || string(first[:]) != magic {
		return fmt.Errorf("journal %s: does not begin as a journal: %w", s.Path, ErrJournal)
	}
	var rec Record
	var buf []byte
	at, began, ended := int64(len(magic)), false, false
	for {
		buf = append(buf[:0], make([]byte, headSize)...)
		if _, err := io.ReadFull(r, buf); err != nil {
			if errors.Is(err, io.EOF) && ended {
				return nil
			}
			return fmt.Errorf("journal %s: byte %d: ends without its end record: it is being written, or torn: %w", s.Path, at, ErrJournal)
		}
		size := int(binary.LittleEndian.Uint32(buf))
		if size <= payloadMax {
			buf = slices.Grow(buf, size)[:headSize+size]
			if _, err := io.ReadFull(r, buf[headSize:]); err != nil {
				return fmt.Errorf("journal %s: byte %d: a record is cut short: %w", s.Path, at, ErrJournal)
			}
		}
		h, payload, n := parseRecord(buf)
		if n == 0 {
			return fmt.Errorf("journal %s: byte %d: a record does not match its checksum: %w", s.Path, at, ErrJournal)
		}
		more, err := rec.fill(h, payload)
		if err == nil {
			err = order(&rec, more, !began, ended)
		}
		if err != nil {
			return fmt.Errorf("journal %s: byte %d: %w: %w", s.Path, at, err, ErrJournal)
		}
		began = true
		at += int64(n)
		if !more {
			continue
		}
		ended = rec.What == IsEnd
		if err := each(&rec); err != nil {
			return err
		}
	}
}
