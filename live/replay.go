package live

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/strategies/engine"
)

// Replayed is what running a journal's sessions again gave.
type Replayed struct {
	Sessions   int    `json:"sessions"`
	Events     uint64 `json:"events"`
	Commands   int64  `json:"commands"`
	Digests    int    `json:"digests"`              // that were compared
	Difference string `json:"difference,omitempty"` // the first one; "": every decision is identical
	Unfinished bool   `json:"unfinished,omitempty"` // the last session ended without its last digest: it was killed
}

// ErrNoSession tells that a journal holds recordings alone.
var ErrNoSession = errors.New("the journal holds no session of decisions")

// Replay runs every session of a journal through the decision code again and compares commands and digests. build makes
// the engine from the document that the session left.
func Replay(dir string, build func(doc []byte, dict *data.Dictionary) (*engine.Engine, error)) (Replayed, error) {
	var out Replayed
	segs, err := journal.Segments(dir)
	if err != nil {
		return out, err
	}
	next, stop := iter.Pull2(records(segs))
	defer stop()
	w := &rerun{next: next, report: &out}
	for {
		doc, err := w.begin()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return out, err
		}
		if w.engine, err = build(doc, &w.dict); err != nil {
			return out, err
		}
		out.Sessions++
		if err := engine.Run(w, w.engine, nil); !errors.Is(err, io.EOF) {
			return out, err
		}
		if out.Difference != "" {
			return out, nil
		}
	}
	if out.Sessions == 0 {
		return out, ErrNoSession
	}
	return out, nil
}

// records are all records of the segments, in order.
func records(segs []journal.Segment) iter.Seq2[*journal.Record, error] {
	return func(yield func(*journal.Record, error) bool) {
		stopped := errors.New("stopped")
		for _, s := range segs {
			err := journal.Walk(s, func(r *journal.Record) error {
				if !yield(r, nil) {
					return stopped
				}
				return nil
			})
			if errors.Is(err, stopped) {
				return
			}
			if err != nil && !yield(nil, err) {
				return
			}
		}
	}
}

// rerun is the World of a journal: its events, and commands that are compared with what was recorded.
type rerun struct {
	next   func() (*journal.Record, error, bool)
	report *Replayed
	engine *engine.Engine
	dict   data.Dictionary
	events []data.Event // of the newest record, from at on not delivered yet
	at     int
	made   []data.Command // not compared yet
	header bool           // the next session's header was read
}

// begin looks for the next session and returns its document.
func (w *rerun) begin() ([]byte, error) {
	w.dict, w.events, w.at, w.made = data.Dictionary{}, nil, 0, nil
	first := w.header
	w.header = false
	for {
		r, err, ok := w.next()
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, io.EOF
		case r.What == journal.IsHeader:
			first = r.Header.First
		case r.What == journal.IsSession && first:
			w.report.Unfinished = true
			return bytes.Clone(r.Session), nil
		}
	}
}

// Next is the next recorded event; io.EOF at the session's end, and at the first difference.
func (w *rerun) Next(ev *data.Event) error {
	for w.at == len(w.events) {
		r, err, ok := w.next()
		if err != nil {
			return err
		}
		if !ok || r.What == journal.IsHeader && r.Header.First {
			w.header = ok
			return io.EOF
		}
		switch r.What {
		case journal.IsListing:
			w.dict.Listings = put(w.dict.Listings, r.Index, r.Listing)
		case journal.IsFees:
			w.dict.Fees = put(w.dict.Fees, r.Index, r.Fees)
		case journal.IsPairing:
			w.dict.Pairings = put(w.dict.Pairings, r.Index, r.Pairing)
		case journal.IsEvents:
			if r.Keyframe {
				continue
			}
			if w.differs(len(w.made) == 0, "it made %d commands that were not recorded, the first: %s", len(w.made), first(w.made)) {
				return io.EOF
			}
			w.events, w.at = append(w.events[:0], r.Events...), 0
		case journal.IsCommands:
			for i := range r.Commands {
				c := &r.Commands[i]
				if w.differs(len(w.made) > 0 && w.made[0] == *c, "recorded %s, made %s", describe(c), first(w.made)) {
					return io.EOF
				}
				w.made = w.made[1:]
				w.report.Commands++
			}
		case journal.IsDigest:
			w.report.Digests++
			w.report.Unfinished = false
			sum := w.engine.Digest()
			if w.differs(sum == r.Digest, "after event %d the digest is %x, recorded %x", r.Seq, sum[:6], r.Digest[:6]) {
				return io.EOF
			}
		}
	}
	*ev = w.events[w.at]
	w.at++
	w.report.Events++
	w.report.Unfinished = true
	return nil
}

// differs notes a difference unless same.
func (w *rerun) differs(same bool, format string, args ...any) bool {
	if !same {
		w.report.Difference = fmt.Sprintf("session %d, after event %d: ", w.report.Sessions, w.report.Events) + fmt.Sprintf(format, args...)
	}
	return !same
}

// Do keeps a command until the recorded one is read.
func (w *rerun) Do(cmd *data.Command) error {
	w.made = append(w.made, *cmd)
	return nil
}

func put[T any](list []T, n uint32, v T) []T {
	for int(n) >= len(list) {
		list = append(list, v)
	}
	list[n] = v
	return list
}

func first(cmds []data.Command) string {
	if len(cmds) == 0 {
		return "none"
	}
	return describe(&cmds[0])
}

func describe(c *data.Command) string { return fmt.Sprintf("%+v", *c) }
