package live

import (
	"sync"
	"time"

	"arbiter/data"
)

// clock is the wall clock of a session, read in one place: it never goes back and never gives the same instant twice.
// It runs on the monotonic clock from an anchor, so that a wall clock that is set does not reach receive times.
type clock struct {
	anchor time.Time
	base   data.Time
	last   data.Time
}

func newClock() clock {
	now := time.Now()
	return clock{anchor: now, base: data.Time(now.UnixNano())}
}

func (c *clock) now() data.Time {
	t := c.base.Add(data.Duration(time.Since(c.anchor)))
	if t <= c.last {
		t = c.last + 1
	}
	c.last = t
	return t
}

// drift is how far the wall clock has been set ahead of the session's.
func (c *clock) drift() time.Duration {
	return time.Duration(time.Now().UnixNano() - int64(c.base) - int64(time.Since(c.anchor)))
}

// Queue stands between the sockets and the sequencer: bounded in bytes, in order, allocating nothing in steady state.
// A frame that does not fit is counted, and the sequencer is told how many of a connection went missing.
type Queue struct {
	mu      sync.Mutex
	clock   clock
	bytes   int
	max     int
	fill    batch
	lost    []lostFrames
	wake    chan struct{}
	closed  bool
	peak    int
	dropped int64
}

// batch is a run of inputs whose texts lie in one arena.
type batch struct {
	arena  []byte
	inputs []queued
}

type queued struct {
	recv  data.Time
	from  int
	to    int
	conn  uint32
	kind  data.InputKind
	venue data.Venue
}

type lostFrames struct {
	venue data.Venue
	conn  uint32
	n     int64
}

// NewQueue makes a queue of at most max bytes of frames.
func NewQueue(max int) *Queue {
	return &Queue{clock: newClock(), max: max, wake: make(chan struct{}, 1)}
}

// overhead is what an input costs beside its text.
const overhead = 48

// Push stamps an input and appends it. Frames are refused when the queue is full; everything else is rare and bounded
// by its sender, and always taken.
func (q *Queue) Push(kind data.InputKind, v data.Venue, conn uint32, text []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	size := len(text) + overhead
	if kind == data.InputFrame && q.bytes+size > q.max {
		q.lose(v, conn)
		return
	}
	q.add(kind, v, conn, text)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue) add(kind data.InputKind, v data.Venue, conn uint32, text []byte) {
	q.bytes += len(text) + overhead
	q.peak = max(q.peak, q.bytes)
	from := len(q.fill.arena)
	q.fill.arena = append(q.fill.arena, text...)
	q.fill.inputs = append(q.fill.inputs, queued{q.clock.now(), from, len(q.fill.arena), conn, kind, v})
}

func (q *Queue) lose(v data.Venue, conn uint32) {
	q.dropped++
	for i := range q.lost {
		if l := &q.lost[i]; l.venue == v && l.conn == conn {
			l.n++
			return
		}
	}
	q.lost = append(q.lost, lostFrames{v, conn, 1})
}

// take swaps the filled batch for an empty one. What was lost meanwhile stands at its end.
func (q *Queue) take(empty batch) batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lost {
		q.add(data.InputLost, l.venue, l.conn, data.AppendDecimal(nil, l.n, 0, 0))
	}
	q.lost = q.lost[:0]
	full := q.fill
	q.fill = batch{empty.arena[:0], empty.inputs[:0]}
	q.bytes = 0
	return full
}

// now stamps without an input.
func (q *Queue) now() data.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.clock.now()
}

// depth is the bytes that wait, the most that ever waited, and the frames that did not fit.
func (q *Queue) depth() (now, peak int, dropped int64, drift time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes, q.peak, q.dropped, q.clock.drift()
}

func (q *Queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}
