package exchange

import (
	"testing"

	"arbiter/data"
)

const market0 data.InstrumentID = 0

// venue makes one Kalshi market with an open book and free fees unless a schedule is given.
func venue(t *testing.T, rungs ...data.Event) *Exchange {
	t.Helper()
	fees := &data.FeeSchedule{Exponent: 1, Quantum: 1}
	var cfg Config
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		cfg.Venues[v] = VenueConfig{Order: Constant(0), Response: Constant(0), Assumed: fees}
		cfg.Venues[v].Cash[0] = 1_000_000 * data.Dollar
	}
	dict := &data.Dictionary{Listings: []data.Listing{{Key: data.MarketKey{Venue: data.Kalshi, Native: "K"}, Bands: data.UniformBands(100), QtyMin: data.Contract, QtyStep: data.Contract}}}
	x, err := New(cfg, dict)
	if err != nil {
		t.Fatal(err)
	}
	x.Apply(&data.Event{Kind: data.Listed, Inst: market0})
	x.Apply(&data.Event{Kind: data.Status, Inst: market0, Arg: data.VenueArg(data.Kalshi, uint8(data.Open))})
	x.Apply(&data.Event{Kind: data.Clear, Inst: market0})
	for i := range rungs {
		x.Apply(&rungs[i])
	}
	return x
}

func level(s data.Side, p data.Price, q data.Qty) data.Event {
	return data.Event{Kind: data.Level, Inst: market0, Side: s, Price: p, Qty: q * data.Contract, Last: true}
}

var nextOrder data.OrderID

// take sends an immediate order and returns what filled and how it ended.
func take(x *Exchange, s data.Side, limit data.Price, q data.Qty, tif data.TIF) (filled data.Qty, end data.Event) {
	nextOrder++
	out := x.Match(&data.Command{Kind: data.Place, Order: nextOrder, Inst: market0, Side: s, Price: limit, Qty: q * data.Contract, TIF: tif}, 1000, nil)
	for _, e := range out {
		switch e.Kind {
		case data.Fill:
			filled += e.Qty
		case data.Canceled, data.Reject:
			end = e
		}
	}
	return filled / data.Contract, end
}

// Scenario c of the hand-checkable list: ask 100 x 100: buy 30, then 50 fills 50 (80 are consumed); the level is
// refreshed to 120 and what we took is forgotten.
func TestMatch_ScenarioC_ConsumptionResetsOnRefresh(t *testing.T) {
	x := venue(t, level(data.Sell, 5000, 100))
	if got, _ := take(x, data.Buy, 5000, 30, data.ImmediateOrCancel); got != 30 {
		t.Fatalf("first order filled %d, want 30", got)
	}
	if got, _ := take(x, data.Buy, 5000, 50, data.ImmediateOrCancel); got != 50 {
		t.Fatalf("second order filled %d, want 50: 30 + 50 are consumed", got)
	}
	if got, end := take(x, data.Buy, 5000, 50, data.ImmediateOrCancel); got != 20 || end.Qty != 30*data.Contract {
		t.Fatalf("third order filled %d with %s left, want 20 and 30", got, end.Qty)
	}
	e := level(data.Sell, 5000, 120)
	x.Apply(&e)
	if got, _ := take(x, data.Buy, 5000, 200, data.ImmediateOrCancel); got != 120 {
		t.Errorf("after the refresh to 120 the order filled %d", got)
	}
}

// The same liquidity is never filled twice: a smaller quantity, or the same snapshot again, refreshes nothing.
func TestMatch_LessIsNoRefresh(t *testing.T) {
	x := venue(t, level(data.Sell, 5000, 100))
	take(x, data.Buy, 5000, 100, data.ImmediateOrCancel)
	for _, e := range []data.Event{level(data.Sell, 5000, 60), {Kind: data.Clear, Inst: market0}, level(data.Sell, 5000, 60)} {
		x.Apply(&e)
	}
	if got, _ := take(x, data.Buy, 5000, 10, data.ImmediateOrCancel); got != 0 {
		t.Errorf("%d contracts were filled a second time", got)
	}
}

// Scenario o: a trade print before the book change of the same instant is not counted twice: the print moves nothing,
// the change does.
func TestApply_ScenarioO_TradeBeforeDepth(t *testing.T) {
	x := venue(t, level(data.Sell, 5000, 100))
	x.Apply(&data.Event{Kind: data.Trade, Inst: market0, Side: data.Buy, Price: 5000, Qty: 40 * data.Contract, Last: true})
	x.Apply(&data.Event{Kind: data.Delta, Inst: market0, Side: data.Sell, Price: 5000, Qty: -40 * data.Contract, Last: true})
	if got, _ := take(x, data.Buy, 5000, 100, data.ImmediateOrCancel); got != 60 {
		t.Errorf("%d contracts are left, want 60", got)
	}
}

func TestMatch_WalksDepthWithinTheLimit(t *testing.T) {
	x := venue(t, level(data.Sell, 5000, 10), level(data.Sell, 5100, 10), level(data.Sell, 5300, 10), level(data.Buy, 4900, 7))
	out := x.Match(&data.Command{Kind: data.Place, Order: 1 << 40, Inst: market0, Side: data.Buy, Price: 5200, Qty: 25 * data.Contract, TIF: data.ImmediateOrCancel}, 5, nil)
	var kinds []data.Kind
	for _, e := range out {
		kinds = append(kinds, e.Kind)
	}
	want := []data.Kind{data.Ack, data.Fill, data.Fill, data.Canceled, data.Confirmed, data.Confirmed}
	if len(kinds) != len(want) {
		t.Fatalf("events %v, want %v", kinds, want)
	}
	for i := range want {
		if kinds[i] != want[i] {
			t.Fatalf("events %v, want %v", kinds, want)
		}
	}
	if out[1].Price != 5000 || out[2].Price != 5100 || out[1].Last || !out[2].Last || out[3].Qty != 5*data.Contract {
		t.Errorf("fills %+v", out[1:4])
	}
	// 10 at 0.50 and 10 at 0.51: 10.10 dollars.
	if got := x.Cash(data.Kalshi, 0); got != 1_000_000*data.Dollar-10_100_000 {
		t.Errorf("cash %s", got)
	}
	// Selling YES first closes what is held (7 at 0.49), at what it brings.
	if got, _ := take(x, data.Sell, 4900, 20, data.ImmediateOrCancel); got != 7 {
		t.Errorf("sold %d, want 7", got)
	}
	if got := x.Cash(data.Kalshi, 0); got != 1_000_000*data.Dollar-10_100_000+3_430_000 {
		t.Errorf("cash after the sale %s", got)
	}
	x.Apply(&data.Event{Kind: data.Settle, Inst: market0, Cash: data.Dollar})
	if got := x.Cash(data.Kalshi, 0); got != 1_000_000*data.Dollar-10_100_000+3_430_000+13_000_000 {
		t.Errorf("cash after settlement at YES %s", got)
	}
}

func TestMatch_Rejects(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(x *Exchange)
		side   data.Side
		limit  data.Price
		qty    data.Qty
		tif    data.TIF
		want   data.RejectReason
	}{
		{"off tick", nil, data.Buy, 5050, 10, data.ImmediateOrCancel, data.RejectPrice},
		{"closed", func(x *Exchange) {
			x.Apply(&data.Event{Kind: data.Status, Inst: market0, Arg: data.VenueArg(data.Kalshi, uint8(data.Closed))})
		}, data.Buy, 5000, 10, data.ImmediateOrCancel, data.RejectClosed},
		{"venue paused", func(x *Exchange) {
			x.Apply(&data.Event{Kind: data.Status, Inst: data.NoInstrument, Arg: data.VenueArg(data.Kalshi, uint8(data.Halted))})
		}, data.Buy, 5000, 10, data.ImmediateOrCancel, data.RejectClosed},
		{"no cash", func(x *Exchange) { x.cash[data.Kalshi][0] = data.Dollar }, data.Buy, 5000, 10, data.ImmediateOrCancel, data.RejectCash},
		{"fill or kill beyond depth", nil, data.Buy, 5000, 11, data.FillOrKill, data.RejectUnfilled},
		{"resting order", nil, data.Buy, 5000, 10, data.GoodTillCanceled, data.RejectQty},
		{"fill or kill within depth", nil, data.Buy, 5000, 10, data.FillOrKill, 0},
	} {
		x := venue(t, level(data.Sell, 5000, 10))
		if c.before != nil {
			c.before(x)
		}
		filled, end := take(x, c.side, c.limit, c.qty, c.tif)
		if c.want == 0 {
			if filled != c.qty || end.Kind != data.Canceled {
				t.Errorf("%s: filled %d, %s", c.name, filled, end.Kind)
			}
			continue
		}
		if end.Kind != data.Reject || data.RejectReason(end.Arg) != c.want || filled != 0 {
			t.Errorf("%s: %s %s, filled %d; want %s", c.name, end.Kind, data.RejectReason(end.Arg), filled, c.want)
		}
	}
}

// Whole-cent lots: at 0.53 whole contracts, at 0.533 tens, a dollar at least.
func TestListing_LotAndLeast(t *testing.T) {
	l := data.Listing{QtyMin: 5 * data.Contract, QtyStep: data.Contract / 100, CashStep: data.Cent, CashMin: data.Dollar}
	for p, want := range map[data.Price]data.Qty{5300: data.Contract, 4700: data.Contract, 5000: data.Contract / 50, 5330: 10 * data.Contract, 4670: 10 * data.Contract, 2500: data.Contract / 25} {
		if got := l.Lot(p); got != want {
			t.Errorf("lot at %s is %s, want %s", p, got, want)
		}
	}
	if got := l.Least(data.Buy, 1000, false); got != 10*data.Contract {
		t.Errorf("least buy at 0.10 is %s, want 10", got)
	}
	if got := l.Least(data.Sell, 9000, false); got != 10*data.Contract {
		t.Errorf("least sale at 0.90 (NO at 0.10) is %s, want 10", got)
	}
	if got := l.Least(data.Sell, 1000, true); got != 5*data.Contract {
		t.Errorf("least closing sale is %s, want 5", got)
	}
}

func TestLatency_QuantilesBoundTheDraw(t *testing.T) {
	l := Latency{{0, 10}, {500, 20}, {1000, 100}}
	for u, want := range map[uint32]data.Duration{0: 10, 1 << 31: 20, 1<<32 - 1: 99} {
		if got := l.draw(u); got != want {
			t.Errorf("draw(%d) = %d, want %d", u, got, want)
		}
	}
	if err := (Latency{{500, 20}}).Validate("x"); err == nil {
		t.Error("a distribution without its longest delay was accepted")
	}
}
