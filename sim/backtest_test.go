package sim_test

import (
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"path/filepath"
	"testing"

	"arbiter/data"
	"arbiter/data/tape"
	"arbiter/sim"
	"arbiter/sim/market"
	"arbiter/strategies/cross"
	"arbiter/strategies/engine"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

type result struct {
	digest    string
	events    int
	commands  int
	seen      int
	finished  int
	net       data.Money
	residuals int
	account   engine.Account
}

func run(t testing.TB, dirs []string, sel tape.Selection, pairs []data.Pairing, scfg sim.Config, ecfg engine.Config, each func(w *sim.Backtest, e *engine.Engine, ev *data.Event)) result {
	t.Helper()
	set, err := tape.Open(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(sel)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	w, err := sim.NewBacktest(scfg, rd, pairs)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(ecfg, rd.Dictionary(), cross.New(cross.Defaults()))
	if err != nil {
		t.Fatal(err)
	}
	var r result
	err = engine.Run(w, e, func(ev *data.Event, cmds []data.Command) {
		r.events++
		r.commands += len(cmds)
		for i := range e.Decisions() {
			switch d := &e.Decisions()[i]; d.Kind {
			case engine.Seen:
				r.seen++
			case engine.Finished:
				r.finished++
				o := d.Exec.Outcome()
				r.net += o.Net
				if o.Residual > 0 {
					r.residuals++
				}
			}
		}
		if each != nil {
			each(w, e, ev)
		}
	})
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	d := e.Digest()
	r.digest = hex.EncodeToString(d[:])
	r.account = *e.Account()
	return r
}

func synth(t testing.TB, cfg market.Config, opt tape.Options) (string, []data.Pairing) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "synth")
	_, pairs, err := market.Write(cfg, dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return dir, pairs
}

// Law A1 and agreement with the venue's own ledger, after every event.
func TestBacktest_ConservesMoneyAfterEveryEvent(t *testing.T) {
	for s := range uint64(4) {
		cfg := market.Defaults()
		cfg.Seed, cfg.Length = *seed+s, 5*data.Minute
		dir, pairs := synth(t, cfg, tape.Options{})
		for _, timeline := range []sim.Timeline{sim.ReceiveTime, sim.ExchangeTime} {
			scfg := sim.Defaults()
			scfg.Timeline = timeline
			r := run(t, []string{dir}, tape.Selection{}, pairs, scfg, engine.Defaults(), func(w *sim.Backtest, e *engine.Engine, ev *data.Event) {
				if !e.Account().Balanced() {
					t.Fatalf("after event %d (%s): cash, positions and fees do not add up to the deposits", ev.Seq, ev.Kind)
				}
			})
			t.Logf("seed %d %s: %d events, %d commands, %d seen, %d finished, %d residuals, net %s, realised %s fees %s digest %s", cfg.Seed, timeline, r.events, r.commands, r.seen, r.finished, r.residuals, r.net, r.account.Realised, r.account.Fees, r.digest[:12])
			if r.finished == 0 {
				t.Errorf("seed %d, %s: nothing was executed: the test tests nothing", cfg.Seed, timeline)
			}
		}
	}
}
