package data

import "fmt"

// Venue is an exchange.
type Venue uint8

// The venues. VenueCount bounds arrays indexed by Venue.
const (
	Polymarket Venue = 1
	Kalshi     Venue = 2
	VenueCount       = 3
)

// String is the venue's name in configuration and on tapes.
func (v Venue) String() string {
	switch v {
	case Polymarket:
		return "polymarket"
	case Kalshi:
		return "kalshi"
	}
	return "venue?"
}

// ParseVenue is the inverse of String.
func ParseVenue(s string) (Venue, error) {
	switch s {
	case "polymarket":
		return Polymarket, nil
	case "kalshi":
		return Kalshi, nil
	}
	return 0, fmt.Errorf("unknown venue %q: polymarket or kalshi", s)
}

// MarketKey names a market for ever: the venue and its native id (Kalshi's ticker, Polymarket's condition id).
type MarketKey struct {
	Venue  Venue  `json:"venue"`
	Native string `json:"native"`
}

// String is "venue:native".
func (k MarketKey) String() string { return k.Venue.String() + ":" + k.Native }

// Less orders keys by venue, then native id.
func (k MarketKey) Less(o MarketKey) bool {
	if k.Venue != o.Venue {
		return k.Venue < o.Venue
	}
	return k.Native < o.Native
}

// Band is a stretch of prices with one tick: Start <= price < End (<= at End = One) moves in Steps.
type Band struct {
	Start Price `json:"start"`
	End   Price `json:"end"`
	Step  Price `json:"step"`
}

// Partition says what the venue's own fields prove about the outcomes of an event.
type Partition uint8

// Unproven outcomes may overlap. Exclusive: at most one YES (Kalshi mutually_exclusive; buying all NO is sound).
// Exhaustive: exactly one YES (a Polymarket negative-risk event that is not augmented; buying all YES is sound too).
const (
	Unproven Partition = iota
	Exclusive
	Exhaustive
)

// Listing describes one binary market. It is a dictionary record and part of a session's input.
type Listing struct {
	Key       MarketKey `json:"key"`
	Tokens    [2]string `json:"tokens"`   // Polymarket's YES and NO token ids, decimal, up to 78 digits
	Outcomes  [2]string `json:"outcomes"` // names of the YES and NO outcome
	Event     string    `json:"event"`    // the venue's event that the market belongs to
	EventSize int       `json:"event_size"`
	Partition Partition `json:"partition"`
	NegRisk   bool      `json:"neg_risk"`
	Series    string    `json:"series"`
	Category  string    `json:"category"`
	Title     string    `json:"title"`
	Rules     string    `json:"rules"` // the full rules text, verbatim
	Source    string    `json:"resolution_source"`
	Bands     []Band    `json:"bands"`
	QtyMin    Qty       `json:"qty_min"`
	QtyStep   Qty       `json:"qty_step"`
	CashStep  Money     `json:"cash_step"` // an immediate order's size x price is a multiple of it; 0: no such rule
	CashMin   Money     `json:"cash_min"`  // the least value of an opening immediate order; 0: no such rule
	Opens     Time      `json:"opens"`
	Closes    Time      `json:"closes"`
	Expected  Time      `json:"expected"` // when the result is expected
	Shard     uint8     `json:"shard"`    // Kalshi exchange_index; balances do not move between shards
	Synthetic bool      `json:"synthetic"`
}

// Tick is the step of the band that holds p, or 0 if p is off every band.
func (l *Listing) Tick(p Price) Price { return BandTick(l.Bands, p) }

// BandTick is the step of the band that holds p, or 0. Where bands touch, the upper one begins.
func BandTick(bands []Band, p Price) Price {
	for i := len(bands) - 1; i >= 0; i-- {
		if b := &bands[i]; p >= b.Start && p <= b.End {
			return b.Step
		}
	}
	return 0
}

// OnTick says that an order may carry p: strictly between 0 and One and on its band's grid.
func OnTick(bands []Band, p Price) bool {
	if !p.Tradable() {
		return false
	}
	for i := len(bands) - 1; i >= 0; i-- {
		if b := &bands[i]; p >= b.Start && p <= b.End {
			return b.Step > 0 && (p-b.Start)%b.Step == 0
		}
	}
	return false
}

// UniformBands is one tick over the whole range.
func UniformBands(tick Price) []Band { return []Band{{Start: 0, End: One, Step: tick}} }

// CheckBands refuses empty, overlapping or stepless bands.
func CheckBands(bands []Band) error {
	if len(bands) == 0 {
		return fmt.Errorf("no tick bands")
	}
	end := Price(0)
	for _, b := range bands {
		if b.Start < end || b.End <= b.Start || b.End > One || b.Step <= 0 || (b.End-b.Start)%b.Step != 0 {
			return fmt.Errorf("tick band %s..%s step %s: not ascending on its own grid within 0..1", b.Start, b.End, b.Step)
		}
		end = b.End
	}
	return nil
}

// Lot is the step of an immediate order's quantity at limit p: a multiple of QtyStep whose value is a multiple of
// CashStep. It depends on the price: with whole cents, at 0.53 whole contracts, at 0.533 tens. The complement has the
// same lot.
func (l *Listing) Lot(p Price) Qty {
	step := max(l.QtyStep, 1)
	if l.CashStep == 0 {
		return step
	}
	unit := int64(l.CashStep) * int64(One)
	return step * Qty(unit/GCD(unit, int64(step)*int64(p)%unit))
}

// Least is the smallest quantity that an order may have: QtyMin and, when it opens a position, CashMin's worth at the
// limit of the outcome that is bought.
func (l *Listing) Least(s Side, limit Price, reduce bool) Qty {
	if l.CashMin == 0 || reduce {
		return l.QtyMin
	}
	limit = s.Worth(limit)
	if limit <= 0 {
		return QtyMax
	}
	q := (int64(l.CashMin)*int64(One) + int64(limit) - 1) / int64(limit)
	return max(l.QtyMin, Qty(q))
}

// Branch is one way in which a pair of markets can resolve: what one YES of each pays.
type Branch struct {
	Name string `json:"name"`
	A    Money  `json:"a"`
	B    Money  `json:"b"`
}

// Pairing is an approved pair of markets on one fact. Opposite: A's YES is B's NO. Branches hold every way in which
// the two rule texts can resolve, the two plain ones included.
type Pairing struct {
	ID       string    `json:"id"`
	A        MarketKey `json:"a"`
	B        MarketKey `json:"b"`
	Opposite bool      `json:"opposite"`
	Branches []Branch  `json:"branches"`
}

// Direction is one of the two ways to hold a pair.
type Direction uint8

// LongA buys A's YES against B; ShortA sells it.
const (
	LongA  Direction = 0
	ShortA Direction = 1
)

// Sides are the order sides that open a pair in direction d.
func (p *Pairing) Sides(d Direction) (a, b Side) {
	a, b = Buy, Sell
	if p.Opposite {
		b = Buy
	}
	if d == ShortA {
		a, b = a.Opposite(), b.Opposite()
	}
	return a, b
}

// Par is the least that one contract of each leg pays together over all branches, for a pair held in direction d.
func (p *Pairing) Par(d Direction) Money {
	sa, sb := p.Sides(d)
	worst := 2 * Dollar
	for _, br := range p.Branches {
		worst = min(worst, Payoff(sa, br.A)+Payoff(sb, br.B))
	}
	if len(p.Branches) == 0 {
		return 0
	}
	return worst
}

// ParBest is the most that one contract of each leg can pay together: what closing a held pair gives up.
func (p *Pairing) ParBest(d Direction) Money {
	sa, sb := p.Sides(d)
	best := Money(0)
	for _, br := range p.Branches {
		best = max(best, Payoff(sa, br.A)+Payoff(sb, br.B))
	}
	return best
}

// Payoff is what a contract opened on side s pays when YES pays yes.
func Payoff(s Side, yes Money) Money {
	if s == Buy {
		return yes
	}
	return Dollar - yes
}

// PlainBranches are the two ways in which a pair resolves when both venues agree.
func PlainBranches(opposite bool) []Branch {
	if opposite {
		return []Branch{{"yes", Dollar, 0}, {"no", 0, Dollar}}
	}
	return []Branch{{"yes", Dollar, Dollar}, {"no", 0, 0}}
}

// Dictionary holds the records that do not fit a flat Event. It only grows; an Event's Arg indexes it, and a record
// is there before the event that first uses it. It is part of a session's input and of its digest.
type Dictionary struct {
	Listings []Listing
	Fees     []FeeSchedule
	Pairings []Pairing
}

// Hash is a 64-bit name of the market for digests: FNV-1a over "venue:native". It does not depend on a session.
func (k MarketKey) Hash() uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [3]string{k.Venue.String(), ":", k.Native} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	return h
}
