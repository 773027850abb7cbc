// Package strategies is the decisions' own vocabulary: the Strategy interface, the View that a strategy sees and the
// Plan that it proposes. Detection lives in one folder a family beside this file.
//
// Everything here and below is pure: the same events give the same plans, in a backtest, on paper and live. A test
// (purity_test.go) keeps clocks, random numbers, floats, goroutines and map order out.
package strategies

import "arbiter/data"

// Strategy is the whole interface between a strategy and everything else.
type Strategy interface {
	// Detect looks at the world after a complete message about changed and appends the plans that it wishes for. It
	// must not keep v or plans, and keeps no state between calls but the words of View.Memory. A plan replaces the
	// older plan of the same Key; a Key that it proposed before and does not append now is withdrawn if the Key
	// concerns changed (see PlanKey).
	Detect(v *View, changed data.InstrumentID, plans []Plan) []Plan
}

// MaxLegs bounds a plan. A larger basket is refused by its strategy with its reason.
const MaxLegs = 12

// PlanKey names an opportunity: the same key, later, is the same opportunity with newer numbers. Group is a number
// that the strategy chooses (a pair, an event, a market); Variant a direction or kind within it.
type PlanKey struct {
	Strategy uint16 // set by the engine: the strategy's place in the session's list
	Variant  uint16
	Group    uint32
}

// Reason says why a plan is wished for.
type Reason uint8

// The reasons of the bundled families.
const (
	OpenPair Reason = iota + 1
	ClosePair
	CrossedBook
	BasketYes
	BasketNo
	UserReason
)

// String is the reason's name in reports.
func (r Reason) String() string {
	names := [...]string{"?", "open pair", "close pair", "crossed book", "basket of YES", "basket of NO", "user"}
	if int(r) < len(names) {
		return names[r]
	}
	return "reason?"
}

// Leg is one order of a plan, in YES terms: selling what is not held is buying NO.
type Leg struct {
	Inst   data.InstrumentID
	Side   data.Side
	Reduce bool       // closes a position that is held
	Price  data.Price // the worst price that the plan still counts with: the order's limit
	Qty    data.Qty
}

// Plan is a wish, not an order: the risk gate sizes or refuses it, legging turns it into orders.
type Plan struct {
	Key     PlanKey
	Legs    [MaxLegs]Leg
	N       int
	Par     data.Money // what one contract of every leg pays together in the worst branch; negative: given up by closing
	Lot     data.Qty   // the step on which all legs can be scaled together at these limits
	Edge    data.Money // Par x quantity plus every rounded cash flow, fees included
	Expires data.Time  // 0: as long as the books stand
	Recheck data.Time  // 0: none; else Detect is called again then
	Why     Reason
}

// Qty is the quantity of every leg: plans are balanced.
func (p *Plan) Qty() data.Qty {
	if p.N == 0 {
		return 0
	}
	return p.Legs[0].Qty
}
