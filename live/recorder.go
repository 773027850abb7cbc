// Package live is a world made of sockets. A Recorder turns the venues' public feeds into a journal and tapes: sockets
// push frames into one bounded queue; one goroutine, the sequencer, stamps, decodes, numbers and journals them; closed
// segments become tapes. What was received is written or declared lost, nothing else.
//
// Where it is wrong: receive times are taken when a frame is queued, after the kernel, TLS and the WebSocket had it. A
// flush covers what came up to FlushEvery before a power cut; the end of the process alone loses only what had not been
// handed to the operating system, a few milliseconds.
package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/data/stream"
	"arbiter/live/link"
)

// Options of a Recorder.
type Options struct {
	Name         string // of the recorder: part of every tape's source, stable over restarts
	Commit       string
	Journal      string // folder
	Tapes        string // folder for tapes; "": none are made
	Store        Store  // where tapes go as well; nil: nowhere
	Stream       stream.Options
	QueueBytes   int           // frames that wait for the sequencer; more are lost, and declared
	FlushEvery   time.Duration // the loss window of a power cut
	SegmentBytes int64         // a segment is closed when it is so long,
	SegmentEvery time.Duration // or so old
	RefreshEvery time.Duration // market records
	RotateEvery  time.Duration // a connection is changed as planned
	Overlap      time.Duration // of the old and the new one, at most: it ends when the new one has every book
	Backoff      time.Duration // before a connection is opened again, doubling
	BackoffMax   time.Duration
	PollEvery    time.Duration // books of a venue without a stream
	DiskMin      uint64        // bytes free below which the recording stops
	Log          *slog.Logger
	OnInput      func(in *data.Input, events []data.Event, dict *data.Dictionary) // looks on after every input, in the sequencer; may be nil
}

// Defaults lose at most half a second to a power cut and close a segment a quarter of an hour.
func Defaults() Options {
	return Options{Name: "arbiter", Journal: "journal", Tapes: "tapes", Stream: stream.Defaults(), QueueBytes: 128 << 20, FlushEvery: 500 * time.Millisecond,
		SegmentBytes: 256 << 20, SegmentEvery: 15 * time.Minute, RefreshEvery: time.Minute, RotateEvery: 10 * time.Minute, Overlap: 30 * time.Second,
		Backoff: 500 * time.Millisecond, BackoffMax: 30 * time.Second, PollEvery: 2 * time.Second, DiskMin: 1 << 30, Log: slog.New(slog.DiscardHandler)}
}

// Validate returns every contradiction at once.
func (o *Options) Validate() error {
	var errs []error
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"flush_every", o.FlushEvery}, {"segment_every", o.SegmentEvery}, {"refresh_every", o.RefreshEvery}, {"rotate_every", o.RotateEvery}, {"overlap", o.Overlap},
		{"backoff", o.Backoff}, {"backoff_max", o.BackoffMax}, {"poll_every", o.PollEvery}} {
		if d.v <= 0 {
			errs = append(errs, fmt.Errorf("record: %s must be positive", d.name))
		}
	}
	if o.Name == "" || filepath.Base(o.Name) != o.Name {
		errs = append(errs, fmt.Errorf("record: name %q: it becomes part of file names", o.Name))
	}
	if o.Journal == "" {
		errs = append(errs, errors.New("record: journal: a folder is needed"))
	}
	if o.QueueBytes < 1<<20 || o.SegmentBytes < 1<<16 {
		errs = append(errs, errors.New("record: queue_bytes at least 1 MiB, segment_bytes at least 64 KiB"))
	}
	return errors.Join(errs...)
}

// ErrClock tells that the machine's clock is before the journal's last record.
var ErrClock = errors.New("the clock was set back")

// ErrDisk tells that the recording stopped because the disk is nearly full.
var ErrDisk = errors.New("the disk is nearly full")

// Recorder records.
type Recorder struct {
	opt     Options
	keepers []*keeper
	queue   *Queue
	dict    data.Dictionary
	stream  *stream.Stream
	journal *journal.Writer
	ship    *shipper
	began   data.Time

	in       data.Input // the newest one, from batch
	batch    batch
	taken    int // of the batch
	timer    *time.Timer
	stop     chan struct{}
	stopping bool
	second   time.Time // when the state was last reported

	seq       uint64
	last      data.Time // of the newest input
	fees      int       // of the dictionary that the journal has
	listings  int
	events    []data.Event
	requests  []stream.Request
	segment   time.Time // the segment's beginning
	dueAt     data.Time
	ready     atomic.Bool
	statusMu  sync.Mutex
	status    Status
	lags      [data.VenueCount]lag
	malformed map[string]bool
}

type lag struct{ n, sum, max int64 }

// NewRecorder makes a recorder of the chosen markets of some venues. It opens the journal: a torn tail is cut off, and
// a clock that is behind the last record is refused.
func NewRecorder(opt Options, venues []link.Venue, choices []link.Choice) (*Recorder, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	r := &Recorder{opt: opt, queue: NewQueue(opt.QueueBytes), malformed: map[string]bool{}, timer: time.NewTimer(time.Hour), stop: make(chan struct{}), second: time.Now()}
	r.stream = stream.New(opt.Stream, &r.dict)
	was, err := journal.Recover(opt.Journal)
	if err != nil {
		return nil, err
	}
	r.began = r.queue.now()
	r.last = r.began
	if was.Recv > r.began {
		return nil, fmt.Errorf("record: %w: it says %s, the journal %s goes up to %s: set the clock (NTP), or record into another folder", ErrClock, r.began, opt.Journal, was.Recv)
	}
	if was.Torn > 0 {
		opt.Log.Warn("the last recording was cut off", "bytes_lost", was.Torn, "last_event", was.Seq, "until", was.Recv.String())
	}
	session := r.began.String()
	header := journal.Header{Recorder: opt.Name, Session: session, Commit: opt.Commit, Began: r.began}
	for _, v := range venues {
		if !v.Streams() {
			header.Polled = append(header.Polled, v.Venue().String())
		}
	}
	r.journal, err = journal.Create(opt.Journal, header)
	if err != nil {
		return nil, err
	}
	r.segment = time.Now()
	origins := ""
	for i, v := range venues {
		r.keepers = append(r.keepers, newKeeper(v, &choices[i], &r.opt, r.queue))
		span := int64(0)
		if was.Recv != 0 {
			span = int64(r.began - was.Recv)
		}
		r.queue.Push(data.InputOpen, v.Venue(), 0, data.AppendDecimal(nil, span, 0, 0))
		mode := "stream"
		if !v.Streams() {
			mode = "polled: between two polls nothing is known"
		}
		origins += fmt.Sprintf("; %s from %s (%s)", v.Venue(), v.Origin(), mode)
	}
	r.ship = newShipper(&r.opt, "recorded by "+opt.Name+origins)
	return r, nil
}

// Run records until ctx ends. What was received by then is written, and every closed segment becomes a tape.
func (r *Recorder) Run(ctx context.Context) error { return r.run(ctx, r.sequence) }

// run keeps everything that feeds the queue; drive takes from it, by next, until io.EOF.
func (r *Recorder) run(ctx context.Context, drive func() error) error {
	stop := r.stop
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	failed := func(err error) {
		if err != nil {
			cancel(err)
		}
	}
	for _, k := range r.keepers {
		wg.Add(1)
		go func() { defer wg.Done(); failed(k.run(ctx)) }()
	}
	var side sync.WaitGroup
	sideCtx, stopSide := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSide()
	side.Add(2)
	go func() { defer side.Done(); failed(r.flush(sideCtx)) }()
	go func() { defer side.Done(); r.ship.run(sideCtx) }()
	seqDone := make(chan error, 1)
	go func() {
		err := drive()
		failed(err)
		seqDone <- err
	}()
	<-ctx.Done()
	wg.Wait() // the sockets are closed, and have said so
	r.queue.close()
	close(stop)
	err := <-seqDone
	stopSide()
	side.Wait()
	if err == nil {
		err = r.journal.Close()
	} else {
		err = errors.Join(err, r.journal.Abandon())
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, unless(err, cause))
	}
	if shipped := r.ship.all(context.WithoutCancel(ctx)); err == nil {
		err = shipped
	}
	return err
}

// unless drops an error that is the cause itself.
func unless(err, cause error) error {
	if errors.Is(err, cause) {
		return nil
	}
	return err
}

// flush makes what was written survive a power cut, and looks at the disk.
func (r *Recorder) flush(ctx context.Context) error {
	tick := time.NewTicker(r.opt.FlushEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := r.journal.Sync(); err != nil {
			return err
		}
		if n%8 != 0 {
			continue
		}
		var fs syscall.Statfs_t
		if err := syscall.Statfs(r.opt.Journal, &fs); err != nil {
			return fmt.Errorf("record: %s: %w", r.opt.Journal, err)
		}
		if free := fs.Bavail * uint64(fs.Bsize); free < r.opt.DiskMin {
			return fmt.Errorf("record: %w: %d MiB free at %s, %d are kept: make room or lower disk_min", ErrDisk, free>>20, r.opt.Journal, r.opt.DiskMin>>20)
		}
	}
}

// sequence is the one goroutine that stamps events, knows the books and writes the journal.
func (r *Recorder) sequence() error {
	for {
		in, err := r.next(0)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = r.input(in)
		}
		if err != nil {
			return err
		}
	}
}

// next is the next input, valid until the one after it. It is nil when none that was stamped before due is left and due
// has come (0: never). io.EOF: the recording was stopped, and nothing is left.
func (r *Recorder) next(due data.Time) (*data.Input, error) {
	for {
		if r.taken < len(r.batch.inputs) {
			q := &r.batch.inputs[r.taken]
			r.taken++
			r.in = data.Input{Recv: q.recv, Text: r.batch.arena[q.from:q.to], Conn: q.conn, Kind: q.kind, Venue: q.venue}
			return &r.in, nil
		}
		if err := r.settle(); err != nil {
			return nil, err
		}
		last := r.stopping || due != 0 && r.queue.now() >= due
		if !last {
			r.wait(due)
		}
		r.batch, r.taken = r.queue.take(r.batch), 0
		if last && len(r.batch.inputs) == 0 {
			if r.stopping {
				return nil, io.EOF
			}
			return nil, nil
		}
	}
}

// wait returns when something may have come, when due has, or after a tenth of a second.
func (r *Recorder) wait(due data.Time) {
	d := 100 * time.Millisecond
	if due != 0 {
		d = min(d, max(0, time.Duration(due.Sub(r.queue.now()))))
	}
	r.timer.Reset(d)
	select {
	case <-r.queue.wake:
	case <-r.timer.C:
	case <-r.stop:
		r.stopping, r.stop = true, nil
	}
}

// settle does what follows a batch: what was written is handed over, what is missing asked for, the state reported.
func (r *Recorder) settle() error {
	if err := r.journal.Write(); err != nil {
		return err
	}
	r.ask()
	if since := time.Since(r.second); since >= time.Second {
		r.report(since)
		r.second = time.Now()
	}
	if p := r.journal.Position(); !r.stopping && (p.Written > r.opt.SegmentBytes || time.Since(r.segment) > r.opt.SegmentEvery) {
		return r.roll()
	}
	return nil
}

// batchBytes is how much is buffered before it is handed to the operating system within one batch.
const batchBytes = 256 << 10

// input decodes and journals one input. What cannot be decoded is journaled all the same: a later version may.
func (r *Recorder) input(in *data.Input) error {
	r.decode(in)
	for i := range r.events {
		r.seq++
		r.events[i].Seq = r.seq
	}
	if len(r.events) > 0 {
		r.journal.Events(r.events)
	}
	if r.opt.OnInput != nil {
		r.opt.OnInput(in, r.events, &r.dict)
	}
	if r.journal.Buffered() > batchBytes {
		return r.journal.Write()
	}
	return nil
}

// decode journals an input and leaves what it gives in r.events, not numbered yet.
func (r *Recorder) decode(in *data.Input) {
	r.journal.Input(in)
	r.last = in.Recv
	var err error
	if r.events, err = r.stream.Apply(in, r.events[:0]); err != nil {
		r.complain(in, err)
	}
	r.dictionary(r.listings, r.fees)
	for i := range r.events {
		if e := &r.events[i]; e.Exch != 0 && e.Last && e.Kind <= data.Trade {
			l := &r.lags[in.Venue]
			d := int64(e.Recv - e.Exch)
			l.n, l.sum, l.max = l.n+1, l.sum+d, max(l.max, d)
		}
	}
}

// complain logs an error of a kind once.
func (r *Recorder) complain(in *data.Input, err error) {
	text := err.Error()
	if len(r.malformed) < 100 && !r.malformed[text] {
		r.malformed[text] = true
		r.opt.Log.Warn("an input could not be decoded; it is kept in the journal", "venue", in.Venue.String(), "kind", in.Kind.String(), "error", err)
	}
}

// dictionary writes the records that are new since the given counts.
func (r *Recorder) dictionary(listings, fees int) {
	for i := listings; i < len(r.dict.Listings); i++ {
		r.journal.Listing(uint32(i), &r.dict.Listings[i])
	}
	for i := fees; i < len(r.dict.Fees); i++ {
		r.journal.Fees(uint32(i), &r.dict.Fees[i])
	}
	r.listings, r.fees = len(r.dict.Listings), len(r.dict.Fees)
}

// roll closes the segment. The next one begins with all that is known, so that it stands alone.
func (r *Recorder) roll() error {
	if err := r.journal.Roll(); err != nil {
		return err
	}
	known := r.stream.Keyframe(r.seq, r.last, nil)
	for i := range known {
		if known[i].Kind == data.Listed { // markets that are over need no record any more
			r.journal.Listing(known[i].Arg, &r.dict.Listings[known[i].Arg])
		}
	}
	r.dictionary(r.listings, 0)
	r.journal.Keyframe(known)
	r.segment = time.Now()
	r.ship.wakeUp()
	return r.journal.Write()
}

// ask hands the stream's requests to the keepers.
func (r *Recorder) ask() {
	r.requests = append(r.requests[:0], r.stream.Requests()...)
	if now := r.queue.now(); now.Sub(r.dueAt) > 250*data.Millisecond {
		r.dueAt = now
		r.requests = r.stream.Due(now, r.requests)
	}
	for i := range r.requests {
		q := &r.requests[i]
		for _, k := range r.keepers {
			if k.venue.Venue() == q.Venue {
				k.request(q, r.dict.Listings[q.Inst])
			}
		}
	}
}
