// Package parity compares one market with itself: YES and NO of one market under par.
//
// It is the null control. A market has one book here, in YES terms, and NO liquidity is the same liquidity, so parity
// can fire only when the book is crossed: when the venue's feed contradicts itself or something was lost. On a sound
// recording it finds nothing, and finding something means that the recording, not the market, is wrong.
package parity

import (
	"fmt"

	"arbiter/data"
	"arbiter/strategies"
)

// Config of the strategy.
type Config struct {
	QtyMax  data.Qty
	EdgeMin data.Money // at least a cent
}

// Defaults of a control: any cent counts.
func Defaults() Config { return Config{QtyMax: 1000 * data.Contract, EdgeMin: data.Cent} }

// Validate refuses what the arithmetic cannot take.
func (c *Config) Validate() error {
	if c.QtyMax <= 0 || c.QtyMax > data.QtyMax || c.EdgeMin < data.Cent {
		return fmt.Errorf("parity: qty_max must be positive and edge_min at least a cent")
	}
	return nil
}

// Strategy is stateless.
type Strategy struct{ cfg Config }

// New makes the strategy.
func New(cfg Config) *Strategy { return &Strategy{cfg} }

// Detect buys the asks and sells the bids of a crossed book.
func (s *Strategy) Detect(v *strategies.View, changed data.InstrumentID, plans []strategies.Plan) []strategies.Plan {
	if !v.Usable(changed) || !v.Book(changed).Crossed() {
		return plans
	}
	plan := strategies.Plan{Key: strategies.PlanKey{Group: uint32(changed)}, N: 2, Par: data.Dollar, Why: strategies.CrossedBook}
	plan.Legs[0] = strategies.Leg{Inst: changed, Side: data.Buy}
	plan.Legs[1] = strategies.Leg{Inst: changed, Side: data.Sell}
	if v.Size(&plan, strategies.SizeOptions{Max: s.cfg.QtyMax}) && plan.Edge >= s.cfg.EdgeMin {
		plans = append(plans, plan)
	}
	return plans
}
