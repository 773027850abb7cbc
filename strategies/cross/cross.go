// Package cross detects the same fact priced differently on two venues: YES on one and NO on the other for less than
// they pay together in the worst branch of their rules, net of fees, walking the depth; in both directions and for
// both polarities. It also closes a held pair early when both bids less fees beat what holding it still brings.
//
// It knows approved pairs only. Where it is wrong: a payoff branch that the registry does not list is not priced, and
// the lock-up is charged on closing alone (the report shows the return on locked capital of what was opened).
package cross

import (
	"fmt"

	"arbiter/data"
	"arbiter/strategies"
)

// Config of the strategy.
type Config struct {
	QtyMax   data.Qty   // the largest plan
	EdgeMin  data.Money // the least edge of a plan; at least a cent
	EdgeUnit data.Money // the least edge a contract
	Extra    int        // roundings a leg beyond one fill a level, counted against the edge
	Lockup   data.Rate  // yearly return that locked capital could earn, in millionths; closing early gains it
	Recheck  data.Duration
}

// Defaults are careful: a cent at least, a tenth of a cent a contract, one extra rounding.
func Defaults() Config {
	return Config{QtyMax: 1000 * data.Contract, EdgeMin: data.Cent, EdgeUnit: data.Cent / 10, Extra: 1, Lockup: 40_000}
}

// Validate refuses what the arithmetic cannot take.
func (c *Config) Validate() error {
	switch {
	case c.QtyMax <= 0 || c.QtyMax > data.QtyMax:
		return fmt.Errorf("cross: qty_max %s must be positive and at most %s", c.QtyMax, data.QtyMax)
	case c.EdgeMin < data.Cent:
		return fmt.Errorf("cross: edge_min %s is below a cent, which roundings can make or lose", c.EdgeMin)
	case c.EdgeUnit < 0 || c.Extra < 0 || c.Extra > 1000 || c.Lockup < 0 || c.Lockup > 1_000_000:
		return fmt.Errorf("cross: edge_unit, extra_roundings or lockup out of range")
	}
	return nil
}

// Strategy is stateless: what it needs it reads from the View.
type Strategy struct{ cfg Config }

// New makes the strategy.
func New(cfg Config) *Strategy { return &Strategy{cfg} }

// Detect looks at every pair of the changed market.
func (s *Strategy) Detect(v *strategies.View, changed data.InstrumentID, plans []strategies.Plan) []strategies.Plan {
	for _, n := range v.Pairs(changed) {
		p := v.Pair(n)
		if !p.Ready {
			continue
		}
		var t tops
		t.bidA, t.askA = v.Book(p.A).Top()
		t.bidB, t.askB = v.Book(p.B).Top()
		for d := data.LongA; d <= data.ShortA; d++ {
			cheap := t.cost(p.Pairing, d) < p.Par[d]
			if !cheap && (v.Position(p.A) == 0 || v.Position(p.B) == 0) {
				continue
			}
			if crossed(t.bidA, t.askA) || crossed(t.bidB, t.askB) || !v.Usable(p.A) || !v.Usable(p.B) {
				break
			}
			if cheap && s.held(v, p, d^1) == 0 { // while the other direction is held, closing it is the cheaper way to the same end
				plans = s.open(v, n, p, d, plans)
			}
			plans = s.close(v, n, p, d, 2*data.Dollar-t.cost(p.Pairing, d^1), plans)
		}
	}
	return plans
}

// tops are the best prices of a pair's two books; 0: that side is empty.
type tops struct{ bidA, askA, bidB, askB data.Price }

// cost is what one contract of both legs costs at the best prices, before fees: if that is no less than par, nothing
// deeper is, and nearly every message ends here.
func (t *tops) cost(p *data.Pairing, d data.Direction) data.Money {
	a, b := p.Sides(d)
	return worth(a, t.bidA, t.askA) + worth(b, t.bidB, t.askB)
}

func worth(s data.Side, bid, ask data.Price) data.Money {
	price := bid.Complement()
	if s == data.Buy {
		price = ask
	}
	if (s == data.Buy && ask == 0) || (s == data.Sell && bid == 0) {
		price = 2 * data.One // nothing to take
	}
	return data.Money(price) * 100
}

func crossed(bid, ask data.Price) bool { return bid != 0 && ask != 0 && bid >= ask }

func (s *Strategy) open(v *strategies.View, n uint32, p *strategies.Pair, d data.Direction, plans []strategies.Plan) []strategies.Plan {
	a, b := p.Pairing.Sides(d)
	plan := strategies.Plan{Key: strategies.PlanKey{Group: n, Variant: uint16(d)}, N: 2, Par: p.Par[d], Why: strategies.OpenPair}
	plan.Legs[0] = strategies.Leg{Inst: p.A, Side: a}
	plan.Legs[1] = strategies.Leg{Inst: p.B, Side: b}
	return s.propose(v, &plan, s.cfg.QtyMax, plans)
}

// close gives up the best that the pair can still pay, discounted by what the capital could earn until then. brings is
// what one contract of both legs brings at the best prices: what it costs to hold the other direction, from two dollars.
func (s *Strategy) close(v *strategies.View, n uint32, p *strategies.Pair, d data.Direction, brings data.Money, plans []strategies.Plan) []strategies.Plan {
	q := s.held(v, p, d)
	if q == 0 {
		return plans
	}
	a, b := p.Pairing.Sides(d)
	par := p.Pairing.ParBest(d)
	par -= s.lockup(v, p, par)
	if brings <= par {
		return plans
	}
	plan := strategies.Plan{Key: strategies.PlanKey{Group: n, Variant: 2 + uint16(d)}, N: 2, Par: -par, Why: strategies.ClosePair}
	plan.Legs[0] = strategies.Leg{Inst: p.A, Side: a.Opposite(), Reduce: true}
	plan.Legs[1] = strategies.Leg{Inst: p.B, Side: b.Opposite(), Reduce: true}
	return s.propose(v, &plan, min(q, s.cfg.QtyMax), plans)
}

func (s *Strategy) propose(v *strategies.View, plan *strategies.Plan, limit data.Qty, plans []strategies.Plan) []strategies.Plan {
	if !v.Size(plan, strategies.SizeOptions{Max: limit, Extra: s.cfg.Extra}) {
		return plans
	}
	if plan.Edge < s.cfg.EdgeMin || plan.Edge < data.PayoffUp(s.cfg.EdgeUnit, plan.Qty()) {
		return plans
	}
	if s.cfg.Recheck > 0 {
		plan.Recheck = v.Now().Add(s.cfg.Recheck)
	}
	return append(plans, *plan)
}

// held is how many pairs are held in direction d.
func (s *Strategy) held(v *strategies.View, p *strategies.Pair, d data.Direction) data.Qty {
	a, b := p.Pairing.Sides(d)
	return min(long(v.Position(p.A), a), long(v.Position(p.B), b))
}

func long(position data.Qty, s data.Side) data.Qty {
	if s == data.Sell {
		position = -position
	}
	return max(position, 0)
}

const year = 365 * data.Day

// lockup is what par could earn from now until the later of the two markets is expected to pay.
func (s *Strategy) lockup(v *strategies.View, p *strategies.Pair, par data.Money) data.Money {
	until := max(pays(v.Listing(p.A)), pays(v.Listing(p.B)))
	left := min(until.Sub(v.Now()), 10*year)
	if left <= 0 {
		return 0
	}
	// par <= 1e9 micro-dollars, rate <= 1e6, hours <= 87,600: the product fits 64 bits.
	return par * data.Money(s.cfg.Lockup) / 1_000_000 * data.Money(left/data.Hour) / data.Money(year/data.Hour)
}

func pays(l *data.Listing) data.Time { return max(l.Closes, l.Expected) }
