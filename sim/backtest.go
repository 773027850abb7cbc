// Package sim is a world made of files: it feeds recorded events to the decision engine and answers its commands with
// simulated venues. The engine cannot tell it from a world of sockets.
//
// Two timelines, named in the configuration. receive: an order meets the book as we have received it when it arrives.
// exchange: it meets the book of its arrival in exchange time; the tape is read ahead by a bounded window for that.
// What reaches the engine is the same in both: events in receive order.
package sim

import (
	"container/heap"
	"errors"
	"fmt"
	"io"

	"arbiter/data"
	"arbiter/sim/exchange"
)

// Timeline says whose clock an order's arrival is compared by.
type Timeline uint8

// The two timelines.
const (
	ReceiveTime Timeline = iota
	ExchangeTime
)

// ParseTimeline reads "receive" or "exchange".
func ParseTimeline(s string) (Timeline, error) {
	switch s {
	case "receive":
		return ReceiveTime, nil
	case "exchange":
		return ExchangeTime, nil
	}
	return 0, fmt.Errorf("unknown timeline %q: receive or exchange", s)
}

// String is the timeline's name in the configuration.
func (t Timeline) String() string {
	if t == ExchangeTime {
		return "exchange"
	}
	return "receive"
}

// Config of a simulated world.
type Config struct {
	Timeline Timeline
	// Window bounds how far an exchange time may lie before the receive time, and so how far the tape is read ahead.
	Window data.Duration
	// Feed is the delay of a message without a stamp, by venue.
	Feed [data.VenueCount]data.Duration
	// Offset is the venue's clock minus ours; it is subtracted from the venue's stamps.
	Offset [data.VenueCount]data.Duration
	// Drain is how long after the tape's end orders in flight are still answered.
	Drain data.Duration
	// Late makes every order wait for the next message of its market after it arrived; for the sanity row.
	Late     bool
	Exchange exchange.Config
}

// Defaults are a careful retail setting: both venues within tens of milliseconds of us.
func Defaults() Config {
	var c Config
	c.Window, c.Drain = 5*data.Second, data.Minute
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		c.Feed[v] = 50 * data.Millisecond
		c.Exchange.Venues[v] = exchange.VenueConfig{Order: exchange.Constant(50 * data.Millisecond), Response: exchange.Constant(50 * data.Millisecond)}
		c.Exchange.Venues[v].Cash[0] = 10_000 * data.Dollar
	}
	c.Exchange.Venues[data.Polymarket].Confirm = 3 * data.Second
	return c
}

// Validate refuses a world that could not be simulated.
func (c *Config) Validate() error {
	if c.Window < 0 || c.Window > data.Hour || c.Drain < 0 {
		return fmt.Errorf("sim: window 0 to one hour, drain not negative")
	}
	for v := range c.Feed {
		if c.Feed[v] < 0 {
			return fmt.Errorf("sim: feed latency of %s is negative", data.Venue(v))
		}
	}
	return c.Exchange.Validate()
}

// Source is where world events come from: a tape, or a generator.
type Source interface {
	Next(ev *data.Event) error
	Dictionary() *data.Dictionary
}

// Backtest is a World over a Source. It assigns the session's Seq.
type Backtest struct {
	cfg   Config
	src   Source
	x     *exchange.Exchange
	queue []ahead // read, not yet delivered; from head on
	head  int
	next  [data.VenueCount]int // first entry of the queue that this venue's book has not taken in
	eof   bool
	clock [data.VenueCount]data.Time // running maximum of exchange time
	due   dueHeap
	order uint64
	seq   uint64
	now   data.Time
	mid   bool      // within a message, which is never split
	last  data.Time // receive time of the tape's end
	start []data.Event
	out   []data.Event
	late  []due // arrived, waiting for their market's next message
}

type ahead struct {
	ev      data.Event
	at      data.Time // exchange time on our clock
	applied bool
}

// due is something that happens at a time of its own.
type due struct {
	at     data.Time
	order  uint64
	cmd    data.Command // an order or a cancel on its way; Kind 0: ev is to be delivered
	ev     data.Event
	waited bool
}

type dueHeap []due

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].order < h[j].order
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(due)) }

// Pop is for package heap.
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// NewBacktest makes the world. pairings are delivered before the first event.
func NewBacktest(cfg Config, src Source, pairings []data.Pairing) (*Backtest, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	x, err := exchange.New(cfg.Exchange, src.Dictionary())
	if err != nil {
		return nil, err
	}
	b := &Backtest{cfg: cfg, src: src, x: x}
	d := src.Dictionary()
	for _, p := range pairings {
		d.Pairings = append(d.Pairings, p)
		b.start = append(b.start, data.Event{Kind: data.Paired, Arg: uint32(len(d.Pairings) - 1), Inst: data.NoInstrument, Last: true})
	}
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		for s, cash := range cfg.Exchange.Venues[v].Cash {
			if cash != 0 {
				b.start = append(b.start, data.Event{Kind: data.Balance, Arg: data.VenueArg(v, uint8(s)), Cash: cash, Inst: data.NoInstrument, Last: true})
			}
		}
		if cfg.Offset[v] != 0 {
			b.start = append(b.start, data.Event{Kind: data.Offset, Arg: data.VenueArg(v, 0), Qty: data.Qty(cfg.Offset[v]), Inst: data.NoInstrument, Last: true})
		}
	}
	return b, nil
}

// Exchange is the simulated venues, for checks.
func (b *Backtest) Exchange() *exchange.Exchange { return b.x }

// Now is the time of the event last delivered.
func (b *Backtest) Now() data.Time { return b.now }

// Next delivers what comes first: what is due, or the tape's next event (ties: due first, but not within a message).
func (b *Backtest) Next(ev *data.Event) error {
	for {
		if b.head >= len(b.queue) && !b.eof {
			if err := b.read(); err != nil {
				return err
			}
		}
		if len(b.start) > 0 {
			*ev = b.start[0]
			b.start = b.start[1:]
			if b.head < len(b.queue) {
				ev.Recv = b.queue[b.head].ev.Recv
			}
			return b.deliver(ev)
		}
		tape := b.head < len(b.queue)
		if len(b.due) > 0 && (!tape || !b.mid && b.due[0].at <= b.queue[b.head].ev.Recv) {
			d := heap.Pop(&b.due).(due)
			if !tape && d.at > b.last.Add(b.cfg.Drain) {
				continue // whatever asks to be woken for ever is not
			}
			if d.cmd.Kind != 0 {
				if err := b.arrive(&d); err != nil {
					return err
				}
				continue
			}
			*ev = d.ev
			ev.Recv = d.at
			return b.deliver(ev)
		}
		if !tape && len(b.late) > 0 {
			b.release(data.NoInstrument, b.last)
			continue
		}
		if !tape {
			return io.EOF
		}
		b.pop(ev)
		b.mid = !ev.Last
		if ev.Last && len(b.late) > 0 {
			b.release(ev.Inst, ev.Recv)
		}
		return b.deliver(ev)
	}
}

func (b *Backtest) deliver(ev *data.Event) error {
	b.seq++
	ev.Seq = b.seq
	b.now = ev.Recv
	return nil
}

// read takes one event from the source into the queue.
func (b *Backtest) read() error {
	b.compact()
	b.queue = append(b.queue, ahead{})
	a := &b.queue[len(b.queue)-1]
	if err := b.src.Next(&a.ev); err != nil {
		b.queue = b.queue[:len(b.queue)-1]
		if errors.Is(err, io.EOF) {
			b.eof = true
			return nil
		}
		return err
	}
	b.last = a.ev.Recv
	v := b.venueOf(&a.ev)
	at := a.ev.Recv.Add(-b.cfg.Feed[v])
	if a.ev.Exch != 0 && a.ev.Kind != data.Clear {
		at = a.ev.Exch.Add(-b.cfg.Offset[v])
	}
	at = max(at, b.clock[v], a.ev.Recv.Add(-b.cfg.Window))
	at = min(at, a.ev.Recv)
	b.clock[v] = at
	a.at = at
	return nil
}

// compact drops what was delivered once it is most of the queue.
func (b *Backtest) compact() {
	if b.head <= 4096 || b.head*2 <= len(b.queue) {
		return
	}
	n := copy(b.queue, b.queue[b.head:])
	b.queue = b.queue[:n]
	for i := range b.next {
		b.next[i] = max(0, b.next[i]-b.head)
	}
	b.head = 0
}

func (b *Backtest) venueOf(ev *data.Event) data.Venue {
	d := b.src.Dictionary()
	switch {
	case ev.Inst != data.NoInstrument && int(ev.Inst) < len(d.Listings):
		return d.Listings[ev.Inst].Key.Venue
	case ev.Venue() < data.VenueCount:
		return ev.Venue()
	}
	return 0
}

// pop delivers the tape's next event; the venue's book takes it in now if it has not before.
func (b *Backtest) pop(ev *data.Event) {
	a := &b.queue[b.head]
	if !a.applied {
		b.x.Apply(&a.ev)
		a.applied = true
	}
	*ev = a.ev
	b.head++
	for i := range b.next {
		b.next[i] = max(b.next[i], b.head)
	}
	if b.head == len(b.queue) {
		b.queue, b.head = b.queue[:0], 0
		b.next = [data.VenueCount]int{}
	}
}

// release lets the late orders of a market (or all) arrive now.
func (b *Backtest) release(id data.InstrumentID, now data.Time) {
	n := 0
	for _, d := range b.late {
		if id != data.NoInstrument && d.cmd.Inst != id {
			b.late[n] = d
			n++
			continue
		}
		d.at, d.waited = max(d.at, now), true
		b.push(d)
	}
	b.late = b.late[:n]
}

// arrive lets an order meet the venue's book.
func (b *Backtest) arrive(d *due) error {
	if b.cfg.Late && !d.waited {
		b.late = append(b.late, *d)
		return nil
	}
	if b.cfg.Timeline == ExchangeTime {
		if err := b.advance(b.x.VenueOf(&d.cmd), d.at); err != nil {
			return err
		}
	}
	b.out = b.x.Match(&d.cmd, d.at, b.out[:0])
	for i := range b.out {
		b.push(due{at: b.out[i].Recv, ev: b.out[i]})
	}
	return nil
}

// advance brings a venue's book to what it was before at: it reads the tape until nothing of that time can follow.
func (b *Backtest) advance(v data.Venue, at data.Time) error {
	for !b.eof && b.last <= at.Add(b.cfg.Window) {
		if err := b.read(); err != nil {
			return err
		}
	}
	for i := max(b.next[v], b.head); i < len(b.queue); i++ {
		a := &b.queue[i]
		if b.venueOf(&a.ev) != v || a.applied {
			continue
		}
		if a.at >= at {
			break
		}
		if a.ev.Kind == data.Listed {
			break // instruments are numbered in receive order
		}
		b.x.Apply(&a.ev)
		a.applied = true
		b.next[v] = i + 1
	}
	return nil
}

func (b *Backtest) push(d due) {
	b.order++
	d.order = b.order
	heap.Push(&b.due, d)
}

// Do takes a command. A cancel finds nothing to cancel here: immediate orders end by themselves.
func (b *Backtest) Do(cmd *data.Command) error {
	switch cmd.Kind {
	case data.Place:
		b.push(due{at: b.x.Arrival(cmd, b.now), cmd: *cmd})
	case data.Cancel:
	case data.WakeAt:
		if cmd.Due < b.now {
			return fmt.Errorf("wake at %s, before now %s", cmd.Due, b.now)
		}
		b.push(due{at: cmd.Due, ev: data.Event{Kind: data.Wake, Order: cmd.Order, Inst: data.NoInstrument, Last: true}})
	default:
		return fmt.Errorf("unknown command %d", cmd.Kind)
	}
	return nil
}
