// Package basket trades the exclusive outcomes of one event against par: every YES for less than a dollar, or NO on m
// of them for less than m-1 dollars.
//
// It acts on what the venue's own fields prove and on nothing else. All YES needs a proven partition with every
// outcome listed: Polymarket's negative-risk events that are not augmented. Kalshi's mutually_exclusive says that at
// most one outcome pays, not that one must, so there only NO is bought. Augmented negative-risk events have
// placeholders and a changing "Other"; their listings are not proven and never reach a group.
package basket

import (
	"fmt"

	"arbiter/data"
	"arbiter/strategies"
)

// Config of the strategy.
type Config struct {
	QtyMax  data.Qty
	EdgeMin data.Money // at least a cent
	Extra   int        // roundings a leg beyond one fill a level
}

// Defaults are as careful as cross's.
func Defaults() Config { return Config{QtyMax: 1000 * data.Contract, EdgeMin: data.Cent, Extra: 1} }

// Validate refuses what the arithmetic cannot take.
func (c *Config) Validate() error {
	if c.QtyMax <= 0 || c.QtyMax > data.QtyMax || c.EdgeMin < data.Cent || c.Extra < 0 || c.Extra > 1000 {
		return fmt.Errorf("basket: qty_max must be positive, edge_min at least a cent, extra_roundings 0 to 1000")
	}
	return nil
}

// Strategy is stateless.
type Strategy struct{ cfg Config }

// New makes the strategy.
func New(cfg Config) *Strategy { return &Strategy{cfg} }

// Detect looks at the event that the changed market belongs to. Events with more outcomes than a plan has legs are
// refused by the engine when they are listed, with that reason.
func (s *Strategy) Detect(v *strategies.View, changed data.InstrumentID, plans []strategies.Plan) []strategies.Plan {
	n := v.Group(changed)
	if n < 0 {
		return plans
	}
	g := v.GroupOf(n)
	if len(g.Members) < 2 || len(g.Members) > strategies.MaxLegs {
		return plans
	}
	if g.Exhaust && len(g.Members) == g.Outcomes {
		plans = s.allYes(v, n, g, plans)
	}
	return s.allNo(v, n, g, plans)
}

func (s *Strategy) allYes(v *strategies.View, n int32, g *strategies.Group, plans []strategies.Plan) []strategies.Plan {
	plan := strategies.Plan{Key: strategies.PlanKey{Group: uint32(n), Variant: 0}, Par: data.Dollar, Why: strategies.BasketYes}
	for _, id := range g.Members {
		if !v.Usable(id) || v.Book(id).Crossed() {
			return plans
		}
		plan.Legs[plan.N] = strategies.Leg{Inst: id, Side: data.Buy}
		plan.N++
	}
	return s.propose(v, &plan, plans)
}

// allNo takes the outcomes whose NO costs less than the dollar that it adds to par; at least m-1 of m NOs pay.
func (s *Strategy) allNo(v *strategies.View, n int32, g *strategies.Group, plans []strategies.Plan) []strategies.Plan {
	plan := strategies.Plan{Key: strategies.PlanKey{Group: uint32(n), Variant: 1}, Why: strategies.BasketNo}
	for _, id := range g.Members {
		if !v.Usable(id) || v.Book(id).Crossed() {
			continue
		}
		best := v.Book(id).Best(data.Buy)
		if best.Qty == 0 || v.Fees(id).TakerFee(best.Price, data.Contract, data.Sell) >= data.NotionalDown(best.Price, data.Contract) {
			continue
		}
		plan.Legs[plan.N] = strategies.Leg{Inst: id, Side: data.Sell}
		plan.N++
	}
	if plan.N < 2 {
		return plans
	}
	plan.Par = data.Dollar * data.Money(plan.N-1)
	return s.propose(v, &plan, plans)
}

func (s *Strategy) propose(v *strategies.View, plan *strategies.Plan, plans []strategies.Plan) []strategies.Plan {
	if v.Size(plan, strategies.SizeOptions{Max: s.cfg.QtyMax, Extra: s.cfg.Extra}) && plan.Edge >= s.cfg.EdgeMin {
		plans = append(plans, *plan)
	}
	return plans
}
