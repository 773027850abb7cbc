// Package example is a strategy to copy. It is one file, and all of a strategy: copy the folder, rename the package,
// change Detect, and hand New(...) to engine.New (see the runnable Example in package sim) or add a line to
// cmd/arbiter/strategies.go to have it on the command line.
//
// What it does: it buys YES of any market whose best ask is at or below a price, a few contracts at a time, up to a
// position. That is no arbitrage, only the shortest thing that shows every part.
package example

import (
	"arbiter/data"
	"arbiter/strategies"
)

// Config holds what a user may tune. Prices are ten-thousandths of a dollar, quantities millionths of a contract: use
// the constants of package data and write 500 for five cents.
type Config struct {
	PriceMax data.Price // buy at this price or below
	Lot      data.Qty   // how much at a time
	Position data.Qty   // stop here
	Worth    data.Money // what you believe one contract is worth: the plan's par
}

// Strategy has no fields that change. A strategy keeps no state of its own: what it knows it asks the View, and if it
// must remember something it uses the words of View.Memory, which the engine hashes, checkpoints and replays.
type Strategy struct{ cfg Config }

// New makes it.
func New(cfg Config) *Strategy { return &Strategy{cfg} }

// Detect is called after every complete message about a market, after each of our fills and when a plan asked to be
// looked at again. It appends what it wishes for. There is no order to send and nothing to wait for: the risk gate
// sizes or refuses the plan, legging executes it, and what happened shows in View.Position at the next call.
func (s *Strategy) Detect(v *strategies.View, changed data.InstrumentID, plans []strategies.Plan) []strategies.Plan {
	// Usable: listed, open, a valid book, fees known. A crossed book is a feed's passing inconsistency.
	if !v.Usable(changed) || v.Book(changed).Crossed() {
		return plans
	}
	best := v.Book(changed).Best(data.Sell)
	if best.Qty == 0 || best.Price > s.cfg.PriceMax {
		return plans
	}
	left := s.cfg.Position - v.Position(changed)
	if left <= 0 {
		return plans
	}
	// A plan has a key: as long as it is proposed with the same key it is the same opportunity. Group may be any
	// number of yours; the market's id serves here.
	plan := strategies.Plan{Key: strategies.PlanKey{Group: uint32(changed)}, N: 1, Par: s.cfg.Worth, Why: strategies.UserReason}
	plan.Legs[0] = strategies.Leg{Inst: changed, Side: data.Buy}
	// Size walks the book with exact fees and lots and sets limit price, quantity and edge. false: no edge.
	if v.Size(&plan, strategies.SizeOptions{Max: min(s.cfg.Lot, left)}) {
		plans = append(plans, plan)
	}
	return plans
}
