// Package oracle finds cross-venue opportunities the dumb way, for tests alone: maps and big rationals, every quantity
// on a grid of hundredths of a contract tried one by one. It imports nothing of ours (a test sees to that), so that an
// error in the book, the fees or the search cannot be made twice.
package oracle

import (
	"math/big"
	"sort"
)

// Rules are one venue's, in the documents' own units.
type Rules struct {
	Rate      *big.Rat // of the taker fee
	Quantum   *big.Rat // the fee's step
	HalfUp    bool     // else up
	Minimum   *big.Rat // below it no fee; nil: none
	Alignment *big.Rat // cash moves in its multiples; nil: no such rule
	Whole     bool     // size x price is whole cents, and an order is worth a dollar
	Least     *big.Rat // smallest order
}

// Market is one book: levels by price, in ten-thousandths of a dollar.
type Market struct {
	Rules *Rules
	Bids  map[int]*big.Rat
	Asks  map[int]*big.Rat
}

// NewMarket is empty.
func NewMarket(r *Rules) *Market { return &Market{r, map[int]*big.Rat{}, map[int]*big.Rat{}} }

// Clear empties the book.
func (m *Market) Clear() { m.Bids, m.Asks = map[int]*big.Rat{}, map[int]*big.Rat{} }

// Set makes a level's quantity; Add changes it.
func (m *Market) Set(bid bool, price int, q *big.Rat) {
	side := m.Asks
	if bid {
		side = m.Bids
	}
	if q.Sign() == 0 {
		delete(side, price)
		return
	}
	side[price] = q
}

// Add changes a level by a signed quantity.
func (m *Market) Add(bid bool, price int, d *big.Rat) {
	side := m.Asks
	if bid {
		side = m.Bids
	}
	was := side[price]
	if was == nil {
		was = new(big.Rat)
	}
	m.Set(bid, price, new(big.Rat).Add(was, d))
}

// Crossed says that the best bid meets the best ask.
func (m *Market) Crossed() bool {
	b, a := m.sorted(true), m.sorted(false)
	return len(b) > 0 && len(a) > 0 && b[0] >= a[0]
}

func (m *Market) sorted(bids bool) []int {
	side := m.Asks
	if bids {
		side = m.Bids
	}
	out := make([]int, 0, len(side))
	for p := range side {
		out = append(out, p)
	}
	sort.Ints(out)
	if bids {
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
	}
	return out
}

// Found is the best way to buy both legs now.
type Found struct {
	Hundredths int    // quantity
	Edge       int64  // micro-dollars
	Limits     [2]int // worst prices, in YES terms
}

// Leg is one side of a pair: buy YES, or sell it (that is, buy NO).
type Leg struct {
	M   *Market
	Buy bool
}

var (
	one   = big.NewRat(1, 1)
	micro = big.NewRat(1, 1_000_000)
)

func steps(x, unit *big.Rat, up bool) *big.Int {
	q := new(big.Rat).Quo(x, unit)
	n := new(big.Int).Div(q.Num(), q.Denom()) // floor
	if up && new(big.Rat).SetInt(n).Cmp(q) != 0 {
		n.Add(n, big.NewInt(1))
	}
	return n
}

func roundTo(x, unit *big.Rat, up bool) *big.Rat {
	return new(big.Rat).Mul(new(big.Rat).SetInt(steps(x, unit, up)), unit)
}

// fee of one fill at YES price p.
func (r *Rules) fee(p, q *big.Rat, buy bool) *big.Rat {
	raw := new(big.Rat).Mul(r.Rate, q)
	raw.Mul(raw, p)
	raw.Mul(raw, new(big.Rat).Sub(one, p))
	var f *big.Rat
	switch {
	case r.Minimum != nil && raw.Cmp(r.Minimum) < 0:
		f = new(big.Rat)
	case r.HalfUp:
		half := new(big.Rat).Mul(r.Quantum, big.NewRat(1, 2))
		f = roundTo(new(big.Rat).Add(raw, half), r.Quantum, false)
	default:
		f = roundTo(raw, r.Quantum, true)
	}
	if r.Alignment == nil {
		return f
	}
	revenue := new(big.Rat).Mul(p, q)
	if buy {
		revenue.Neg(revenue)
	}
	change := new(big.Rat).Sub(revenue, f)
	rest := new(big.Rat).Sub(change, roundTo(change, r.Alignment, false))
	return f.Add(f, roundTo(rest, micro, true))
}

// Best tries every quantity of 0.01 to most hundredths. par is what one contract of both legs pays, extra what is
// counted against the edge beforehand.
func Best(legs [2]Leg, par *big.Rat, most int, extra *big.Rat) *Found {
	// At the best prices alone the pair must cost less than it pays: every further level and every fee only adds.
	cheapest := new(big.Rat)
	for _, l := range legs {
		prices := l.M.sorted(!l.Buy)
		if len(prices) == 0 {
			return nil
		}
		price := big.NewRat(int64(prices[0]), 10_000)
		if !l.Buy {
			price.Sub(one, price)
		}
		cheapest.Add(cheapest, price)
	}
	if cheapest.Cmp(par) >= 0 {
		return nil
	}
	var best *Found
	for n := 1; n <= most; n++ {
		q := big.NewRat(int64(n), 100)
		edge := new(big.Rat).Sub(roundTo(new(big.Rat).Mul(par, q), micro, false), extra)
		f := Found{Hundredths: n}
		ok := true
		for i, l := range legs {
			cost, limit, enough := l.cost(q)
			if !enough {
				return best // no larger quantity fits either
			}
			if !l.admits(q, limit) {
				ok = false
				break
			}
			edge.Sub(edge, cost)
			f.Limits[i] = limit
		}
		if !ok {
			continue
		}
		e := new(big.Rat).Quo(edge, micro)
		if !e.IsInt() {
			panic("oracle: an edge finer than a micro-dollar")
		}
		f.Edge = e.Num().Int64()
		if f.Edge > 0 && (best == nil || f.Edge >= best.Edge) {
			best = &f
		}
	}
	return best
}

// cost walks the book: every level is one fill, its notional rounds up.
func (l Leg) cost(q *big.Rat) (cost *big.Rat, limit int, enough bool) {
	cost = new(big.Rat)
	left := new(big.Rat).Set(q)
	side := l.M.Asks
	if !l.Buy {
		side = l.M.Bids
	}
	for _, p := range l.M.sorted(!l.Buy) {
		take := new(big.Rat).Set(side[p])
		if take.Cmp(left) > 0 {
			take.Set(left)
		}
		price := big.NewRat(int64(p), 10_000)
		worth := price
		if !l.Buy {
			worth = new(big.Rat).Sub(one, price)
		}
		cost.Add(cost, roundTo(new(big.Rat).Mul(worth, take), micro, true))
		cost.Add(cost, l.M.Rules.fee(price, take, l.Buy))
		limit = p
		if left.Sub(left, take); left.Sign() == 0 {
			return cost, limit, true
		}
	}
	return cost, limit, false
}

// admits applies the venue's size rules at the limit.
func (l Leg) admits(q *big.Rat, limit int) bool {
	r := l.M.Rules
	if q.Cmp(r.Least) < 0 {
		return false
	}
	if !r.Whole {
		return true
	}
	price := big.NewRat(int64(limit), 10_000)
	if !l.Buy {
		price.Sub(one, price)
	}
	value := new(big.Rat).Mul(price, q)
	cents := new(big.Rat).Mul(value, big.NewRat(100, 1))
	return cents.IsInt() && value.Cmp(one) >= 0
}
