package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/data/stream"
	"arbiter/data/tape"
	"arbiter/sim/market"
)

// recordedInputs are what a recording of generated markets took in.
func recordedInputs(b *testing.B) []data.Input {
	b.Helper()
	cfg := market.Defaults()
	cfg.Length, cfg.Rate = 2*data.Minute, 20
	from := filepath.Join(b.TempDir(), "a")
	if _, _, err := market.Write(cfg, from, tape.Options{}); err != nil {
		b.Fatal(err)
	}
	dir, _ := recordTape(b, from, nil)
	segs, err := journal.Segments(dir)
	if err != nil {
		b.Fatal(err)
	}
	var out []data.Input
	for _, s := range segs {
		if err := journal.Walk(s, func(r *journal.Record) error {
			if r.What == journal.IsInput && r.Input.Kind != data.InputClose && r.Input.Kind != data.InputDrop {
				in := r.Input
				in.Text = bytes.Clone(in.Text)
				out = append(out, in)
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	return out
}

// What the sequencer does for one message: decode, check, number, journal. Polymarket's messages are hashed as often as
// in production.
func BenchmarkRecord_Message(b *testing.B) {
	inputs := recordedInputs(b)
	for _, journaled := range []bool{false, true} {
		name := "decode"
		if journaled {
			name = "decode and journal"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var w *journal.Writer
			if journaled {
				var err error
				if w, err = journal.Create(b.TempDir(), journal.Header{Recorder: "bench", Session: "bench"}); err != nil {
					b.Fatal(err)
				}
				defer w.Close()
			}
			var dict data.Dictionary
			var s *stream.Stream
			var events []data.Event
			seq, base, size := uint64(0), data.Time(0), int64(0)
			n := 0
			begin := func() { // everything up to the first message
				dict = data.Dictionary{}
				s = stream.New(stream.Defaults(), &dict)
				for n = 0; n < len(inputs) && inputs[n].Kind != data.InputFrame; n++ {
					events, _ = s.Apply(&inputs[n], events[:0])
				}
			}
			begin()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				if n == len(inputs) {
					b.StopTimer()
					begin()
					base = base.Add(data.Hour)
					b.StartTimer()
				}
				in := inputs[n]
				n++
				in.Recv += base
				size += int64(len(in.Text))
				if w != nil {
					w.Input(&in)
				}
				events, _ = s.Apply(&in, events[:0])
				s.Requests()
				for j := range events {
					seq++
					events[j].Seq = seq
				}
				if w != nil {
					if len(events) > 0 {
						w.Events(events)
					}
					if i%64 == 0 {
						if err := w.Write(); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			b.ReportMetric(float64(size)/float64(b.N), "bytes/message")
		})
	}
}
