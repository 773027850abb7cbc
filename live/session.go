package live

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"arbiter/data"
	"arbiter/live/link"
	"arbiter/strategies/engine"
)

// Orders is where a session's commands go: simulated venues, or gateways to real ones. It belongs to the sequencer's
// goroutine.
type Orders interface {
	Apply(ev *data.Event)                      // looks on at every world event as it is delivered
	Do(cmd *data.Command, now data.Time) error // the outcome comes later, as events
	Due() (data.Time, bool)                    // when its next event is due
	Next(ev *data.Event) bool                  // takes what is due; false: it was nothing to tell
}

// SessionOptions are what a session of decisions needs beside a recording.
type SessionOptions struct {
	Document []byte                                              // into the journal: whatever running it again needs
	Opening  []data.Event                                        // before everything else: balances
	Pair     func(listings []data.Listing) []data.Pairing        // approved pairs among the markets that are listed by now
	Watch    func(ev *data.Event, cmds []data.Command)           // looks on after every step
	Orders   func(dict *data.Dictionary) (Orders, error)         // made when the dictionary is there
	Engine   func(dict *data.Dictionary) (*engine.Engine, error) // likewise
	Drain    time.Duration                                       // how long plans under way are awaited at the end
}

// Session is the World of live decisions: inputs from sockets, journaled, become events; what is due (timers, outcomes)
// comes before what was received later. It is a Recorder whose events pass the engine.
type Session struct {
	r       *Recorder
	opt     SessionOptions
	orders  Orders
	engine  *engine.Engine
	opening []data.Event
	at      int         // of the recorder's events: those from here on are not delivered yet
	mid     bool        // within a message, which is never split
	held    *data.Input // taken from the queue, not applied: something is due before it
	timers  timers
	fresh   []data.Event // delivered, not journaled
	now     data.Time
	paired  map[string]bool
	halted  bool // by the operator, at the start
	running atomic.Int32
	marked  uint64 // event of the newest digest
	latency latency
}

// digestEvery is the number of events between two digests in the journal.
const digestEvery = 4096

// NewSession makes a session on the chosen markets.
func NewSession(opt Options, sopt SessionOptions, venues []link.Venue, choices []link.Choice) (*Session, error) {
	r, err := NewRecorder(opt, venues, choices)
	if err != nil {
		return nil, err
	}
	s := &Session{r: r, opt: sopt, opening: sopt.Opening, paired: map[string]bool{}, now: r.began, latency: newLatency()}
	if s.orders, err = sopt.Orders(&r.dict); err == nil {
		s.engine, err = sopt.Engine(&r.dict)
	}
	if err != nil {
		return nil, errors.Join(err, r.journal.Abandon())
	}
	if why, halted := Halted(opt.Journal); halted {
		opt.Log.Warn("halted by the operator", "since", why)
		s.halted = true
		s.opening = append(slices.Clone(s.opening), data.Event{Kind: data.Control, Arg: uint32(data.Halt), Inst: data.NoInstrument, Last: true})
	}
	r.journal.Session(sopt.Document)
	return s, nil
}

// Recorder is the session's recording side: its status and its pages.
func (s *Session) Recorder() *Recorder { return s.r }

// Engine may be read in SessionOptions.Watch only.
func (s *Session) Engine() *engine.Engine { return s.engine }

// Control queues an operator's instruction: an event like every other.
func (s *Session) Control(code data.ControlCode) {
	s.r.queue.Push(data.InputControl, 0, 0, data.AppendDecimal(nil, int64(code), 0, 0))
}

// Run decides until ctx ends. Then no plan is begun any more, those under way are awaited for Drain, and everything is
// written.
func (s *Session) Run(ctx context.Context) error {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan struct{})
	go func() {
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		s.Control(data.Halt)
		for over := time.Now().Add(s.opt.Drain); time.Now().Before(over); time.Sleep(20 * time.Millisecond) {
			if s.running.Load() == 0 {
				break
			}
		}
		stop()
	}()
	defer close(ended)
	go s.operator(ended, s.halted)
	return s.r.run(inner, func() error {
		err := engine.Run(s, s.engine, s.watch)
		if !errors.Is(err, io.EOF) {
			return err
		}
		s.note()
		return nil
	})
}

func (s *Session) watch(ev *data.Event, cmds []data.Command) {
	s.running.Store(int32(s.engine.Running()))
	if ev.Last && ev.Inst != data.NoInstrument && ev.Kind <= data.Trade { // a venue's message was decided on
		note(s.latency.decide[s.r.dict.Listings[ev.Inst].Key.Venue], s.r.queue.now().Sub(ev.Recv))
	}
	if s.r.seq-s.marked >= digestEvery && ev.Last {
		s.note()
	}
	if s.opt.Watch != nil {
		s.opt.Watch(ev, cmds)
	}
}

// note journals the digest after the newest event.
func (s *Session) note() {
	s.flush()
	s.marked = s.r.seq
	s.r.journal.Digest(s.engine.Digest())
}

// flush journals the events that were delivered.
func (s *Session) flush() {
	if len(s.fresh) > 0 {
		s.r.journal.Events(s.fresh)
		s.fresh = s.fresh[:0]
	}
}

// Next delivers what comes first: the opening, what is due, or the next event that was received (ties: due first, but not
// within a message).
func (s *Session) Next(ev *data.Event) error {
	for {
		if len(s.opening) > 0 {
			*ev = s.opening[0]
			s.opening = s.opening[1:]
			ev.Recv = s.now
			return s.deliver(ev)
		}
		due, waits := s.due()
		switch {
		case s.at < len(s.r.events):
			if next := &s.r.events[s.at]; s.mid || !waits || due > next.Recv {
				*ev = *next
				s.at++
				s.mid = !ev.Last
				s.orders.Apply(ev)
				s.pair(ev)
				return s.deliver(ev)
			}
		case s.held != nil:
			if !waits || due > s.held.Recv {
				s.apply()
				continue
			}
		default:
			if !waits {
				due = 0
			}
			s.flush()
			in, err := s.r.next(due)
			if err != nil {
				return err
			}
			if s.held = in; in != nil {
				continue
			}
		}
		if s.takeDue(due, ev) {
			return s.deliver(ev)
		}
	}
}

// apply decodes the held input.
func (s *Session) apply() {
	s.flush()
	in := s.held
	s.held = nil
	s.r.decode(in)
	s.at = 0
	if s.r.opt.OnInput != nil {
		s.r.opt.OnInput(in, s.r.events, &s.r.dict)
	}
}

// due is the earliest of timers and outcomes.
func (s *Session) due() (data.Time, bool) {
	at, ok := s.orders.Due()
	if len(s.timers) > 0 && (!ok || s.timers[0].at <= at) {
		return s.timers[0].at, true
	}
	return at, ok
}

// takeDue takes what is due at a time. It returns false if that is nothing to deliver.
func (s *Session) takeDue(at data.Time, ev *data.Event) bool {
	if len(s.timers) > 0 && s.timers[0].at == at {
		*ev = data.Event{Kind: data.Wake, Order: s.timers.pop().order, Inst: data.NoInstrument, Recv: at, Last: true}
		return true
	}
	return s.orders.Next(ev)
}

// pair queues pairings that a listing makes possible.
func (s *Session) pair(ev *data.Event) {
	if ev.Kind != data.Listed || s.opt.Pair == nil {
		return
	}
	for _, p := range s.opt.Pair(s.r.dict.Listings) {
		if s.paired[p.ID] {
			continue
		}
		s.paired[p.ID] = true
		n := uint32(len(s.r.dict.Pairings))
		s.r.dict.Pairings = append(s.r.dict.Pairings, p)
		s.flush()
		s.r.journal.Pairing(n, &p)
		s.opening = append(s.opening, data.Event{Kind: data.Paired, Arg: n, Inst: data.NoInstrument, Last: true})
	}
}

func (s *Session) deliver(ev *data.Event) error {
	s.r.seq++
	ev.Seq = s.r.seq
	s.now = ev.Recv
	s.fresh = append(s.fresh, *ev)
	return nil
}

// Do journals a command behind its cause, hands both to the operating system, and lets it go.
func (s *Session) Do(cmd *data.Command) error {
	s.flush()
	s.r.journal.Commands([]data.Command{*cmd})
	if cmd.Kind == data.WakeAt {
		s.timers.push(timer{at: max(cmd.Due, s.now), order: cmd.Order})
		return nil
	}
	began := s.r.queue.now()
	if err := s.r.journal.Write(); err != nil {
		return err
	}
	err := s.orders.Do(cmd, s.now)
	note(s.latency.act[s.r.dict.Listings[cmd.Inst].Key.Venue], s.r.queue.now().Sub(began))
	return err
}

// timer is a WakeAt.
type timer struct {
	at    data.Time
	order data.OrderID
}

// timers are sorted by time; of two at one time the older comes first. There are few.
type timers []timer

func (t *timers) push(x timer) {
	i := len(*t)
	for i > 0 && (*t)[i-1].at > x.at {
		i--
	}
	*t = slices.Insert(*t, i, x)
}

func (t *timers) pop() timer {
	x := (*t)[0]
	*t = slices.Delete(*t, 0, 1)
	return x
}
