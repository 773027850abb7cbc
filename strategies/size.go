package strategies

import (
	"math/bits"

	"arbiter/data"
)

// Sizing walks the books of all legs together and finds the quantity with the greatest edge.
//
// S1: every level is one fill. The notional of each fill rounds once, up when paid, down when received; its fee is the
// schedule's for that fill. Where the venue splits a level into several fills, rounding costs more: Extra counts that
// many further roundings a leg, pessimistically.
// S2: a quantity must be a multiple of every leg's lot at the limit that it reaches, and of at least every leg's
// smallest order.
// S3: of several quantities with the greatest edge, the largest is taken: rounding makes marginals non-monotone.
// S4: the marginal edge never rises with depth: a worse price costs more by 1 + rate x (1-2p) > 0. So a stretch of the
// walk on which it is positive is searched from its end, one on which it is negative from its start, each only as far
// as roundings can outweigh it. The result is the same as trying every quantity (TestCross_FindsWhatTheOracleFinds).
// S5: if the first contract loses before rounding, there is no edge: what half-up fees and waived small fees could
// still win is a fraction of a cent and below every EdgeMin.

// SizeOptions bound a search.
type SizeOptions struct {
	Max   data.Qty // the largest quantity wanted
	Extra int      // further roundings a leg beyond one fill a level
}

// walk is one leg's place in its book.
type walk struct {
	inst   data.InstrumentID
	side   data.Side // of the book that is taken from
	order  data.Side
	reduce bool
	fees   *data.FeeSchedule
	list   *data.Listing
	rung   data.Rung
	start  data.Qty   // quantity in better levels
	cash   data.Money // flow of the better levels, fees included
	slack  data.Money // most that rounding has cost so far
	slope  int64      // flow of one more contract here, 1e-14 dollars
}

const slopeUnit = 100_000_000 // 1e-14 dollars in a micro-dollar

// perFill bounds what the roundings of one fill can cost, and saved what they can save (half-up fees, small fees
// waived).
func perFill(s *data.FeeSchedule) (cost, saved data.Money) {
	return s.Quantum + s.Balance + 2, s.Quantum + s.Minimum
}

// flow is the cash of one fill: negative when paid.
func (w *walk) flow(p data.Price, q data.Qty) data.Money {
	fee := w.fees.TakerFee(p, q, w.order)
	p = w.order.Worth(p)
	if w.reduce { // selling YES that is held brings p; closing NO by buying YES frees 1-p
		return data.NotionalDown(p.Complement(), q) - fee
	}
	return -data.NotionalUp(p, q) - fee
}

func (w *walk) enter(r data.Rung) {
	w.rung = r
	p := r.Price
	fee := int64(w.fees.Taker) * int64(p) * int64(data.One-p)
	if w.fees.Exponent == 2 {
		fee = fee / 10_000 * (int64(p) * int64(data.One-p)) / 10_000
	}
	p = w.order.Worth(p)
	if w.reduce {
		w.slope = int64(data.One-p)*10_000_000_000 - fee
	} else {
		w.slope = -int64(p)*10_000_000_000 - fee
	}
}

// advance moves past the current level, which was taken whole; false: the book ends.
func (w *walk) advance(b *data.Book) bool {
	w.cash += w.flow(w.rung.Price, w.rung.Qty)
	w.start += w.rung.Qty
	cost, _ := perFill(w.fees)
	w.slack += cost
	r := b.Next(w.side, w.rung.Price)
	if r.Qty == 0 {
		return false
	}
	w.enter(r)
	return true
}

// Size finds the best quantity for p's legs, of which Inst, Side and Reduce are set, and p.Par. It fills in limits,
// quantities, Lot and Edge and reports whether a positive edge was found. It allocates nothing.
func (v *View) Size(p *Plan, opt SizeOptions) bool {
	limit := opt.Max
	var extra data.Money
	slope := int64(p.Par) * slopeUnit
	for i := range p.N {
		l := &p.Legs[i]
		m := &v.m.All[l.Inst]
		w := &v.walks[i]
		*w = walk{inst: l.Inst, order: l.Side, side: l.Side.Opposite(), reduce: l.Reduce, fees: m.Fees.At(v.m.Now), list: m.Listing}
		best := m.Book.Best(w.side)
		if w.fees == nil || w.fees.Currency != data.FeeInCollateral || best.Qty == 0 {
			return false
		}
		w.enter(best)
		slope += w.slope
		if l.Reduce {
			limit = min(limit, held(m.Position, l.Side))
		}
	}
	if slope <= 0 || limit <= 0 { // S5
		return false
	}
	for i := range p.N {
		cost, _ := perFill(v.walks[i].fees)
		extra += cost * data.Money(opt.Extra)
	}
	s := search{v: v, p: p, limit: limit, extra: extra}
	return s.run()
}

// held is how much of a position an order on side s closes.
func held(position data.Qty, s data.Side) data.Qty {
	if s == data.Sell {
		return max(position, 0)
	}
	return max(-position, 0)
}

type search struct {
	v       *View
	p       *Plan
	limit   data.Qty
	extra   data.Money
	from    data.Qty // the stretch is (from, to]
	to      data.Qty
	slope   int64
	lot     data.Qty
	least   data.Qty
	slack   data.Money // most that roundings can move the edge from its unrounded course, now and further down
	best    data.Money
	bestQty data.Qty
}

func (s *search) run() bool {
	p, walks := s.p, &s.v.walks
	for {
		s.to = s.limit
		s.lot, s.least, s.slack = 1, 0, 0
		s.slope = int64(p.Par) * slopeUnit
		for i := range p.N {
			w := &walks[i]
			s.to = min(s.to, w.start+w.rung.Qty)
			s.lot = data.LCM(max(s.lot, 1), w.list.Lot(w.rung.Price))
			if s.lot == 0 {
				return s.bestQty > 0
			}
			s.least = max(s.least, w.list.Least(w.order, w.rung.Price, w.reduce))
			s.slope += w.slope
			cost, saved := perFill(w.fees)
			s.slack += w.slack + cost + saved*data.Money(s.v.m.All[w.inst].Book.Len(w.side))
		}
		if s.stretch() || s.to == s.limit {
			return s.bestQty > 0
		}
		s.from = s.to
		for i := range p.N {
			if w := &walks[i]; w.start+w.rung.Qty == s.to && !w.advance(&s.v.m.All[w.inst].Book) {
				return s.bestQty > 0
			}
		}
	}
}

// stretch searches the quantities of (from, to] and reports that nothing further down can be better.
func (s *search) stretch() (done bool) {
	first := (max(s.from, s.least-1)/s.lot + 1) * s.lot
	last := s.to / s.lot * s.lot
	if first > last {
		return false // a later stretch may hold the first multiple of the lot
	}
	if s.slope > 0 {
		reach := s.reach()
		for q := last; q >= first && last-q <= reach; q -= s.lot {
			s.try(q)
		}
		return false
	}
	for q := first; q <= last; q += s.lot {
		if e := s.try(q); e+s.slack < s.best || e+s.slack < 0 {
			return true
		}
	}
	return false
}

// reach is how far before the end of a rising stretch roundings can still win.
func (s *search) reach() data.Qty {
	hi, lo := bits.Mul64(uint64(s.slack), 100_000_000_000_000)
	if hi >= uint64(s.slope) {
		return data.QtyMax
	}
	q, _ := bits.Div64(hi, lo, uint64(s.slope))
	if q >= uint64(data.QtyMax) {
		return data.QtyMax
	}
	return data.Qty(q) + 1
}

// try computes the edge of q exactly and keeps it if it is the best (S3: a tie goes to the larger).
func (s *search) try(q data.Qty) data.Money {
	e := par(s.p.Par, q) - s.extra
	for i := range s.p.N {
		w := &s.v.walks[i]
		e += w.cash + w.flow(w.rung.Price, q-w.start)
	}
	if e > 0 && (e > s.best || (e == s.best && q > s.bestQty)) {
		s.best, s.bestQty = e, q
		p := s.p
		p.Edge, p.Lot = e, s.lot
		for i := range p.N {
			p.Legs[i].Price, p.Legs[i].Qty = s.v.walks[i].rung.Price, q
		}
	}
	return e
}

// par is the payoff of q contracts: rounded down when it will be received, up when it is given up.
func par(per data.Money, q data.Qty) data.Money {
	if per < 0 {
		return -data.PayoffUp(-per, q)
	}
	return data.PayoffDown(per, q)
}

// Price computes the edge of p's legs at quantity q on the books as they stand, at most down to the plan's limits;
// false: the depth is no longer there. The risk gate uses it after it has made a plan smaller.
func (v *View) Price(p *Plan, q data.Qty, extra int) (data.Money, bool) {
	e := par(p.Par, q)
	for i := range p.N {
		l := &p.Legs[i]
		m := &v.m.All[l.Inst]
		w := walk{inst: l.Inst, order: l.Side, side: l.Side.Opposite(), reduce: l.Reduce, fees: m.Fees.At(v.m.Now), list: m.Listing}
		if w.fees == nil {
			return 0, false
		}
		cost, _ := perFill(w.fees)
		e -= cost * data.Money(extra)
		left := q
		for r := m.Book.Best(w.side); left > 0; r = m.Book.Next(w.side, r.Price) {
			if r.Qty == 0 || l.Side.Beyond(r.Price, l.Price) {
				return 0, false
			}
			take := min(left, r.Qty)
			e += w.flow(r.Price, take)
			left -= take
		}
	}
	return e, true
}
