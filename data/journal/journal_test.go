package journal

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"arbiter/data"
)

var (
	seed  = flag.Uint64("seed", 1, "seed of the random tests")
	kills = flag.Int("kills", 20, "how many times a writing process is killed")
)

const base = data.Time(1_790_000_000_000_000_000)

// TestMain lets the test binary be a process that writes until it is killed.
func TestMain(m *testing.M) {
	switch os.Getenv("JOURNAL_CHILD") {
	case "write":
		writeUntilKilled(os.Getenv("JOURNAL_DIR"))
	case "full":
		writeUntilFull(os.Getenv("JOURNAL_DIR"))
	}
	os.Exit(m.Run())
}

// step appends one random input with its events and tells what a reader must see.
func step(r *rand.Rand, w *Writer, n int, seq *uint64) string {
	recv := base + data.Time(n)*1000
	text := make([]byte, r.IntN(300))
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	w.Input(&data.Input{Kind: data.InputFrame, Venue: data.Kalshi, Conn: uint32(n), Recv: recv, Text: text})
	want := fmt.Sprintf("frame %d %x\n", n, text)
	var evs []data.Event
	for i := range r.IntN(4) {
		*seq++
		evs = append(evs, data.Event{Seq: *seq, Recv: recv, Exch: recv - 5, Order: data.OrderID(r.Uint64()), Qty: -data.Qty(r.Int64N(1e15)), Cash: data.Money(i), Price: data.Price(r.IntN(10000)),
			Inst: data.InstrumentID(r.Uint32()), Arg: r.Uint32(), Kind: data.Delta, Side: data.Sell, Last: i%2 == 0})
		want += fmt.Sprintf("%+v\n", evs[i])
	}
	w.Events(evs)
	return want
}

func contents(dir string) (text string, err error) {
	segs, err := Segments(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range segs {
		err := Walk(s, func(rec *Record) error {
			switch rec.What {
			case IsInput:
				fmt.Fprintf(&b, "%s %d %x\n", rec.Input.Kind, rec.Input.Conn, rec.Input.Text)
			case IsEvents:
				for _, e := range rec.Events {
					if !rec.Keyframe {
						fmt.Fprintf(&b, "%+v\n", e)
					}
				}
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, dir string) *Writer {
	t.Helper()
	w, err := Create(dir, Header{Recorder: "test", Session: "s", Began: base})
	must(t, err)
	return w
}

func TestJournal_WhatWasWrittenReadsBackOverSegments(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 1))
	dir := t.TempDir()
	w := create(t, dir)
	want, seq := "", uint64(0)
	l := data.Listing{Key: data.MarketKey{Venue: data.Kalshi, Native: "K"}, Rules: "r", Bands: data.UniformBands(100)}
	w.Listing(0, &l)
	w.Fees(0, &data.FeeSchedule{Exponent: 1, Quantum: 1})
	for n := range 400 {
		want += step(r, w, n, &seq)
		switch r.IntN(20) {
		case 0:
			must(t, w.Roll())
			w.Keyframe([]data.Event{{Seq: seq, Recv: base + data.Time(n)*1000, Kind: data.Listed, Last: true}})
		case 1:
			must(t, w.Write())
		case 2:
			must(t, w.Sync())
		}
	}
	must(t, w.Close())
	got, err := contents(dir)
	must(t, err)
	if got != want {
		t.Errorf("seed %d: read back %d bytes of text, want %d", *seed, len(got), len(want))
	}
	rec, err := Recover(dir)
	if err != nil || !rec.Clean || rec.Seq != seq || rec.Torn != 0 {
		t.Errorf("recovered %+v, %v; want clean, event %d", rec, err, seq)
	}
}

// history writes a journal and leaves it as a crash would. It returns the text after each Write with its offset, and
// what the last flush had covered.
func history(t testing.TB, r *rand.Rand, dir string) (texts []string, synced Position) {
	w := create(t, dir)
	text, seq := "", uint64(0)
	texts = append(texts, "")
	for n := range 60 {
		text += step(r, w, n, &seq)
		must(t, w.Write())
		texts = append(texts, text)
		if r.IntN(9) == 0 {
			must(t, w.Sync())
			synced = w.Position()
		}
	}
	must(t, w.Abandon())
	return texts, synced
}

func seqOf(text string) int { return strings.Count(text, "{Seq:") }

// Every cut of the newest segment is repaired; what was flushed is there, and what is there was written.
func TestRecover_EveryCutLosesOnlyTheTail(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 2))
	from := t.TempDir()
	texts, synced := history(t, r, from)
	whole, err := os.ReadFile(filepath.Join(from, segmentName(1)))
	must(t, err)
	full := texts[len(texts)-1]
	for cut := int64(0); cut <= int64(len(whole)); cut += 1 + r.Int64N(40) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, segmentName(1)), whole[:cut], 0o644))
		rec, err := Recover(dir)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		got, err := contents(dir)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if !strings.HasPrefix(full, got) {
			t.Fatalf("seed %d, cut at %d: what reads back was not written", *seed, cut)
		}
		if cut >= synced.Synced && uint64(seqOf(got)) < synced.SeqSynced {
			t.Fatalf("seed %d, cut at %d: %d events read back, %d were flushed", *seed, cut, seqOf(got), synced.SeqSynced)
		}
		if rec.Seq != uint64(seqOf(got)) {
			t.Fatalf("cut at %d: recovered to event %d, %d read back", cut, rec.Seq, seqOf(got))
		}
		w := create(t, dir) // and recording goes on
		must(t, w.Close())
	}
}

// A power cut loses any of the blocks that no flush had covered; the rest, in whatever order, may be there.
func TestRecover_PowerCutLosesNothingFlushed(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 3))
	for round := range 60 {
		dir := t.TempDir()
		texts, synced := history(t, r, dir)
		path := filepath.Join(dir, segmentName(1))
		b, err := os.ReadFile(path)
		must(t, err)
		for at := synced.Synced; at < int64(len(b)); {
			end := min((at/512+1)*512, int64(len(b)))
			if r.IntN(3) == 0 {
				clear(b[at:end])
			}
			at = end
		}
		if r.IntN(2) == 0 {
			b = b[:synced.Synced+r.Int64N(int64(len(b))-synced.Synced+1)]
		}
		must(t, os.WriteFile(path, b, 0o644))
		if _, err := Recover(dir); err != nil {
			t.Fatalf("seed %d round %d: %v", *seed, round, err)
		}
		got, err := contents(dir)
		must(t, err)
		if !strings.HasPrefix(texts[len(texts)-1], got) || uint64(seqOf(got)) < synced.SeqSynced {
			t.Fatalf("seed %d round %d: %d events, %d were flushed", *seed, round, seqOf(got), synced.SeqSynced)
		}
	}
}

// Damage that is no torn tail is an error that names file and byte, and nothing is cut.
func TestRecover_DamageBeforeAFlushIsAnError(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 4))
	dir := t.TempDir()
	w := create(t, dir)
	seq := uint64(0)
	for n := range 20 {
		step(r, w, n, &seq)
		must(t, w.Write())
		must(t, w.Sync())
	}
	must(t, w.Abandon())
	path := filepath.Join(dir, segmentName(1))
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(path, b, 0o644))
	_, err = Recover(dir)
	if !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "damaged, not torn") || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(after, b) {
		t.Error("the file was changed")
	}
}

func TestJournal_BadInputIsNamed(t *testing.T) {
	dir := t.TempDir()
	held := create(t, dir)
	if _, err := Create(dir, Header{Began: base}); err == nil || !strings.Contains(err.Error(), "another process records into it") {
		t.Errorf("second writer: %v", err)
	}
	must(t, held.Close())
	segs, err := Segments(dir)
	must(t, err)
	whole, err := os.ReadFile(segs[0].Path)
	must(t, err)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"foreign", []byte("PAR1 something else"), "does not begin as a journal"},
		{"newer version", bytes.Replace(whole, []byte(`"version":1`), []byte(`"version":9`), 1), "checksum"},
		{"not ended", whole[:len(whole)-3], "cut short"},
	} {
		path := filepath.Join(t.TempDir(), segmentName(1))
		must(t, os.WriteFile(path, c.b, 0o644))
		if err := Walk(Segment{path, 1}, func(*Record) error { return nil }); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Create(filepath.Join(segs[0].Path, "below"), Header{}); err == nil {
		t.Error("a folder below a file was accepted")
	}
	for _, f := range []func(w *Writer){
		func(w *Writer) { w.Events([]data.Event{{Seq: 7, Recv: base}}) },
		func(w *Writer) { w.Input(&data.Input{Kind: data.InputFrame, Recv: base - 1}) },
	} {
		w := create(t, t.TempDir())
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a broken order was accepted")
				}
			}()
			f(w)
		}()
		must(t, w.Abandon())
	}
}

// writeUntilKilled writes as fast as it can and tells what was flushed.
func writeUntilKilled(dir string) {
	s, _ := strconv.ParseUint(os.Getenv("JOURNAL_SEED"), 10, 64)
	r := rand.New(rand.NewPCG(s, 5))
	if _, err := Recover(dir); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	w, err := Create(dir, Header{Recorder: "test", Session: "s", Began: base})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	out := bufio.NewWriter(os.Stdout)
	seq := uint64(0)
	for n := 0; ; n++ {
		step(r, w, n, &seq)
		if r.IntN(3) == 0 {
			if err := w.Write(); err != nil {
				os.Exit(1)
			}
		}
		switch r.IntN(200) {
		case 0:
			if err := w.Roll(); err != nil {
				os.Exit(1)
			}
		case 1, 2, 3:
			if err := w.Sync(); err != nil {
				os.Exit(1)
			}
			fmt.Fprintln(out, "synced", w.Position().SeqSynced)
			out.Flush()
		}
	}
}

// A process that is killed at a random moment has kept every event that it had flushed, and nothing false.
func TestJournal_KilledProcessKeepsWhatWasFlushed(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 6))
	self, err := os.Executable()
	must(t, err)
	for round := range *kills {
		dir := t.TempDir()
		s := r.Uint64()
		c := exec.Command(self)
		c.Env = append(os.Environ(), "JOURNAL_CHILD=write", "JOURNAL_DIR="+dir, fmt.Sprint("JOURNAL_SEED=", s))
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		lines, after := bufio.NewScanner(out), 1+r.IntN(60)
		synced := 0
		for n := 0; lines.Scan(); n++ {
			if _, err := fmt.Sscanf(lines.Text(), "synced %d", &synced); err != nil {
				t.Fatalf("%s", lines.Text())
			}
			if n == after {
				must(t, c.Process.Signal(syscall.SIGKILL))
			}
		}
		c.Wait()
		if _, err := Recover(dir); err != nil {
			t.Fatalf("seed %d round %d: %v", *seed, round, err)
		}
		got, err := contents(dir)
		must(t, err)
		if seqOf(got) < synced {
			t.Fatalf("seed %d round %d: %d events read back, %d were flushed", *seed, round, seqOf(got), synced)
		}
		if want := replay(s, seqOf(got)); !strings.HasPrefix(want, got) {
			t.Fatalf("seed %d round %d: what reads back was not written", *seed, round)
		}
	}
}

// replay is what writeUntilKilled writes with a seed, at least up to an event.
func replay(s uint64, seq int) string {
	r := rand.New(rand.NewPCG(s, 5))
	var b strings.Builder
	w := &Writer{}
	n, at := 0, uint64(0)
	for extra := 0; int(at) <= seq || extra < 8; n++ {
		if int(at) > seq {
			extra++
		}
		b.WriteString(step(r, w, n, &at))
		w.buf = w.buf[:0]
		r.IntN(3)
		r.IntN(200)
	}
	return b.String()
}

// writeUntilFull writes into a file system that has no more room: files of at most 100 kB.
func writeUntilFull(dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100_000, Max: 100_000}); err != nil {
		os.Exit(3)
	}
	r := rand.New(rand.NewPCG(1, 7))
	w, err := Create(dir, Header{Recorder: "test", Session: "s", Began: base})
	if err != nil {
		os.Exit(3)
	}
	seq := uint64(0)
	for n := 0; ; n++ {
		step(r, w, n, &seq)
		if err := w.Write(); err != nil {
			fmt.Println(w.Position().Seq, err)
			w.Abandon()
			os.Exit(0)
		}
	}
}

// A full disk is an error; what was written before it is whole.
func TestJournal_FullDiskKeepsWhatWasWritten(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	dir := t.TempDir()
	c := exec.Command(self)
	c.Env = append(os.Environ(), "JOURNAL_CHILD=full", "JOURNAL_DIR="+dir)
	out, err := c.Output()
	must(t, err)
	var seq uint64
	fmt.Sscan(string(out), &seq)
	if seq == 0 || !strings.Contains(string(out), "file too large") {
		t.Fatalf("the process said %q", out)
	}
	rec, err := Recover(dir)
	if err != nil || rec.Torn != 0 || rec.Seq != seq {
		t.Errorf("recovered %+v, %v; want event %d and no torn tail", rec, err, seq)
	}
}

func FuzzScan_NeverPanics(f *testing.F) {
	dir := f.TempDir()
	r := rand.New(rand.NewPCG(1, 8))
	history(f, r, dir)
	b, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	must(f, err)
	f.Add(b[:600], uint16(40), []byte{1})
	f.Fuzz(func(t *testing.T, b []byte, at uint16, patch []byte) {
		copy(b[min(int(at), len(b)):], patch)
		n := 0
		good, _, err := scan("x", b, func(*Record, data.Time) error { n++; return nil })
		if good > len(b) || (err != nil && !errors.Is(err, ErrJournal)) {
			t.Fatalf("%d of %d bytes, %v", good, len(b), err)
		}
		path := filepath.Join(t.TempDir(), segmentName(1))
		must(t, os.WriteFile(path, b, 0o644))
		if err := Walk(Segment{path, 1}, func(*Record) error { n--; return nil }); err != nil && !errors.Is(err, ErrJournal) {
			t.Fatal(err)
		} else if err == nil && n != 0 {
			t.Fatal("scan and Walk disagree")
		}
	})
}

// BenchmarkJournal_Append is one input of 300 bytes with one event, handed to the operating system in batches of 64.
func BenchmarkJournal_Append(b *testing.B) {
	w := create(b, b.TempDir())
	defer w.Close()
	in := data.Input{Kind: data.InputFrame, Venue: data.Kalshi, Conn: 1, Text: make([]byte, 300)}
	evs := make([]data.Event, 1)
	n := uint64(0)
	b.ReportAllocs()
	b.SetBytes(300)
	for b.Loop() {
		n++
		in.Recv = base + data.Time(n)
		evs[0] = data.Event{Seq: n, Recv: in.Recv, Kind: data.Delta, Last: true}
		w.Input(&in)
		w.Events(evs)
		if n%64 == 0 {
			if err := w.Write(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
