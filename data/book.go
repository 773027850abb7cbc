package data

import "math/bits"

// Rung is one price level. Qty 0 means there is none.
type Rung struct {
	Price Price
	Qty   Qty
}

// Book is the order book of one binary market in YES terms: bids buy YES, asks sell YES (that is, buy NO). It is
// exact: what the venue says, no more. It may be locked or crossed for a moment, because venues' feeds are.
//
// A side holds up to smallMax levels in a short sorted array (a quiet market costs about 200 bytes a side) and turns
// into a dense array over the market's tick with a two-level bitmap when it outgrows that; Set, Add, Qty and Best are
// O(1), the next level is found by at most two bit scans. Steady state allocates nothing.
//
// The zero Book is empty and ready.
type Book struct {
	sides [2]ladder
}

// smallMax bounds the linear search of the small form.
const smallMax = 32

type ladder struct {
	small []Rung   // ascending goodness: the best is last; in use while dense is nil
	dense []Qty    // by price / unit
	words []uint64 // a bit for each slot that is not empty
	heads []uint64 // a bit for each word that is not zero
	unit  Price
	count int
	best  Price // 0: none
}

func (b *Book) side(s Side) *ladder { return &b.sides[s-1] }

// Set makes q the total quantity at price p; 0 removes the level. p must be in 1..One-1 and q in 0..QtyMax; anything
// else is refused with false and changes nothing.
func (b *Book) Set(s Side, p Price, q Qty) bool {
	if !p.Tradable() || q < 0 || q > QtyMax {
		return false
	}
	b.side(s).set(s, p, q)
	return true
}

// Add changes the quantity at price p by d. Below zero or above QtyMax it is refused with false and changes nothing:
// the feed lost something.
func (b *Book) Add(s Side, p Price, d Qty) bool {
	if !p.Tradable() || d > QtyMax || d < -QtyMax {
		return false
	}
	l := b.side(s)
	q := l.qty(s, p) + d
	if q < 0 || q > QtyMax {
		return false
	}
	l.set(s, p, q)
	return true
}

// Qty is the quantity at price p.
func (b *Book) Qty(s Side, p Price) Qty {
	if !p.Tradable() {
		return 0
	}
	return b.side(s).qty(s, p)
}

// Best is the best level of a side: the highest bid or the lowest ask. Qty 0 means the side is empty.
func (b *Book) Best(s Side) Rung {
	l := b.side(s)
	if l.best == 0 {
		return Rung{}
	}
	if l.dense == nil {
		return l.small[len(l.small)-1]
	}
	return Rung{l.best, l.dense[l.best/l.unit]}
}

// BestPrice is the best price of a side, 0 if it is empty: Best without touching the levels.
func (b *Book) BestPrice(s Side) Price { return b.sides[s-1].best }

// Next is the level after (worse than) p on a side; p = 0 asks for the best.
func (b *Book) Next(s Side, p Price) Rung {
	if p == 0 {
		return b.Best(s)
	}
	l := b.side(s)
	if l.dense == nil {
		for i := len(l.small) - 1; i >= 0; i-- {
			if r := l.small[i]; worse(s, r.Price, p) {
				return r
			}
		}
		return Rung{}
	}
	n := l.after(s, p)
	if n == 0 {
		return Rung{}
	}
	return Rung{n, l.dense[n/l.unit]}
}

// Len is the number of levels of a side.
func (b *Book) Len(s Side) int { return b.side(s).count }

// Clear empties both sides and keeps their memory.
func (b *Book) Clear() {
	b.sides[0].clear()
	b.sides[1].clear()
}

// Equal says that two books hold the same levels.
func (b *Book) Equal(o *Book) bool {
	for _, s := range [2]Side{Buy, Sell} {
		if b.Len(s) != o.Len(s) {
			return false
		}
		x, y := b.Best(s), o.Best(s)
		for x == y && x.Qty != 0 {
			x, y = b.Next(s, x.Price), o.Next(s, y.Price)
		}
		if x != y {
			return false
		}
	}
	return true
}

// Crossed says that the best bid is at or above the best ask: locked or crossed.
func (b *Book) Crossed() bool {
	bid, ask := b.sides[0].best, b.sides[1].best
	return bid != 0 && ask != 0 && bid >= ask
}

func worse(s Side, p, q Price) bool { return (s == Buy) == (p < q) && p != q }

func (l *ladder) qty(s Side, p Price) Qty {
	if l.dense != nil {
		if p%l.unit != 0 {
			return 0
		}
		return l.dense[p/l.unit]
	}
	for i := len(l.small) - 1; i >= 0; i-- {
		if l.small[i].Price == p {
			return l.small[i].Qty
		}
		if worse(s, l.small[i].Price, p) {
			return 0
		}
	}
	return 0
}

func (l *ladder) set(s Side, p Price, q Qty) {
	if l.dense == nil {
		if l.setSmall(s, p, q) {
			return
		}
		l.widen(p)
	}
	l.setDense(s, p, q)
}

// setSmall reports false when the level needs the dense form.
func (l *ladder) setSmall(s Side, p Price, q Qty) bool {
	i := len(l.small)
	for i > 0 && worse(s, p, l.small[i-1].Price) {
		i--
	}
	switch {
	case i > 0 && l.small[i-1].Price == p:
		if q != 0 {
			l.small[i-1].Qty = q
			return true
		}
		l.small = append(l.small[:i-1], l.small[i:]...)
		l.count--
	case q == 0:
		return true
	default:
		if len(l.small) == smallMax {
			return false
		}
		l.small = append(l.small, Rung{})
		copy(l.small[i+1:], l.small[i:])
		l.small[i] = Rung{p, q}
		l.count++
	}
	l.best = 0
	if n := len(l.small); n > 0 {
		l.best = l.small[n-1].Price
	}
	return true
}

// widen turns the small form into the dense one on a unit that holds every level and p.
func (l *ladder) widen(p Price) {
	unit := GCD(100, p)
	for _, r := range l.small {
		unit = GCD(unit, r.Price)
	}
	l.allocate(unit)
	for _, r := range l.small {
		l.put(r.Price, r.Qty)
	}
	l.small = l.small[:0]
}

func (l *ladder) allocate(unit Price) {
	slots := int(One/unit) + 1
	l.unit = unit
	l.dense = make([]Qty, slots)
	l.words = make([]uint64, (slots+63)/64)
	l.heads = make([]uint64, (len(l.words)+63)/64)
}

func (l *ladder) put(p Price, q Qty) {
	i := uint(p / l.unit)
	l.dense[i] = q
	l.words[i/64] |= 1 << (i % 64)
	l.heads[i/4096] |= 1 << (i / 64 % 64)
}

// refine rebuilds the dense form on a finer unit. It happens at most a few times in a market's life.
func (l *ladder) refine(p Price) {
	old, unit := l.dense, l.unit
	l.allocate(GCD(unit, p))
	for i, q := range old {
		if q != 0 {
			l.put(Price(i)*unit, q)
		}
	}
}

func (l *ladder) setDense(s Side, p Price, q Qty) {
	if p%l.unit != 0 {
		if q == 0 {
			return
		}
		l.refine(p)
	}
	i := uint(p / l.unit)
	was := l.dense[i]
	if q != 0 {
		l.dense[i] = q
		if was == 0 {
			l.words[i/64] |= 1 << (i % 64)
			l.heads[i/4096] |= 1 << (i / 64 % 64)
			l.count++
			if l.best == 0 || worse(s, l.best, p) {
				l.best = p
			}
		}
		return
	}
	if was == 0 {
		return
	}
	l.dense[i] = 0
	l.count--
	if w := l.words[i/64] &^ (1 << (i % 64)); w != 0 {
		l.words[i/64] = w
	} else {
		l.words[i/64] = 0
		l.heads[i/4096] &^= 1 << (i / 64 % 64)
	}
	if p == l.best {
		l.best = l.after(s, p)
	}
}

// after is the next occupied price beyond p in the worse direction, or 0.
func (l *ladder) after(s Side, p Price) Price {
	if s == Buy {
		i := (int(p) - 1) / int(l.unit) // the highest slot strictly below p
		return Price(l.scanDown(i)) * l.unit
	}
	i := int(p)/int(l.unit) + 1 // the lowest slot strictly above p
	return Price(l.scanUp(i)) * l.unit
}

// scanDown finds the highest occupied slot <= i; slot 0 is never occupied and means none.
func (l *ladder) scanDown(i int) int {
	if i <= 0 {
		return 0
	}
	w := i / 64
	if x := l.words[w] & (^uint64(0) >> (63 - uint(i)%64)); x != 0 {
		return w*64 + 63 - bits.LeadingZeros64(x)
	}
	for h := w / 64; h >= 0; h-- {
		x := l.heads[h]
		if h == w/64 {
			x &= 1<<(uint(w)%64) - 1
		}
		if x != 0 {
			w = h*64 + 63 - bits.LeadingZeros64(x)
			return w*64 + 63 - bits.LeadingZeros64(l.words[w])
		}
	}
	return 0
}

// scanUp finds the lowest occupied slot >= i, or 0.
func (l *ladder) scanUp(i int) int {
	if i >= len(l.dense) {
		return 0
	}
	w := i / 64
	if x := l.words[w] & (^uint64(0) << (uint(i) % 64)); x != 0 {
		return w*64 + bits.TrailingZeros64(x)
	}
	for h := w / 64; h < len(l.heads); h++ {
		x := l.heads[h]
		if h == w/64 {
			x &= ^uint64(0) << (uint(w) % 64) << 1
		}
		if x != 0 {
			w = h*64 + bits.TrailingZeros64(x)
			return w*64 + bits.TrailingZeros64(l.words[w])
		}
	}
	return 0
}

func (l *ladder) clear() {
	l.small = l.small[:0]
	l.count, l.best = 0, 0
	for h, x := range l.heads {
		for ; x != 0; x &= x - 1 {
			w := h*64 + bits.TrailingZeros64(x)
			for y := l.words[w]; y != 0; y &= y - 1 {
				l.dense[w*64+bits.TrailingZeros64(y)] = 0
			}
			l.words[w] = 0
		}
		l.heads[h] = 0
	}
}
