package sim_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
	"arbiter/data/tape"
	"arbiter/sim"
	"arbiter/sim/market"
	"arbiter/strategies/cross"
	"arbiter/strategies/engine"
)

const stepMarkets = 2000

// stepFixture is an engine with 1,000 pairs and a cycle of changes that leaves the books as they were, at prices where
// no pair pays: the steady state of a backtest.
func stepFixture(tb testing.TB) (*engine.Engine, []data.Event) {
	tb.Helper()
	poly, err := polymarket.Schedule(70_000, 1, 0, 0)
	if err != nil {
		tb.Fatal(err)
	}
	kal, err := kalshi.Schedule("quadratic", 1_000_000, kalshi.Direct, 0)
	if err != nil {
		tb.Fatal(err)
	}
	dict := &data.Dictionary{Fees: []data.FeeSchedule{poly, kal}}
	var setup []data.Event
	r := rand.New(rand.NewPCG(1, 1))
	for i := range stepMarkets {
		v := data.Venue(1 + i%2)
		dict.Listings = append(dict.Listings, data.Listing{Key: data.MarketKey{Venue: v, Native: fmt.Sprint(i)}, Bands: data.UniformBands(100), QtyMin: data.Contract, QtyStep: data.Contract})
		setup = append(setup, data.Event{Kind: data.Listed, Inst: data.InstrumentID(i), Arg: uint32(i), Last: true},
			data.Event{Kind: data.Fees, Inst: data.InstrumentID(i), Arg: uint32(v) - 1, Last: true},
			data.Event{Kind: data.Status, Inst: data.InstrumentID(i), Arg: data.VenueArg(v, uint8(data.Open)), Last: true},
			data.Event{Kind: data.Clear, Inst: data.InstrumentID(i)})
		for l := range 25 {
			setup = append(setup, data.Event{Kind: data.Level, Inst: data.InstrumentID(i), Side: data.Buy, Price: data.Price(48-l) * 100, Qty: data.Contract * 10},
				data.Event{Kind: data.Level, Inst: data.InstrumentID(i), Side: data.Sell, Price: data.Price(50+l) * 100, Qty: data.Contract * 10, Last: l == 24})
		}
		if i%2 == 1 {
			dict.Pairings = append(dict.Pairings, data.Pairing{ID: fmt.Sprint(i), A: dict.Listings[i-1].Key, B: dict.Listings[i].Key, Branches: data.PlainBranches(false)})
			setup = append(setup, data.Event{Kind: data.Paired, Arg: uint32(i / 2), Inst: data.NoInstrument, Last: true})
		}
	}
	e, err := engine.New(engine.Defaults(), dict, cross.New(cross.Defaults()))
	if err != nil {
		tb.Fatal(err)
	}
	for i := range setup {
		setup[i].Seq, setup[i].Recv = uint64(i+1), 1_000_000
		e.Step(&setup[i], nil)
	}
	cycle := make([]data.Event, 0, 1<<16)
	for len(cycle) < 1<<16 {
		ev := data.Event{Kind: data.Level, Inst: data.InstrumentID(r.IntN(stepMarkets)), Side: data.Side(1 + r.IntN(2)), Qty: data.Contract * data.Qty(1+r.IntN(20)), Last: true}
		d := data.Price(r.ExpFloat64() * 4)
		ev.Price = (48 - d) * 100
		if ev.Side == data.Sell {
			ev.Price = (50 + d) * 100
		}
		cycle = append(cycle, ev)
	}
	return e, cycle
}

type stepper struct {
	e     *engine.Engine
	cycle []data.Event
	n     int
	seq   uint64
	out   []data.Command
}

func (s *stepper) step() {
	ev := s.cycle[s.n]
	if s.n++; s.n == len(s.cycle) {
		s.n = 0
	}
	s.seq++
	ev.Seq, ev.Recv = s.seq+1<<30, data.Time(2_000_000+s.seq)
	s.out = s.e.Step(&ev, s.out[:0])
}

func TestStep_AllocatesNothing(t *testing.T) {
	e, cycle := stepFixture(t)
	s := &stepper{e: e, cycle: cycle}
	for range len(cycle) {
		s.step()
	}
	if n := testing.AllocsPerRun(20_000, s.step); n != 0 {
		t.Errorf("%v allocations an event, want 0", n)
	}
}

func BenchmarkStep(b *testing.B) {
	b.Run("book=dense", func(b *testing.B) {
		e, cycle := stepFixture(b)
		s := &stepper{e: e, cycle: cycle}
		for range len(cycle) {
			s.step()
		}
		b.ReportAllocs()
		b.ResetTimer()
		for b.Loop() {
			s.step()
		}
	})
	b.Run("book=naive", func(b *testing.B) {
		_, cycle := stepFixture(b)
		n := newNaive()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			n.step(&cycle[i%len(cycle)])
			i++
		}
	})
}

// naive is what one writes first: maps of levels, a scan for the best after every message, and the pair checked.
type naive struct {
	books map[data.InstrumentID]*[2]map[data.Price]data.Qty
	found int
}

func newNaive() *naive {
	n := &naive{books: map[data.InstrumentID]*[2]map[data.Price]data.Qty{}}
	for i := range stepMarkets {
		b := &[2]map[data.Price]data.Qty{{}, {}}
		for l := range 25 {
			b[0][data.Price(48-l)*100], b[1][data.Price(50+l)*100] = 10*data.Contract, 10*data.Contract
		}
		n.books[data.InstrumentID(i)] = b
	}
	return n
}

func (n *naive) step(ev *data.Event) {
	b := n.books[ev.Inst]
	if ev.Qty == 0 {
		delete(b[ev.Side-1], ev.Price)
	} else {
		b[ev.Side-1][ev.Price] = ev.Qty
	}
	bid, ask := n.best(ev.Inst)
	otherBid, otherAsk := n.best(ev.Inst ^ 1)
	if ask < otherBid || otherAsk < bid {
		n.found++
	}
}

func (n *naive) best(id data.InstrumentID) (bid, ask data.Price) {
	b := n.books[id]
	ask = data.One
	for p := range b[0] {
		bid = max(bid, p)
	}
	for p := range b[1] {
		ask = min(ask, p)
	}
	return bid, ask
}

// BenchmarkBacktest is tape to decisions end to end; run it with -cpu 1,2.
func BenchmarkBacktest(b *testing.B) {
	cfg := market.Defaults()
	cfg.Length, cfg.Pairs, cfg.Single, cfg.Rate = 20*data.Minute, 10, 0, 20
	dir := filepath.Join(b.TempDir(), "synth")
	m, pairs, err := market.Write(cfg, dir, tape.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var rows int64
	for i := range m.Sources {
		for _, g := range m.Sources[i].Segments {
			rows += g.Rows
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		set, err := tape.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		rd, err := set.Read(tape.Selection{})
		if err != nil {
			b.Fatal(err)
		}
		w, err := sim.NewBacktest(sim.Defaults(), rd, pairs)
		if err != nil {
			b.Fatal(err)
		}
		e, err := engine.New(engine.Defaults(), rd.Dictionary(), cross.New(cross.Defaults()))
		if err != nil {
			b.Fatal(err)
		}
		if err := engine.Run(w, e, nil); !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		rd.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/event")
}
