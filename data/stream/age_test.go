package stream

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"arbiter/data"
	"arbiter/data/archive"
	"arbiter/data/tape"
	"arbiter/testdata/captures"
)

// Real messages come late in bursts (up to three seconds): none of the recorded windows would have been given up.
func TestAge_RealWindowsAreNotGivenUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gold")
	if _, _, err := archive.KalshiNDJSON(context.Background(), archive.Options{Inputs: []string{captures.Path(t, "kalshi", "gold15m")}, Out: dir}); err != nil {
		t.Fatal(err)
	}
	set, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	ages := map[data.InstrumentID]*age{}
	messages, late := 0, data.Duration(0)
	var ev data.Event
	for {
		if err := rd.Next(&ev); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if ev.Kind != data.Delta && ev.Kind != data.Trade {
			continue
		}
		if ages[ev.Inst] == nil {
			ages[ev.Inst] = &age{}
		}
		messages++
		late = max(late, ev.Recv.Sub(ev.Exch))
		if ages[ev.Inst].add(ev.Recv, ev.Exch, Defaults().Behind) {
			t.Errorf("instrument %d would be given up at %s", ev.Inst, ev.Recv)
		}
	}
	if messages < 300_000 || late < Defaults().Behind {
		t.Errorf("%d messages, the latest by %s: this proves nothing", messages, late)
	}
}

// A connection that falls behind steadily is given up within five seconds; one that is late from the beginning, or for
// a moment, is not.
func TestAge_FallingBehind(t *testing.T) {
	const tick = 50 * data.Millisecond
	run := func(delay func(n int) data.Duration) (gaveUp data.Duration) {
		var a age
		recv := data.Time(0)
		for n := range 400 {
			exch := data.Time(n) * data.Time(tick)
			recv = max(recv, exch.Add(delay(n))) // messages come in order
			if a.add(recv, exch, Defaults().Behind) && gaveUp == 0 {
				gaveUp = recv.Sub(exch)
			}
		}
		return gaveUp
	}
	if got := run(func(n int) data.Duration { return data.Duration(n) * tick / 2 }); got < Defaults().Behind || got > 5*data.Second {
		t.Errorf("given up %s behind", got)
	}
	if got := run(func(int) data.Duration { return 10 * data.Second }); got != 0 {
		t.Errorf("a constant delay was given up at %s", got)
	}
	if got := run(func(n int) data.Duration {
		if n == 100 {
			return 2400 * data.Millisecond
		}
		return 0
	}); got != 0 {
		t.Errorf("one burst was given up at %s", got)
	}
}
