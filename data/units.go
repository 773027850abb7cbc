package data

import "math/bits"

// Price is a price in ten-thousandths of a dollar. A binary contract trades strictly between 0 and One.
// Venue ticks run from 0.1 (1000) down to 0.0001 (1).
type Price int32

// One is the price of a certain contract: one dollar.
const One Price = 10_000

// Complement is the price of the other outcome: buying NO at 1-p is selling YES at p.
func (p Price) Complement() Price { return One - p }

// Tradable says that an order can rest at p.
func (p Price) Tradable() bool { return p > 0 && p < One }

// Qty is a quantity in millionths of a contract. Negative quantities are short positions or signed changes.
type Qty int64

// Contract is one whole contract.
const Contract Qty = 1_000_000

// QtyMax bounds every quantity that enters the program: one billion contracts. With it a notional needs at most
// 64 bits after scaling and every intermediate product below fits 128 bits:
// rate (1e6) x QtyMax (1e15) x p(1-p) (2.5e7) = 2.5e28.
const QtyMax Qty = 1_000_000_000 * Contract

// Money is an amount in millionths of a dollar. Polymarket's pUSD has the same six decimals.
type Money int64

// Dollar and Cent in Money.
const (
	Dollar Money = 1_000_000
	Cent   Money = 10_000
)

// MoneyMax bounds every amount that enters the program: one trillion dollars.
const MoneyMax Money = 1_000_000_000_000 * Dollar

// Time is nanoseconds since the Unix epoch, UTC. Zero means absent: no venue of ours existed in 1970.
type Time int64

// Duration is a difference of two Times in nanoseconds.
type Duration int64

// Named durations.
const (
	Microsecond Duration = 1_000
	Millisecond Duration = 1_000_000
	Second      Duration = 1_000_000_000
	Minute      Duration = 60 * Second
	Hour        Duration = 60 * Minute
	Day         Duration = 24 * Hour
)

// Add moves t by d.
func (t Time) Add(d Duration) Time { return t + Time(d) }

// Sub is the duration from u to t.
func (t Time) Sub(u Time) Duration { return Duration(t - u) }

// UTCDay is the number of whole UTC days since the epoch; daily limits roll with it.
func (t Time) UTCDay() int64 {
	if t < 0 {
		return (int64(t)+1)/int64(Day) - 1
	}
	return int64(t) / int64(Day)
}

// InstrumentID is the dense number of a binary market inside one session: the order of its Listing events, never
// reused. It means nothing outside the session; tapes and digests use (venue, native id).
type InstrumentID uint32

// NoInstrument marks an event that concerns a whole venue.
const NoInstrument InstrumentID = 1<<32 - 1

// OrderID is epoch<<32 | counter, the epoch being the session's. It is replayable: the counter is D's own.
type OrderID uint64

// muldiv returns floor(a*b/c) and whether the division left a remainder. It panics if the quotient does not fit 64
// bits: the bounds on Qty, Price and rates exclude that, so reaching it is our mistake.
func muldiv(a, b, c uint64) (quotient uint64, exact bool) {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		panic("data: product out of bounds")
	}
	q, r := bits.Div64(hi, lo, c)
	return q, r == 0
}

// NotionalDown is p x q rounded down to a micro-dollar: what is received. q must not be negative.
func NotionalDown(p Price, q Qty) Money {
	v, _ := notional(p, q)
	return v
}

// NotionalUp is p x q rounded up to a micro-dollar: what is paid. q must not be negative.
func NotionalUp(p Price, q Qty) Money {
	v, exact := notional(p, q)
	if !exact {
		v++
	}
	return v
}

func notional(p Price, q Qty) (Money, bool) {
	if p < 0 || p > One || q < 0 || q > QtyMax {
		panic("data: notional out of bounds")
	}
	v, exact := muldiv(uint64(p), uint64(q), uint64(One))
	return Money(v), exact
}

// PayoffDown is what q contracts pay when one pays per (per in 0..Dollar for a single contract; sums of several
// contracts' payoffs may be larger), rounded down: half-micro payouts floor. q must not be negative.
func PayoffDown(per Money, q Qty) Money {
	if per < 0 || per > 1000*Dollar || q < 0 || q > QtyMax {
		panic("data: payoff out of bounds")
	}
	v, _ := muldiv(uint64(per), uint64(q), uint64(Contract))
	return Money(v)
}

// PayoffUp is PayoffDown rounded up: a payoff that is given away.
func PayoffUp(per Money, q Qty) Money {
	if per < 0 || per > 1000*Dollar || q < 0 || q > QtyMax {
		panic("data: payoff out of bounds")
	}
	v, exact := muldiv(uint64(per), uint64(q), uint64(Contract))
	if !exact {
		v++
	}
	return Money(v)
}

// GCD is the greatest common divisor of two non-negative quantities; GCD(0, b) = b.
func GCD[T ~int32 | ~int64](a, b T) T {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// LCM is the least common multiple of two positive lots, or 0 when it exceeds QtyMax: no size fits both.
func LCM(a, b Qty) Qty {
	g := GCD(a, b)
	if g <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(a/g), uint64(b))
	if hi != 0 || lo > uint64(QtyMax) {
		return 0
	}
	return Qty(lo)
}

// QtyFor is how many contracts money buys at per each, rounded down and at most QtyMax.
func QtyFor(money, per Money) Qty {
	if money <= 0 {
		return 0
	}
	if per <= 0 {
		return QtyMax
	}
	hi, lo := bits.Mul64(uint64(money), uint64(Contract))
	if hi >= uint64(per) {
		return QtyMax
	}
	q, _ := bits.Div64(hi, lo, uint64(per))
	return Qty(min(q, uint64(QtyMax)))
}

// Share is money x part / whole, rounded down; part must be in 0..whole, money not negative.
func Share(money Money, part, whole Qty) Money {
	if part == whole {
		return money
	}
	v, _ := muldiv(uint64(money), uint64(part), uint64(whole))
	return Money(v)
}
