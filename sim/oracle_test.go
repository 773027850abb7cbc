package sim_test

import (
	"errors"
	"io"
	"math/big"
	"os/exec"
	"strings"
	"testing"

	"arbiter/data"
	"arbiter/data/tape"
	"arbiter/sim"
	"arbiter/sim/market"
	"arbiter/sim/oracle"
	"arbiter/strategies"
	"arbiter/strategies/cross"
	"arbiter/strategies/engine"
)

// recorder lets cross detect and keeps what it found; it proposes nothing, so that nothing is traded.
type recorder struct {
	inner strategies.Strategy
	found []strategies.Plan
}

func (r *recorder) Detect(v *strategies.View, changed data.InstrumentID, plans []strategies.Plan) []strategies.Plan {
	r.found = r.inner.Detect(v, changed, nil)
	return plans
}

var oracleRules = [data.VenueCount]*oracle.Rules{
	data.Polymarket: {Rate: big.NewRat(7, 100), Quantum: big.NewRat(1, 100_000), HalfUp: true, Minimum: big.NewRat(1, 100_000), Whole: true, Least: big.NewRat(5, 1)},
	data.Kalshi:     {Rate: big.NewRat(7, 100), Quantum: big.NewRat(1, 10_000), Alignment: big.NewRat(1, 10_000), Least: big.NewRat(1, 100)},
}

// TestCross_FindsWhatTheOracleFinds: at every message of synthetic tapes of many seeds the same opportunities, sizes,
// limits and edge, to the micro-dollar.
func TestCross_FindsWhatTheOracleFinds(t *testing.T) {
	total := 0
	for s := range uint64(4) {
		cfg := market.Defaults()
		cfg.Seed, cfg.Length, cfg.Pairs, cfg.Single = *seed*100+s, 60*data.Second, 4, 0
		cfg.NewsGap = 5 * data.Second
		dir, pairs := synth(t, cfg, tape.Options{})
		extra := int(s % 2)
		total += compareWithOracle(t, dir, pairs, extra)
	}
	t.Logf("%d opportunities compared", total)
	if total < 50 {
		t.Errorf("only %d opportunities: the test tests too little", total)
	}
}

func compareWithOracle(t *testing.T, dir string, pairs []data.Pairing, extra int) int {
	const most = 16 // contracts
	set, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	w, err := sim.NewBacktest(sim.Defaults(), rd, pairs)
	if err != nil {
		t.Fatal(err)
	}
	cfg := cross.Defaults()
	cfg.QtyMax, cfg.Extra = most*data.Contract, extra
	rec := &recorder{inner: cross.New(cfg)}
	e, err := engine.New(engine.Defaults(), rd.Dictionary(), rec)
	if err != nil {
		t.Fatal(err)
	}
	books := map[data.MarketKey]*oracle.Market{}
	open := map[data.MarketKey]bool{}
	n := 0
	err = engine.Run(w, e, func(ev *data.Event, _ []data.Command) {
		if ev.Inst == data.NoInstrument || !ev.Kind.World() {
			return
		}
		key := rd.Dictionary().Listings[ev.Inst].Key
		if ev.Kind == data.Listed {
			books[key] = oracle.NewMarket(oracleRules[key.Venue])
			return
		}
		b := books[key]
		q := big.NewRat(int64(ev.Qty), 1_000_000)
		switch ev.Kind {
		case data.Clear:
			b.Clear()
		case data.Level:
			b.Set(ev.Side == data.Buy, int(ev.Price), q)
		case data.Delta:
			b.Add(ev.Side == data.Buy, int(ev.Price), q)
		case data.Status:
			open[key] = data.MarketStatus(ev.Arg&0xff) == data.Open
		case data.Trade:
		default:
			return
		}
		if !ev.Last {
			return
		}
		n += compareMessage(t, ev, key, pairs, books, open, rec.found, most, extra)
	})
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return n
}

func compareMessage(t *testing.T, ev *data.Event, key data.MarketKey, pairs []data.Pairing, books map[data.MarketKey]*oracle.Market, open map[data.MarketKey]bool, got []strategies.Plan, most, extra int) int {
	i := 0
	n := 0
	for k := range pairs {
		p := &pairs[k]
		if p.A != key && p.B != key || !open[p.A] || !open[p.B] || books[p.A].Crossed() || books[p.B].Crossed() {
			continue
		}
		for d := data.LongA; d <= data.ShortA; d++ {
			sa, sb := p.Sides(d)
			against := new(big.Rat)
			for _, v := range []data.Venue{p.A.Venue, p.B.Venue} { // one rounding a leg: quantum, alignment, two micro-dollars
				r := oracleRules[v]
				each := new(big.Rat).Add(r.Quantum, big.NewRat(2, 1_000_000))
				if r.Alignment != nil {
					each.Add(each, r.Alignment)
				}
				against.Add(against, each.Mul(each, big.NewRat(int64(extra), 1)))
			}
			f := oracle.Best([2]oracle.Leg{{M: books[p.A], Buy: sa == data.Buy}, {M: books[p.B], Buy: sb == data.Buy}}, big.NewRat(1, 1), most*100, against)
			if f != nil && (f.Edge < 10_000 || f.Edge < int64(f.Hundredths)*10) {
				f = nil // below a cent, or a tenth of a cent a contract
			}
			if f == nil {
				continue
			}
			n++
			if i >= len(got) {
				t.Fatalf("event %d: the oracle finds %+v for %s, cross nothing", ev.Seq, *f, p.ID)
			}
			g := &got[i]
			i++
			if g.Qty() != data.Qty(f.Hundredths)*10_000 || int64(g.Edge) != f.Edge || int(g.Legs[0].Price) != f.Limits[0] || int(g.Legs[1].Price) != f.Limits[1] {
				t.Fatalf("event %d, %s direction %d: cross %s contracts at %s and %s, edge %s; oracle %+v", ev.Seq, p.ID, d, g.Qty(), g.Legs[0].Price, g.Legs[1].Price, g.Edge, *f)
			}
		}
	}
	if i != len(got) {
		t.Fatalf("event %d: cross finds %d opportunities, the oracle %d: %+v", ev.Seq, len(got), i, got[i])
	}
	return n
}

// The oracle must share no code with what it checks.
func TestOracle_ImportsNothingOfOurs(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./oracle").Output()
	if err != nil {
		t.Fatal(err)
	}
	for p := range strings.Lines(string(out)) {
		if p = strings.TrimSpace(p); strings.HasPrefix(p, "arbiter/") && p != "arbiter/sim/oracle" {
			t.Errorf("the oracle depends on %s", p)
		}
	}
}
