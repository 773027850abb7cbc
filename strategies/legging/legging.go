// Package legging is the multi-leg execution state machine: it turns an admitted plan into orders, consumes their
// outcomes, and restores balance when a leg fails: by dumping the excess, chasing the missing leg or holding.
//
// I1: an execution has no order in flight when it decides what to do next, except opening legs sent together.
// I2: the quantity sent to open never exceeds what was admitted; a hedge never exceeds the imbalance.
// I3: every execution ends: done, or stuck with its residual stated. Tries and deadlines are bounded.
//
// Where it is wrong: hedges are immediate orders against the book as received; it never rests an order. Maker-taker
// plans come with queue positions.
package legging

import (
	"fmt"

	"arbiter/data"
	"arbiter/strategies"
)

// Policy says how an imbalance is repaired.
type Policy uint8

// Dump sells the excess back; Chase buys the missing leg at a worse price, then dumps; Hold waits for the deadline,
// then dumps.
const (
	Dump Policy = iota
	Chase
	Hold
)

// ParsePolicy is the inverse of String.
func ParsePolicy(s string) (Policy, error) {
	for p := Dump; p <= Hold; p++ {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("unknown policy %q: dump, chase or hold", s)
}

// String is the policy's name in the configuration.
func (p Policy) String() string { return [...]string{"dump", "chase", "hold"}[p] }

// Config of the machine.
type Config struct {
	Sequential bool          // one leg after the other instead of all together
	First      data.Venue    // the venue whose legs go first when sequential; 0: as the plan has them
	Imbalance  Policy        // what to do when legs differ
	Slip       data.Price    // how far beyond the best price (dump) or the plan's limit (chase) a hedge may go
	Tries      int           // hedge attempts before the next policy or giving up
	Retry      data.Duration // pause before an attempt that found no depth
	Deadline   data.Duration // of the whole repair
	Timeout    data.Duration // an order without an end is cancelled after it
}

// Defaults sends all legs together and dumps an excess within five cents.
func Defaults() Config {
	return Config{Imbalance: Dump, Slip: 500, Tries: 5, Retry: data.Second, Deadline: 30 * data.Second, Timeout: 5 * data.Second}
}

// Validate refuses what would not end.
func (c *Config) Validate() error {
	if c.Slip < 0 || c.Slip >= data.One || c.Tries < 1 || c.Tries > 100 || c.Retry <= 0 || c.Deadline <= 0 || c.Timeout <= 0 {
		return fmt.Errorf("legging: slip 0..1, tries 1..100, retry, deadline and timeout positive")
	}
	return nil
}

// State of an execution.
type State uint8

// The states. Confirming: balanced, some fills are not final yet.
const (
	Opening State = iota + 1
	Chasing
	Dumping
	Holding
	Confirming
	Done
	Stuck
)

// String is the state's name.
func (s State) String() string {
	return [...]string{"?", "opening", "chasing", "dumping", "holding", "confirming", "done", "stuck"}[s]
}

// Purpose of an order.
type Purpose uint8

// What an order is sent for.
const (
	ToOpen Purpose = iota + 1
	ToChase
	ToDump
)

// String is the purpose's name.
func (p Purpose) String() string { return [...]string{"?", "open", "chase", "dump"}[p] }

// Leg is one leg's progress.
type Leg struct {
	Sent        bool     // its opening order went out
	Filled      data.Qty // in the leg's direction, less what was dumped
	Opened      data.Qty // all that opening and chasing orders filled
	OpenFlow    data.Money
	Dumped      data.Qty
	DumpFlow    data.Money
	Chased      data.Qty
	ChaseFlow   data.Money
	Fees        data.Money
	Unconfirmed data.Qty
	Order       data.OrderID // 0: none
	Since       data.Time
}

// Intent is an order that the machine wants sent.
type Intent struct {
	Leg     int
	Purpose Purpose
	Side    data.Side
	Price   data.Price
	Qty     data.Qty
}

// Execution is one plan being carried out.
type Execution struct {
	Plan     strategies.Plan
	State    State
	Legs     [strategies.MaxLegs]Leg
	Episode  uint64
	Started  data.Time
	Ended    data.Time
	Deadline data.Time
	NextTry  data.Time // when to look again; 0: no wake wanted
	Tries    int
	dumping  bool
}

// Start begins with the opening orders. p carries the admitted quantities.
func (x *Execution) Start(cfg *Config, v *strategies.View, p *strategies.Plan, episode uint64, out []Intent) []Intent {
	*x = Execution{Plan: *p, State: Opening, Episode: episode, Started: v.Now()}
	if !cfg.Sequential {
		for i := range p.N {
			out = x.open(i, p.Legs[i].Qty, out)
		}
		return out
	}
	first := 0
	for i := range p.N {
		if v.Listing(p.Legs[i].Inst).Key.Venue == cfg.First {
			first = i
			break
		}
	}
	return x.open(first, p.Legs[first].Qty, out)
}

func (x *Execution) open(i int, q data.Qty, out []Intent) []Intent {
	l := &x.Plan.Legs[i]
	x.Legs[i].Sent = true
	return append(out, Intent{Leg: i, Purpose: ToOpen, Side: l.Side, Price: l.Price, Qty: q})
}

// Fill books one fill of a leg's order: flow is its cash before fees.
func (x *Execution) Fill(leg int, p Purpose, q data.Qty, flow, fee data.Money) {
	l := &x.Legs[leg]
	l.Fees += fee
	l.Unconfirmed += q
	switch p {
	case ToDump:
		l.Filled -= q
		l.Dumped += q
		l.DumpFlow += flow
	case ToChase:
		l.Chased += q
		l.ChaseFlow += flow
		l.Filled += q
		l.Opened += q
	case ToOpen:
		l.Filled += q
		l.Opened += q
		l.OpenFlow += flow
	}
}

// Confirm makes q of a leg's fills final.
func (x *Execution) Confirm(leg int, q data.Qty) {
	l := &x.Legs[leg]
	l.Unconfirmed = max(0, l.Unconfirmed-q)
}

// Void undoes q of a leg's fills: a matched trade that failed. The caller decides with Next what to repair.
func (x *Execution) Void(leg int, p Purpose, q data.Qty, flow, fee data.Money) {
	l := &x.Legs[leg]
	l.Unconfirmed = max(0, l.Unconfirmed-q)
	l.Fees -= fee
	if p == ToDump {
		l.Filled += q
		l.Dumped -= q
		l.DumpFlow -= flow
	} else {
		l.Filled -= q
		l.Opened -= q
		if p == ToChase {
			l.Chased -= q
			l.ChaseFlow -= flow
		} else {
			l.OpenFlow -= flow
		}
	}
	if x.State == Confirming || x.State == Done {
		x.State, x.Tries = Opening, 0
	}
}

// InFlight says that an order is in flight.
func (x *Execution) InFlight() bool {
	for i := range x.Plan.N {
		if x.Legs[i].Order != 0 {
			return true
		}
	}
	return false
}

// Range is the least and the most that a leg has filled.
func (x *Execution) Range() (low, high data.Qty) {
	low = data.QtyMax
	for i := range x.Plan.N {
		low, high = min(low, x.Legs[i].Filled), max(high, x.Legs[i].Filled)
	}
	return low, high
}

// Over says that nothing more will be done.
func (x *Execution) Over() bool { return x.State == Done || x.State == Stuck }

// Next decides what follows once no order is in flight (I1) and appends the orders to send. A NextTry asks to be
// called again then.
func (x *Execution) Next(cfg *Config, v *strategies.View, out []Intent) []Intent {
	if x.InFlight() || x.Over() {
		return out
	}
	x.NextTry = 0
	now := v.Now()
	low, high := x.Range()
	if x.State == Opening && cfg.Sequential {
		if sent, next := x.sequence(v, out); sent {
			return next
		}
		low, high = x.Range()
	}
	if low == high {
		return x.finish(now, out)
	}
	if x.Deadline == 0 {
		x.Deadline = now.Add(cfg.Deadline)
		x.dumping = cfg.Imbalance == Dump
		if cfg.Imbalance == Hold {
			x.State, x.NextTry = Holding, x.Deadline
			return out
		}
	}
	if x.State == Holding {
		if now < x.Deadline {
			x.NextTry = x.Deadline
			return out
		}
		x.dumping, x.Deadline = true, now.Add(cfg.Deadline)
	}
	if x.Tries >= cfg.Tries || now >= x.Deadline {
		if x.dumping {
			return x.stuck(now, out)
		}
		x.dumping, x.Tries, x.Deadline = true, 0, now.Add(cfg.Deadline)
	}
	x.Tries++
	n := len(out)
	dust := true
	if x.dumping {
		x.State = Dumping
		out, dust = x.dump(cfg, v, low, out)
	} else {
		x.State = Chasing
		out, dust = x.chase(cfg, v, high, out)
	}
	if len(out) == n {
		if dust && x.dumping {
			return x.stuck(now, out) // too small to trade: it stays, and is stated
		}
		if dust {
			x.dumping = true
			return x.Next(cfg, v, out)
		}
		x.NextTry = min(now.Add(cfg.Retry), x.Deadline)
	}
	return out
}

// sequence sends the next leg for what the legs before it filled.
func (x *Execution) sequence(v *strategies.View, out []Intent) (bool, []Intent) {
	done := data.QtyMax
	for i := range x.Plan.N {
		if x.Legs[i].Sent {
			done = min(done, x.Legs[i].Filled)
		}
	}
	for i := range x.Plan.N {
		if x.Legs[i].Sent {
			continue
		}
		l := &x.Plan.Legs[i]
		q := tradable(v, l.Inst, l.Side, l.Price, done, l.Reduce)
		if q == 0 {
			x.Legs[i].Sent = true // nothing to send: what there is must be repaired
			continue
		}
		return true, x.open(i, q, out)
	}
	return false, out
}

// tradable is the part of q that an order at limit may carry.
func tradable(v *strategies.View, inst data.InstrumentID, s data.Side, limit data.Price, q data.Qty, reduce bool) data.Qty {
	list := v.Listing(inst)
	q -= q % list.Lot(limit)
	if q <= 0 || q < list.Least(s, limit, reduce) {
		return 0
	}
	return q
}

// dump sends the excess of each leg back. dust: what is left is too small for any order.
func (x *Execution) dump(cfg *Config, v *strategies.View, low data.Qty, out []Intent) (_ []Intent, dust bool) {
	dust = true
	for i := range x.Plan.N {
		l := &x.Plan.Legs[i]
		excess := x.Legs[i].Filled - low
		if excess <= 0 {
			continue
		}
		side := l.Side.Opposite()
		best := v.Book(l.Inst).Best(l.Side)
		if !v.Usable(l.Inst) || best.Qty == 0 {
			dust = false
			continue
		}
		limit := worsen(v, l.Inst, side, best.Price, cfg.Slip)
		if q := dumpable(v, l.Inst, side, &limit, best.Price, excess); q > 0 {
			dust = false
			out = append(out, Intent{Leg: i, Purpose: ToDump, Side: side, Price: limit, Qty: q})
		}
	}
	return out, dust
}

// dumpable finds the limit within the slip whose lot lets most of the excess go.
func dumpable(v *strategies.View, inst data.InstrumentID, side data.Side, limit *data.Price, best data.Price, excess data.Qty) data.Qty {
	most, at := data.Qty(0), *limit
	step := data.BandTick(v.Bands(inst), best)
	for p := best; step > 0 && p.Tradable() && !side.Beyond(p, *limit); {
		if q := tradable(v, inst, side, p, excess, true); q > most || (q == most && q > 0) {
			most, at = q, p
		}
		if side == data.Buy {
			p += step
		} else {
			p -= step
		}
	}
	*limit = at
	return most
}

// chase asks for what the other legs lack, beyond the plan's limit.
func (x *Execution) chase(cfg *Config, v *strategies.View, high data.Qty, out []Intent) (_ []Intent, dust bool) {
	dust = true
	for i := range x.Plan.N {
		l := &x.Plan.Legs[i]
		missing := high - x.Legs[i].Filled
		if missing <= 0 {
			continue
		}
		limit := worsen(v, l.Inst, l.Side, l.Price, cfg.Slip)
		best := v.Book(l.Inst).Best(l.Side.Opposite())
		q := tradable(v, l.Inst, l.Side, limit, missing, l.Reduce)
		if q > 0 {
			dust = false
		}
		if q > 0 && v.Usable(l.Inst) && best.Qty != 0 && !l.Side.Beyond(best.Price, limit) {
			out = append(out, Intent{Leg: i, Purpose: ToChase, Side: l.Side, Price: limit, Qty: q})
		}
	}
	return out, dust
}

// worsen moves a price by slip against the order, onto the tick.
func worsen(v *strategies.View, inst data.InstrumentID, s data.Side, p, slip data.Price) data.Price {
	bands := v.Bands(inst)
	if s == data.Buy {
		p = min(p+slip, data.One-1)
	} else {
		p = max(p-slip, 1)
	}
	for !data.OnTick(bands, p) && p.Tradable() {
		if s == data.Buy {
			p--
		} else {
			p++
		}
	}
	return p
}

func (x *Execution) finish(now data.Time, out []Intent) []Intent {
	for i := range x.Plan.N {
		if x.Legs[i].Unconfirmed > 0 {
			x.State = Confirming
			return out
		}
	}
	x.State, x.Ended = Done, now
	return out
}

func (x *Execution) stuck(now data.Time, out []Intent) []Intent {
	x.State, x.Ended = Stuck, now
	return out
}

// Outcome is what an execution brought, at par: what its balanced part pays in the worst branch, less everything paid.
type Outcome struct {
	Balanced data.Qty   // of every leg
	Residual data.Qty   // most of one leg beyond that
	Planned  data.Money // the plan's edge, for the balanced part
	Fees     data.Money
	LegLoss  data.Money // what dumping lost, and what chasing cost beyond the plan's limits
	Net      data.Money // of the balanced part and of what was dumped
	Slippage data.Money // Planned - LegLoss - Net: prices that had moved
}

// Outcome reckons the execution up. The residual's cost is not in it: it is still held.
func (x *Execution) Outcome() Outcome {
	var o Outcome
	low, high := x.Range()
	o.Balanced, o.Residual = low, high-low
	planQty := x.Plan.Qty()
	if planQty > 0 && o.Balanced > 0 {
		o.Planned = signedShare(x.Plan.Edge, min(o.Balanced, planQty), planQty)
	}
	if x.Plan.Par >= 0 {
		o.Net = data.PayoffDown(x.Plan.Par, o.Balanced)
	} else {
		o.Net = -data.PayoffUp(-x.Plan.Par, o.Balanced)
	}
	for i := range x.Plan.N {
		l := &x.Legs[i]
		flow := l.OpenFlow + l.ChaseFlow
		held := flow
		if rest := l.Filled - low; rest > 0 && l.Opened > 0 { // the residual's own cost stays with the position
			held -= signedShare(flow, rest, l.Opened)
		}
		o.Net += held + l.DumpFlow - l.Fees
		o.Fees += l.Fees
		if l.Dumped > 0 && l.Opened > 0 {
			o.LegLoss -= l.DumpFlow + signedShare(flow, min(l.Dumped, l.Opened), l.Opened)
		}
		if l.Chased > 0 {
			o.LegLoss -= l.ChaseFlow - x.atLimit(i)
		}
	}
	o.Slippage = o.Planned - o.LegLoss - o.Net
	return o
}

// atLimit is the cash flow of what leg i chased, had it traded at the plan's limit.
func (x *Execution) atLimit(i int) data.Money {
	l := &x.Plan.Legs[i]
	if l.Reduce {
		return data.NotionalDown(l.Side.Worth(l.Price).Complement(), x.Legs[i].Chased)
	}
	return -data.NotionalUp(l.Side.Worth(l.Price), x.Legs[i].Chased)
}

func signedShare(m data.Money, part, whole data.Qty) data.Money {
	if m < 0 {
		return -data.Share(-m, part, whole)
	}
	return data.Share(m, part, whole)
}
