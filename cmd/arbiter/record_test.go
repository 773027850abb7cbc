package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"arbiter/data"
	"arbiter/data/tape"
	"arbiter/live"
	"arbiter/live/kalshi"
	"arbiter/live/link"
	"arbiter/live/polymarket"
	"arbiter/sim"
	"arbiter/sim/exchange"
	"arbiter/sim/fakevenue"
	"arbiter/sim/market"
	"arbiter/strategies/cross"
	"arbiter/strategies/engine"
	"arbiter/testdata/captures"
)

// eachEvent reads tapes.
func eachEvent(t testing.TB, dirs []string, each func(dict *data.Dictionary, ev *data.Event)) {
	t.Helper()
	rd, _ := openTape(t, dirs...)
	var ev data.Event
	for {
		if err := rd.Next(&ev); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		each(rd.Dictionary(), &ev)
	}
}

// marketEvents are a tape's events by market, in all but Recv, Seq and the numbers of dictionary records.
func marketEvents(t *testing.T, dirs ...string) map[data.MarketKey]string {
	t.Helper()
	out := map[data.MarketKey]*strings.Builder{}
	eachEvent(t, dirs, func(dict *data.Dictionary, ev *data.Event) {
		if ev.Inst == data.NoInstrument {
			return
		}
		l := dict.Listings[ev.Inst]
		switch ev.Kind {
		case data.Listed:
			out[l.Key] = &strings.Builder{}
			fmt.Fprintf(out[l.Key], "listed %+v\n", dict.Listings[ev.Arg])
		case data.Fees:
			fmt.Fprintf(out[l.Key], "fees %+v\n", dict.Fees[ev.Arg])
		default:
			e := *ev
			e.Recv, e.Seq, e.Inst = 0, 0, 0
			fmt.Fprintf(out[l.Key], "%+v\n", e)
		}
	})
	texts := map[data.MarketKey]string{}
	for k, b := range out {
		texts[k] = b.String()
	}
	return texts
}

// testKey is a fresh key, and its text.
func testKey(t testing.TB) (*rsa.PrivateKey, string) {
	t.Helper()
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return priv, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(priv)}))
}

func testPEM(t testing.TB) string {
	t.Helper()
	_, text := testKey(t)
	return text
}

func kalshiTestKey(t testing.TB) (*kalshi.Key, *rsa.PublicKey) {
	t.Helper()
	priv, text := testKey(t)
	key, err := kalshi.ParseKey("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return key, &priv.PublicKey
}

// fixture is a recorder that listens to simulated venues over sockets.
type fixture struct {
	opt      live.Options
	venues   *fakevenue.Server
	recorder *live.Recorder
	stop     context.CancelFunc // ends the recording
	played   chan error
	recorded chan error
}

// polled is the name of a recorder that has no key for Kalshi.
const polled = "polled"

// newFixture serves a source with these listings, or searched for if there are none, and begins to record it.
func newFixture(t testing.TB, ctx context.Context, src fakevenue.Source, listings []data.Listing, serve fakevenue.Options, change func(*live.Options)) (*fixture, error) {
	f := &fixture{opt: live.Defaults(), played: make(chan error, 1), recorded: make(chan error, 1)}
	key, public := kalshiTestKey(t)
	var choices [data.VenueCount]link.Choice
	for _, l := range listings {
		c := &choices[l.Key.Venue]
		c.Limit = 1000
		c.Events = append(c.Events, l.Event)
	}
	if len(listings) == 0 {
		choices[data.Polymarket], choices[data.Kalshi] = link.Choice{Tags: []string{"synthetic"}, Limit: 1000}, link.Choice{Series: []string{"SYNTH"}, Limit: 1000}
	}
	dir := t.TempDir()
	f.opt.Journal, f.opt.Tapes, f.opt.DiskMin = filepath.Join(dir, "journal"), filepath.Join(dir, "tapes"), 0
	f.opt.RefreshEvery = time.Hour // what the streams tell is told before REST
	f.opt.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if change != nil {
		change(&f.opt)
	}
	serve.Await, serve.Key = len(listings), public
	var err error
	if f.venues, err = fakevenue.New(src, serve); err != nil {
		return nil, err
	}
	a := f.venues.Addresses()
	po, ko := polymarket.Defaults(), kalshi.Defaults()
	if f.opt.Name == polled {
		key = nil
	}
	po.Gamma, po.CLOB, po.Stream, po.Rate = a.Gamma, a.CLOB, a.Stream, 1000
	ko.REST, ko.Stream, ko.Key, ko.Rate = a.KalshiREST, a.KalshiStream, key, 1000
	var venues []link.Venue
	var chosen []link.Choice
	for _, v := range []link.Venue{polymarket.New(po), kalshi.New(ko)} {
		if c := choices[v.Venue()]; !c.Empty() {
			venues, chosen = append(venues, v), append(chosen, c)
		}
	}
	if f.recorder, err = live.NewRecorder(f.opt, venues, chosen); err != nil {
		f.venues.Close()
		return nil, err
	}
	recording, stop := context.WithCancel(ctx)
	f.stop = stop
	go func() { f.played <- f.venues.Play(ctx) }()
	go func() { f.recorded <- f.recorder.Run(recording) }()
	return f, nil
}

// served waits until the whole source has been served.
func (f *fixture) served() error {
	select {
	case err := <-f.played:
		return err
	case err := <-f.recorded:
		f.recorded <- err
		return fmt.Errorf("the recorder ended: %w", err)
	}
}

// end stops the recorder, which must end well, and the venues.
func (f *fixture) end() error {
	f.stop()
	defer f.venues.Close()
	return <-f.recorded
}

// openTape opens tapes for reading and serving.
func openTape(t testing.TB, dirs ...string) (*tape.Reader, []data.Listing) {
	t.Helper()
	set, err := tape.Open(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rd.Close() })
	return rd, set.Listings()
}

// lockstep lets the venues wait after each message until the recorder has applied every frame they sent.
type lockstep struct {
	mu      sync.Mutex
	moved   sync.Cond
	applied int64
	over    bool
}

func newLockstep(ctx context.Context, t testing.TB) *lockstep {
	l := &lockstep{}
	l.moved.L = &l.mu
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.over = true
		l.moved.Broadcast()
	})
	t.Cleanup(func() { stop() })
	return l
}

func (l *lockstep) input(in *data.Input, _ []data.Event, _ *data.Dictionary) {
	if in.Kind == data.InputFrame {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.applied++
		l.moved.Broadcast()
	}
}

func (l *lockstep) wait(sent int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.applied < sent && !l.over {
		l.moved.Wait()
	}
}

// recordTape serves a tape to a recorder in lockstep and returns the journal and the tapes it made.
func recordTape(t testing.TB, from string, change func(*live.Options)) (journalDir string, tapes []string) {
	t.Helper()
	rd, listings := openTape(t, from)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	step := newLockstep(ctx, t)
	f, err := newFixture(t, ctx, rd, listings, fakevenue.Options{Lockstep: step.wait}, func(o *live.Options) {
		o.OnInput = step.input
		if change != nil {
			change(o)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.served(), f.end()); err != nil {
		t.Fatal(err)
	}
	if tapes, err = filepath.Glob(filepath.Join(f.opt.Tapes, "*")); err != nil || len(tapes) == 0 {
		t.Fatalf("no tapes: %v", err)
	}
	return f.opt.Journal, tapes
}

// equalEvents compares events by market and names the first that differs.
func equalEvents(t *testing.T, got, want map[data.MarketKey]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d markets, want %d", len(got), len(want))
	}
	for k, w := range want {
		a, b := strings.Split(got[k], "\n"), strings.Split(w, "\n")
		for i := range max(len(a), len(b)) {
			x, y := "(no more)", "(no more)"
			if i < len(a) {
				x = a[i]
			}
			if i < len(b) {
				y = b[i]
			}
			if x != y {
				t.Errorf("%s: event %d is\n%.600s\nwant\n%.600s", k, i, x, y)
				break
			}
		}
	}
}

// The round trip law: what is served over sockets is what is recorded, event by event for each market; and what the
// journal's frames give when they are decoded again is that too.
func TestRecord_RoundTripOfASyntheticTape(t *testing.T) {
	cfg := market.Defaults()
	cfg.Length, cfg.Pairs = 2*data.Minute, 3
	from := filepath.Join(t.TempDir(), "a")
	if _, _, err := market.Write(cfg, from, tape.Options{}); err != nil {
		t.Fatal(err)
	}
	want := marketEvents(t, from)
	for name, change := range map[string]func(*live.Options){
		"one segment":   nil,
		"many segments": func(o *live.Options) { o.SegmentBytes = 1 << 16 },
	} {
		t.Run(name, func(t *testing.T) {
			journalDir, tapes := recordTape(t, from, change)
			if change != nil && len(tapes) < 5 {
				t.Errorf("only %d tapes", len(tapes))
			}
			equalEvents(t, marketEvents(t, tapes...), want)
			again := filepath.Join(t.TempDir(), "again")
			if code := executeTo(context.Background(), []string{"data", "redecode", journalDir, again}, io.Discard, t.Output()); code != 0 {
				t.Fatalf("redecode: exit code %d", code)
			}
			equalEvents(t, marketEvents(t, filepath.Join(again, "session-1")), want)
		})
	}
}

// The same law for real recordings: the messages of a file served over sockets give the tape that an import of the file
// gives.
func TestRecord_RoundTripOfRealCaptures(t *testing.T) {
	for name, c := range map[string]struct {
		path, args []string
	}{
		"a window of Kalshi":             {[]string{"kalshi", "gold15m"}, []string{"--format", "kalshi-ndjson", "--market", "KXGOLD15M-26AUG050000-00"}},
		"frames of Polymarket, 27 April": {[]string{"polymarket", "frames_15m", "m9-runtime-smoke-20260427b"}, []string{"--format", "polymarket-frames"}},
		"frames of Polymarket, 28 April": {[]string{"polymarket", "frames_15m", "m9-pyth-proxy-natural-20260428a"}, []string{"--format", "polymarket-frames"}},
		"frames of Polymarket, later":    {[]string{"polymarket", "frames_15m", "m9-rtds-natural-20260428d"}, []string{"--format", "polymarket-frames"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := captures.Path(t, c.path...)
			from := filepath.Join(t.TempDir(), "a")
			if code := executeTo(context.Background(), append(append([]string{"data", "import", "--quiet", "--out", from}, c.args...), root), io.Discard, t.Output()); code != 0 {
				t.Fatalf("import: exit code %d", code)
			}
			_, tapes := recordTape(t, from, nil)
			want := marketEvents(t, from)
			for k := range want { // these captures do not say how large an event is; the simulated venue's event record does
				want[k] = strings.Replace(want[k], " EventSize:0 ", " EventSize:1 ", 1)
			}
			got := marketEvents(t, tapes...)
			end := fmt.Sprintf("Arg:%d Kind:gap Side:- Last:true}\n", data.VenueArg(data.Polymarket, uint8(data.GapDisconnect)))
			for k, text := range got { // our connection ended before these markets did
				if strings.HasSuffix(text, end) {
					got[k] = text[:strings.LastIndex(text[:len(text)-1], "\n")+1]
				}
			}
			equalEvents(t, got, want)
		})
	}
}

// mergedEvents are a tape's book events, trades and results over all markets, in order, but for each market's first
// book: those come in the order of subscription.
func mergedEvents(t *testing.T, dirs ...string) (out []string) {
	t.Helper()
	begun := map[data.InstrumentID]bool{}
	first := false // within a first book
	eachEvent(t, dirs, func(dict *data.Dictionary, ev *data.Event) {
		switch ev.Kind {
		case data.Clear:
			first = !begun[ev.Inst]
			begun[ev.Inst] = true
		case data.Level, data.Delta, data.Trade, data.Settle:
		default:
			return
		}
		if !first {
			e := *ev
			e.Recv, e.Seq, e.Inst = 0, 0, 0
			out = append(out, fmt.Sprintf("%s %+v", dict.Listings[ev.Inst].Key, e))
		}
		if ev.Last {
			first = false
		}
	})
	return out
}

// decisions runs a tape through the engine with the time gates off and orders that arrive at once. It returns every
// order and every result, by native keys and without times.
func decisions(t *testing.T, pairs []data.Pairing, dirs ...string) (out []string) {
	t.Helper()
	rd, _ := openTape(t, dirs...)
	scfg, ecfg := sim.Defaults(), engine.Defaults()
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		x := &scfg.Exchange.Venues[v]
		x.Order, x.Response, x.Confirm = exchange.Constant(0), exchange.Constant(0), 0
		x.Cash[0] = 1_000_000 * data.Dollar
	}
	ecfg.Cooldown = 1
	r := &ecfg.Risk
	r.StaleMax, r.MarketStaleMax, r.SkewMax, r.UnhedgedMax = data.Hour, data.Hour, data.Hour, 100_000*data.Dollar
	w, err := sim.NewBacktest(scfg, rd, pairs)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(ecfg, rd.Dictionary(), cross.New(cross.Defaults()))
	if err != nil {
		t.Fatal(err)
	}
	err = engine.Run(w, e, func(_ *data.Event, cmds []data.Command) {
		for _, c := range cmds {
			if c.Kind == data.Place {
				out = append(out, fmt.Sprintf("%s %s %s x %s", rd.Dictionary().Listings[c.Inst].Key, c.Side, c.Price, c.Qty))
			}
		}
		for i := range e.Decisions() {
			if d := &e.Decisions()[i]; d.Kind == engine.Finished {
				out = append(out, fmt.Sprintf("finished with %s", d.Exec.Outcome().Net))
			}
		}
	})
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return out
}

// In lockstep the order over both venues is the served one too, and so a backtest of what was recorded takes the same
// decisions as one of what was served.
func TestRecord_SameDecisionsOnWhatWasRecorded(t *testing.T) {
	cfg := market.Defaults()
	cfg.Length, cfg.Pairs, cfg.NewsGap = 3*data.Minute, 4, 5*data.Second
	cfg.Start = data.Time(time.Now().Unix()-60) * data.Time(data.Second) // the markets are open while they are recorded
	from := filepath.Join(t.TempDir(), "a")
	_, pairs, err := market.Write(cfg, from, tape.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, tapes := recordTape(t, from, nil)
	got, want := mergedEvents(t, tapes...), mergedEvents(t, from)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("event %d of %d and %d differs:\n%s\nwant\n%s", i, len(got), len(want), got[min(i, len(got)-1)], want[min(i, len(want)-1)])
		}
	}
	did, should := decisions(t, pairs, tapes...), decisions(t, pairs, from)
	for i := range max(len(did), len(should)) {
		if i >= len(did) || i >= len(should) || did[i] != should[i] {
			t.Fatalf("decision %d of %d and %d differs:\n%s\nwant\n%s", i, len(did), len(should), did[:min(i+1, len(did))], should[:min(i+1, len(should))])
		}
	}
	if len(should) < 50 {
		t.Errorf("only %d decisions: the test tests too little", len(should))
	}
	t.Logf("%d events in the same order, %d decisions", len(got), len(did))
}
