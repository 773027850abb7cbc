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
	"arbiter/sim/fakevenue"
	"arbiter/sim/market"
	"arbiter/testdata/captures"
)

// marketEvents are a tape's events by market, in all but Recv, Seq and the numbers of dictionary records.
func marketEvents(t *testing.T, dirs ...string) map[data.MarketKey]string {
	t.Helper()
	set, err := tape.Open(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	out := map[data.MarketKey]*strings.Builder{}
	var keys []data.MarketKey
	var ev data.Event
	for {
		if err := rd.Next(&ev); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if ev.Kind == data.Listed {
			l := rd.Dictionary().Listings[ev.Arg]
			keys = append(keys, l.Key)
			out[l.Key] = &strings.Builder{}
			fmt.Fprintf(out[l.Key], "listed %+v\n", l)
			continue
		}
		if ev.Inst == data.NoInstrument {
			continue
		}
		b := out[keys[ev.Inst]]
		if ev.Kind == data.Fees {
			fmt.Fprintf(b, "fees %+v\n", rd.Dictionary().Fees[ev.Arg])
			continue
		}
		ev.Recv, ev.Seq, ev.Inst = 0, 0, 0
		fmt.Fprintf(b, "%+v\n", ev)
	}
	texts := map[data.MarketKey]string{}
	for k, b := range out {
		texts[k] = b.String()
	}
	return texts
}

func kalshiTestKey(t *testing.T) (*kalshi.Key, *rsa.PublicKey) {
	t.Helper()
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(priv)})
	key, err := kalshi.ParseKey("test", text)
	if err != nil {
		t.Fatal(err)
	}
	return key, &priv.PublicKey
}

// recordTape serves a tape to a recorder over sockets and returns the journal and the tapes it made.
func recordTape(t *testing.T, from string, faults fakevenue.Faults, change func(*live.Options)) (journalDir string, tapes []string) {
	t.Helper()
	set, err := tape.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	key, public := kalshiTestKey(t)
	var choices [2]link.Choice
	for _, l := range set.Listings() {
		c := &choices[l.Key.Venue-1]
		c.Limit = 1000
		c.Events = append(c.Events, l.Event)
	}
	dir := t.TempDir()
	opt := live.Defaults()
	opt.Journal, opt.Tapes, opt.DiskMin = filepath.Join(dir, "journal"), filepath.Join(dir, "tapes"), 0
	opt.RefreshEvery = time.Hour // what the streams tell is told before REST
	opt.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	var mu sync.Mutex
	applied, moved := int64(0), sync.NewCond(&mu)
	opt.OnInput = func(in *data.Input, _ []data.Event) {
		if in.Kind == data.InputFrame {
			mu.Lock()
			applied++
			moved.Broadcast()
			mu.Unlock()
		}
	}
	if change != nil {
		change(&opt)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var s *fakevenue.Server
	defer context.AfterFunc(ctx, moved.Broadcast)()
	s, err = fakevenue.New(rd, fakevenue.Options{Await: len(set.Listings()), Faults: faults, Key: public, Lockstep: func(int) {
		sent := s.Served().Frames
		mu.Lock()
		defer mu.Unlock()
		for applied < sent && ctx.Err() == nil {
			moved.Wait()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	played := make(chan error, 1)
	go func() { played <- s.Play(ctx) }()
	a := s.Addresses()
	po, ko := polymarket.Defaults(), kalshi.Defaults()
	po.Gamma, po.CLOB, po.Stream, po.Rate = a.Gamma, a.CLOB, a.Stream, 1000
	ko.REST, ko.Stream, ko.Key, ko.Rate = a.KalshiREST, a.KalshiStream, key, 1000
	var venues []link.Venue
	var chosen []link.Choice
	for i, v := range []link.Venue{polymarket.New(po), kalshi.New(ko)} {
		if !choices[i].Empty() {
			venues, chosen = append(venues, v), append(chosen, choices[i])
		}
	}
	r, err := live.NewRecorder(opt, venues, chosen)
	if err != nil {
		t.Fatal(err)
	}
	runCtx, stop := context.WithCancel(ctx)
	recorded := make(chan error, 1)
	go func() { recorded <- r.Run(runCtx) }()
	select {
	case err := <-played:
		if err != nil {
			t.Fatal(err)
		}
	case err := <-recorded:
		t.Fatalf("the recorder ended: %v", err)
	}
	stop()
	if err := <-recorded; err != nil {
		t.Fatal(err)
	}
	if tapes, err = filepath.Glob(filepath.Join(opt.Tapes, "*")); err != nil || len(tapes) == 0 {
		t.Fatalf("no tapes: %v", err)
	}
	return opt.Journal, tapes
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
			journalDir, tapes := recordTape(t, from, fakevenue.Faults{}, change)
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

// The same law for a real recording: a window of Kalshi's messages served over sockets gives the tape that an import of
// the file gives.
func TestRecord_RoundTripOfARealCapture(t *testing.T) {
	root := captures.Path(t, "kalshi", "gold15m")
	from := filepath.Join(t.TempDir(), "gold")
	if code := executeTo(context.Background(), []string{"data", "import", "--quiet", "--format", "kalshi-ndjson", "--market", "KXGOLD15M-26AUG050000-00", "--out", from, root}, io.Discard, t.Output()); code != 0 {
		t.Fatalf("import: exit code %d", code)
	}
	_, tapes := recordTape(t, from, fakevenue.Faults{}, nil)
	equalEvents(t, marketEvents(t, tapes...), marketEvents(t, from))
}
