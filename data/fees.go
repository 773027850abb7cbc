package data

import (
	"fmt"
	"math/bits"
)

// Rate is a dimensionless rate in millionths: 0.07 is 70_000.
type Rate int64

// FeeRounding says how a trade fee meets its quantum.
type FeeRounding uint8

// FeeCeil rounds up (Kalshi); FeeHalfUp to the nearest, halves up (Polymarket: its documents name no mode, so this
// is assumed).
const (
	FeeCeil FeeRounding = iota
	FeeHalfUp
)

// FeeCurrency says what a fee is taken in.
type FeeCurrency uint8

// FeeInCollateral is dollars (or pUSD) on top; FeeInShares reduces the contracts that a buyer receives.
const (
	FeeInCollateral FeeCurrency = iota
	FeeInShares
)

// FeeSchedule is a venue's fee rule for one market from Effective on, as data. One function computes a fee from it,
// for detection, simulated fills and accounts alike.
//
// Where it is wrong: maker rebates that are paid later from a pool (Polymarket) are recorded as RebateShare and
// counted as nothing. Flat per-order fees and exponents other than 1 and 2 are refused when a schedule is made.
type FeeSchedule struct {
	Effective Time        `json:"effective"`
	Taker     Rate        `json:"taker"`    // times the series' multiplier already
	Maker     Rate        `json:"maker"`    // times the series' multiplier already
	Exponent  uint8       `json:"exponent"` // of p(1-p): 1 or 2
	Quantum   Money       `json:"quantum"`  // the trade fee is a multiple of it
	Minimum   Money       `json:"minimum"`  // below it, before rounding, the fee is nothing
	Rounding  FeeRounding `json:"rounding"`
	Balance   Money       `json:"balance"` // the account's cash moves in multiples of it; 0: no such rule
	Rebate    Money       `json:"rebate"`  // overpaid rounding is given back per order in multiples of it; 0: never
	Currency  FeeCurrency `json:"currency"`
	Share     Rate        `json:"rebate_share"` // maker rebate pool share; not counted
	Assumed   bool        `json:"assumed"`      // from the configuration, not from the venue's record
	Name      string      `json:"name"`
}

// Bounds of a schedule; with them every product below fits 128 bits.
const (
	rateMax    Rate  = 1_000_000
	quantumMax Money = 10_000
)

// Check refuses a schedule outside the bounds that the arithmetic relies on.
func (s *FeeSchedule) Check() error {
	switch {
	case s.Taker < 0 || s.Taker > rateMax || s.Maker < 0 || s.Maker > rateMax:
		return fmt.Errorf("fee schedule %s: rate outside 0..1", s.Name)
	case s.Exponent != 1 && s.Exponent != 2:
		return fmt.Errorf("fee schedule %s: exponent %d: only 1 and 2 are known", s.Name, s.Exponent)
	case s.Quantum < 1 || s.Quantum > quantumMax:
		return fmt.Errorf("fee schedule %s: quantum %s outside 0.000001..0.01", s.Name, s.Quantum)
	case s.Balance < 0 || s.Balance > quantumMax || s.Rebate < 0 || s.Rebate > Dollar || s.Minimum < 0 || s.Minimum > Dollar:
		return fmt.Errorf("fee schedule %s: balance, rebate or minimum out of range", s.Name)
	}
	return nil
}

// FeeBasis describes one fill for its fee.
type FeeBasis struct {
	Price Price // of YES
	Qty   Qty
	Side  Side // the order's, in YES terms: which way cash moves decides the rounding fee
	Maker bool
}

// Fee is what one fill costs, in its parts.
type Fee struct {
	Trade    Money // the schedule's fee
	Rounding Money // what aligns the account's cash
	Rebate   Money // given back from earlier rounding of the same order
}

// Net is the fee that is charged; it is never negative.
func (f Fee) Net() Money { return f.Trade + f.Rounding - f.Rebate }

// Charge computes the fee of one fill. acc is the order's overpaid rounding so far and is updated; nil means an order
// of a single fill.
//
// Kalshi, docs.kalshi.com/getting_started/fee_rounding (copies of 2026): the trade fee rounds up to the quantum; the
// balance change (revenue less fee) rounds down to the account's precision; the overpayment accumulates by order and
// is given back in whole rebate quanta, the net fee never below zero. Polymarket, docs.polymarket.com (2026-07):
// rate x (p(1-p))^exponent x quantity, five decimals, takers only.
func (s *FeeSchedule) Charge(acc *Money, t FeeBasis) Fee {
	rate := s.Taker
	if t.Maker {
		rate = s.Maker
	}
	f := Fee{Trade: s.trade(rate, t.Price, t.Qty)}
	if s.Balance > 0 {
		f.Rounding = s.alignment(t, f.Trade)
	}
	if s.Rebate > 0 && acc != nil {
		*acc += f.Rounding
		back := min(*acc, f.Trade+f.Rounding)
		f.Rebate = back / s.Rebate * s.Rebate
		*acc -= f.Rebate
	}
	return f
}

// TakerFee is the net fee of a single taker fill.
func (s *FeeSchedule) TakerFee(p Price, q Qty, side Side) Money {
	return s.Charge(nil, FeeBasis{Price: p, Qty: q, Side: side}).Net()
}

// trade is rate x q x (p(1-p))^e on the quantum. The product is at scale 1e-20 dollars for exponent 1 and 1e-28 for 2.
func (s *FeeSchedule) trade(rate Rate, p Price, q Qty) Money {
	if p < 0 || p > One || q < 0 || q > QtyMax {
		panic("data: fee out of bounds")
	}
	if rate == 0 || q == 0 {
		return 0
	}
	pq := uint64(p) * uint64(One-p)
	hi, lo := bits.Mul64(uint64(rate)*pq, uint64(q)) // 2.5e13 x 1e15
	inexact := false
	if s.Exponent == 2 {
		// (x * pq) / 1e8 keeps the scale; x*pq <= 2.5e28 * 2.5e7 = 6.3e35 fits 128 bits.
		h2, l2 := bits.Mul64(lo, pq)
		_, carry := bits.Mul64(hi, pq)
		h2 += carry
		qh, r := h2/1e8, h2%1e8
		ql, r2 := bits.Div64(r, l2, 1e8)
		hi, lo, inexact = qh, ql, r2 != 0
	}
	micro := uint64(100_000_000_000_000) // 1e-20 dollars in a micro-dollar
	if s.Minimum > 0 {
		mh, ml := bits.Mul64(uint64(s.Minimum), micro)
		if hi < mh || (hi == mh && lo < ml) {
			return 0
		}
	}
	unit := micro * uint64(s.Quantum)
	if hi >= unit {
		panic("data: fee out of bounds")
	}
	n, r := bits.Div64(hi, lo, unit)
	switch s.Rounding {
	case FeeCeil:
		if r != 0 || inexact {
			n++
		}
	case FeeHalfUp:
		if r >= unit/2 {
			n++
		}
	}
	return Money(n) * s.Quantum
}

// alignment is the rounding fee: what brings revenue less the trade fee down to a multiple of the balance precision.
// It works at 1e-10 dollars; a rest below a micro-dollar (only with quantities finer than 0.01) rounds up.
func (s *FeeSchedule) alignment(t FeeBasis, trade Money) Money {
	m := uint64(s.Balance) * 10_000
	revenue := uint64(t.Price) * uint64(t.Qty) % m
	fee := uint64(trade) * 10_000 % m
	var rest uint64
	if t.Side == Buy {
		rest = (2*m - revenue - fee) % m
	} else {
		rest = (m + revenue - fee) % m
	}
	return Money((rest + 9_999) / 10_000)
}

// FeeTable is the schedules of one market in order of their effective time.
type FeeTable struct{ schedules []FeeSchedule }

// Add inserts a schedule; one with the same effective time replaces the older.
func (t *FeeTable) Add(s FeeSchedule) {
	i := len(t.schedules)
	for i > 0 && t.schedules[i-1].Effective > s.Effective {
		i--
	}
	if i > 0 && t.schedules[i-1].Effective == s.Effective {
		t.schedules[i-1] = s
		return
	}
	t.schedules = append(t.schedules, s)
	copy(t.schedules[i+1:], t.schedules[i:])
	t.schedules[i] = s
}

// At is the schedule in force at now, or nil: without one nothing may be traded.
func (t *FeeTable) At(now Time) *FeeSchedule {
	for i := len(t.schedules) - 1; i >= 0; i-- {
		if t.schedules[i].Effective <= now {
			return &t.schedules[i]
		}
	}
	return nil
}
