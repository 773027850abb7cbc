package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"arbiter/data"
	"arbiter/data/stream"
	"arbiter/live/link"
)

// keeper keeps one venue's connections: it finds the markets, spreads them over connections, opens these again when
// they end, changes them as planned, and fetches what the stream asks for. It pushes everything that happens into the
// queue and knows no book.
type keeper struct {
	venue  link.Venue
	opt    *Options
	choice *link.Choice
	queue  *Queue
	log    *slog.Logger
	wg     sync.WaitGroup
	next   atomic.Uint32

	mu      sync.Mutex
	markets map[string]*kept
	shards  []*shard
	fetch   map[string]*fetching
	seen    map[string]string // fingerprint of the records that were pushed, by market or series
	open    atomic.Int32
	ever    atomic.Bool // a connection was open once
	fatal   chan error  // a refusal that no trying again changes
}

// kept is a market that is followed.
type kept struct {
	listing data.Listing
	settled bool
}

// fetching is a REST book that is to be fetched.
type fetching struct {
	listing data.Listing
	due     time.Time
}

// shard is a set of markets that one connection carries; during a change, two.
type shard struct {
	k        *keeper
	mu       sync.Mutex
	listings []data.Listing
	sessions []*session
	renew    chan struct{} // change the connection now, as planned
}

// session is one connection from dial to end.
type session struct {
	id     uint32
	conn   link.Conn
	cancel context.CancelCauseFunc
	done   chan struct{}
	spare  chan struct{} // a newer connection has taken over
	up     time.Time
	err    error
}

var errSilent = errors.New("it is open and says nothing, or what it says comes too late")
var errRotated = errors.New("changed as planned")

func newKeeper(v link.Venue, choice *link.Choice, opt *Options, q *Queue) *keeper {
	return &keeper{venue: v, opt: opt, choice: choice, queue: q, log: opt.Log.With("venue", v.Venue().String()), markets: map[string]*kept{},
		fetch: map[string]*fetching{}, seen: map[string]string{}, fatal: make(chan error, 1)}
}

func (k *keeper) push(kind data.InputKind, conn uint32, text []byte) {
	k.queue.Push(kind, k.venue.Venue(), conn, text)
}

// run follows the chosen markets until ctx ends. The first search must succeed: an error there is the user's.
func (k *keeper) run(ctx context.Context) error {
	defer k.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := k.search(ctx); err != nil {
		return err
	}
	k.start(func() { k.fetcher(ctx) })
	if !k.venue.Streams() {
		k.start(func() { k.poll(ctx) })
	}
	tick := time.NewTicker(k.opt.RefreshEvery)
	defer tick.Stop()
	for {
		k.status(ctx)
		select {
		case <-ctx.Done():
			return nil
		case err := <-k.fatal:
			return err
		case <-tick.C:
		}
		if err := k.refresh(ctx, false); err != nil && ctx.Err() == nil {
			k.log.Warn("market records could not be fetched; tried again later", "error", err)
		}
	}
}

// search is the first refresh: a venue that is busy is asked again.
func (k *keeper) search(ctx context.Context) error {
	pause := k.opt.Backoff
	for try := 1; ; try++ {
		err := k.refresh(ctx, true)
		if err == nil || !errors.Is(err, link.ErrBusy) || try == firstTries {
			return err
		}
		k.log.Warn("the venue is busy; asked again", "error", err)
		if link.Sleep(ctx, pause/2+rand.N(pause)) != nil {
			return nil
		}
		pause = min(2*pause, k.opt.BackoffMax)
	}
}

// firstTries are how often the first search is begun, beside the client's own tries of each request.
const firstTries = 5

func (k *keeper) start(f func()) {
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		f()
	}()
}

// refresh searches the markets again, pushes records that say something new, and follows what is open.
func (k *keeper) refresh(ctx context.Context, first bool) error {
	recs, err := k.venue.Find(ctx, k.choice)
	if err != nil && (first || !errors.Is(err, link.ErrNotFound)) {
		return err
	}
	have := map[string]bool{}
	n := 0
	for i := range recs {
		for _, m := range recs[i].Markets {
			have[m.Listing.Key.Native] = true
			n++
		}
	}
	if n > k.choice.Limit {
		return fmt.Errorf("%s: %d markets match and at most %d are taken: choose fewer, or raise the limit", k.venue.Venue(), n, k.choice.Limit)
	}
	k.mu.Lock()
	gone := k.unsettled(have) // closed, and so no longer found; their results are to come
	k.mu.Unlock()
	if len(gone) > 0 {
		again, err := k.venue.Again(ctx, gone)
		if err != nil {
			return err
		}
		recs = append(recs, again...)
	}
	followed := k.follow(recs)
	if first && followed == 0 {
		return fmt.Errorf("%s: no open market matches the choice: %w", k.venue.Venue(), link.ErrNotFound)
	}
	k.assign(ctx)
	return nil
}

// unsettled are the followed markets without a result that are not in but, sorted. The lock is held.
func (k *keeper) unsettled(but map[string]bool) []data.Listing {
	var out []data.Listing
	for native, m := range k.markets {
		if !m.settled && !but[native] {
			out = append(out, m.listing)
		}
	}
	sortListings(out)
	return out
}

func sortListings(ls []data.Listing) {
	slices.SortFunc(ls, func(a, b data.Listing) int {
		switch {
		case a.Key.Less(b.Key):
			return -1
		case b.Key.Less(a.Key):
			return 1
		}
		return 0
	})
}

// follow pushes what records say that is new and keeps the markets that are open. It returns how many are kept.
func (k *keeper) follow(recs []link.Record) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range recs {
		r := &recs[i]
		news := r.Resource == data.RestSeries && k.isNew("series "+r.Name, string(r.Body))
		var settled []string
		for j := range r.Markets {
			m := &r.Markets[j]
			native := m.Listing.Key.Native
			old := k.markets[native]
			if old == nil && (m.Settled || m.Status == data.Closed || m.Status == data.Determined || m.Status == data.Settled) {
				continue
			}
			if old == nil {
				k.markets[native] = &kept{listing: m.Listing}
				k.push(data.InputWant, 0, []byte(native))
			}
			news = k.isNew(native, fmt.Sprint(m.Listing, m.Status, m.Settled)) || news
			if m.Settled && !k.markets[native].settled {
				settled = append(settled, native)
			}
		}
		if news {
			k.push(data.InputRest, 0, append([]byte(r.Resource+"\n"), r.Body...))
		}
		for _, native := range settled {
			k.markets[native].settled = true
			k.push(data.InputDrop, 0, []byte(native))
			k.release(native)
		}
	}
	return len(k.unsettled(nil))
}

func (k *keeper) isNew(name, fingerprint string) bool {
	if k.seen[name] == fingerprint {
		return false
	}
	k.seen[name] = fingerprint
	return true
}

// release takes a settled market off its connection.
func (k *keeper) release(native string) {
	for _, sh := range k.shards {
		sh.mu.Lock()
		i := slices.IndexFunc(sh.listings, func(l data.Listing) bool { return l.Key.Native == native })
		if i >= 0 {
			l := sh.listings[i]
			sh.listings = slices.Delete(sh.listings, i, i+1)
			for _, s := range sh.sessions {
				if s.conn != nil {
					if err := s.conn.Unsubscribe([]data.Listing{l}); err != nil {
						s.cancel(err)
					}
				}
			}
		}
		sh.mu.Unlock()
	}
}

// assign gives every followed market that no connection carries to one with room.
func (k *keeper) assign(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	carried := map[string]bool{}
	for _, sh := range k.shards {
		sh.mu.Lock()
		for i := range sh.listings {
			carried[sh.listings[i].Key.Native] = true
		}
		sh.mu.Unlock()
	}
	add := k.unsettled(carried)
	for _, sh := range k.shards {
		add = sh.take(add)
	}
	for len(add) > 0 {
		sh := &shard{k: k, renew: make(chan struct{}, 1)}
		add = sh.take(add)
		k.shards = append(k.shards, sh)
		if k.venue.Streams() {
			k.start(func() { sh.run(ctx) })
		}
	}
}

// take carries as many of the listings as there is room for and returns the rest.
func (sh *shard) take(add []data.Listing) []data.Listing {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n := min(len(add), max(0, sh.k.venue.CarryMax()-len(sh.listings)))
	if n == 0 {
		return add
	}
	sh.listings = append(sh.listings, add[:n]...)
	for _, s := range sh.sessions {
		if s.conn != nil {
			sh.subscribe(s, add[:n])
		}
	}
	return add[n:]
}

// subscribe tells the stream first: what comes then belongs to a market that it knows.
func (sh *shard) subscribe(s *session, listings []data.Listing) {
	for i := range listings {
		sh.k.push(data.InputCarry, s.id, []byte(listings[i].Key.Native))
	}
	if err := s.conn.Subscribe(listings); err != nil {
		s.cancel(err)
	}
}

// run keeps a connection open for the shard, and changes it as planned with an overlap.
func (sh *shard) run(ctx context.Context) {
	k := sh.k
	backoff := k.opt.Backoff
	cur := sh.begin(ctx)
	for {
		rotate := time.NewTimer(k.opt.RotateEvery + rand.N(k.opt.RotateEvery/8+1))
		change := false
		select {
		case <-cur.done:
			if ctx.Err() != nil {
				return
			}
			if errors.Is(cur.err, link.ErrAuth) && !k.ever.Load() { // the key is wrong, and was from the beginning
				select {
				case k.fatal <- cur.err:
				default:
				}
				return
			}
			if !cur.up.IsZero() && time.Since(cur.up) > time.Minute {
				backoff = k.opt.Backoff
			}
			k.log.Warn("connection ended", "connection", cur.id, "why", cur.err)
			if link.Sleep(ctx, backoff/2+rand.N(backoff)) != nil {
				return
			}
			backoff = min(2*backoff, k.opt.BackoffMax)
			cur = sh.begin(ctx)
		case <-rotate.C:
			change = true
		case <-sh.renew:
			change = true
		}
		rotate.Stop()
		if !change {
			continue
		}
		next := sh.begin(ctx)
		over := time.NewTimer(k.opt.Overlap)
		taken := false
		select {
		case <-next.done: // the new one did not come about: the old one stays
		case <-cur.spare:
			taken = true
		case <-over.C:
			taken = true
		case <-ctx.Done():
		}
		over.Stop()
		if taken {
			cur.cancel(errRotated)
			<-cur.done
			cur = next
		}
	}
}

// begin opens a connection in the background.
func (sh *shard) begin(ctx context.Context) *session {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &session{id: sh.k.next.Add(1), cancel: cancel, done: make(chan struct{}), spare: make(chan struct{}, 1)}
	sh.mu.Lock()
	sh.sessions = append(sh.sessions, s)
	sh.mu.Unlock()
	sh.k.start(func() {
		defer close(s.done)
		defer cancel(nil)
		s.err = sh.serve(ctx, s)
		sh.mu.Lock()
		sh.sessions = slices.DeleteFunc(sh.sessions, func(o *session) bool { return o == s })
		sh.mu.Unlock()
	})
	return s
}

// serve runs one connection from dial to end.
func (sh *shard) serve(ctx context.Context, s *session) error {
	k := sh.k
	v := k.venue.Venue()
	conn, err := k.venue.Dial(ctx, func(frame []byte) { k.queue.Push(data.InputFrame, v, s.id, frame) })
	if err != nil {
		return err
	}
	k.push(data.InputOpen, s.id, []byte(data.ConnStream))
	k.open.Add(1)
	k.ever.Store(true)
	sh.mu.Lock()
	s.conn, s.up = conn, time.Now()
	sh.subscribe(s, sh.listings)
	sh.mu.Unlock()
	err = conn.Run(ctx)
	sh.mu.Lock()
	s.conn = nil
	sh.mu.Unlock()
	k.open.Add(-1)
	k.push(data.InputClose, s.id, []byte(why(err)))
	return err
}

func why(err error) string {
	if err == nil {
		return "ended"
	}
	text := err.Error()
	return text[:min(len(text), 500)]
}

// request does what the stream asks for. It does not wait.
func (k *keeper) request(r *stream.Request, l data.Listing) {
	if r.Kind == stream.FetchBook {
		k.fetchAt(time.Now().Add(time.Duration(r.Delay)), l)
		return
	}
	k.mu.Lock()
	shards := slices.Clone(k.shards)
	k.mu.Unlock()
	for _, sh := range shards {
		sh.mu.Lock()
		for _, s := range sh.sessions {
			if s.id != r.Conn || s.conn == nil {
				continue
			}
			var err error
			switch r.Kind {
			case stream.FetchSnapshot:
				err = s.conn.Snapshot(&l, r.SID)
			case stream.Resubscribe:
				err = errors.Join(s.conn.Unsubscribe([]data.Listing{l}), s.conn.Subscribe([]data.Listing{l}))
			case stream.Reopen:
				err = errSilent
			case stream.Retire:
				select {
				case s.spare <- struct{}{}:
				default:
				}
			case stream.Renew:
				select {
				case sh.renew <- struct{}{}:
				default:
				}
			}
			if err != nil {
				s.cancel(err)
			}
		}
		sh.mu.Unlock()
	}
}

// fetcher fetches REST books in as few requests as the venue allows.
func (k *keeper) fetcher(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for {
				batch := k.due(now)
				if len(batch) == 0 {
					break
				}
				body, err := k.venue.Books(link.Urgent(ctx), batch)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					k.log.Warn("books could not be fetched; asked for again", "markets", len(batch), "error", err)
					k.fetchAt(now.Add(time.Second), batch...) // the stream counts on an answer
					continue
				}
				k.push(data.InputRest, 0, append([]byte(data.RestBooks+"\n"), body...))
			}
		}
	}
}

// fetchAt lets REST books be fetched when due, unless they are to be anyway.
func (k *keeper) fetchAt(due time.Time, listings ...data.Listing) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range listings {
		if native := listings[i].Key.Native; k.fetch[native] == nil {
			k.fetch[native] = &fetching{listings[i], due}
		}
	}
}

func (k *keeper) due(now time.Time) []data.Listing {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []data.Listing
	for native, f := range k.fetch {
		if !now.Before(f.due) && len(out) < k.venue.BooksMax() {
			out = append(out, f.listing)
			delete(k.fetch, native)
		}
	}
	sortListings(out)
	return out
}

// poll fetches all books again and again where there is no stream. When the venue does not answer for long, the
// connection counts as closed: what happened meanwhile is not known.
func (k *keeper) poll(ctx context.Context) {
	tick := time.NewTicker(k.opt.PollEvery)
	defer tick.Stop()
	id, carried, heard := uint32(0), map[string]bool{}, time.Now()
	for ctx.Err() == nil {
		if id == 0 {
			id, carried = k.next.Add(1), map[string]bool{}
			k.push(data.InputOpen, id, []byte(data.ConnPolled))
			k.open.Store(1)
		}
		k.mu.Lock()
		all := k.unsettled(nil)
		k.mu.Unlock()
		for part := range slices.Chunk(all, k.venue.BooksMax()) {
			for i := range part {
				if !carried[part[i].Key.Native] {
					carried[part[i].Key.Native] = true
					k.push(data.InputCarry, id, []byte(part[i].Key.Native))
				}
			}
			body, err := k.venue.Books(ctx, part)
			if err == nil {
				heard = time.Now()
				k.push(data.InputRest, 0, append([]byte(data.RestBooks+"\n"), body...))
			} else if ctx.Err() == nil {
				k.log.Warn("books could not be polled", "error", err)
			}
		}
		if time.Since(heard) > max(30*time.Second, 3*k.opt.PollEvery) {
			k.push(data.InputClose, id, []byte("the venue does not answer"))
			id, heard = 0, time.Now()
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if id != 0 {
		k.push(data.InputClose, id, []byte("stopped"))
	}
	k.open.Store(0)
}

// status pushes the venue's own status when it changed.
func (k *keeper) status(ctx context.Context) {
	body, err := k.venue.Status(ctx)
	if err != nil && ctx.Err() == nil {
		k.log.Warn("the venue's status could not be fetched", "error", err)
	}
	if err != nil || body == nil {
		return
	}
	k.mu.Lock()
	news := k.isNew("status", string(body))
	k.mu.Unlock()
	if news {
		k.push(data.InputRest, 0, append([]byte(data.RestStatus+"\n"), body...))
	}
}
