package engine

import (
	"arbiter/data"
	"arbiter/strategies"
	"arbiter/strategies/legging"
)

// DecisionKind says what a Decision reports.
type DecisionKind uint8

// The kinds, in the order of an opportunity's life.
const (
	Seen      DecisionKind = iota + 1 // an episode began
	Refused                           // the gate refused it, for a reason other than the last
	Tradable                          // the gate admitted it for the first time in the episode
	Attempted                         // orders went out
	Finished                          // the execution is over
	Ended                             // the strategy no longer proposes it
)

// Decision is what the decision code did and why: for reports, never an input. The engine clears its list at every
// Step.
type Decision struct {
	Kind    DecisionKind
	Reason  Refusal
	Episode uint64
	Key     strategies.PlanKey
	Inst    data.InstrumentID
	Plan    strategies.Plan
	Exec    *legging.Execution // Attempted and Finished; valid until the next Step
}

// Refusal is why the gate refused a plan.
type Refusal uint8

// The reasons. Admitted is none.
const (
	Admitted Refusal = iota
	HaltedByOperator
	VenueNotOpen
	MarketNotOpen
	StaleVenue
	StaleMarket
	VenueSkew
	FeesUnknown
	FeesInShares
	PriceOffTick
	PriceCollar
	OrderSize
	OrderNotional
	PositionSize
	PairNotional
	VenueNotional
	Unhedged
	DailyLoss
	BuyingPower
	BelowMinimum
	EdgeTooSmall
	MarketBusy
	TooManyOrders
	TooManyLegs
	NothingToClose
	RefusalCount
)

// String is the reason in reports.
func (r Refusal) String() string {
	names := [RefusalCount]string{"admitted", "halted by operator", "venue not open", "market not open", "venue's feed stale", "market's book stale",
		"venues' delays differ", "fees unknown", "fees in shares", "price off tick", "price collar", "order size", "order notional",
		"position size", "pair notional", "venue notional", "unhedged exposure", "daily loss", "buying power", "below venue minimum",
		"edge too small", "market busy", "too many orders", "too many legs", "nothing to close"}
	if r < RefusalCount {
		return names[r]
	}
	return "refusal?"
}

func (e *Engine) decide(d Decision) { e.log = append(e.log, d) }

func (e *Engine) about(kind DecisionKind, k *keyState, p *strategies.Plan) Decision {
	return Decision{Kind: kind, Episode: k.episode, Key: k.key, Inst: p.Legs[0].Inst, Plan: *p}
}

// Decisions of the last Step.
func (e *Engine) Decisions() []Decision { return e.log }

// OrderOrigin names the episode and the purpose of an order that is not over.
func (e *Engine) OrderOrigin(id data.OrderID) (episode uint64, purpose string) {
	if o := e.order(id); o != nil {
		return e.execs[o.exec].Episode, o.purpose.String()
	}
	return 0, ""
}

// Digest over all commands and refusals so far.
func (e *Engine) Digest() [32]byte { return e.digest.Sum() }

// Account as it stands; do not change it.
func (e *Engine) Account() *Account { return &e.acct }

// Markets as they stand; do not change them.
func (e *Engine) Markets() *strategies.Markets { return &e.m }

// Checkpoint is the newest state hash and the event that it was taken after.
func (e *Engine) Checkpoint() (seq, hash uint64) { return e.checkAt, e.check }

// UnhedgedNow is what is reserved for legs in flight, unconfirmed or stuck.
func (e *Engine) UnhedgedNow() data.Money { return e.unhedged }

// Running is the number of executions that are not over.
func (e *Engine) Running() int {
	n := 0
	for i := range e.execs {
		if e.execs[i].used {
			n++
		}
	}
	return n
}

// stateHash covers books, positions, cash and orders by native keys, independent of the order of ids.
func (e *Engine) stateHash() uint64 {
	var sum uint64
	for i := range e.m.All {
		m := &e.m.All[i]
		h := mix(m.Key, uint64(m.Status)<<1|b2u(m.Valid))
		for _, s := range [2]data.Side{data.Buy, data.Sell} {
			for r := m.Book.Best(s); r.Qty != 0; r = m.Book.Next(s, r.Price) {
				h = mix(mix(h, uint64(r.Price)<<2|uint64(s)), uint64(r.Qty))
			}
		}
		h = mix(mix(h, uint64(e.acct.Positions[i].Qty)), uint64(e.acct.Positions[i].Cost))
		sum += h
	}
	h := sum
	for v := range e.acct.Cash {
		for s := range e.acct.Cash[v] {
			h = mix(mix(h, uint64(e.acct.Cash[v][s])), uint64(e.acct.Reserved[v][s]))
		}
	}
	for i := range e.orders {
		o := &e.orders[i]
		h = mix(mix(h, uint64(o.id)), uint64(o.filled))
	}
	for i := range e.strats {
		for _, w := range e.strats[i].v.Memory() {
			h = mix(h, w)
		}
	}
	return mix(h, uint64(e.unhedged))
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
