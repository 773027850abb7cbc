package engine_test

import (
	"testing"

	"arbiter/data"
	"arbiter/strategies"
	"arbiter/strategies/basket"
	"arbiter/strategies/cross"
	"arbiter/strategies/engine"
)

// desk drives an engine by hand.
type desk struct {
	t    *testing.T
	e    *engine.Engine
	dict *data.Dictionary
	seq  uint64
	now  data.Time
	log  []engine.Decision
}

var free = data.FeeSchedule{Exponent: 1, Quantum: 1}

func newDesk(t *testing.T, change func(*engine.Config), strats ...strategies.Strategy) *desk {
	t.Helper()
	cfg := engine.Defaults()
	if change != nil {
		change(&cfg)
	}
	d := &desk{t: t, dict: &data.Dictionary{Fees: []data.FeeSchedule{free}}, now: 1_000_000 * data.Time(data.Second)}
	e, err := engine.New(cfg, d.dict, strats...)
	if err != nil {
		t.Fatal(err)
	}
	d.e = e
	return d
}

func (d *desk) send(ev data.Event) []data.Command {
	d.seq++
	ev.Seq, ev.Recv = d.seq, d.now
	out := d.e.Step(&ev, nil)
	d.log = append(d.log, d.e.Decisions()...)
	return out
}

func (d *desk) list(l data.Listing) data.InstrumentID {
	id := data.InstrumentID(len(d.dict.Listings))
	if l.Bands == nil {
		l.Bands = data.UniformBands(100)
	}
	l.QtyMin, l.QtyStep = data.Contract, data.Contract
	d.dict.Listings = append(d.dict.Listings, l)
	d.send(data.Event{Kind: data.Listed, Inst: id, Arg: uint32(id), Last: true})
	d.send(data.Event{Kind: data.Fees, Inst: id, Last: true})
	d.send(data.Event{Kind: data.Status, Inst: id, Arg: data.VenueArg(l.Key.Venue, uint8(data.Open)), Last: true})
	return id
}

// book sends a snapshot of one bid and one ask.
func (d *desk) book(id data.InstrumentID, bid, ask data.Price, q data.Qty, exch data.Time) []data.Command {
	d.send(data.Event{Kind: data.Clear, Inst: id})
	d.send(data.Event{Kind: data.Level, Inst: id, Side: data.Buy, Price: bid, Qty: q * data.Contract, Exch: exch})
	return d.send(data.Event{Kind: data.Level, Inst: id, Side: data.Sell, Price: ask, Qty: q * data.Contract, Exch: exch, Last: true})
}

func (d *desk) cash(v data.Venue, m data.Money) {
	d.send(data.Event{Kind: data.Balance, Arg: data.VenueArg(v, 0), Cash: m, Inst: data.NoInstrument, Last: true})
}

// pairDesk has one pair whose YES costs 0.40 at Polymarket and whose NO costs 0.50 at Kalshi: ten cents a contract.
func pairDesk(t *testing.T, change func(*engine.Config)) (*desk, [2]data.InstrumentID) {
	d := newDesk(t, change, cross.New(cross.Defaults()))
	d.cash(data.Polymarket, 1000*data.Dollar)
	d.cash(data.Kalshi, 1000*data.Dollar)
	a := d.list(data.Listing{Key: data.MarketKey{Venue: data.Polymarket, Native: "A"}})
	b := d.list(data.Listing{Key: data.MarketKey{Venue: data.Kalshi, Native: "B"}})
	d.dict.Pairings = append(d.dict.Pairings, data.Pairing{ID: "p", A: d.dict.Listings[a].Key, B: d.dict.Listings[b].Key, Branches: data.PlainBranches(false)})
	d.send(data.Event{Kind: data.Paired, Inst: data.NoInstrument, Last: true})
	return d, [2]data.InstrumentID{a, b}
}

// placed sums the orders of a list of commands.
func placed(cmds []data.Command) (orders int, q data.Qty) {
	for _, c := range cmds {
		if c.Kind == data.Place {
			orders++
			q = c.Qty
		}
	}
	return orders, q
}

func TestGate_SizesOrRefusesWithTheReason(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*engine.Config)
		before func(d *desk, ids [2]data.InstrumentID)
		qty    data.Qty // admitted contracts; 0: refused
		why    engine.Refusal
	}{
		{name: "nothing binds", qty: 100},
		{name: "order size", change: func(c *engine.Config) { c.Risk.OrderQtyMax = 30 * data.Contract }, qty: 30},
		{name: "order notional", change: func(c *engine.Config) { c.Risk.OrderNotionalMax = 25 * data.Dollar }, qty: 50},
		{name: "position size", change: func(c *engine.Config) { c.Risk.OrderQtyMax, c.Risk.PositionQtyMax = 7*data.Contract, 7*data.Contract }, qty: 7},
		{name: "pair notional", change: func(c *engine.Config) { c.Risk.PairNotionalMax = 9 * data.Dollar }, qty: 10},
		{name: "unhedged", change: func(c *engine.Config) { c.Risk.UnhedgedMax = 10 * data.Dollar }, qty: 20},
		{name: "buying power at one venue", before: func(d *desk, _ [2]data.InstrumentID) { d.cash(data.Kalshi, 5_500_000) }, qty: 9},
		{name: "no buying power", before: func(d *desk, _ [2]data.InstrumentID) { d.cash(data.Kalshi, 0) }, why: engine.BuyingPower},
		{name: "halted", before: func(d *desk, _ [2]data.InstrumentID) {
			d.send(data.Event{Kind: data.Control, Arg: uint32(data.Halt), Inst: data.NoInstrument, Last: true})
		}, why: engine.HaltedByOperator},
		{name: "venue paused", before: func(d *desk, _ [2]data.InstrumentID) {
			d.send(data.Event{Kind: data.Status, Arg: data.VenueArg(data.Kalshi, uint8(data.Halted)), Inst: data.NoInstrument, Last: true})
		}, why: engine.VenueNotOpen},
		{name: "the other venue's feed is stale", before: func(d *desk, _ [2]data.InstrumentID) { d.now = d.now.Add(20 * data.Second) }, why: engine.StaleVenue},
		{name: "delays differ", change: func(c *engine.Config) { c.Risk.SkewMax = data.Millisecond }, why: engine.VenueSkew},
		{name: "price range", change: func(c *engine.Config) { c.Risk.PriceMin = 4500 }, why: engine.PriceCollar},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, ids := pairDesk(t, c.change)
			d.book(ids[0], 3900, 4000, 100, d.now-data.Time(10*data.Millisecond))
			if c.before != nil {
				c.before(d, ids)
			}
			orders, q := placed(d.book(ids[1], 5000, 5100, 100, d.now-data.Time(20*data.Millisecond)))
			if c.qty != 0 {
				if orders != 2 || q != c.qty*data.Contract {
					t.Errorf("%d orders of %s, want 2 of %d", orders, q, c.qty)
				}
				return
			}
			if orders != 0 {
				t.Fatalf("%d orders were sent", orders)
			}
			for _, l := range d.log {
				if l.Kind == engine.Refused && l.Reason == c.why {
					return
				}
			}
			t.Errorf("no refusal for %q in %+v", c.why, d.log)
		})
	}
}

// A gap or a crossed book stops detection; a snapshot brings it back.
func TestStep_GapInvalidatesTheBook(t *testing.T) {
	d, ids := pairDesk(t, nil)
	d.book(ids[0], 3900, 4000, 100, 0)
	d.send(data.Event{Kind: data.Gap, Inst: ids[0], Last: true})
	if n, _ := placed(d.book(ids[1], 5000, 5100, 100, 0)); n != 0 {
		t.Fatal("orders against a book that is not valid")
	}
	if n, _ := placed(d.book(ids[0], 3900, 4000, 100, 0)); n != 2 {
		t.Errorf("%d orders after the snapshot, want 2", n)
	}
}

// An order of the world that is not ours, or a time that goes back, stops the process.
func TestStep_BrokenWorldPanics(t *testing.T) {
	for name, f := range map[string]func(d *desk){
		"unknown order": func(d *desk) { d.send(data.Event{Kind: data.Fill, Order: 99, Last: true}) },
		"time back":     func(d *desk) { d.now -= 5; d.send(data.Event{Kind: data.Alive, Inst: data.NoInstrument, Last: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := pairDesk(t, nil)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(d)
		})
	}
}

// Three outcomes of a proven partition for 0.90 together: all YES is bought; unproven or incomplete, nothing is.
func TestBasket_OnlyOnAProvenCompletePartition(t *testing.T) {
	for _, c := range []struct {
		name      string
		partition data.Partition
		size      int
		asks      data.Price
		bids      data.Price
		orders    int
		side      data.Side
	}{
		{"exhaustive: all YES under par", data.Exhaustive, 3, 3000, 2900, 3, data.Buy},
		{"an outcome is missing", data.Exhaustive, 4, 3000, 2900, 0, 0},
		{"exclusive is not exhaustive", data.Exclusive, 3, 3000, 2900, 0, 0},
		{"exclusive: all NO under par", data.Exclusive, 3, 4100, 4000, 3, data.Sell},
		{"unproven", data.Unproven, 3, 4100, 4000, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, nil, basket.New(basket.Defaults()))
			d.cash(data.Polymarket, 1000*data.Dollar)
			var ids []data.InstrumentID
			for _, n := range []string{"X", "Y", "Z"} {
				ids = append(ids, d.list(data.Listing{Key: data.MarketKey{Venue: data.Polymarket, Native: n}, Event: "E", EventSize: c.size, Partition: c.partition}))
			}
			var last []data.Command
			for _, id := range ids {
				last = d.book(id, c.bids, c.asks, 50, 0)
			}
			n, q := placed(last)
			if n != c.orders || (n > 0 && (q != 50*data.Contract || last[0].Side != c.side)) {
				t.Errorf("%d orders of %s %+v, want %d", n, q, last, c.orders)
			}
		})
	}
}

// A held pair is closed early when both bids less fees beat what it will pay.
func TestCross_ClosesAHeldPairEarly(t *testing.T) {
	d, ids := pairDesk(t, nil)
	d.send(data.Event{Kind: data.Opening, Inst: ids[0], Qty: 10 * data.Contract, Cash: 4 * data.Dollar, Last: true})
	d.send(data.Event{Kind: data.Opening, Inst: ids[1], Qty: -10 * data.Contract, Cash: 5 * data.Dollar, Last: true})
	d.book(ids[0], 6000, 6100, 100, 0)
	cmds := d.book(ids[1], 5400, 5500, 100, 0) // YES brings 0.60, NO brings 0.45: 1.05 against 1.00
	n, q := placed(cmds)
	if n != 2 || q != 10*data.Contract || cmds[0].Side != data.Sell {
		t.Errorf("%d orders of %s: %+v", n, q, cmds)
	}
	if !d.e.Account().Balanced() {
		t.Error("the account does not balance")
	}
}
