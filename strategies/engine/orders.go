package engine

import (
	"fmt"

	"arbiter/data"
	"arbiter/strategies"
	"arbiter/strategies/legging"
)

// Wake tokens: the upper bits say what to look at again.
const (
	wakeMarket data.OrderID = 1 << 63 // | instrument
	wakeExec   data.OrderID = 1 << 62 // | execution slot
)

// free is an unused execution slot, or -1.
func (e *Engine) free() int32 {
	for i := range e.execs {
		if !e.execs[i].used {
			return int32(i)
		}
	}
	return -1
}

// start admits a plan: it reserves the worst leg and sends the opening orders.
func (e *Engine) start(v *strategies.View, k *keyState, p *strategies.Plan, out []data.Command) []data.Command {
	n := e.free()
	if n < 0 {
		n = int32(len(e.execs))
		e.execs = append(e.execs, execution{})
	}
	x := &e.execs[n]
	*x = execution{used: true, key: e.keys[k.key]}
	x.unhedged = naked(p, p.Legs[0].Qty)
	e.unhedged += x.unhedged
	k.exec = n
	e.intents = x.Start(&e.cfg.Legging, v, p, k.episode, e.intents[:0])
	out = e.send(n, e.intents, out)
	d := e.about(Attempted, k, p)
	d.Exec = &x.Execution
	e.decide(d)
	return out
}

// send turns intents into orders and their watchdog.
func (e *Engine) send(n int32, intents []legging.Intent, out []data.Command) []data.Command {
	x := &e.execs[n]
	for i := range intents {
		in := &intents[i]
		inst := x.Plan.Legs[in.Leg].Inst
		e.counter++
		o := order{id: data.OrderID(e.cfg.Epoch)<<32 | data.OrderID(e.counter), exec: n, leg: int8(in.Leg), purpose: in.Purpose, side: in.Side,
			inst: inst, price: in.Price, qty: in.Qty, reserved: e.reservation(inst, in.Side, in.Price, in.Qty)}
		m := &e.m.All[inst]
		e.acct.Reserved[m.Listing.Key.Venue][m.Listing.Shard%shardMax] += o.reserved
		e.orders = append(e.orders, o)
		x.Legs[in.Leg].Order, x.Legs[in.Leg].Since = o.id, e.m.Now
		out = append(out, data.Command{Kind: data.Place, Order: o.id, Inst: inst, Side: in.Side, Price: in.Price, Qty: in.Qty, TIF: data.ImmediateOrCancel})
	}
	if len(intents) > 0 {
		out = e.wakeAt(n, e.m.Now.Add(e.cfg.Legging.Timeout), out)
	}
	return out
}

func (e *Engine) wakeAt(n int32, due data.Time, out []data.Command) []data.Command {
	x := &e.execs[n]
	if x.wake > e.m.Now && x.wake <= due {
		return out
	}
	x.wake = due
	return append(out, data.Command{Kind: data.WakeAt, Due: due, Order: wakeExec | data.OrderID(n)})
}

// reservation is the cash that an order can need: nothing for what closes a position but its fee.
func (e *Engine) reservation(inst data.InstrumentID, s data.Side, p data.Price, q data.Qty) data.Money {
	m := &e.m.All[inst]
	pos := e.acct.Positions[inst].Qty
	if s == data.Buy {
		pos = -pos
	}
	opening := q - min(q, max(pos, 0))
	fee := data.Money(0)
	if f := m.Fees.At(e.m.Now); f != nil {
		fee = data.PayoffUp(feeEach(f), q)
	}
	return data.NotionalUp(s.Worth(p), opening) + fee
}

func (e *Engine) order(id data.OrderID) *order {
	for i := range e.orders {
		if e.orders[i].id == id {
			return &e.orders[i]
		}
	}
	return nil
}

// orderEvent folds the outcome of one of our orders in. An event about an order that is not ours, or is over, is a
// mistake of the World's: nothing may be guessed about money.
func (e *Engine) orderEvent(ev *data.Event, out []data.Command) []data.Command {
	o := e.order(ev.Order)
	if o == nil {
		panic(fmt.Sprintf("engine: event %d (%s) about unknown order %d", ev.Seq, ev.Kind, ev.Order))
	}
	x := &e.execs[o.exec]
	n := o.exec
	switch ev.Kind {
	case data.Ack, data.Unknown:
		return out
	case data.Fill:
		e.fill(o, x, ev)
	case data.Confirmed:
		o.pending -= ev.Qty
		x.Confirm(int(o.leg), ev.Qty)
		e.forget(o)
		return e.next(n, out)
	case data.Voided:
		e.void(o, x, ev)
		e.forget(o)
		return e.next(n, out)
	case data.Canceled, data.Reject:
		o.ended = true
		e.release(o)
		x.Legs[o.leg].Order = 0
		e.forget(o)
		return e.next(n, out)
	}
	if !ev.Last {
		return out
	}
	return e.detect(ev.Inst, out) // an own fill changes what is held: strategies look again
}

func (e *Engine) fill(o *order, x *execution, ev *data.Event) {
	if o.ended || o.filled+ev.Qty > o.qty {
		panic(fmt.Sprintf("engine: event %d fills order %d beyond its quantity", ev.Seq, o.id))
	}
	m := &e.m.All[o.inst]
	flow := e.acct.fill(m.Listing.Key.Venue, m.Listing.Shard%shardMax, o.inst, o.side, ev.Price, ev.Qty, ev.Cash)
	m.Position = e.acct.Positions[o.inst].Qty
	o.filled += ev.Qty
	o.pending += ev.Qty
	o.fee += ev.Cash
	o.flow += flow
	x.Fill(int(o.leg), o.purpose, ev.Qty, flow, ev.Cash)
}

// void undoes a provisional fill: the position goes back at the price it was filled at and its fee is returned.
func (e *Engine) void(o *order, x *execution, ev *data.Event) {
	m := &e.m.All[o.inst]
	fee := min(ev.Cash, o.fee)
	flow := e.acct.fill(m.Listing.Key.Venue, m.Listing.Shard%shardMax, o.inst, o.side.Opposite(), ev.Price, ev.Qty, -fee)
	m.Position = e.acct.Positions[o.inst].Qty
	o.pending -= ev.Qty
	o.fee -= fee
	x.Void(int(o.leg), o.purpose, ev.Qty, -flow, fee)
}

func (e *Engine) release(o *order) {
	l := e.m.All[o.inst].Listing
	e.acct.Reserved[l.Key.Venue][l.Shard%shardMax] -= o.reserved
	o.reserved = 0
}

// forget drops an order that can change no more.
func (e *Engine) forget(o *order) {
	if !o.ended || o.pending > 0 {
		return
	}
	for i := range e.orders {
		if e.orders[i].id == o.id {
			e.orders = append(e.orders[:i], e.orders[i+1:]...)
			return
		}
	}
}

// next lets an execution go on, and books its end.
func (e *Engine) next(n int32, out []data.Command) []data.Command {
	x := &e.execs[n]
	k := &e.state[x.key]
	v := e.strats[k.key.Strategy].v
	e.intents = x.Next(&e.cfg.Legging, v, e.intents[:0])
	out = e.send(n, e.intents, out)
	if x.NextTry > e.m.Now {
		out = e.wakeAt(n, x.NextTry, out)
	}
	if !x.Over() {
		return out
	}
	if !x.booked {
		x.booked = true
		e.unhedged -= x.unhedged
		if x.State == legging.Stuck {
			e.unhedged += e.residual(x) // what is stuck stays unhedged until it settles or is closed by hand
		}
		e.decide(Decision{Kind: Finished, Episode: x.Episode, Key: k.key, Inst: x.Plan.Legs[0].Inst, Plan: x.Plan, Exec: &x.Execution})
	}
	if e.pendingOf(n) {
		return out // the slot is kept for fills that are not final
	}
	x.used = false
	k.exec = -1
	k.after = e.m.Now.Add(e.cfg.Cooldown)
	return out
}

func (e *Engine) pendingOf(n int32) bool {
	for i := range e.orders {
		if e.orders[i].exec == n {
			return true
		}
	}
	return false
}

// residual is what the unbalanced part leaves unhedged: contracts bought beyond the others, or kept when others were
// closed.
func (e *Engine) residual(x *execution) data.Money {
	low, high := x.Range()
	var sum data.Money
	for i := range x.Plan.N {
		l := &x.Plan.Legs[i]
		rest := x.Legs[i].Filled - low
		if l.Reduce {
			rest = high - x.Legs[i].Filled
		}
		if rest > 0 {
			sum += data.NotionalUp(exposed(l), rest)
		}
	}
	return sum
}

// wake answers a WakeAt: a market is looked at again, or an execution that waited goes on; an order without an end
// after its timeout is cancelled.
func (e *Engine) wake(ev *data.Event, out []data.Command) []data.Command {
	if ev.Order&wakeMarket != 0 {
		id := data.InstrumentID(ev.Order &^ wakeMarket)
		if int(id) >= len(e.m.All) {
			panic(fmt.Sprintf("engine: event %d wakes unknown market %d", ev.Seq, id))
		}
		return e.detect(id, out)
	}
	n := int32(ev.Order &^ wakeExec)
	if int(n) >= len(e.execs) || !e.execs[n].used {
		return out
	}
	x := &e.execs[n]
	if !x.InFlight() {
		switch {
		case x.NextTry == 0:
			return out
		case x.NextTry <= e.m.Now:
			return e.next(n, out)
		}
		return e.wakeAt(n, x.NextTry, out)
	}
	for i := range x.Plan.N {
		l := &x.Legs[i]
		if l.Order != 0 && e.m.Now.Sub(l.Since) >= e.cfg.Legging.Timeout {
			out = append(out, data.Command{Kind: data.Cancel, Order: l.Order, Inst: x.Plan.Legs[i].Inst})
		}
	}
	return e.wakeAt(n, e.m.Now.Add(e.cfg.Legging.Timeout), out)
}
