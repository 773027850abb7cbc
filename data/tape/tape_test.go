package tape

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"arbiter/data"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

const start = data.Time(1_786_000_000_000_000_000)

func listing(v data.Venue, native string) data.Listing {
	return data.Listing{Key: data.MarketKey{Venue: v, Native: native}, Title: "T " + native, Rules: "Rules of " + native + ": \"é\" <b>", Bands: data.UniformBands(100),
		QtyMin: data.Contract, QtyStep: data.Contract / 100}
}

type message struct {
	at     data.Time
	events []data.Event
}

// history is a seeded list of messages for a source of n markets.
func history(r *rand.Rand, n, count int) []message {
	var ms []message
	at := start
	for i := range n {
		ms = append(ms, message{at, []data.Event{{Kind: data.Listed, Inst: data.InstrumentID(i), Arg: uint32(i)}}})
		ms = append(ms, message{at, []data.Event{{Kind: data.Fees, Inst: data.InstrumentID(i), Arg: 0}}})
		ms = append(ms, message{at, []data.Event{{Kind: data.Status, Inst: data.InstrumentID(i), Arg: uint32(data.Open)}}})
		ms = append(ms, message{at, []data.Event{{Kind: data.Clear, Inst: data.InstrumentID(i)}}}) // without it a book is not valid, and in no keyframe
	}
	books := make([]data.Book, n)
	for range count {
		at += data.Time(r.IntN(3)) * data.Time(data.Millisecond)
		id := data.InstrumentID(r.IntN(n))
		var es []data.Event
		add := func(k data.Kind, s data.Side, p data.Price, q data.Qty) {
			es = append(es, data.Event{Kind: k, Inst: id, Side: s, Price: p, Qty: q, Exch: at - data.Time(r.IntN(20))*data.Time(data.Millisecond)})
		}
		switch x := r.IntN(100); {
		case x < 5:
			books[id].Clear()
			add(data.Clear, 0, 0, 0)
			for range r.IntN(6) {
				s := data.Side(1 + r.IntN(2))
				p, q := data.Price(1+r.IntN(99))*100, data.Qty(1+r.IntN(100))*data.Contract
				books[id].Set(s, p, q)
				add(data.Level, s, p, q)
			}
		case x < 10:
			add(data.Trade, data.Buy, 5000, data.Contract)
			es[0].Order = data.OrderID(r.Uint64())
		case x < 12:
			add(data.TickSize, 0, 10, 0)
		default:
			for range 1 + r.IntN(3) {
				add(data.Level, data.Side(1+r.IntN(2)), data.Price(1+r.IntN(99))*100, data.Qty(r.IntN(50))*data.Contract)
			}
		}
		ms = append(ms, message{at, es})
	}
	for i := range ms {
		for j := range ms[i].events {
			ms[i].events[j].Recv = ms[i].at
		}
		ms[i].events[len(ms[i].events)-1].Last = true
	}
	return ms
}

func write(t testing.TB, dir string, opt Options, sources ...[]message) *Manifest {
	t.Helper()
	w, err := Create(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i, ms := range sources {
		v := data.Venue(1 + i%2)
		s, err := w.Source(SourceOptions{Venue: v, Recorder: "test", Connection: fmt.Sprint(i), RecvUnit: data.Millisecond, ExchUnit: data.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Fees(data.FeeSchedule{Taker: 70_000, Exponent: 1, Quantum: 100}); err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			for _, e := range m.events {
				if e.Kind == data.Listed {
					if _, err := s.Listing(listing(v, fmt.Sprintf("M%d-%d", i, 9-int(e.Arg)))); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := s.Write(slices.Clone(m.events)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// read returns the selection as text by native keys, so that dense ids do not matter.
func read(t testing.TB, sel Selection, dirs ...string) (string, error) {
	t.Helper()
	set, err := Open(dirs...)
	if err != nil {
		return "", err
	}
	r, err := set.Read(sel)
	if err != nil {
		return "", err
	}
	defer r.Close()
	var b strings.Builder
	var ev data.Event
	last := data.Time(0)
	for n := uint64(1); ; n++ {
		err := r.Next(&ev)
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		if ev.Seq != n || ev.Recv < last {
			t.Fatalf("event %d has seq %d, recv %s after %s", n, ev.Seq, ev.Recv, last)
		}
		last = ev.Recv
		name := "-"
		if ev.Inst != data.NoInstrument {
			name = r.Dictionary().Listings[ev.Inst].Key.String()
		}
		if ev.Kind == data.Fees && r.Dictionary().Fees[ev.Arg].Taker != 70_000 {
			t.Fatal("fees record lost")
		}
		fmt.Fprintln(&b, ev.Kind, name, ev.Side, ev.Price, ev.Qty, ev.Recv, ev.Exch, ev.Order, ev.Last)
	}
}

func mustRead(t testing.TB, sel Selection, dirs ...string) string {
	t.Helper()
	s, err := read(t, sel, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The law of the reader: what comes back does not depend on how the tape was cut, into segments or row groups.
func TestTape_SameEventsHoweverItIsCut(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 1))
	a, b := history(r, 4, 900), history(r, 3, 900)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "one"), Options{}, a, b)
	want := mustRead(t, Selection{}, filepath.Join(dir, "one"))
	if n := strings.Count(want, "\n"); n < 2500 {
		t.Fatalf("only %d events", n)
	}
	mid := a[len(a)/2].at
	wantLate := mustRead(t, Selection{From: mid}, filepath.Join(dir, "one"))
	some := Selection{Instruments: []data.MarketKey{{Venue: 1, Native: "M0-8"}, {Venue: 2, Native: "M1-9"}}}
	wantSome := mustRead(t, some, filepath.Join(dir, "one"))
	for i, opt := range []Options{{GroupRows: 100, SegmentRows: 250}, {GroupRows: 30, SegmentRows: 400}, {GroupRows: 1000, SegmentRows: 130}} {
		d := filepath.Join(dir, fmt.Sprint("cut", i))
		m := write(t, d, opt, a, b)
		if len(m.Sources[0].Segments) < 5 {
			t.Fatalf("cut %d has %d segments", i, len(m.Sources[0].Segments))
		}
		if got := mustRead(t, Selection{}, d); got != want {
			t.Errorf("cut %d reads differently", i)
		}
		if got := mustRead(t, some, d); got != wantSome {
			t.Errorf("cut %d: a selection of instruments reads differently", i)
		}
		if got, w := decided(mustRead(t, Selection{From: mid}, d)), decided(wantLate); got != w {
			t.Errorf("cut %d: a slice of time reads differently", i)
		}
	}
	for _, procs := range []int{1, 8} {
		old := runtime.GOMAXPROCS(procs)
		if got := mustRead(t, Selection{}, filepath.Join(dir, "cut0")); got != want {
			t.Errorf("GOMAXPROCS %d reads differently", procs)
		}
		runtime.GOMAXPROCS(old)
	}
}

// decided keeps what may be decided upon and the listings: the muted rebuilding before From may differ in form.
func decided(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if strings.HasSuffix(line, "true\n") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// A slice of time starts with the books as they stood, whatever segment it starts in.
func TestTape_SliceRebuildsTheBooks(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 2))
	ms := history(r, 3, 1500)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "t"), Options{GroupRows: 80, SegmentRows: 300}, ms)
	for _, frac := range []int{1, 3, 5, 7, 9} {
		from := ms[len(ms)*frac/10].at
		books := func(sel Selection) map[string]*data.Book {
			set, err := Open(filepath.Join(dir, "t"))
			if err != nil {
				t.Fatal(err)
			}
			rd, err := set.Read(sel)
			if err != nil {
				t.Fatal(err)
			}
			defer rd.Close()
			out := map[string]*data.Book{}
			var ev data.Event
			for rd.Next(&ev) == nil && ev.Recv < from {
				if ev.Inst == data.NoInstrument {
					continue
				}
				k := rd.Dictionary().Listings[ev.Inst].Key.Native
				if out[k] == nil {
					out[k] = &data.Book{}
				}
				switch ev.Kind {
				case data.Clear:
					out[k].Clear()
				case data.Level:
					out[k].Set(ev.Side, ev.Price, ev.Qty)
				}
			}
			return out
		}
		whole, slice := books(Selection{}), books(Selection{From: from})
		for k, b := range whole {
			for _, s := range []data.Side{data.Buy, data.Sell} {
				for p := data.Price(100); p < data.One; p += 100 {
					if slice[k] == nil || b.Qty(s, p) != slice[k].Qty(s, p) {
						t.Fatalf("from %s: %s %s at %s differs", from, k, s, p)
					}
				}
			}
		}
	}
}

// Every single-bit flip and truncation of any file is refused with the file's name, before a row of it is used.
func TestTape_DamageIsRefusedWithTheFilesName(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 3))
	ms := history(r, 2, 600)
	base := filepath.Join(t.TempDir(), "t")
	write(t, base, Options{GroupRows: 300, SegmentRows: 700}, ms)
	want := mustRead(t, Selection{}, base)
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(base, e.Name())
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		try := func(what string, bad []byte) {
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := read(t, Selection{}, base)
			if err == nil {
				// The four magic bytes at the front are in no part; arrow does not read them and neither do we.
				if got != want {
					t.Errorf("%s, %s: read without an error and wrong", e.Name(), what)
				}
				if !strings.Contains(what, "magic") {
					t.Errorf("%s, %s: accepted", e.Name(), what)
				}
				return
			}
			if !errors.Is(err, ErrTape) || !(strings.Contains(err.Error(), e.Name()) || strings.Contains(err.Error(), base)) {
				t.Errorf("%s, %s: %v", e.Name(), what, err)
			}
			if !strings.HasPrefix(want, got) {
				t.Errorf("%s, %s: wrong rows were used before the refusal", e.Name(), what)
			}
		}
		for range 60 {
			i := r.IntN(len(good))
			bad := slices.Clone(good)
			bad[i] ^= 1 << r.IntN(8)
			what := fmt.Sprintf("bit flipped in byte %d", i)
			if i < 4 && strings.HasSuffix(e.Name(), ".parquet") {
				what += " (magic)"
			}
			try(what, bad)
		}
		for range 10 {
			n := r.IntN(len(good))
			try(fmt.Sprintf("cut to %d bytes", n), good[:n])
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(base, "polymarket-00-00000.parquet")); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, Selection{}, base); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a missing segment: %v", err)
	}
}

func TestTape_BadInputIsNamed(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 4))
	ms := history(r, 2, 100)
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	write(t, one, Options{}, ms)
	write(t, two, Options{}, ms)
	old := filepath.Join(dir, "old")
	if err := os.Mkdir(old, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, manifestName), []byte(`{"format":"arbiter-tape","version":99}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		sel  Selection
		dirs []string
		want string
	}{
		{"no such folder", Selection{}, []string{filepath.Join(dir, "none")}, "no such folder"},
		{"not a tape", Selection{}, []string{dir}, "not a tape"},
		{"wrong version", Selection{}, []string{old}, "version 99"},
		{"unknown instrument", Selection{Instruments: []data.MarketKey{{Venue: data.Kalshi, Native: "NOPE"}}}, []string{one}, "unknown instrument kalshi:NOPE"},
		{"empty range", Selection{From: start + 10, To: start + 10}, []string{one}, "empty time range"},
		{"nothing in range", Selection{To: 5}, []string{one}, "nothing selected"},
		{"same recording twice", Selection{}, []string{one, two}, "overlap"},
	} {
		if _, err := read(t, c.sel, c.dirs...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Create(one, Options{}); err == nil || !strings.Contains(err.Error(), "written once") {
		t.Errorf("overwriting: %v", err)
	}
}

func TestWriter_RefusesWhatATapeMayNotHold(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "t"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	s, err := w.Source(SourceOptions{Venue: data.Kalshi, RecvUnit: data.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listing(listing(data.Kalshi, "A")); err != nil {
		t.Fatal(err)
	}
	for name, es := range map[string][]data.Event{
		"a session event":     {{Kind: data.Fill, Recv: start, Last: true}},
		"no last":             {{Kind: data.Clear, Recv: start}},
		"unknown instrument":  {{Kind: data.Clear, Inst: 5, Recv: start, Last: true}},
		"a stamp too fine":    {{Kind: data.Clear, Recv: start + 1, Last: true}},
		"an unknown schedule": {{Kind: data.Fees, Recv: start, Arg: 3, Last: true}},
		"two receive times":   {{Kind: data.Clear, Recv: start}, {Kind: data.Level, Recv: start + 1_000_000, Last: true}},
	} {
		if err := s.Write(es...); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if err := s.Write(data.Event{Kind: data.Clear, Recv: start, Last: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(data.Event{Kind: data.Clear, Recv: start - data.Time(data.Second), Last: true}); err == nil {
		t.Error("time went back")
	}
}

func FuzzManifest_NeverPanics(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 5))
	base := filepath.Join(f.TempDir(), "t")
	m := write(f, base, Options{GroupRows: 50, SegmentRows: 100}, history(r, 2, 100))
	raw, err := os.ReadFile(filepath.Join(base, manifestName))
	if err != nil {
		f.Fatal(err)
	}
	dict, err := os.ReadFile(filepath.Join(base, m.Sources[0].Dictionary.Name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, dict)
	f.Add([]byte(`{"format":"arbiter-tape","version":1}`), []byte(`{"kind":"listing"}`))
	f.Fuzz(func(t *testing.T, manifest, dict []byte) {
		_, _ = decodeDictionary(dict)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, manifestName), manifest, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err != nil && !errors.Is(err, ErrTape) {
			t.Fatalf("an error that is not a refusal: %v", err)
		}
	})
}

// Whatever is done to a file of a tape, reading it either gives the same events or is refused. Bytes whose hash fits
// are trusted: the hash is what stands between arrow's decoder and a damaged page.
func FuzzTape_DamageIsRefusedOrHarmless(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 6))
	base := filepath.Join(f.TempDir(), "t")
	write(f, base, Options{GroupRows: 60, SegmentRows: 100}, history(r, 2, 80))
	want := mustRead(f, Selection{}, base)
	entries, err := os.ReadDir(base)
	if err != nil {
		f.Fatal(err)
	}
	for i := range entries {
		f.Add(uint8(i), uint32(5), []byte{1, 2, 3}, false)
		f.Add(uint8(i), uint32(50), []byte("x"), true)
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint32, bytes []byte, cut bool) {
		name := entries[int(which)%len(entries)].Name()
		dir := t.TempDir()
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(base, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if e.Name() == name {
				i := int(at) % len(b)
				n := copy(b[i:], bytes)
				if cut {
					b = b[:i+n]
				}
			}
			if err := os.WriteFile(filepath.Join(dir, e.Name()), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := read(t, Selection{}, dir)
		if err == nil && got != want {
			t.Fatal("read without an error and wrong")
		}
		if err != nil && !errors.Is(err, ErrTape) {
			t.Fatalf("an error that is not a refusal: %v", err)
		}
	})
}

func benchTape(b *testing.B) (string, int64) {
	r := rand.New(rand.NewPCG(1, 9))
	dir := filepath.Join(b.TempDir(), "t")
	m := write(b, dir, Options{}, history(r, 20, 300_000))
	return dir, m.Sources[0].Segments[0].Rows
}

func BenchmarkTape_Read(b *testing.B) {
	dir, rows := benchTape(b)
	b.ReportAllocs()
	for b.Loop() {
		set, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		r, err := set.Read(Selection{})
		if err != nil {
			b.Fatal(err)
		}
		var ev data.Event
		for r.Next(&ev) == nil {
		}
		r.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/event")
}

func BenchmarkTape_Write(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 9))
	ms := history(r, 20, 100_000)
	dir := b.TempDir()
	n := 0
	b.ReportAllocs()
	var rows int64
	for b.Loop() {
		n++
		m := write(b, filepath.Join(dir, fmt.Sprint(n)), Options{}, ms)
		rows = m.Sources[0].Segments[0].Rows
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/event")
}
