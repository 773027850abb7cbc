// Package report turns a run into results: the funnel of distinct opportunities, money, refusals, tables and a run
// folder. It looks on (engine.Run's watch) and can change nothing.
//
// Where it is wrong: Net is what balanced positions pay at par in the worst listed branch; it is not cash until the
// markets settle, and what is open at the end is shown apart at executable prices and never counted. The phantom
// share shifts one venue's stamps by a constant; real clocks drift.
package report

import (
	"fmt"
	"slices"

	"arbiter/data"
	"arbiter/strategies"
	"arbiter/strategies/engine"
	"arbiter/strategies/legging"
)

// offsets are the shifts of Kalshi's stamps against Polymarket's under which coexistence is asked.
var offsets = [...]data.Duration{0, -50 * data.Millisecond, 50 * data.Millisecond, -250 * data.Millisecond, 250 * data.Millisecond, -data.Second, data.Second}

// Episode is one opportunity from its first sight to its end.
type Episode struct {
	ID        uint64             `json:"id"`
	Strategy  string             `json:"strategy"`
	Why       string             `json:"why"`
	Pair      string             `json:"pair"` // the pair's id, or the markets
	Markets   []string           `json:"markets"`
	Start     data.Time          `json:"start"`
	End       data.Time          `json:"end"`
	Edge      data.Money         `json:"edge"` // when first seen
	Qty       data.Qty           `json:"qty"`
	Par       data.Money         `json:"par"`
	Tradable  bool               `json:"tradable"`
	Attempts  int                `json:"attempts"`
	Filled    int                `json:"filled"` // attempts whose legs all filled alike
	Refusals  []string           `json:"refusals"`
	Coexisted [len(offsets)]bool `json:"coexisted"`
	Two       bool               `json:"two_markets"`
	Outcome   legging.Outcome    `json:"outcome"` // summed over attempts
	Legs      []LegView          `json:"legs"`
	Books     []BookAt           `json:"books"`
	Orders    []Order            `json:"orders"`
	Gate      map[string]string  `json:"gate"`
	joints    int
	finished  int
	insts     [2]data.InstrumentID
}

// LegView is one leg as planned.
type LegView struct {
	Market string     `json:"market"`
	Side   string     `json:"side"`
	Limit  data.Price `json:"limit"`
	Qty    data.Qty   `json:"qty"`
}

// BookAt is the best levels of a market at a moment.
type BookAt struct {
	Market string      `json:"market"`
	At     data.Time   `json:"at"`
	Recv   data.Time   `json:"newest_message"`
	Exch   data.Time   `json:"newest_stamp"`
	Bids   []data.Rung `json:"bids"`
	Asks   []data.Rung `json:"asks"`
}

// Order is one order with its end.
type Order struct {
	ID      uint64     `json:"id"`
	Episode uint64     `json:"episode"`
	Purpose string     `json:"purpose"`
	Venue   string     `json:"venue"`
	Market  string     `json:"market"`
	Side    string     `json:"side"`
	Limit   data.Price `json:"limit"`
	Qty     data.Qty   `json:"qty"`
	Filled  data.Qty   `json:"filled"`
	Fees    data.Money `json:"fees"`
	Sent    data.Time  `json:"sent"`
	Ended   data.Time  `json:"ended"`
	Result  string     `json:"result"`
	Fills   []Fill     `json:"fills"`
}

// Fill is one fill.
type Fill struct {
	Order  uint64     `json:"order"`
	Market string     `json:"market"`
	Side   string     `json:"side"`
	Price  data.Price `json:"price"`
	Qty    data.Qty   `json:"qty"`
	Fee    data.Money `json:"fee"`
	At     data.Time  `json:"at"`
	Exch   data.Time  `json:"matched"`
}

// Point is the account at a moment.
type Point struct {
	At       data.Time
	Cash     data.Money
	Locked   data.Money // cost of open positions
	Fees     data.Money
	Realised data.Money
}

// Collector watches a run.
type Collector struct {
	e          *engine.Engine
	names      []string // of the strategies, in the engine's order
	feed       [data.VenueCount]data.Duration
	Episodes   []*Episode
	byID       map[uint64]*Episode
	open       map[uint64]*Episode
	orders     map[data.OrderID]*Order
	Orders     []*Order
	Equity     []Point
	Refusals   [engine.RefusalCount]int
	Events     uint64
	First      data.Time
	Last       data.Time
	Gaps       int
	Gapped     map[data.MarketKey]int
	lockedDays float64 // dollar-days
	lockedMax  data.Money
	lastPoint  Point
	clock      [data.VenueCount]data.Time
	versions   []version
}

// version is a market's newest message in exchange time, and the joint states that wait for its end.
type version struct {
	start   data.Time
	pending []*joint
}

// joint is two markets' books as they stood together in receive time.
type joint struct {
	ep    *Episode
	inst  [2]data.InstrumentID
	start [2]data.Time
	end   [2]data.Time
	known [2]bool
	venue [2]data.Venue
}

// NewCollector watches e, whose strategies have these names. feed is the delay assumed for messages without a stamp.
func NewCollector(e *engine.Engine, names []string, feed [data.VenueCount]data.Duration) *Collector {
	return &Collector{e: e, names: names, feed: feed, byID: map[uint64]*Episode{}, open: map[uint64]*Episode{}, orders: map[data.OrderID]*Order{},
		Gapped: map[data.MarketKey]int{}}
}

// Watch is for engine.Run.
func (c *Collector) Watch(ev *data.Event, cmds []data.Command) {
	c.Events++
	if c.First == 0 {
		c.First = ev.Recv
	}
	c.Last = ev.Recv
	switch ev.Kind {
	case data.Level, data.Delta, data.Clear:
		if ev.Last {
			c.versionOf(ev)
		}
	case data.Gap:
		c.Gaps++
		if ev.Inst != data.NoInstrument {
			c.Gapped[c.key(ev.Inst)]++
			c.versionOf(ev)
		}
	case data.Fill:
		c.fill(ev)
	case data.Canceled, data.Reject:
		c.end(ev)
	}
	for i := range c.e.Decisions() {
		c.decision(&c.e.Decisions()[i], ev)
	}
	for i := range cmds {
		if cmds[i].Kind == data.Place {
			c.order(&cmds[i])
		}
	}
	c.point(ev)
}

func (c *Collector) key(id data.InstrumentID) data.MarketKey {
	return c.e.Markets().All[id].Listing.Key
}

func (c *Collector) name(id data.InstrumentID) string { return c.key(id).String() }

// versionOf starts a new version of a market's book: the old one ends.
func (c *Collector) versionOf(ev *data.Event) {
	for len(c.versions) < len(c.e.Markets().All) {
		c.versions = append(c.versions, version{})
	}
	m := &c.e.Markets().All[ev.Inst]
	v := m.Listing.Key.Venue
	at := ev.Recv.Add(-c.feed[v])
	if ev.Exch != 0 && ev.Kind != data.Clear {
		at = ev.Exch
	}
	at = min(max(at, c.clock[v]), ev.Recv)
	c.clock[v] = at
	w := &c.versions[ev.Inst]
	for _, j := range w.pending {
		for s := range j.inst {
			if j.inst[s] == ev.Inst && !j.known[s] {
				j.end[s], j.known[s] = at, true
			}
		}
		j.settle()
	}
	w.pending = w.pending[:0]
	w.start = at
	for _, n := range c.openOn(ev.Inst) {
		c.join(n)
	}
}

func (c *Collector) openOn(id data.InstrumentID) []*Episode {
	var out []*Episode
	for _, ep := range c.open {
		if ep.Two && (ep.insts[0] == id || ep.insts[1] == id) {
			out = append(out, ep)
		}
	}
	slices.SortFunc(out, func(a, b *Episode) int { return int(a.ID) - int(b.ID) })
	return out
}

// join notes that an episode's two books stand together now.
func (c *Collector) join(ep *Episode) {
	ep.joints++
	j := &joint{ep: ep, inst: ep.insts}
	for s, id := range ep.insts {
		if int(id) >= len(c.versions) {
			return
		}
		j.start[s] = c.versions[id].start
		j.venue[s] = c.key(id).Venue
		c.versions[id].pending = append(c.versions[id].pending, j)
	}
}

// settle asks, once both ends are known, whether the two versions overlapped in exchange time under each offset.
func (j *joint) settle() {
	if !j.known[0] || !j.known[1] {
		return
	}
	for i, off := range offsets {
		var lo, hi [2]data.Time
		for s := range j.inst {
			shift := data.Duration(0)
			if j.venue[s] == data.Kalshi {
				shift = off
			}
			lo[s], hi[s] = j.start[s].Add(shift), j.end[s].Add(shift)
		}
		if max(lo[0], lo[1]) <= min(hi[0], hi[1]) {
			j.ep.Coexisted[i] = true
		}
	}
}

func (c *Collector) decision(d *engine.Decision, ev *data.Event) {
	switch d.Kind {
	case engine.Seen:
		c.seen(d, ev)
		return
	case engine.Refused:
		c.Refusals[d.Reason]++
	}
	ep := c.byID[d.Episode]
	if ep == nil {
		return
	}
	switch d.Kind {
	case engine.Refused:
		if s := d.Reason.String(); !slices.Contains(ep.Refusals, s) {
			ep.Refusals = append(ep.Refusals, s)
		}
	case engine.Tradable:
		ep.Tradable = true
		c.gate(ep, d)
	case engine.Attempted:
		ep.Attempts++
		if ep.Attempts == 1 {
			ep.Legs = c.legs(&d.Plan)
		}
	case engine.Finished:
		c.finished(ep, d)
	case engine.Ended:
		ep.End = ev.Recv
		delete(c.open, ep.ID)
	}
}

func (c *Collector) seen(d *engine.Decision, ev *data.Event) {
	p := &d.Plan
	ep := &Episode{ID: d.Episode, Strategy: c.names[d.Key.Strategy], Why: p.Why.String(), Start: ev.Recv, Edge: p.Edge, Qty: p.Qty(), Par: p.Par, Legs: c.legs(p)}
	for i := range p.N {
		id := p.Legs[i].Inst
		if !slices.Contains(ep.Markets, c.name(id)) {
			ep.Markets = append(ep.Markets, c.name(id))
			ep.Books = append(ep.Books, c.book(id))
			if n := len(ep.Markets); n <= 2 {
				ep.insts[n-1] = id
			}
		}
	}
	ep.Two = len(ep.Markets) == 2
	ep.Pair = c.pairName(d, p)
	c.Episodes = append(c.Episodes, ep)
	c.byID[ep.ID], c.open[ep.ID] = ep, ep
	if ep.Two {
		c.join(ep)
	}
}

func (c *Collector) pairName(d *engine.Decision, p *strategies.Plan) string {
	m := c.e.Markets()
	if (p.Why == strategies.OpenPair || p.Why == strategies.ClosePair) && int(d.Key.Group) < len(m.Pairs) {
		return m.Pairs[d.Key.Group].Pairing.ID
	}
	if p.Why == strategies.BasketYes || p.Why == strategies.BasketNo {
		return m.Groups[d.Key.Group].Event
	}
	return c.name(p.Legs[0].Inst)
}

func (c *Collector) legs(p *strategies.Plan) []LegView {
	out := make([]LegView, 0, p.N)
	for i := range p.N {
		l := &p.Legs[i]
		side := l.Side.String()
		if l.Reduce {
			side += " to close"
		}
		out = append(out, LegView{c.name(l.Inst), side, l.Price, l.Qty})
	}
	return out
}

const depthShown = 8

func (c *Collector) book(id data.InstrumentID) BookAt {
	m := &c.e.Markets().All[id]
	b := BookAt{Market: m.Listing.Key.String(), At: c.e.Markets().Now, Recv: m.Recv, Exch: m.Exch}
	for _, s := range [2]data.Side{data.Buy, data.Sell} {
		var rs []data.Rung
		for r := m.Book.Best(s); r.Qty != 0 && len(rs) < depthShown; r = m.Book.Next(s, r.Price) {
			rs = append(rs, r)
		}
		if s == data.Buy {
			b.Bids = rs
		} else {
			b.Asks = rs
		}
	}
	return b
}

// gate notes what the risk gate looked at when it admitted an episode first.
func (c *Collector) gate(ep *Episode, d *engine.Decision) {
	a := c.e.Account()
	ep.Gate = map[string]string{"quantity admitted": d.Plan.Qty().String(), "edge at that quantity": d.Plan.Edge.String(), "lot": d.Plan.Lot.String(),
		"unhedged reserved by all": c.e.UnhedgedNow().String()}
	for i := range d.Plan.N {
		l := &d.Plan.Legs[i]
		m := &c.e.Markets().All[l.Inst]
		k := m.Listing.Key
		ep.Gate[fmt.Sprintf("leg %d free cash at %s", i+1, k.Venue)] = a.Free(k.Venue, m.Listing.Shard%8).String()
		ep.Gate[fmt.Sprintf("leg %d message age", i+1)] = c.e.Markets().Now.Sub(m.Recv).String()
		ep.Gate[fmt.Sprintf("leg %d position before", i+1)] = a.Positions[l.Inst].Qty.String()
	}
}

func (c *Collector) finished(ep *Episode, d *engine.Decision) {
	o := d.Exec.Outcome()
	ep.finished++
	if o.Balanced > 0 && o.Residual == 0 {
		ep.Filled++
	}
	t := &ep.Outcome
	t.Balanced += o.Balanced
	t.Residual += o.Residual
	t.Planned += o.Planned
	t.Fees += o.Fees
	t.LegLoss += o.LegLoss
	t.Net += o.Net
	t.Slippage += o.Slippage
}

func (c *Collector) order(cmd *data.Command) {
	m := &c.e.Markets().All[cmd.Inst]
	o := &Order{ID: uint64(cmd.Order), Venue: m.Listing.Key.Venue.String(), Market: m.Listing.Key.String(), Side: cmd.Side.String(), Limit: cmd.Price, Qty: cmd.Qty,
		Sent: c.e.Markets().Now, Result: "in flight"}
	o.Episode, o.Purpose = c.e.OrderOrigin(cmd.Order)
	c.orders[cmd.Order] = o
	c.Orders = append(c.Orders, o)
	if ep := c.byID[o.Episode]; ep != nil && o.Purpose == legging.ToOpen.String() && o.Sent > ep.Start && len(ep.Books) == len(ep.Markets) {
		for _, id := range ep.insts[:min(2, len(ep.Markets))] {
			ep.Books = append(ep.Books, c.book(id))
		}
	}
}

func (c *Collector) fill(ev *data.Event) {
	o := c.orders[ev.Order]
	if o == nil {
		return
	}
	o.Filled += ev.Qty
	o.Fees += ev.Cash
	o.Fills = append(o.Fills, Fill{Order: o.ID, Market: o.Market, Side: o.Side, Price: ev.Price, Qty: ev.Qty, Fee: ev.Cash, At: ev.Recv, Exch: ev.Exch})
}

func (c *Collector) end(ev *data.Event) {
	o := c.orders[ev.Order]
	if o == nil {
		return
	}
	o.Ended = ev.Recv
	switch {
	case ev.Kind == data.Reject:
		o.Result = "rejected: " + data.RejectReason(ev.Arg).String()
	case o.Filled == o.Qty:
		o.Result = "filled"
	case o.Filled > 0:
		o.Result = "partly filled"
	default:
		o.Result = "not filled"
	}
}

// point samples the account when it changes and integrates locked capital over time.
func (c *Collector) point(ev *data.Event) {
	a := c.e.Account()
	p := Point{At: ev.Recv, Fees: a.Fees, Realised: a.Realised}
	for v := range a.VenueCost {
		p.Locked += a.VenueCost[v]
		for s := range a.Cash[v] {
			p.Cash += a.Cash[v][s]
		}
	}
	l := &c.lastPoint
	if l.At != 0 {
		c.lockedDays += float64(l.Locked) / float64(data.Dollar) * float64(p.At.Sub(l.At)) / float64(data.Day)
	}
	c.lockedMax = max(c.lockedMax, p.Locked)
	if p.Cash != l.Cash || p.Locked != l.Locked || p.Fees != l.Fees || len(c.Equity) == 0 {
		c.Equity = append(c.Equity, p)
	}
	c.lastPoint = p
}

// Finish closes what is still open at the end of the recording.
func (c *Collector) Finish() {
	for i := range c.versions {
		for _, j := range c.versions[i].pending {
			for s := range j.inst {
				if !j.known[s] && int(j.inst[s]) == i {
					j.end[s], j.known[s] = data.Time(1<<62), true
				}
			}
			j.settle()
		}
		c.versions[i].pending = nil
	}
	for _, ep := range c.open {
		ep.End = c.Last
	}
	clear(c.open)
	for _, o := range c.Orders {
		if ep := c.byID[o.Episode]; ep != nil {
			ep.Orders = append(ep.Orders, *o)
		}
	}
}
