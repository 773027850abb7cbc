package sim_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"arbiter/data"
	"arbiter/data/archive"
	"arbiter/data/tape"
	"arbiter/sim"
	"arbiter/sim/exchange"
	"arbiter/sim/market"
	"arbiter/strategies/engine"
	"arbiter/strategies/legging"
	"arbiter/testdata/captures"
)

// demoDigest is the golden digest of the bundled tape under the command line's defaults; `make check` compares it here
// and on arm64.
func TestBacktest_GoldenDigestOfTheDemo(t *testing.T) {
	raw, err := os.ReadFile("../testdata/golden/demo.digest")
	if err != nil {
		t.Fatal(err)
	}
	dir := "../testdata/tapes/demo"
	set, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var pairs []data.Pairing
	for _, l := range set.Listings() {
		if l.Key.Venue == data.Kalshi && len(pairs) < 6 {
			n := len(pairs)
			opposite := n%4 == 3
			pairs = append(pairs, data.Pairing{ID: fmt.Sprintf("synth-%03d", n), A: data.MarketKey{Venue: data.Polymarket, Native: fmt.Sprintf("0x%064x", n+1)},
				B: l.Key, Opposite: opposite, Branches: data.PlainBranches(opposite)})
		}
	}
	cfg := sim.Defaults()
	cfg.Exchange.Seed = 1
	for _, procs := range []int{1, 8} {
		old := runtime.GOMAXPROCS(procs)
		got := run(t, []string{dir}, tape.Selection{}, pairs, cfg, engine.Defaults(), nil)
		runtime.GOMAXPROCS(old)
		if want := strings.TrimSpace(string(raw)); got.digest != want {
			t.Errorf("GOMAXPROCS %d: digest %s, golden %s: if decisions were meant to change, rewrite testdata/golden/demo.digest and explain the difference", procs, got.digest, want)
		}
	}
}

// The same world in one file or fifty, with other row groups, with more markets beside it: the same digest.
func TestBacktest_SameDigestHoweverTheTapeIsMade(t *testing.T) {
	cfg := market.Defaults()
	cfg.Seed, cfg.Length, cfg.Pairs, cfg.Single, cfg.NewsGap = *seed, 2*data.Minute, 3, 1, 6*data.Second
	whole, pairs := synth(t, cfg, tape.Options{})
	var wanted []data.MarketKey
	for _, p := range pairs {
		wanted = append(wanted, p.A, p.B)
	}
	cuts := map[string]string{}
	for name, opt := range map[string]tape.Options{"fifty files": {SegmentRows: 80, GroupRows: 80}, "small row groups": {GroupRows: 150}} {
		cuts[name], _ = synth(t, cfg, opt)
	}
	if files, _ := filepath.Glob(filepath.Join(cuts["fifty files"], "*.parquet")); len(files) < 50 {
		t.Fatalf("only %d files", len(files))
	}
	for _, timeline := range []sim.Timeline{sim.ReceiveTime, sim.ExchangeTime} {
		scfg := sim.Defaults()
		scfg.Timeline = timeline
		scfg.Exchange.Venues[data.Kalshi].Order = exchange.Latency{{PerMille: 500, Delay: 20 * data.Millisecond}, {PerMille: 990, Delay: 300 * data.Millisecond}, {PerMille: 1000, Delay: data.Second}}
		want := run(t, []string{whole}, tape.Selection{}, pairs, scfg, engine.Defaults(), nil)
		if want.finished == 0 {
			t.Fatal("nothing was executed: the test tests nothing")
		}
		for name, dir := range cuts {
			if got := run(t, []string{dir}, tape.Selection{}, pairs, scfg, engine.Defaults(), nil); got.digest != want.digest || got.account.Realised != want.account.Realised {
				t.Errorf("%s, %s: digest %s, want %s", timeline, name, got.digest, want.digest)
			}
		}
		if got := run(t, []string{whole}, tape.Selection{Instruments: wanted}, pairs, scfg, engine.Defaults(), nil); got.digest == want.digest {
			t.Errorf("%s: a selection has another session: its listings are in the digest", timeline)
		} else if got.commands != want.commands || got.account.Realised != want.account.Realised {
			t.Errorf("%s: unselected markets changed the result: %d commands, realised %s; want %d, %s", timeline, got.commands, got.account.Realised, want.commands, want.account.Realised)
		}
	}
}

// More unselected instruments in the files change nothing, not even the digest.
func TestBacktest_UnselectedInstrumentsDoNotMatter(t *testing.T) {
	cfg := market.Defaults()
	cfg.Seed, cfg.Length, cfg.Pairs, cfg.Single = *seed, 2*data.Minute, 2, 0
	few, pairs := synth(t, cfg, tape.Options{})
	sel := tape.Selection{}
	for _, p := range pairs {
		sel.Instruments = append(sel.Instruments, p.A, p.B)
	}
	want := run(t, []string{few}, sel, pairs, sim.Defaults(), engine.Defaults(), nil)
	other := cfg
	other.Seed, other.Pairs = 999, 3
	more, _ := synthAs(t, other, "OTHER")
	got := run(t, []string{few, more}, sel, pairs, sim.Defaults(), engine.Defaults(), nil)
	if got.digest != want.digest {
		t.Errorf("digest %s with other tapes beside it, %s alone", got.digest, want.digest)
	}
}

// synthAs rewrites a generated tape under other market names and another recorder.
func synthAs(t *testing.T, cfg market.Config, prefix string) (string, []data.Pairing) {
	t.Helper()
	dir, pairs := synth(t, cfg, tape.Options{})
	set, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "renamed")
	w, err := tape.Create(out, tape.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []data.Venue{data.Polymarket, data.Kalshi} {
		s, err := w.Source(tape.SourceOptions{Venue: v, Recorder: prefix, Connection: "0", Synthetic: true})
		if err != nil {
			t.Fatal(err)
		}
		rd, err := set.Read(tape.Selection{Venues: []data.Venue{v}})
		if err != nil {
			t.Fatal(err)
		}
		var msg []data.Event
		var ev data.Event
		for rd.Next(&ev) == nil {
			switch ev.Kind {
			case data.Listed:
				l := rd.Dictionary().Listings[ev.Arg]
				l.Key.Native = prefix + l.Key.Native
				id, err := s.Listing(l)
				if err != nil {
					t.Fatal(err)
				}
				ev.Arg = uint32(id)
			case data.Fees:
				if ev.Arg, err = s.Fees(rd.Dictionary().Fees[ev.Arg]); err != nil {
					t.Fatal(err)
				}
			}
			if msg = append(msg, ev); ev.Last {
				if err := s.Write(slices.Clone(msg)...); err != nil {
					t.Fatal(err)
				}
				msg = msg[:0]
			}
		}
		rd.Close()
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out, pairs
}

// Under random latencies and every policy the naked exposure that is reserved never exceeds the cap, no position ever
// exceeds what was admitted, and money is conserved.
func TestLegging_NetExposureNeverExceedsLimit(t *testing.T) {
	executed := 0
	for s := range uint64(10) {
		cfg := market.Defaults()
		cfg.Seed, cfg.Length, cfg.NewsGap = *seed*10+s, 3*data.Minute, 6*data.Second
		dir, pairs := synth(t, cfg, tape.Options{})
		for _, policy := range []legging.Policy{legging.Dump, legging.Chase, legging.Hold} {
			for _, sequential := range []bool{false, true} {
				scfg, ecfg := sim.Defaults(), engine.Defaults()
				scfg.Timeline, scfg.Exchange.Seed = sim.ExchangeTime, s
				for v := data.Polymarket; v <= data.Kalshi; v++ {
					scfg.Exchange.Venues[v].Order = exchange.Latency{{PerMille: 500, Delay: 30 * data.Millisecond}, {PerMille: 1000, Delay: 2 * data.Second}}
				}
				ecfg.Legging.Imbalance, ecfg.Legging.Sequential, ecfg.Legging.First = policy, sequential, data.Polymarket
				ecfg.Risk.UnhedgedMax = 40 * data.Dollar
				r := run(t, []string{dir}, tape.Selection{}, pairs, scfg, ecfg, func(w *sim.Backtest, e *engine.Engine, ev *data.Event) {
					if u := e.UnhedgedNow(); u > ecfg.Risk.UnhedgedMax || u < 0 {
						t.Fatalf("event %d: %s unhedged, the cap is %s", ev.Seq, u, ecfg.Risk.UnhedgedMax)
					}
					if !e.Account().Balanced() {
						t.Fatalf("event %d: money is not conserved", ev.Seq)
					}
				})
				executed += r.finished
				if n := r.residuals; policy == legging.Dump && n > r.finished/2 {
					t.Errorf("seed %d, %s: %d of %d executions ended with a residual", s, policy, n, r.finished)
				}
			}
		}
	}
	if executed < 50 {
		t.Errorf("only %d executions: the test tests too little", executed)
	}
	t.Logf("%d executions", executed)
}

// The engine's ledger and the simulated venue's, kept by different code, end alike.
func TestBacktest_EngineAndVenueLedgersAgree(t *testing.T) {
	cfg := market.Defaults()
	cfg.Seed, cfg.Length = *seed, 5*data.Minute
	dir, pairs := synth(t, cfg, tape.Options{})
	var last *sim.Backtest
	r := run(t, []string{dir}, tape.Selection{}, pairs, sim.Defaults(), engine.Defaults(), func(w *sim.Backtest, _ *engine.Engine, _ *data.Event) { last = w })
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		if got, want := r.account.Cash[v][0], last.Exchange().Cash(v, 0); got != want {
			t.Errorf("%s: the engine has %s, the venue %s", v, got, want)
		}
	}
	for id, p := range r.account.Positions {
		if got := last.Exchange().Position(data.InstrumentID(id)); got != p.Qty {
			t.Errorf("market %d: the engine holds %s, the venue says %s", id, p.Qty, got)
		}
	}
}

// goldTape imports real windows, with a change of their lines before.
func goldTape(t *testing.T, window string, change func(lines []string) []string) string {
	t.Helper()
	root := captures.Path(t, "kalshi", "gold15m")
	in := t.TempDir()
	raw := gunzip(t, filepath.Join(root, "events", window))
	event := window[:strings.LastIndexByte(window, '-')]
	meta, err := os.ReadFile(filepath.Join(root, "metadata", event+".json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"metadata/" + event + ".json": string(meta), "events/" + window + "/day.ndjson": strings.Join(change(raw), "\n")} {
		p := filepath.Join(in, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "gold")
	if _, _, err := archive.KalshiNDJSON(context.Background(), archive.Options{Inputs: []string{in}, Out: out}); err != nil {
		t.Fatal(err)
	}
	return out
}
