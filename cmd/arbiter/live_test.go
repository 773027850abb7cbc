package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/data/tape"
	"arbiter/live"
	"arbiter/sim"
	"arbiter/sim/fakevenue"
	"arbiter/sim/market"
	"arbiter/strategies"
	"arbiter/strategies/cross"
	"arbiter/strategies/engine"
)

// tradable serves generated markets that are open now, with the registry of their pairs.
func tradable(t *testing.T, ctx context.Context, opt fakevenue.Options) (v *venueProcess, registry string) {
	t.Helper()
	cfg := market.Defaults()
	cfg.Seed, cfg.Pairs, cfg.NewsGap, cfg.Rate = *seed, 8, 2*data.Second, 6
	cfg.Lag[data.Polymarket], cfg.Lag[data.Kalshi] = data.Second, 6*data.Second // much to do in a short time
	cfg.Start = data.Time(time.Now().Unix()) * data.Time(data.Second)
	v = serveMarkets(t, ctx, cfg, opt)
	set, err := tape.Open(v.dir)
	if err != nil {
		t.Fatal(err)
	}
	registry = filepath.Join(t.TempDir(), "pairs.yaml")
	if err := writeRegistry(registry, v.pairs, set.Listings(), cfg.Start); err != nil {
		t.Fatal(err)
	}
	return v, registry
}

// replay runs a journal again by the command line.
func replay(t *testing.T, dir string) live.Replayed {
	t.Helper()
	out := &bytes.Buffer{}
	if code := executeTo(context.Background(), []string{"replay", dir, "--json"}, out, t.Output()); code != 0 {
		t.Fatalf("replay: exit code %d: %s", code, out)
	}
	var r live.Replayed
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// paperSession runs `live` in this process.
func paperSession(t *testing.T, v *venueProcess, registry, dir string, more ...string) *tally {
	t.Helper()
	for _, kv := range v.env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	out := &bytes.Buffer{}
	args := append([]string{"live", "--venues-at", v.host, "--pairs", registry, "--journal", filepath.Join(dir, "journal"), "--tapes", filepath.Join(dir, "tapes"),
		"--disk-min", "0", "--quiet", "--json"}, more...)
	if code := executeTo(context.Background(), args, out, t.Output()); code != 0 {
		t.Fatalf("live: exit code %d: %s", code, out)
	}
	got := &tally{}
	if err := json.Unmarshal(out.Bytes(), got); err != nil {
		t.Fatal(err)
	}
	return got
}

// Identity: a session over real sockets, with faults, is run again from its journal, and every command and digest is
// the same. What its tape holds, backtested with the same latencies, takes the same decisions.
func TestLive_ReplayIsIdentical(t *testing.T) {
	for _, faults := range []string{"", "drop=0.003,duplicate=0.01,reorder=0.005,malform=0.002,disconnect=0.001"} {
		t.Run("faults "+faults, func(t *testing.T) {
			opt := fakevenue.Options{Speed: 8, Seed: *seed}
			for _, f := range strings.FieldsFunc(faults, func(r rune) bool { return r == ',' }) {
				if err := opt.Faults.Set(f); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			v, registry := tradable(t, ctx, opt)
			dir := t.TempDir()
			got := paperSession(t, v, registry, dir, "--for", "12s", "--set", "engine.cooldown=100ms")
			r := replay(t, filepath.Join(dir, "journal"))
			t.Logf("%d seen, %d attempted, %d finished, net %s; replayed %+v", got.Seen, got.Attempted, got.Finished, got.Net, r)
			if r.Sessions != 1 || r.Difference != "" || r.Unfinished || r.Digests < 2 || r.Commands < 20 || got.Finished < 5 {
				t.Errorf("the session and its replay: %+v, %+v", got.Finished, r)
			}
			if len(got.Latency) != 4 {
				t.Errorf("latencies %+v: two of each venue are wanted", got.Latency)
			}
			for _, l := range got.Latency {
				if l.N == 0 || l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.P9999 || l.P9999 > l.Max {
					t.Errorf("latency %+v", l)
				}
			}
			if faults != "" {
				return
			}
			tapes, _ := filepath.Glob(filepath.Join(dir, "tapes", "*"))
			placed, halt := sessionOrders(t, filepath.Join(dir, "journal"))
			should := backtestOrders(t, registry, tapes, halt)
			for i := range max(len(placed), len(should)) {
				if i >= len(placed) || i >= len(should) || placed[i] != should[i] {
					t.Fatalf("order %d of %d in the session and %d in a backtest of its tape differs:\n%s\n%s", i, len(placed), len(should), placed[min(i, len(placed)-1)], should[min(i, len(should)-1)])
				}
			}
		})
	}
}

func orderText(dict *data.Dictionary, now data.Time, c *data.Command) string {
	return fmt.Sprintf("%s %d: %s %s %s x %s", now, c.Order&0xffffffff, dict.Listings[c.Inst].Key, c.Side, c.Price, c.Qty)
}

// sessionOrders are the orders in a journal up to the halt at its end, and when that was.
func sessionOrders(t *testing.T, dir string) (out []string, halt data.Time) {
	t.Helper()
	segs, err := journal.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	var dict data.Dictionary
	now := data.Time(0)
	for _, s := range segs {
		if err := journal.Walk(s, func(r *journal.Record) error {
			switch r.What {
			case journal.IsListing:
				if int(r.Index) == len(dict.Listings) {
					dict.Listings = append(dict.Listings, r.Listing)
				}
			case journal.IsEvents:
				for i := range r.Events {
					if now = r.Events[i].Recv; r.Events[i].Kind == data.Control {
						halt = now
					}
				}
			case journal.IsCommands:
				for i := range r.Commands {
					if c := &r.Commands[i]; c.Kind == data.Place && halt == 0 {
						out = append(out, orderText(&dict, now, c))
					}
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out, halt
}

// backtestOrders are the orders of a backtest of tapes up to a time, with the session's settings.
func backtestOrders(t *testing.T, registry string, tapes []string, until data.Time) (out []string) {
	t.Helper()
	s := newSettings()
	s.tapes, s.pairs = tapes, registry
	if err := errors.Join(s.loadSets([]string{"engine.cooldown=100ms"}), s.validate()); err != nil {
		t.Fatal(err)
	}
	p, err := prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := p.set.Read(p.sel)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	w, err := sim.NewBacktest(s.world, rd, p.pairings)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(s.engine, rd.Dictionary(), newStrategies(s)...)
	if err != nil {
		t.Fatal(err)
	}
	err = engine.Run(w, e, func(ev *data.Event, cmds []data.Command) {
		for i := range cmds {
			if cmds[i].Kind == data.Place && ev.Recv < until {
				out = append(out, orderText(rd.Dictionary(), ev.Recv, &cmds[i]))
			}
		}
	})
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return out
}

// impure is a strategy that depends on something that is not in the events: how often it was ever asked.
type impure struct {
	strategies.Strategy
	asked *int
}

func (i impure) Detect(v *strategies.View, id data.InstrumentID, plans []strategies.Plan) []strategies.Plan {
	n := len(plans)
	plans = i.Strategy.Detect(v, id, plans)
	if *i.asked++; *i.asked > 2000 && len(plans) > n {
		return plans[:n]
	}
	return plans
}

// A planted impurity and a changed configuration are found, with the event.
func TestLive_ReplayFindsWhatDiffers(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	v, registry := tradable(t, ctx, fakevenue.Options{Speed: 8})
	dir := t.TempDir()
	paperSession(t, v, registry, dir, "--for", "8s")
	asked := 0
	for name, build := range map[string]func(doc []byte, dict *data.Dictionary) (*engine.Engine, error){
		"impure strategy": func(_ []byte, dict *data.Dictionary) (*engine.Engine, error) {
			return engine.New(engine.Defaults(), dict, impure{cross.New(cross.Defaults()), &asked})
		},
		"other configuration": func(_ []byte, dict *data.Dictionary) (*engine.Engine, error) {
			cfg := engine.Defaults()
			cfg.Risk.OrderQtyMax = 7 * data.Contract
			return engine.New(cfg, dict, cross.New(cross.Defaults()))
		},
	} {
		r, err := live.Replay(filepath.Join(dir, "journal"), build)
		if err != nil || !strings.Contains(r.Difference, "after event") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		t.Logf("%s: %s", name, r.Difference)
	}
}

// kill -9 in the middle: the journal replays up to where it goes, and the next session follows it.
func TestLive_KilledAndReplayed(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	v, registry := tradable(t, ctx, fakevenue.Options{Speed: 8})
	dir := t.TempDir()
	for n := range 3 {
		c := program(t, v.env, "live", "--venues-at", v.host, "--pairs", registry, "--journal", filepath.Join(dir, "journal"), "--tapes", filepath.Join(dir, "tapes"), "--disk-min", "0",
			"--quiet", "--segment", "1s")
		c.Stdout, c.Stderr = io.Discard, t.Output()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(2000+700*n) * time.Millisecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.Wait()
	}
	r := replay(t, filepath.Join(dir, "journal"))
	if r.Sessions != 3 || r.Events < 500 || r.Difference != "" || !r.Unfinished {
		t.Errorf("%+v", r)
	}
	t.Logf("%+v", r)
}

// A halt takes effect within a quarter of a second, is latched over a restart, and is lifted by resume alone.
func TestLive_HaltIsLatched(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	v, registry := tradable(t, ctx, fakevenue.Options{Speed: 8})
	dir := t.TempDir()
	folder := filepath.Join(dir, "journal")
	said := make(chan time.Time, 1)
	go func() {
		time.Sleep(4 * time.Second)
		said <- time.Now()
		if code := executeTo(context.Background(), []string{"halt", "--journal", folder, "a", "test"}, io.Discard, io.Discard); code != 0 {
			t.Errorf("halt: exit code %d", code)
		}
	}()
	before := paperSession(t, v, registry, dir, "--for", "6s")
	_, halt := sessionOrders(t, folder)
	if before.Attempted == 0 || halt == 0 || time.Duration(int64(halt)-(<-said).UnixNano()) > 250*time.Millisecond+moment {
		t.Errorf("%d attempted, halted at %s", before.Attempted, halt)
	}
	status := func() string {
		out := &bytes.Buffer{}
		if code := executeTo(context.Background(), []string{"status", "--journal", folder}, out, t.Output()); code != 0 {
			t.Fatalf("status: exit code %d", code)
		}
		return out.String()
	}
	if text := status(); !strings.Contains(text, "PAPER") || !strings.Contains(text, "HALTED since") || !strings.Contains(text, "a test") {
		t.Errorf("the status says\n%s", text)
	}
	if after := paperSession(t, v, registry, dir, "--for", "4s"); after.Attempted != 0 || after.Seen == 0 {
		t.Errorf("after a restart, halted: %d seen, %d attempted", after.Seen, after.Attempted)
	}
	if code := executeTo(context.Background(), []string{"resume", "--journal", folder}, io.Discard, t.Output()); code != 0 {
		t.Fatalf("resume: exit code %d", code)
	}
	if after := paperSession(t, v, registry, dir, "--for", "4s"); after.Attempted == 0 {
		t.Errorf("resumed: %d seen, %d attempted", after.Seen, after.Attempted)
	}
	if r := replay(t, folder); r.Sessions != 3 || r.Difference != "" || r.Unfinished {
		t.Errorf("%+v", r)
	}
}

// A journal without decisions is told so.
func TestReplay_OfARecordingAlone(t *testing.T) {
	dir := t.TempDir()
	w, err := journal.Create(dir, journal.Header{Recorder: "r", Session: "s", Began: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Replay(dir, nil); !errors.Is(err, live.ErrNoSession) {
		t.Error(err)
	}
}
