package sim_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"arbiter/data"
	"arbiter/data/archive"
	"arbiter/data/kalshi"
	"arbiter/data/tape"
	"arbiter/sim"
	"arbiter/strategies/engine"
	"arbiter/strategies/parity"
	"arbiter/testdata/captures"
)

func gunzip(t testing.TB, dir string) []string {
	t.Helper()
	var lines []string
	for _, l := range captures.Lines(t, dir) {
		lines = append(lines, string(l))
	}
	return lines
}

// parityOver runs the null control with assumed fees and returns what it saw.
func parityOver(t *testing.T, dir string) []engine.Decision {
	t.Helper()
	set, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	fees, err := kalshi.Schedule("quadratic", 1_000_000, kalshi.Direct, 0)
	if err != nil {
		t.Fatal(err)
	}
	scfg, ecfg := sim.Defaults(), engine.Defaults()
	scfg.Exchange.Venues[data.Kalshi].Assumed, ecfg.Assumed[data.Kalshi] = &fees, &fees
	w, err := sim.NewBacktest(scfg, rd, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(ecfg, rd.Dictionary(), parity.New(parity.Defaults()))
	if err != nil {
		t.Fatal(err)
	}
	var seen []engine.Decision
	err = engine.Run(w, e, func(*data.Event, []data.Command) {
		for _, d := range e.Decisions() {
			if d.Kind == engine.Seen {
				seen = append(seen, d)
			}
		}
	})
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return seen
}

// The null control over all eight real windows finds nothing.
func TestParity_FindsNothingOnRealWindows(t *testing.T) {
	root := captures.Path(t, "kalshi", "gold15m")
	out := filepath.Join(t.TempDir(), "gold")
	if _, _, err := archive.KalshiNDJSON(context.Background(), archive.Options{Inputs: []string{root}, Out: out}); err != nil {
		t.Fatal(err)
	}
	if seen := parityOver(t, out); len(seen) != 0 {
		t.Errorf("parity found %d opportunities on real windows: %+v", len(seen), seen[0])
	}
}

// With one crossed message planted it finds exactly that: a YES bid of 12 contracts ten cents above the best ask.
func TestParity_FindsExactlyThePlantedMessage(t *testing.T) {
	const window = "KXGOLD15M-26AUG101845-45"
	at := 0
	dir := goldTape(t, window, func(lines []string) []string {
		at = len(lines) / 2
		for !strings.Contains(lines[at], "orderbook_delta") {
			at++
		}
		// A price that no book of this window reaches at that moment: the fold of the lines before says where the ask is.
		planted := strings.NewReplacer().Replace(lines[at])
		planted = rewrite(planted, "yes", "0.9900", "12.00")
		undo := rewrite(lines[at], "yes", "0.9900", "-12.00")
		return append(append(append([]string{}, lines[:at]...), planted, undo), lines[at+1:]...)
	})
	seen := parityOver(t, dir)
	if len(seen) != 1 {
		t.Fatalf("parity found %d opportunities, want exactly the planted one", len(seen))
	}
	p := &seen[0].Plan
	if p.N != 2 || p.Legs[1].Side != data.Sell || p.Legs[1].Price != 9900 || p.Qty() > 12*data.Contract || p.Qty() <= 0 || p.Edge < data.Cent {
		t.Errorf("found %+v", p)
	}
}

// rewrite makes a delta line say something else at the same time and place of the sequence.
func rewrite(line, side, price, delta string) string {
	set := func(key, value string) {
		i := strings.Index(line, `"`+key+`":"`) + len(key) + 4
		j := i + strings.IndexByte(line[i:], '"')
		line = line[:i] + value + line[j:]
	}
	set("side", side)
	set("price_dollars", price)
	set("delta_fp", delta)
	return line
}
