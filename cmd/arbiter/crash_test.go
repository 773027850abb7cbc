package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/data/tape"
	"arbiter/live"
	"arbiter/sim/fakevenue"
	"arbiter/sim/market"
)

var recorderKills = flag.Int("recorder-kills", 5, "how often a recording process is killed")

// venueProcess are simulated venues for a recorder in a process of its own.
type venueProcess struct {
	*fakevenue.Server
	truth *truth
	dir   string // the tape that is served
	pairs []data.Pairing
	env   []string // with a key for Kalshi's handshake
	host  string
}

// serveMarkets serves generated markets.
func serveMarkets(t *testing.T, ctx context.Context, cfg market.Config, opt fakevenue.Options) *venueProcess {
	t.Helper()
	from := filepath.Join(t.TempDir(), "a")
	_, pairs, err := market.Write(cfg, from, tape.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rd, _ := openTape(t, from)
	v := &venueProcess{dir: from, pairs: pairs, truth: &truth{Source: rd, markets: map[data.MarketKey]*history{}}}
	text := testPEM(t)
	v.env = []string{envKalshiID + "=test", envKalshiKey + "=" + text}
	opt.Await, opt.Lockstep = 1, v.truth.served
	if v.Server, err = fakevenue.New(v.truth, opt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	v.host = v.Host()
	go v.Play(ctx)
	return v
}

// record is a recorder of all that is served, in a process of its own.
func (v *venueProcess) record(t *testing.T, dir string, more ...string) *exec.Cmd {
	args := append([]string{"record", "--venues-at", v.host, "--kalshi-series", "SYNTH", "--polymarket-tag", "synthetic", "--journal", filepath.Join(dir, "journal"),
		"--tapes", filepath.Join(dir, "tapes"), "--disk-min", "0", "--quiet"}, more...)
	c := program(t, v.env, args...)
	c.Stdout, c.Stderr = io.Discard, t.Output()
	return c
}

// freePort is an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// metrics of a recorder, by name without its prefix.
func metrics(address string) map[string]float64 {
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
		var name string
		var v float64
		if n, _ := fmt.Sscan(sc.Text(), &name, &v); n == 2 {
			out[strings.TrimPrefix(name, "arbiter_record_")] = v
		}
	}
	return out
}

// judgeTapes reads tapes and compares every book with the truth.
func judgeTapes(t *testing.T, tr *truth, tapes []string) (found findings, starts int) {
	t.Helper()
	j := newJudge(tr)
	in := data.Input{Kind: data.InputRest}
	eachEvent(t, tapes, func(dict *data.Dictionary, ev *data.Event) {
		if ev.Kind == data.Gap && ev.Inst == data.NoInstrument && data.GapCause(ev.Arg&0xff) == data.GapStart {
			starts++
		}
		j.input(&in, []data.Event{*ev}, dict)
	})
	return j.findings(), starts
}

// kill -9 at random moments under load: what was flushed is readable, no row is false, every hole is marked.
func TestRecord_KilledAtRandomMoments(t *testing.T) {
	const speed = 40
	cfg := market.Defaults()
	cfg.Length, cfg.Pairs, cfg.Single = data.Duration(*recorderKills+4)*speed*4*data.Second, 2, 1
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	v := serveMarkets(t, ctx, cfg, fakevenue.Options{Speed: speed})
	dir := t.TempDir()
	r := mrand.New(mrand.NewPCG(*seed, 9))
	address := freePort(t)
	sessions, flushedMax := 0, 0.0
	for range *recorderKills {
		c := v.record(t, dir, "--listen", address, "--segment", "1s", "--flush", "50ms")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		up := time.Now()
		for metrics(address)["events_total"] == 0 && time.Since(up) < 20*time.Second {
			time.Sleep(10 * time.Millisecond)
		}
		sessions++
		time.Sleep(time.Duration(r.IntN(2500)) * time.Millisecond)
		m := metrics(address)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.Wait()
		flushed := m["events_total"] - m["events_unflushed"]
		flushedMax = max(flushedMax, flushed)
		was, err := journal.Recover(filepath.Join(dir, "journal"))
		if err != nil {
			t.Fatal(err)
		}
		if float64(was.Seq) < flushed {
			t.Fatalf("the journal goes to event %d, %.0f were flushed", was.Seq, flushed)
		}
	}
	if flushedMax < 100 {
		t.Errorf("at most %.0f events were flushed before a kill: there was no load", flushedMax)
	}
	c := v.record(t, dir, "--for", "1s") // catches up
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	sessions++
	segs, err := journal.Segments(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	tapes, _ := filepath.Glob(filepath.Join(dir, "tapes", "*"))
	found, starts := judgeTapes(t, v.truth, tapes)
	t.Logf("%d sessions, %d segments, %d tapes; %+v", sessions, len(segs), len(tapes), found)
	for _, venue := range []data.Venue{data.Polymarket, data.Kalshi} {
		if found.wrong[venue] > 0 || found.checks[venue] < 500 {
			t.Errorf("%s: %d of %d books are wrong", venue, found.wrong[venue], found.checks[venue])
		}
	}
	if starts != 2*sessions {
		t.Errorf("%d holes between recordings are marked, want one for each of %d sessions and 2 venues", starts, sessions)
	}
}

// A full disk ends the recording with an error that says so; what was written is readable. The limit on file sizes
// stands for it.
func TestRecord_FullDisk(t *testing.T) {
	cfg := market.Defaults()
	cfg.Length = 20 * data.Minute
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	v := serveMarkets(t, ctx, cfg, fakevenue.Options{Speed: 200})
	dir := t.TempDir()
	c := v.record(t, dir, "--for", "60s")
	c.Path, c.Args = "/bin/sh", append([]string{"sh", "-c", `ulimit -f 2048; exec "$0" "$@"`}, c.Args...) // blocks of 512 bytes
	out := &bytes.Buffer{}
	c.Stderr = out
	err := c.Run()
	if c.ProcessState.ExitCode() != exitFailure || !strings.Contains(out.String(), "journal") {
		t.Fatalf("%v, exit code %d: %s", err, c.ProcessState.ExitCode(), out)
	}
	was, err := journal.Recover(filepath.Join(dir, "journal"))
	if err != nil || was.Seq < 100 {
		t.Fatalf("recovered up to event %d: %v", was.Seq, err)
	}
	if err := v.record(t, dir, "--for", "1s").Run(); err != nil { // there is room again
		t.Fatal(err)
	}
	tapes, _ := filepath.Glob(filepath.Join(dir, "tapes", "*"))
	if found, starts := judgeTapes(t, v.truth, tapes); found.wrong != [data.VenueCount]int{} || starts != 4 {
		t.Errorf("%+v, %d starts", found, starts)
	}
}

// A disk that has too little room is refused in time, and the recording ends well.
func TestRecord_DiskLowWaterMark(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	v := serveMarkets(t, ctx, market.Defaults(), fakevenue.Options{Speed: 1})
	dir := t.TempDir()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	c := v.record(t, dir, "--for", "60s", "--disk-min", fmt.Sprint(fs.Bavail*uint64(fs.Bsize)>>20+1000))
	out := &bytes.Buffer{}
	c.Stderr = out
	c.Run()
	if c.ProcessState.ExitCode() != exitFailure || !strings.Contains(out.String(), "the disk is nearly full") {
		t.Fatalf("exit code %d: %s", c.ProcessState.ExitCode(), out)
	}
	segs, err := journal.Segments(filepath.Join(dir, "journal"))
	if err != nil || len(segs) != 1 {
		t.Fatalf("%d segments: %v", len(segs), err)
	}
	ended := false
	if err := journal.Walk(segs[0], func(rec *journal.Record) error { ended = rec.What == journal.IsEnd; return nil }); err != nil || !ended {
		t.Errorf("the segment ends well: %v, %v", ended, err)
	}
}

// flakyStore is a store that can be away.
type flakyStore struct {
	mu    sync.Mutex
	down  bool
	tried int
	tapes map[string]bool
}

var errAway = errors.New("the store is away")

func (s *flakyStore) Has(_ context.Context, tape string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tried++; s.down {
		return false, errAway
	}
	return s.tapes[tape], nil
}

func (s *flakyStore) Put(_ context.Context, tape, dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errAway
	}
	if s.tapes[tape] {
		return fmt.Errorf("%s is there already", tape)
	}
	s.tapes[tape] = true
	return nil
}

func (s *flakyStore) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *flakyStore) count() (tapes, tried int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tapes), s.tried
}

// A store that is away loses nothing: the recording goes on, and what is missing follows when it is back, or after a
// restart.
func TestRecord_StoreAway(t *testing.T) {
	cfg := market.Defaults()
	cfg.Length, cfg.Pairs = 2*data.Minute, 2
	from := filepath.Join(t.TempDir(), "a")
	if _, _, err := market.Write(cfg, from, tape.Options{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	store := &flakyStore{down: true, tapes: map[string]bool{}}
	dir := t.TempDir()
	begin := func() *fixture {
		rd, listings := openTape(t, from)
		f, err := newFixture(t, ctx, rd, listings, fakevenue.Options{Speed: 20}, func(o *live.Options) {
			o.Journal, o.Tapes, o.Store, o.SegmentBytes = filepath.Join(dir, "journal"), filepath.Join(dir, "tapes"), store, 1<<16
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	local := func() int {
		tapes, _ := filepath.Glob(filepath.Join(dir, "tapes", "*"))
		return len(tapes)
	}
	f := begin()
	if err := f.served(); err != nil {
		t.Fatal(err)
	}
	if n, tried := store.count(); n != 0 || tried < 2 || local() < 3 {
		t.Fatalf("while the store was away: %d tapes in it, %d local, %d tries", n, local(), tried)
	}
	if s := f.recorder.Status(); s.Waiting == 0 || s.Lost != 0 {
		t.Errorf("the status says %s", s.Line())
	}
	if err := f.end(); !errors.Is(err, errAway) {
		t.Errorf("the recording ended with %v, want that tapes wait", err)
	}
	f = begin() // after a restart
	before := local()
	store.set(false)
	for n := 0; n < before && ctx.Err() == nil; n, _ = store.count() {
		time.Sleep(20 * time.Millisecond)
	}
	if err := f.end(); err != nil {
		t.Fatal(err)
	}
	if n, _ := store.count(); n != local() {
		t.Errorf("%d tapes in the store, %d local", n, local())
	}
}

// What the user can get wrong is said, with the remedy, and costs nothing that was recorded.
func TestRecord_BadInput(t *testing.T) {
	from := filepath.Join(t.TempDir(), "a")
	if _, _, err := market.Write(market.Defaults(), from, tape.Options{}); err != nil {
		t.Fatal(err)
	}
	rd, _ := openTape(t, from)
	priv, _ := testKey(t)
	venues, err := fakevenue.New(rd, fakevenue.Options{Key: &priv.PublicKey, Speed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer venues.Close()
	host := venues.Host()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	curve := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	journalFile := func(name string, b []byte) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	written := func(began data.Time) (string, []byte) {
		dir := t.TempDir()
		w, err := journal.Create(dir, journal.Header{Recorder: "arbiter", Session: "s", Began: began})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			w.Input(&data.Input{Recv: began + data.Time(i), Kind: data.InputWant, Venue: data.Kalshi, Text: []byte("SOME-MARKET")})
		}
		if err := errors.Join(w.Write(), w.Sync(), w.Close()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "journal-00000001.arj"))
		if err != nil {
			t.Fatal(err)
		}
		return dir, b
	}
	now := data.Time(time.Now().UnixNano())
	ahead, _ := written(now.Add(data.Hour))
	_, sound := written(now.Add(-data.Hour))
	flipped := bytes.Clone(sound)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		args []string
		key  string
		want string
	}{
		"wrong key":           {[]string{"--kalshi-series", "SYNTH"}, testPEM(t), "does not accept the key"},
		"key of another type": {[]string{"--kalshi-series", "SYNTH"}, curve, "RSA"},
		"unknown market":      {[]string{"--market", "kalshi:NOPE"}, "", "NOPE"},
		"unknown condition":   {[]string{"--market", "polymarket:0x00"}, "", "0x00"},
		"nothing matches":     {[]string{"--kalshi-series", "NOPE"}, "", "NOPE"},
		"no volume":           {[]string{"--kalshi-series", "SYNTH", "--volume-min", "99999999"}, "", "no open market matches"},
		"too many":            {[]string{"--kalshi-series", "SYNTH", "--limit", "2"}, "", "raise the limit"},
		"nothing chosen":      {nil, "", "no market chosen"},
		"unwritable folder":   {[]string{"--kalshi-series", "SYNTH", "--journal", filepath.Join(journalFile("file", nil), "file", "journal")}, "", "file"},
		"foreign journal":     {[]string{"--kalshi-series", "SYNTH", "--journal", journalFile("journal-00000001.arj", []byte("something else entirely, which is no journal"))}, "", "journal-00000001.arj"},
		"corrupt journal":     {[]string{"--kalshi-series", "SYNTH", "--journal", journalFile("journal-00000001.arj", flipped)}, "", "journal-00000001.arj"},
		"clock set back":      {[]string{"--kalshi-series", "SYNTH", "--journal", ahead}, "", "the clock was set back"},
		"store":               {[]string{"--kalshi-series", "SYNTH", "--store", "/tmp/x"}, "", "s3://bucket/prefix"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv(envKalshiKey, c.key)
			t.Setenv(envKalshiID, "")
			if c.key != "" {
				t.Setenv(envKalshiID, "test")
			}
			args := []string{"record", "--venues-at", host, "--journal", filepath.Join(dir, "journal"), "--tapes", filepath.Join(dir, "tapes"), "--disk-min", "0", "--quiet", "--for", "20s"}
			before := map[string]string{}
			for i, a := range c.args {
				if a == "--journal" {
					files, _ := filepath.Glob(filepath.Join(c.args[i+1], "*.arj"))
					for _, f := range files {
						b, _ := os.ReadFile(f)
						before[f] = string(b)
					}
				}
			}
			out := &bytes.Buffer{}
			began := time.Now()
			code := executeTo(context.Background(), append(args, c.args...), io.Discard, out)
			if code == 0 || time.Since(began) > 15*time.Second || !strings.Contains(out.String(), c.want) {
				t.Errorf("exit code %d after %s, want %q in\n%s", code, time.Since(began).Round(time.Millisecond), c.want, out)
			}
			if strings.Contains(out.String(), "PRIVATE") || c.key != "" && strings.Contains(out.String(), strings.Split(c.key, "\n")[1]) {
				t.Errorf("the key is shown: %s", out)
			}
			for f, text := range before {
				if b, _ := os.ReadFile(f); string(b) != text {
					t.Errorf("%s was changed", f)
				}
			}
			t.Log(strings.TrimSpace(out.String()))
		})
	}
}
