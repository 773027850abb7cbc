package sim

import (
	"container/heap"
	"fmt"

	"arbiter/data"
	"arbiter/sim/exchange"
)

// Paper takes the orders of a session on live feeds: they meet the books as we have received them when they arrive,
// with the latencies, fees and limits of a backtest in receive time.
//
// Where it is wrong: as package exchange is; and our feed's delay is in the book that an order meets.
type Paper struct {
	x     *exchange.Exchange
	due   dueHeap
	order uint64
	out   []data.Event
}

// NewPaper makes the simulated side of a session. dict is the session's dictionary.
func NewPaper(cfg exchange.Config, dict *data.Dictionary) (*Paper, error) {
	x, err := exchange.New(cfg, dict)
	return &Paper{x: x}, err
}

// Apply folds in a world event as it is delivered.
func (p *Paper) Apply(ev *data.Event) { p.x.Apply(ev) }

func (p *Paper) push(d due) {
	p.order++
	d.order = p.order
	heap.Push(&p.due, d)
}

// Do takes a command at the time of the event that caused it. A cancel finds nothing to cancel: immediate orders end by
// themselves.
func (p *Paper) Do(cmd *data.Command, now data.Time) error {
	switch cmd.Kind {
	case data.Place:
		p.push(due{at: p.x.Arrival(cmd, now), cmd: *cmd})
	case data.Cancel:
	default:
		return fmt.Errorf("paper: command %d is not for a venue", cmd.Kind)
	}
	return nil
}

// Due is when the next thing happens: an order arrives, or its outcome is read.
func (p *Paper) Due() (data.Time, bool) {
	if len(p.due) == 0 {
		return 0, false
	}
	return p.due[0].at, true
}

// Next takes what is due. It returns false if that was an order's arrival, which tells the session nothing yet.
func (p *Paper) Next(ev *data.Event) bool {
	d := heap.Pop(&p.due).(due)
	if d.cmd.Kind == 0 {
		*ev = d.ev
		ev.Recv = d.at
		return true
	}
	p.out = p.x.Match(&d.cmd, d.at, p.out[:0])
	for i := range p.out {
		p.push(due{at: p.out[i].Recv, ev: p.out[i]})
	}
	return false
}
