package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"arbiter/data"
	"arbiter/data/tape"
	"arbiter/live"
	"arbiter/sim/fakevenue"
	"arbiter/sim/market"
)

// bookSum is a fingerprint of a book's levels.
func bookSum(b *data.Book) uint64 {
	h := fnv.New64a()
	var buf [17]byte
	for _, side := range [2]data.Side{data.Buy, data.Sell} {
		for r := b.Best(side); r.Qty != 0; r = b.Next(side, r.Price) {
			buf[0] = byte(side)
			for i := range 8 {
				buf[1+i], buf[9+i] = byte(uint64(r.Price)>>(8*i)), byte(uint64(r.Qty)>>(8*i))
			}
			h.Write(buf[:])
		}
	}
	return h.Sum64()
}

// foldBook applies an event to a book.
func foldBook(b *data.Book, e *data.Event) {
	switch e.Kind {
	case data.Clear, data.Gap:
		b.Clear()
	case data.Level:
		b.Set(e.Side, e.Price, e.Qty)
	case data.Delta:
		b.Add(e.Side, e.Price, e.Qty)
	}
}

// truth is a source that remembers every state of every book that it has given to the venues, and when it was served.
type truth struct {
	fakevenue.Source
	until   data.Time // where it ends; 0: at the source's end
	mu      sync.Mutex
	markets map[data.MarketKey]*history
	insts   []*history
	unseen  []*history // with a state that has been read and not yet served
}

type history struct {
	book data.Book
	sums []uint64
	at   []time.Time // zero: not served yet
}

func (h *history) add() {
	h.sums, h.at = append(h.sums, bookSum(&h.book)), append(h.at, time.Time{})
}

func (tr *truth) Next(e *data.Event) error {
	if err := tr.Source.Next(e); err != nil {
		return err
	}
	if tr.until != 0 && e.Recv > tr.until {
		return io.EOF
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	switch {
	case e.Kind == data.Listed:
		h := &history{}
		tr.markets[tr.Dictionary().Listings[e.Arg].Key] = h
		for int(e.Inst) >= len(tr.insts) {
			tr.insts = append(tr.insts, nil)
		}
		tr.insts[e.Inst] = h
	case e.Inst != data.NoInstrument && (e.Kind == data.Level || e.Kind == data.Delta || e.Kind == data.Clear):
		h := tr.insts[e.Inst]
		foldBook(&h.book, e)
		if e.Last || e.Kind == data.Delta { // Kalshi sends one change a message
			h.add()
			tr.unseen = append(tr.unseen, h)
		}
	}
	return nil
}

// served notes when: the venues call it after each message.
func (tr *truth) served(int64) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now := time.Now()
	for _, h := range tr.unseen {
		for i := len(h.at) - 1; i >= 0 && h.at[i].IsZero(); i-- {
			h.at[i] = now
		}
	}
	tr.unseen = tr.unseen[:0]
}

// judge rebuilds the books from the recorded events, as a reader of the tape would, and compares each valid one with
// the truth at every step.
type judge struct {
	truth *truth
	mu    sync.Mutex
	books map[data.InstrumentID]*judged
	found findings
}

type judged struct {
	key   data.MarketKey
	hist  *history
	book  data.Book
	valid bool
	at    int       // the newest state of the truth that it is known to have been in
	anew  bool      // nothing was compared since the last gap: another connection may be behind
	wrong time.Time // since when it is in no state that the truth was ever in; zero: it is in one
}

// findings by venue.
type findings struct {
	checks, wrong, gaps, snapshots [data.VenueCount]int
	wrongFor                       [data.VenueCount]time.Duration // the longest that a valid book was in no true state
	staleFor                       [data.VenueCount]time.Duration // the longest that a valid book was behind the truth
	causes                         map[data.GapCause]int
	frames, lost                   int64
	settled                        int
}

// cut says that a connection ended: what was on its way then, nobody received.
func (f *findings) cut() bool {
	return f.causes[data.GapDisconnect]+f.causes[data.GapBehind]+f.causes[data.GapFrozen] > 0
}

func newJudge(tr *truth) *judge {
	return &judge{truth: tr, books: map[data.InstrumentID]*judged{}, found: findings{causes: map[data.GapCause]int{}}}
}

func (j *judge) input(in *data.Input, events []data.Event, dict *data.Dictionary) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch in.Kind {
	case data.InputFrame:
		j.found.frames++
	case data.InputLost:
		n := int64(0)
		fmt.Sscan(string(in.Text), &n)
		j.found.lost += n
	}
	for i := range events {
		e := &events[i]
		if e.Inst == data.NoInstrument {
			if e.Kind == data.Gap { // of a venue
				for _, b := range j.books {
					if b.key.Venue == data.Venue(e.Arg>>8) {
						b.valid, b.wrong, b.anew = false, time.Time{}, true
					}
				}
			}
			continue
		}
		b := j.books[e.Inst]
		if e.Kind == data.Listed {
			key := dict.Listings[e.Arg].Key
			j.truth.mu.Lock()
			j.books[e.Inst] = &judged{key: key, hist: j.truth.markets[key]}
			j.truth.mu.Unlock()
			continue
		}
		foldBook(&b.book, e)
		switch e.Kind {
		case data.Gap:
			j.found.gaps[b.key.Venue]++
			j.found.causes[data.GapCause(e.Arg&0xff)]++
			j.age(b, time.Now())
			b.valid, b.wrong, b.anew = false, time.Time{}, true
		case data.Clear:
			j.found.snapshots[b.key.Venue]++
			b.valid = true
		case data.Settle:
			j.found.settled++
		case data.Level, data.Delta:
		default:
			continue
		}
		if e.Last && b.valid {
			j.compare(b)
		}
	}
}

func (j *judge) compare(b *judged) {
	v := b.key.Venue
	j.found.checks[v]++
	sum := bookSum(&b.book)
	j.truth.mu.Lock()
	defer j.truth.mu.Unlock()
	at := b.at
	for b.anew && at > 0 && b.hist.sums[at] != sum {
		at--
	}
	if b.anew && b.hist.sums[at] != sum {
		at = b.at
	}
	b.anew = false
	for i := at; i < len(b.hist.sums); i++ {
		if b.hist.sums[i] == sum {
			if !b.wrong.IsZero() {
				j.found.wrongFor[v] = max(j.found.wrongFor[v], time.Since(b.wrong))
			}
			b.at, b.wrong = i, time.Time{}
			return
		}
	}
	j.found.wrong[v]++
	if b.wrong.IsZero() {
		b.wrong = time.Now()
	}
}

// age notes how long a valid book has been wrong, and how long behind. It returns whether it is right now.
func (j *judge) age(b *judged, now time.Time) bool {
	v := b.key.Venue
	if !b.valid {
		return false
	}
	if !b.wrong.IsZero() {
		j.found.wrongFor[v] = max(j.found.wrongFor[v], now.Sub(b.wrong))
	}
	j.truth.mu.Lock()
	defer j.truth.mu.Unlock()
	if len(b.hist.sums) == 0 || b.hist.sums[len(b.hist.sums)-1] == bookSum(&b.book) {
		return b.wrong.IsZero()
	}
	if next := b.at + 1; next < len(b.hist.at) && !b.hist.at[next].IsZero() {
		j.found.staleFor[v] = max(j.found.staleFor[v], now.Sub(b.hist.at[next]))
	}
	return false
}

// watch looks at all books now and then, until ctx ends.
func (j *judge) watch(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
		j.right()
	}
}

// right says whether every book is valid and true.
func (j *judge) right() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	now, all := time.Now(), len(j.books) > 0
	for _, b := range j.books {
		all = j.age(b, now) && all
	}
	return all
}

func (j *judge) findings() findings {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.found
	f.causes = maps.Clone(f.causes)
	return f
}

// faultCase is a fault and what it may do.
type faultCase struct {
	faults []string
	// wrong and stale bound how long a valid book may be in no true state, and behind the truth; zero: a moment, that of
	// the transport.
	wrong, stale [data.VenueCount]time.Duration
	cause        data.GapCause // of which gaps must come; 0: there must be none at all
	needs        string        // the name of the fault that must have been served; "": the first of faults
	none         bool          // it is not counted
	speed        int           // of the tape; 0: 6
	change       func(o *live.Options)
	cuts         bool // connections are ended on purpose
	stall        bool // the sequencer stands still until the tape has been served
}

// moment is what transport and scheduling may take on a busy machine, where twenty recorders run at once.
const moment = 5 * time.Second

// The law of faults: whatever goes wrong, a book that is called valid is the venue's, or is found out in time; every
// hole is declared; what was received is written or declared lost; in the end every book is right again.
func TestRecord_FaultsAgainstTheServedTruth(t *testing.T) {
	cfg := market.Defaults()
	cfg.Length, cfg.Pairs, cfg.Single, cfg.Rate = 4*data.Minute, 2, 1, 5
	from := filepath.Join(t.TempDir(), "a")
	if _, _, err := market.Write(cfg, from, tape.Options{}); err != nil {
		t.Fatal(err)
	}
	const conn, quiet = 5 * time.Second, 30 * time.Second
	both := func(d time.Duration) [data.VenueCount]time.Duration {
		return [data.VenueCount]time.Duration{data.Polymarket: d, data.Kalshi: d}
	}
	// Polymarket has no sequence numbers: what is lost shows in hashes and REST books. The last change of a market that
	// falls silent shows when it has been quiet.
	unnumbered := [data.VenueCount]time.Duration{data.Polymarket: conn}
	unheard := [data.VenueCount]time.Duration{data.Polymarket: quiet, data.Kalshi: quiet}
	cases := map[string]faultCase{
		"none":                           {},
		"drop":                           {faults: []string{"drop=0.01"}, wrong: unnumbered, stale: unheard, cause: data.GapSequence},
		"gap":                            {faults: []string{"gap=0.004"}, wrong: unnumbered, stale: unheard, cause: data.GapSequence},
		"duplicate":                      {faults: []string{"duplicate=0.05"}},
		"reorder":                        {faults: []string{"reorder=0.02"}, wrong: unnumbered, stale: unheard, cause: data.GapSequence},
		"truncate":                       {faults: []string{"truncate=0.005"}, cause: data.GapMalformed},
		"malform":                        {faults: []string{"malform=0.005"}, cause: data.GapMalformed},
		"disconnect":                     {faults: []string{"disconnect=0.002"}, cause: data.GapDisconnect},
		"freeze":                         {faults: []string{"freeze=4s"}, stale: both(conn), cause: data.GapFrozen},
		"freeze one market":              {faults: []string{"freeze-market=4s"}, stale: both(quiet), cause: data.GapFrozen, needs: "freeze"},
		"late snapshot":                  {faults: []string{"late-snapshot=2s"}},
		"change first":                   {faults: []string{"delta-first", "disconnect=0.001"}, cause: data.GapDisconnect},
		"same segment":                   {faults: []string{"same-segment", "disconnect=0.001"}, cause: data.GapDisconnect, needs: "disconnect"},
		"tick change":                    {faults: []string{"tick-change=100"}, cause: data.GapTick},
		"clock skew":                     {faults: []string{"clock-skew=3s", "drop=0.005"}, wrong: unnumbered, stale: unheard, cause: data.GapSequence, needs: "drop"},
		"429":                            {faults: []string{"429=0.4", "gap=0.01"}, wrong: both(quiet), stale: both(quiet), cause: data.GapSequence},
		"5xx":                            {faults: []string{"5xx=0.4", "gap=0.01"}, wrong: both(quiet), stale: both(quiet), cause: data.GapSequence},
		"HTML with 403":                  {faults: []string{"html-403=0.6", "gap=0.01"}, wrong: both(quiet), stale: both(quiet), cause: data.GapSequence},
		"planned changes of connections": {cuts: true, change: func(o *live.Options) { o.RotateEvery = 3 * time.Second }},
		"overflow":                       {speed: 1000, stall: true, cause: data.GapOverflow, stale: both(time.Minute), change: func(o *live.Options) { o.QueueBytes = 1 << 20 }},
		"wrong hashes":                   {faults: []string{"bad-hash"}},
		"slow":                           {faults: []string{"slow=5000"}, speed: 1, stale: both(conn), cause: data.GapBehind, none: true},
	}
	// They wait for each other's clocks more than they compute: all run at once.
	results := map[string]func(t *testing.T){}
	var mu sync.Mutex
	var all sync.WaitGroup
	for name, fc := range cases {
		all.Add(1)
		go func() {
			defer all.Done()
			check := runFault(t, from, cfg.Start.Add(min(3*data.Minute, 20*data.Second*data.Duration(cmp.Or(fc.speed, 6)))), &fc)
			mu.Lock()
			defer mu.Unlock()
			results[name] = check
		}()
	}
	all.Wait()
	for name := range cases {
		t.Run(name, results[name])
	}
}

// runFault records what venues with a fault serve and returns what is to be checked of it.
func runFault(t *testing.T, from string, until data.Time, fc *faultCase) func(t *testing.T) {
	fail := func(err error) func(t *testing.T) { return func(t *testing.T) { t.Fatal(err) } }
	rd, listings := openTape(t, from)
	tr := &truth{Source: rd, until: until, markets: map[data.MarketKey]*history{}}
	j := newJudge(tr)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	serve := fakevenue.Options{Speed: float64(cmp.Or(fc.speed, 6)), Lockstep: tr.served}
	for _, f := range fc.faults {
		if err := serve.Faults.Set(f); err != nil {
			return fail(err)
		}
	}
	var venues atomic.Pointer[fakevenue.Server]
	f, err := newFixture(t, ctx, tr, listings, serve, func(o *live.Options) {
		n := 0
		o.OnInput = func(in *data.Input, events []data.Event, dict *data.Dictionary) {
			j.input(in, events, dict)
			if n++; n == 1000 && fc.stall {
				<-venues.Load().Done()
			}
		}
		if fc.change != nil {
			fc.change(o)
		}
	})
	if err != nil {
		return fail(err)
	}
	venues.Store(f.venues)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go j.watch(watching)
	err = f.served()
	over := time.Now()
	all := func() bool { // what was sent has come, if no connection was cut
		found := j.findings()
		return fc.cuts || found.cut() || found.frames+found.lost == f.venues.Served().Frames
	}
	for err == nil && !(j.right() && all()) && time.Since(over) < 40*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	right, took := j.right(), time.Since(over)
	stop()
	found, served := j.findings(), f.venues.Served()
	if err := errors.Join(err, f.end()); err != nil {
		return fail(err)
	}
	return func(t *testing.T) {
		t.Logf("%v: served %d messages in %d frames, faults %v; received %d and %d lost", fc.faults, served.Messages, served.Frames, served.Faults, found.frames, found.lost)
		for _, v := range []data.Venue{data.Polymarket, data.Kalshi} {
			t.Logf("%s: %d books compared, %d wrong, for at most %s; behind for at most %s; %d gaps, %d snapshots", v, found.checks[v], found.wrong[v], found.wrongFor[v].Round(time.Millisecond),
				found.staleFor[v].Round(time.Millisecond), found.gaps[v], found.snapshots[v])
			if found.checks[v] < 100 {
				t.Errorf("%s: only %d books were compared", v, found.checks[v])
			}
			if fc.wrong[v] == 0 && found.wrong[v] > 0 {
				t.Errorf("%s: a valid book was wrong %d times", v, found.wrong[v])
			}
			if limit := fc.wrong[v] + moment; found.wrongFor[v] > limit {
				t.Errorf("%s: a valid book was wrong for %s, at most %s are allowed", v, found.wrongFor[v], limit)
			}
			if limit := fc.stale[v] + moment; found.staleFor[v] > limit {
				t.Errorf("%s: a valid book was behind for %s, at most %s are allowed", v, found.staleFor[v], limit)
			}
		}
		t.Logf("causes %v; all right %s after the end", found.causes, took.Round(time.Millisecond))
		if served.Repeated > 0 {
			t.Errorf("%d snapshots were asked for while one was still to come", served.Repeated)
		}
		if got := found.frames + found.lost; !fc.cuts && !found.cut() && got != served.Frames {
			t.Errorf("%d frames received or declared lost, %d were sent", got, served.Frames)
		}
		if !right {
			t.Error("in the end a book was not right")
		}
		fault, _, _ := strings.Cut(cmp.Or(fc.needs, append(fc.faults, "")[0]), "=")
		if fault != "" && !fc.none && served.Faults[fault] == 0 {
			t.Errorf("the fault did not happen: %v", served.Faults)
		}
		if fc.cause != 0 && found.causes[fc.cause] == 0 || fc.cause == 0 && len(found.causes) > 0 {
			t.Errorf("gaps by cause %v, want %v", found.causes, fc.cause)
		}
	}
}

// A result that the streams never tell is found in the market records.
func TestRecord_ResolutionNeverAnnounced(t *testing.T) {
	cfg := market.Defaults()
	cfg.Length, cfg.Pairs, cfg.Single = data.Minute, 1, 1
	from := filepath.Join(t.TempDir(), "a")
	if _, _, err := market.Write(cfg, from, tape.Options{}); err != nil {
		t.Fatal(err)
	}
	rd, listings := openTape(t, from)
	tr := &truth{Source: rd, markets: map[data.MarketKey]*history{}}
	j := newJudge(tr)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	f, err := newFixture(t, ctx, tr, listings, fakevenue.Options{Speed: 20, Lockstep: tr.served, Faults: fakevenue.Faults{Unresolved: true}}, func(o *live.Options) {
		o.OnInput, o.RefreshEvery = j.input, 500*time.Millisecond
	})
	if err != nil {
		t.Fatal(err)
	}
	err = f.served()
	for err == nil && j.findings().settled < len(listings) && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	if err := errors.Join(err, f.end()); err != nil {
		t.Fatal(err)
	}
	if got, told := j.findings().settled, f.venues.Served().Faults["unresolved"]; got != len(listings) || told != int64(len(listings)) {
		t.Errorf("%d of %d markets settled; %d results were held back", got, len(listings), told)
	}
	tapes, _ := filepath.Glob(filepath.Join(f.opt.Tapes, "*"))
	settle := func(events map[data.MarketKey]string) map[data.MarketKey]string {
		out := map[data.MarketKey]string{}
		for k, text := range events {
			for line := range strings.Lines(text) {
				if i := strings.Index(line, "Cash:"); strings.Contains(line, "Kind:"+fmt.Sprint(data.Settle)) {
					out[k] += strings.Fields(line[i:])[0] + "\n"
				}
			}
		}
		return out
	}
	want := settle(marketEvents(t, from))
	if len(want) != len(listings) {
		t.Fatalf("the served tape settles %d of %d markets", len(want), len(listings))
	}
	equalEvents(t, settle(marketEvents(t, tapes...)), want)
}

// lateMarket is a source that tells nothing of one market until a time, and then everything.
type lateMarket struct {
	fakevenue.Source
	inst  data.InstrumentID
	until data.Time
	held  []data.Event
	ready bool // all that is held may go
}

func (l *lateMarket) Next(e *data.Event) error {
	for {
		if l.ready && len(l.held) > 0 {
			*e, l.held = l.held[0], l.held[1:]
			return nil
		}
		if err := l.Source.Next(e); err != nil {
			return err
		}
		if !l.ready && e.Inst != l.inst && e.Recv >= l.until && e.Last {
			l.ready = true
		}
		if l.ready || e.Inst != l.inst {
			return nil
		}
		l.held = append(l.held, *e)
	}
}

// Markets that open while a recording runs are found by the next search and added to the open connection; polled books
// are the venue's too.
func TestRecord_MarketThatOpensLater(t *testing.T) {
	for _, name := range []string{"streamed", polled} {
		t.Run(name, func(t *testing.T) {
			cfg := market.Defaults()
			cfg.Length, cfg.Pairs, cfg.Single = 2*data.Minute, 1, 1
			from := filepath.Join(t.TempDir(), "a")
			if _, _, err := market.Write(cfg, from, tape.Options{}); err != nil {
				t.Fatal(err)
			}
			rd, listings := openTape(t, from)
			kalshiLast := data.InstrumentID(0)
			for i, l := range listings {
				if l.Key.Venue == data.Kalshi {
					kalshiLast = data.InstrumentID(i)
				}
			}
			tr := &truth{Source: &lateMarket{Source: rd, inst: kalshiLast, until: cfg.Start.Add(40 * data.Second)}, until: cfg.Start.Add(100 * data.Second), markets: map[data.MarketKey]*history{}}
			j := newJudge(tr)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			f, err := newFixture(t, ctx, tr, nil, fakevenue.Options{Speed: 20, Lockstep: tr.served}, func(o *live.Options) {
				o.OnInput, o.RefreshEvery, o.PollEvery, o.Name, o.SegmentEvery = j.input, 300*time.Millisecond, 200*time.Millisecond, name, 2*time.Second
			})
			if err != nil {
				t.Fatal(err)
			}
			err = f.served()
			for over := time.Now(); err == nil && !j.right() && time.Since(over) < 10*time.Second; {
				time.Sleep(20 * time.Millisecond)
			}
			right, found, followed := j.right(), j.findings(), len(j.books)
			if err := errors.Join(err, f.end()); err != nil {
				t.Fatal(err)
			}
			tapes, _ := filepath.Glob(filepath.Join(f.opt.Tapes, "*"))
			if len(tapes) < 2 {
				t.Errorf("%d tapes", len(tapes))
			}
			for _, dir := range tapes {
				text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
				if err != nil || strings.Contains(string(text), "kalshi was polled") != (name == polled) {
					t.Errorf("%s: polled or not is not noted: %v", dir, err)
				}
			}
			if !right || followed != len(listings) || found.wrong != [data.VenueCount]int{} || len(found.causes) > 0 {
				t.Errorf("%d of %d markets followed, all right: %v; %+v", followed, len(listings), right, found)
			}
		})
	}
}
