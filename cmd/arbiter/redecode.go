package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/data/stream"
	"arbiter/data/tape"
)

func redecodeCommand() *cobra.Command {
	return &cobra.Command{Use: "redecode JOURNAL OUT", Short: "Decode a journal's frames again: a new tape for each session, OUT/session-N", Args: cobra.ExactArgs(2), RunE: runRedecode,
		Long:    "The frames of a journal are the truth; the events beside them are what this program, or an older one, made of them.\nThe journal must be closed: stop the recorder first.",
		Example: "  arbiter data redecode journal tapes/again"}
}

// redecoding is one session that is decoded again.
type redecoding struct {
	dict     data.Dictionary
	stream   *stream.Stream
	w        *tape.Writer
	rec      *tape.Recording
	seq      uint64
	listings int
	fees     int
	bad      int
	events   []data.Event
}

func runRedecode(c *cobra.Command, args []string) error {
	segs, err := journal.Segments(args[0])
	if err != nil {
		return dataError{err}
	}
	if len(segs) == 0 {
		return dataError{fmt.Errorf("redecode: %s holds no journal", args[0])}
	}
	var d *redecoding
	n := 0
	finish := func() error {
		if d == nil {
			return nil
		}
		defer d.w.Abort()
		if d.rec.Events == 0 {
			return nil
		}
		m, err := d.w.Close()
		if err != nil {
			return err
		}
		printTapes(c, []*tape.Manifest{m}, []string{filepath.Join(args[1], fmt.Sprintf("session-%d", n))})
		if d.bad > 0 {
			fmt.Fprintf(c.OutOrStdout(), "  %d inputs could not be decoded\n", d.bad)
		}
		return nil
	}
	for _, seg := range segs {
		err := journal.Walk(seg, func(r *journal.Record) error {
			switch {
			case r.What == journal.IsHeader && r.Header.First:
				if err := finish(); err != nil {
					return err
				}
				n++
				d, err = newRedecoding(filepath.Join(args[1], fmt.Sprintf("session-%d", n)), &r.Header)
				return err
			case r.What == journal.IsInput && d == nil:
				return errors.New("the journal's first segment is missing: a session can be decoded from its beginning only")
			case r.What == journal.IsInput:
				return d.input(&r.Input)
			}
			return nil
		})
		if err != nil {
			if d != nil {
				d.w.Abort()
			}
			return dataError{err}
		}
	}
	if err := finish(); err != nil {
		return dataError{err}
	}
	return nil
}

func newRedecoding(dir string, h *journal.Header) (*redecoding, error) {
	w, err := tape.Create(dir, tape.Options{Commit: commit, Origin: "decoded again from the journal of " + h.Recorder + ", session " + h.Session})
	if err != nil {
		return nil, err
	}
	w.NotePolled(h.Polled)
	d := &redecoding{w: w, rec: tape.NewRecording(w, tape.SourceOptions{Recorder: h.Recorder, Connection: "redecoded"})}
	d.stream = stream.New(stream.Defaults(), &d.dict)
	return d, nil
}

func (d *redecoding) input(in *data.Input) error {
	var err error
	if d.events, err = d.stream.Apply(in, d.events[:0]); err != nil {
		d.bad++
	}
	d.stream.Requests()
	for ; d.listings < len(d.dict.Listings); d.listings++ {
		d.rec.Listing(uint32(d.listings), d.dict.Listings[d.listings])
	}
	for ; d.fees < len(d.dict.Fees); d.fees++ {
		d.rec.Fees(uint32(d.fees), d.dict.Fees[d.fees])
	}
	for i := range d.events {
		d.seq++
		d.events[i].Seq = d.seq
	}
	return d.rec.Write(d.events)
}
