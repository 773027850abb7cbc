package tape

import (
	"errors"
	"fmt"

	"arbiter/data"
	"arbiter/data/journal"
)

// Recording writes the events of a session, whose ids and dictionary both venues share, into a tape with a source a
// venue.
type Recording struct {
	w        *Writer
	opt      SourceOptions
	sources  [data.VenueCount]*SourceWriter
	listings map[uint32]data.Listing
	fees     map[uint32]data.FeeSchedule
	insts    map[data.InstrumentID]local
	charged  [data.VenueCount]map[uint32]uint32
	buf      []data.Event
	Events   int64
}

type local struct {
	venue data.Venue
	id    data.InstrumentID
}

// NewRecording fills w. opt is what its sources share; the venue is set for each.
func NewRecording(w *Writer, opt SourceOptions) *Recording {
	return &Recording{w: w, opt: opt, listings: map[uint32]data.Listing{}, fees: map[uint32]data.FeeSchedule{}, insts: map[data.InstrumentID]local{}}
}

// Listing gives a record of the session's dictionary.
func (r *Recording) Listing(index uint32, l data.Listing) { r.listings[index] = l }

// Fees gives a record of the session's dictionary.
func (r *Recording) Fees(index uint32, f data.FeeSchedule) { r.fees[index] = f }

func (r *Recording) source(v data.Venue) (*SourceWriter, error) {
	if v == 0 || v >= data.VenueCount {
		return nil, fmt.Errorf("an event of venue %d", v)
	}
	if r.sources[v] == nil {
		opt := r.opt
		opt.Venue = v
		s, err := r.w.Source(opt)
		if err != nil {
			return nil, err
		}
		r.sources[v], r.charged[v] = s, map[uint32]uint32{}
	}
	return r.sources[v], nil
}

// translate turns the session's ids into a source's.
func (r *Recording) translate(e *data.Event) (*SourceWriter, error) {
	if e.Kind == data.Listed {
		l, ok := r.listings[e.Arg]
		if !ok {
			return nil, fmt.Errorf("event %d lists record %d, which was not given", e.Seq, e.Arg)
		}
		s, err := r.source(l.Key.Venue)
		if err != nil {
			return nil, err
		}
		id, err := s.Listing(l)
		if err != nil {
			return nil, err
		}
		r.insts[e.Inst] = local{l.Key.Venue, id}
		e.Arg = uint32(id)
	}
	if e.Inst == data.NoInstrument {
		return r.source(e.Venue())
	}
	k, ok := r.insts[e.Inst]
	if !ok {
		return nil, fmt.Errorf("event %d is about instrument %d, which is not listed", e.Seq, e.Inst)
	}
	s := r.sources[k.venue]
	e.Inst = k.id
	if e.Kind != data.Fees {
		return s, nil
	}
	n, ok := r.charged[k.venue][e.Arg]
	if !ok {
		f, known := r.fees[e.Arg]
		if !known {
			return nil, fmt.Errorf("event %d charges by record %d, which was not given", e.Seq, e.Arg)
		}
		var err error
		if n, err = s.Fees(f); err != nil {
			return nil, err
		}
		r.charged[k.venue][e.Arg] = n
	}
	e.Arg = n
	return s, nil
}

// Write appends events, whole messages at a time.
func (r *Recording) Write(events []data.Event) error {
	return r.messages(events, func(s *SourceWriter, m []data.Event) error { return s.Write(m...) })
}

// Resume tells what was known before the tape began.
func (r *Recording) Resume(events []data.Event) error {
	return r.messages(events, func(s *SourceWriter, m []data.Event) error { return s.Resume(m...) })
}

func (r *Recording) messages(events []data.Event, each func(*SourceWriter, []data.Event) error) error {
	r.buf = r.buf[:0]
	for i := range events {
		e := events[i]
		if !e.Kind.World() || e.Kind == data.Paired {
			continue // a session's own: replay reads the journal, and approvals stand in a registry
		}
		s, err := r.translate(&e)
		if err != nil {
			return err
		}
		r.buf = append(r.buf, e)
		if !e.Last {
			continue
		}
		if err := each(s, r.buf); err != nil {
			return err
		}
		r.Events += int64(len(r.buf))
		r.buf = r.buf[:0]
	}
	if len(r.buf) != 0 {
		return errors.New("events that do not end a message")
	}
	return nil
}

// NotePolled marks a tape whose books of these venues were polled.
func (w *Writer) NotePolled(venues []string) {
	for _, v := range venues {
		w.Note(v + " was polled: what happened between two polls is not known, and no claim about latency can rest on it")
	}
}

// ErrEmpty tells that a journal's segment holds no event, so there is nothing to make a tape of.
var ErrEmpty = errors.New("no events")

// FromJournal makes a tape of one closed segment: world events only. The first segment of a session begins with what it
// lists, a later one with a keyframe.
func FromJournal(seg journal.Segment, dir string, opt Options) (*Manifest, error) {
	w, err := Create(dir, opt)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	var rec *Recording
	err = journal.Walk(seg, func(r *journal.Record) error {
		switch r.What {
		case journal.IsHeader:
			h := &r.Header
			rec = NewRecording(w, SourceOptions{Recorder: h.Recorder, Connection: "live", Session: h.Session, Part: h.Segment})
			w.NotePolled(h.Polled)
		case journal.IsListing:
			rec.Listing(r.Index, r.Listing)
		case journal.IsFees:
			rec.Fees(r.Index, r.Fees)
		case journal.IsEvents:
			if r.Keyframe {
				return rec.Resume(r.Events)
			}
			return rec.Write(r.Events)
		case journal.IsEnd:
			if r.End.Torn > 0 {
				w.Note(fmt.Sprintf("the recording was cut off: %d bytes behind its last whole record were lost", r.End.Torn))
			}
		}
		return nil
	})
	if err == nil && (rec == nil || rec.Events == 0) {
		err = ErrEmpty
	}
	if err != nil {
		return nil, fmt.Errorf("tape of %s: %w", seg.Path, err)
	}
	return w.Close()
}
