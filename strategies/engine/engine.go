// Package engine is the decision loop: it folds events into books, orders and accounts, lets strategies detect, gates
// and sizes what they propose, and hands plans to legging. Engine.Step is a pure function of what came before: no
// clock, no randomness, no input but the session's header and its events. Backtest, paper, live and replay run it.
//
// It refuses to know where events come from and what becomes of commands until an event says so.
package engine

import (
	"fmt"

	"arbiter/data"
	"arbiter/strategies"
	"arbiter/strategies/legging"
)

// World is everything outside the decision code.
type World interface {
	Next(ev *data.Event) error  // blocks until there is one; io.EOF ends the session
	Do(cmd *data.Command) error // hands over; the outcome arrives later, as an event
}

// Bounds of one session. Reaching one refuses the plan with its reason, or stops the session where that is all that
// can be done.
const (
	ordersMax     = 1024
	executionsMax = 256
	groupsMax     = 1 << 20
	keysMax       = 1 << 20
)

// Engine is the decision code of one session.
type Engine struct {
	cfg      Config
	dict     *data.Dictionary
	m        strategies.Markets
	strats   []strategist
	plans    []strategies.Plan
	intents  []legging.Intent
	acct     Account
	orders   []order
	counter  uint32
	execs    []execution
	keys     map[strategies.PlanKey]int32
	state    []keyState
	byInst   [][]int32 // keys with an open episode, by instrument
	pairs    map[data.MarketKey][]uint32
	groups   map[string]int32
	ids      map[data.MarketKey]data.InstrumentID
	venue    [data.VenueCount]venueState
	episodes uint64
	unhedged data.Money // reserved for executions not yet over, and residuals of stuck ones
	halted   bool
	pass     uint64
	events   uint64
	digest   Digest
	check    uint64 // state hash of the last checkpoint
	checkAt  uint64
	log      []Decision
}

type strategist struct {
	s strategies.Strategy
	v *strategies.View
}

type venueState struct {
	status data.MarketStatus
	recv   data.Time
	offset data.Duration
}

type order struct {
	id       data.OrderID
	exec     int32
	leg      int8
	purpose  legging.Purpose
	side     data.Side
	inst     data.InstrumentID
	price    data.Price
	qty      data.Qty
	filled   data.Qty
	reserved data.Money
	ended    bool // no more fills; kept until its fills are confirmed
	pending  data.Qty
	fee      data.Money
	flow     data.Money
}

type execution struct {
	legging.Execution
	used     bool
	key      int32
	unhedged data.Money
	wake     data.Time // the earliest wake that was asked for
	booked   bool      // its end was reported and its reserve released
}

// keyState follows one opportunity.
type keyState struct {
	key      strategies.PlanKey
	open     bool
	episode  uint64
	seen     uint64 // pass in which it was last proposed
	since    data.Time
	reason   Refusal
	exec     int32 // running, or -1
	after    data.Time
	tradable bool
	insts    [strategies.MaxLegs]data.InstrumentID
	n        int
}

// New makes the decision code of a session. dict is the session's dictionary, which the World fills.
func New(cfg Config, dict *data.Dictionary, strats ...strategies.Strategy) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(strats) == 0 || len(strats) > 64 {
		return nil, fmt.Errorf("engine: %d strategies; between 1 and 64 are needed", len(strats))
	}
	e := &Engine{cfg: cfg, dict: dict, keys: map[strategies.PlanKey]int32{}, pairs: map[data.MarketKey][]uint32{}, groups: map[string]int32{},
		ids: map[data.MarketKey]data.InstrumentID{}, execs: make([]execution, 0, executionsMax), orders: make([]order, 0, 64)}
	for _, s := range strats {
		e.strats = append(e.strats, strategist{s, strategies.NewView(&e.m, make([]uint64, cfg.Memory))})
	}
	return e, nil
}

// Run is the only decision loop. watch, if not nil, looks on after every step and can change nothing.
func Run(w World, e *Engine, watch func(ev *data.Event, cmds []data.Command)) error {
	var ev data.Event
	var cmds []data.Command
	for {
		if err := w.Next(&ev); err != nil {
			return err
		}
		cmds = e.Step(&ev, cmds[:0])
		for i := range cmds {
			if err := w.Do(&cmds[i]); err != nil {
				return fmt.Errorf("command %d of event %d: %w", i, ev.Seq, err)
			}
		}
		if watch != nil {
			watch(&ev, cmds)
		}
	}
}

// Step folds one event in and appends the commands that it causes. The caller owns out. In steady state it allocates
// nothing.
func (e *Engine) Step(ev *data.Event, out []data.Command) []data.Command {
	if ev.Recv < e.m.Now || ev.Seq <= e.m.Seq {
		panic(fmt.Sprintf("engine: event %d at %s after event %d at %s: the World broke its order", ev.Seq, ev.Recv, e.m.Seq, e.m.Now))
	}
	e.m.Now, e.m.Seq = ev.Recv, ev.Seq
	e.log = e.log[:0]
	e.events++
	first := len(out)
	switch ev.Kind {
	case data.Level, data.Delta, data.Clear, data.Trade, data.TickSize:
		out = e.market(ev, out)
	case data.Wake:
		out = e.wake(ev, out)
	case data.Ack, data.Reject, data.Fill, data.Confirmed, data.Voided, data.Canceled, data.Unknown:
		out = e.orderEvent(ev, out)
	default:
		out = e.fact(ev, out)
	}
	for i := first; i < len(out); i++ {
		out[i].Cause = ev.Seq
		key := uint64(0)
		if out[i].Kind == data.Place {
			key = e.m.All[out[i].Inst].Key
		}
		e.digest.command(&out[i], key)
	}
	if e.events%e.cfg.Checkpoint == 0 {
		e.check, e.checkAt = e.stateHash(), ev.Seq
	}
	return out
}

// market folds market data in and decides when the venue's message is complete.
func (e *Engine) market(ev *data.Event, out []data.Command) []data.Command {
	m := &e.m.All[ev.Inst]
	switch ev.Kind {
	case data.Level:
		if m.Valid && !m.Book.Set(ev.Side, ev.Price, ev.Qty) {
			m.Valid = false
		}
	case data.Delta:
		if m.Valid && !m.Book.Add(ev.Side, ev.Price, ev.Qty) {
			m.Valid = false // below zero: something was lost
			m.Book.Clear()
		}
	case data.Clear:
		m.Book.Clear()
		m.Valid = true
	case data.TickSize:
		m.Bands = data.UniformBands(ev.Price)
	}
	if !ev.Last {
		return out
	}
	m.Recv = ev.Recv
	if ev.Exch != 0 && ev.Kind != data.Clear {
		m.Exch = ev.Exch
	}
	e.venue[m.Venue].recv = ev.Recv
	return e.detect(ev.Inst, out)
}

// fact folds everything else in.
func (e *Engine) fact(ev *data.Event, out []data.Command) []data.Command {
	switch ev.Kind {
	case data.Listed:
		e.list(ev)
	case data.Paired:
		e.pair(&e.dict.Pairings[ev.Arg])
	case data.Fees:
		e.m.All[ev.Inst].Fees.Add(e.dict.Fees[ev.Arg])
	case data.Status:
		return e.status(ev, out)
	case data.Settle:
		e.settle(ev)
	case data.Alive:
		e.venue[ev.Venue()].recv = ev.Recv
	case data.Gap:
		e.gap(ev)
	case data.Offset:
		e.venue[ev.Venue()].offset = data.Duration(ev.Qty)
	case data.Balance:
		e.acct.balance(ev.Venue(), uint8(ev.Arg), ev.Cash)
	case data.Opening:
		l := e.m.All[ev.Inst].Listing
		e.acct.adopt(l.Key.Venue, ev.Inst, ev.Qty, ev.Cash)
		e.m.All[ev.Inst].Position = e.acct.Positions[ev.Inst].Qty
	case data.Control:
		switch data.ControlCode(ev.Arg) {
		case data.Halt, data.Flatten:
			e.halted = true
		case data.Resume:
			e.halted = false
		}
	default:
		panic(fmt.Sprintf("engine: event %d of unknown kind %d", ev.Seq, ev.Kind))
	}
	return out
}

func (e *Engine) list(ev *data.Event) {
	if int(ev.Inst) != len(e.m.All) {
		panic(fmt.Sprintf("engine: instrument %d listed as number %d", ev.Inst, len(e.m.All)))
	}
	l := &e.dict.Listings[ev.Arg]
	e.m.All = append(e.m.All, strategies.Market{Listing: l, Venue: l.Key.Venue, Key: l.Key.Hash(), Group: -1, Bands: l.Bands})
	e.acct.Positions = append(e.acct.Positions, Position{})
	e.byInst = append(e.byInst, nil)
	e.ids[l.Key] = ev.Inst
	m := &e.m.All[ev.Inst]
	if s := e.cfg.Assumed[l.Key.Venue]; s != nil {
		m.Fees.Add(*s)
	}
	e.digest.begin('l')
	e.digest.word(m.Key)
	e.digest.word(uint64(l.QtyMin))
	e.digest.word(uint64(l.QtyStep))
	e.digest.end()
	for _, n := range e.pairs[l.Key] {
		e.link(n)
	}
	e.join(l, ev.Inst)
}

// join puts a market into the group of its event.
func (e *Engine) join(l *data.Listing, id data.InstrumentID) {
	if l.Partition == data.Unproven || l.Event == "" {
		return
	}
	name := l.Key.Venue.String() + ":" + l.Event
	n, ok := e.groups[name]
	if !ok {
		if len(e.m.Groups) == groupsMax {
			return
		}
		n = int32(len(e.m.Groups))
		e.groups[name] = n
		e.m.Groups = append(e.m.Groups, strategies.Group{Venue: l.Key.Venue, Event: l.Event, Outcomes: l.EventSize, Exhaust: l.Partition == data.Exhaustive})
	}
	g := &e.m.Groups[n]
	g.Members = append(g.Members, id)
	g.Outcomes = max(g.Outcomes, l.EventSize)
	g.Exhaust = g.Exhaust && l.Partition == data.Exhaustive
	e.m.All[id].Group = n
	if len(g.Members) == strategies.MaxLegs+1 {
		e.decide(Decision{Kind: Refused, Reason: TooManyLegs, Inst: id})
	}
}

func (e *Engine) pair(p *data.Pairing) {
	n := uint32(len(e.m.Pairs))
	e.m.Pairs = append(e.m.Pairs, strategies.Pair{Pairing: p, Par: [2]data.Money{p.Par(data.LongA), p.Par(data.ShortA)}})
	e.pairs[p.A] = append(e.pairs[p.A], n)
	e.pairs[p.B] = append(e.pairs[p.B], n)
	e.link(n)
}

// link makes a pair ready once both its markets are listed.
func (e *Engine) link(n uint32) {
	p := &e.m.Pairs[n]
	a, okA := e.ids[p.Pairing.A]
	b, okB := e.ids[p.Pairing.B]
	if p.Ready || !okA || !okB {
		return
	}
	p.A, p.B, p.Ready = a, b, true
	e.m.All[a].Pairs = append(e.m.All[a].Pairs, n)
	e.m.All[b].Pairs = append(e.m.All[b].Pairs, n)
}

func (e *Engine) status(ev *data.Event, out []data.Command) []data.Command {
	s := data.MarketStatus(ev.Arg & 0xff)
	if ev.Inst == data.NoInstrument {
		e.venue[ev.Venue()].status = s
		return out
	}
	e.m.All[ev.Inst].Status = s
	if !ev.Last {
		return out
	}
	return e.detect(ev.Inst, out)
}

func (e *Engine) settle(ev *data.Event) {
	m := &e.m.All[ev.Inst]
	if m.Settled {
		return
	}
	m.Settled = true
	e.acct.settle(m.Listing.Key.Venue, m.Listing.Shard%shardMax, ev.Inst, ev.Cash)
	m.Position = 0
}

func (e *Engine) gap(ev *data.Event) {
	if ev.Inst != data.NoInstrument {
		e.m.All[ev.Inst].Valid = false
		e.m.All[ev.Inst].Book.Clear()
		return
	}
	for i := range e.m.All {
		if m := &e.m.All[i]; m.Listing.Key.Venue == ev.Venue() {
			m.Valid = false
			m.Book.Clear()
		}
	}
}

// detect asks every strategy about a market, considers what it proposes and ends the episodes that it no longer does.
func (e *Engine) detect(id data.InstrumentID, out []data.Command) []data.Command {
	e.pass++
	for i := range e.strats {
		s := &e.strats[i]
		e.plans = s.s.Detect(s.v, id, e.plans[:0])
		for j := range e.plans {
			e.plans[j].Key.Strategy = uint16(i)
			out = e.consider(s.v, &e.plans[j], id, out)
		}
	}
	e.endEpisodes(id)
	return out
}

// consider follows a plan's episode and, unless it is under way already, gates it.
func (e *Engine) consider(v *strategies.View, p *strategies.Plan, id data.InstrumentID, out []data.Command) []data.Command {
	if p.N == 0 || p.N > strategies.MaxLegs || p.Qty() <= 0 || (p.Expires != 0 && p.Expires < e.m.Now) {
		return out
	}
	k := e.episode(p)
	if k == nil {
		return out
	}
	if p.Recheck > e.m.Now {
		out = append(out, data.Command{Kind: data.WakeAt, Due: p.Recheck, Order: wakeMarket | data.OrderID(id)})
	}
	if k.exec >= 0 || e.m.Now < k.after {
		return out
	}
	planned := p.Qty()
	reason := e.gate(v, p)
	if reason != Admitted {
		if k.reason != reason {
			k.reason = reason
			e.refuse(k, p, planned, reason)
		}
		return out
	}
	k.reason = Admitted
	if !k.tradable {
		k.tradable = true
		e.decide(e.about(Tradable, k, p))
	}
	return e.start(v, k, p, out)
}

// episode finds or opens the episode of a plan's key.
func (e *Engine) episode(p *strategies.Plan) *keyState {
	n, ok := e.keys[p.Key]
	if !ok {
		if len(e.state) == keysMax {
			return nil
		}
		n = int32(len(e.state))
		e.state = append(e.state, keyState{key: p.Key, exec: -1})
		e.keys[p.Key] = n
	}
	k := &e.state[n]
	k.seen = e.pass
	if k.open {
		return k
	}
	e.episodes++
	k.open, k.episode, k.since, k.reason, k.tradable, k.n = true, e.episodes, e.m.Now, Admitted, false, 0
	for i := range p.N {
		id := p.Legs[i].Inst
		if i > 0 && k.insts[k.n-1] == id {
			continue
		}
		k.insts[k.n] = id
		k.n++
		e.byInst[id] = append(e.byInst[id], n)
	}
	e.decide(e.about(Seen, k, p))
	return k
}

// endEpisodes closes the open episodes of a market that were not proposed in this pass.
func (e *Engine) endEpisodes(id data.InstrumentID) {
	open := e.byInst[id]
	for i := 0; i < len(open); i++ {
		k := &e.state[open[i]]
		if k.seen == e.pass {
			continue
		}
		k.open = false
		e.decide(Decision{Kind: Ended, Episode: k.episode, Key: k.key, Inst: id})
		n := open[i]
		for j := range k.n {
			e.byInst[k.insts[j]] = without(e.byInst[k.insts[j]], n)
		}
		open = e.byInst[id]
		i--
	}
}

func without(list []int32, n int32) []int32 {
	for i, x := range list {
		if x == n {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

func (e *Engine) refuse(k *keyState, p *strategies.Plan, planned data.Qty, r Refusal) {
	d := e.about(Refused, k, p)
	d.Reason = r
	e.decide(d)
	var keys [2]uint64
	for i := range min(p.N, 2) {
		keys[i] = e.m.All[p.Legs[i].Inst].Key
	}
	e.digest.refusal(e.m.Now, r, keys, planned)
}
