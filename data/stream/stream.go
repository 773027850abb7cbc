// Package stream is the pure machine from what came in at the boundary (connections, frames, REST bodies) to one gapless
// list of events: many connections of both venues, each with its own Feed, become one book a market. A recording and
// its decoding again run the same code, so the same inputs give the same events. (2026-11-21: a room of its own, because a
// Feed knows one connection, and what joins several must be as pure as the feeds for decoding again to be exact.)
//
// S1: at any time one connection owns a market; only its messages pass. Ownership moves when another connection has come
// to the same book, so a planned change of connections leaves no hole and no step back.
// S2: between a Gap and the next snapshot of a market, no change of its book passes.
// S3: what has to be fetched is asked for as a Request. At most one REST book a market is outstanding, and one snapshot a
// market and connection, unless nothing came of it in Options.Patience.
//
// Where it is wrong: Polymarket's channel has no sequence numbers. A lost change is found when a sampled hash, the
// venue's own best prices or a REST book disagree, and until then the book is wrong and called valid.
package stream

import (
	"bytes"
	"fmt"
	"slices"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
	"arbiter/data/wire"
)

// Options of a Stream. They are part of what a recording is decoded with.
type Options struct {
	HashEvery data.Duration    `json:"hash_every"` // a Polymarket hash is computed at most so often a market
	Quiet     data.Duration    `json:"quiet"`      // a market that says nothing for so long is compared with REST
	Silent    data.Duration    `json:"silent"`     // a connection that says nothing for so long is
	Behind    data.Duration    `json:"behind"`     // a connection whose messages came so much faster before is given up
	Patience  data.Duration    `json:"patience"`   // before something outstanding is asked for again
	Fees      kalshi.Precision `json:"fees"`
}

// Defaults find a frozen connection in five seconds and a frozen market in thirty.
func Defaults() Options {
	return Options{HashEvery: 500 * data.Millisecond, Quiet: 20 * data.Second, Silent: 2500 * data.Millisecond, Behind: 1500 * data.Millisecond, Patience: 5 * data.Second, Fees: kalshi.Direct}
}

// confirm is how long after a REST book that differs the next one is asked for.
const confirm = data.Second

// RequestKind says what a Request asks for.
type RequestKind uint8

// The requests.
const (
	FetchBook     RequestKind = iota + 1 // a REST book of Inst
	FetchSnapshot                        // a snapshot of Inst by the stream itself (Kalshi's get_snapshot)
	Resubscribe                          // Inst anew on Conn: the stream forgot it
	Reopen                               // Conn: it is open and says nothing, or says it too late
	Renew                                // Conn: it does not bring Inst, and brings others: with an overlap
	Retire                               // Conn: newer connections have taken over all that it had
)

// Request asks the owner of the sockets for something.
type Request struct {
	Kind  RequestKind
	Venue data.Venue
	Conn  uint32
	Inst  data.InstrumentID
	SID   int64
	Delay data.Duration
}

// Counts of everything that happened so far.
type Counts struct {
	Frames         int64 `json:"frames"`
	Rests          int64 `json:"rest_bodies"`
	Lost           int64 `json:"frames_lost"`
	Malformed      int64 `json:"malformed"`
	Events         int64 `json:"events"`
	Gaps           int64 `json:"gaps"`
	Trades         int64 `json:"trades"`
	Snapshots      int64 `json:"snapshots"`
	Duplicates     int64 `json:"duplicates"` // messages of connections that do not own their market
	Handovers      int64 `json:"handovers"`
	Probes         int64 `json:"probes"`
	ProbesDiffered int64 `json:"probes_differed"`
	Hashes         int64 `json:"hashes"`
	Matched        int64 `json:"hashes_matched"`
	RulesChanged   int64 `json:"rules_changed"`
}

// Stream is the state of a recording.
type Stream struct {
	opt      Options
	dict     *data.Dictionary
	markets  []market
	ids      map[data.MarketKey]data.InstrumentID
	wanted   map[data.MarketKey]bool
	series   map[string]uint32 // index of a Kalshi series' schedule in the dictionary
	conns    []*conn
	status   [data.VenueCount]data.MarketStatus
	alive    [data.VenueCount]data.Time
	requests []Request
	counts   Counts
	buf      []data.Event
}

type market struct {
	key      data.MarketKey
	owner    uint32
	valid    bool
	dropped  bool
	settled  bool
	payout   data.Money
	tick     data.Price
	status   data.MarketStatus
	fees     []uint32
	heard    data.Time // of the newest message that passed
	asked    data.Time // when something was last asked for
	fetch    data.Time // when the REST book that is outstanding was asked for; 0: none is
	unheard  int       // how often in a row nothing came of it
	carriers int       // connections that carry it
	trades   [32]data.OrderID
	tradeAt  int
}

// feed is what both venues' feeds can do alike.
type feed interface {
	Frame(frame []byte, recv data.Time, out []data.Event) ([]data.Event, error)
	Lost(recv data.Time, cause data.GapCause, out []data.Event) []data.Event
	Answered() []data.InstrumentID
	Invalidate(data.InstrumentID)
	Remove(data.InstrumentID)
}

// conn is one connection with its Feed.
type conn struct {
	id     uint32
	venue  data.Venue
	polled bool
	feed   feed // kal or poly, whichever it is
	kal    *kalshi.Feed
	poly   *polymarket.Feed
	insts  []data.InstrumentID
	heard  data.Time
	probed data.Time
	age    age
	snaps  map[data.InstrumentID]data.Time // snapshots that are outstanding, and since when
	over   bool                            // given up: another connection is to come
}

// age is how late a connection's messages come: receive less exchange time, whatever the clocks' offset is.
type age struct {
	least  data.Duration // ever
	now    data.Duration // least in the window
	n      int           // messages in the window
	began  data.Time
	late   int  // windows in a row whose messages all came too late
	reckon bool // least is valid
}

// A window of age is half a second or longer and has a few messages: one late message says nothing.
const (
	ageWindow   = data.Second / 2
	ageMessages = 3
	ageLate     = 2
)

// add notes a message. It returns whether the connection has fallen behind by more than limit.
func (a *age) add(recv, exch data.Time, limit data.Duration) bool {
	d := recv.Sub(exch)
	if !a.reckon || d < a.least {
		a.least, a.reckon = d, true
	}
	if a.n == 0 || d < a.now {
		a.now = d
	}
	if a.n++; a.n == 1 {
		a.began = recv
	}
	if a.n < ageMessages || recv.Sub(a.began) < ageWindow {
		return false
	}
	a.n = 0
	if a.now-a.least <= limit {
		a.late = 0
		return false
	}
	a.late++
	return a.late == ageLate
}

// New makes a stream without markets. dict is filled as markets are listed; a listing's index is its InstrumentID.
func New(opt Options, dict *data.Dictionary) *Stream {
	return &Stream{opt: opt, dict: dict, ids: map[data.MarketKey]data.InstrumentID{}, wanted: map[data.MarketKey]bool{}, series: map[string]uint32{}}
}

// Counts so far.
func (s *Stream) Counts() Counts { return s.counts }

// ID finds a listed market.
func (s *Stream) ID(k data.MarketKey) (data.InstrumentID, bool) {
	id, ok := s.ids[k]
	return id, ok
}

// Requests returns and clears what should be fetched.
func (s *Stream) Requests() []Request {
	r := s.requests
	s.requests = s.requests[:0]
	return r
}

// Followed is the number of listed markets of a venue that are followed, and how many of them have no valid book.
func (s *Stream) Followed(v data.Venue) (followed, invalid int) {
	for i := range s.markets {
		if m := &s.markets[i]; m.key.Venue == v && !m.dropped && !m.settled {
			followed++
			if !m.valid {
				invalid++
			}
		}
	}
	return followed, invalid
}

// Book is a market's book, nil while it is not valid.
func (s *Stream) Book(id data.InstrumentID) *data.Book {
	m := &s.markets[id]
	if c := s.conn(m.key.Venue, m.owner); m.valid && c != nil {
		return c.book(s.dict.Listings[id].Tokens[0], m.key.Native)
	}
	return nil
}

func (c *conn) book(token, ticker string) *data.Book {
	if c.poly != nil {
		return c.poly.Book(token)
	}
	return c.kal.Book(ticker)
}

func (s *Stream) conn(v data.Venue, id uint32) *conn {
	for _, c := range s.conns {
		if c.id == id && c.venue == v {
			return c
		}
	}
	return nil
}

// Apply folds one input in and appends the events that it gives; they carry no Seq. An error tells that the input could
// not be understood; what it may have changed is invalid by then, and the stream goes on.
func (s *Stream) Apply(in *data.Input, out []data.Event) ([]data.Event, error) {
	n := len(out)
	out, err := s.apply(in, out)
	for i := n; i < len(out); i++ {
		switch out[i].Kind {
		case data.Gap:
			s.counts.Gaps++
		case data.Trade:
			s.counts.Trades++
		case data.Clear:
			s.counts.Snapshots++
		}
	}
	s.counts.Events += int64(len(out) - n)
	if err != nil {
		s.counts.Malformed++
	}
	return out, err
}

func (s *Stream) apply(in *data.Input, out []data.Event) ([]data.Event, error) {
	key := func() data.MarketKey { return data.MarketKey{Venue: in.Venue, Native: string(in.Text)} }
	switch in.Kind {
	case data.InputOpen:
		return s.open(in, out), nil
	case data.InputWant:
		s.wanted[key()] = true
		return out, nil
	case data.InputDrop:
		return s.drop(key(), in.Recv, out), nil
	case data.InputRest:
		return s.rest(in, out)
	case data.InputControl:
		code, ok := wire.ParseInt(in.Text)
		if !ok || code < int64(data.Halt) || code > int64(data.Flatten) {
			return out, fmt.Errorf("stream: control %q is not known", in.Text)
		}
		return append(out, data.Event{Kind: data.Control, Inst: data.NoInstrument, Recv: in.Recv, Arg: uint32(code), Last: true}), nil
	}
	c := s.conn(in.Venue, in.Conn)
	if c == nil {
		return out, fmt.Errorf("stream: %s of connection %d of %s, which is not open", in.Kind, in.Conn, in.Venue)
	}
	switch in.Kind {
	case data.InputClose:
		return s.close(c, in.Recv, out), nil
	case data.InputCarry:
		return out, s.carry(c, key(), in.Recv)
	case data.InputFrame:
		return s.frame(c, in, out)
	case data.InputLost:
		n, ok := wire.ParseInt(in.Text)
		if !ok {
			return out, fmt.Errorf("stream: a count of lost frames that is no number")
		}
		s.counts.Lost += n
		s.buf = c.feed.Lost(in.Recv, data.GapOverflow, s.buf[:0])
		return s.deliver(c, in.Recv, out), nil
	}
	return out, fmt.Errorf("stream: an input of kind %d", in.Kind)
}

// open adds a connection. Connection 0 tells that the recording of a venue begins: what was before is not known. Its
// text is the time since the recording before ended, in nanoseconds, 0 where there was none.
func (s *Stream) open(in *data.Input, out []data.Event) []data.Event {
	if in.Conn == 0 {
		span, _ := wire.ParseInt(in.Text)
		return append(out, data.Event{Kind: data.Gap, Inst: data.NoInstrument, Recv: in.Recv, Arg: data.VenueArg(in.Venue, uint8(data.GapStart)), Qty: data.Qty(span), Last: true})
	}
	c := &conn{id: in.Conn, venue: in.Venue, polled: string(in.Text) == data.ConnPolled, heard: in.Recv, snaps: map[data.InstrumentID]data.Time{}}
	if in.Venue == data.Polymarket {
		c.poly = polymarket.NewFeed(polymarket.Options{HashEvery: s.opt.HashEvery})
		c.feed = c.poly
	} else {
		c.kal = kalshi.NewFeed(kalshi.Strict)
		c.feed = c.kal
	}
	s.conns = append(s.conns, c)
	return out
}

func (s *Stream) carry(c *conn, k data.MarketKey, recv data.Time) error {
	id, ok := s.ids[k]
	if !ok {
		return fmt.Errorf("stream: %s is carried before it is listed", k)
	}
	if slices.Contains(c.insts, id) {
		return nil
	}
	c.insts = append(c.insts, id)
	m, l := &s.markets[id], &s.dict.Listings[id]
	m.asked, m.unheard = recv, 0
	m.carriers++
	if c.kal != nil {
		c.kal.Add(k.Native, id)
		return nil
	}
	c.poly.Add(polymarket.Market{Inst: id, Key: k.Native, Tokens: l.Tokens, MinSize: l.QtyMin, Tick: m.tick, NegRisk: l.NegRisk})
	return nil
}

func (s *Stream) drop(k data.MarketKey, recv data.Time, out []data.Event) []data.Event {
	delete(s.wanted, k)
	id, ok := s.ids[k]
	if !ok || s.markets[id].dropped {
		return out
	}
	m := &s.markets[id]
	m.dropped = true
	for _, c := range s.conns {
		c.forget(id)
	}
	m.carriers = 0
	if m.valid && !m.settled {
		out = append(out, s.gap(id, recv, data.GapStopped))
	}
	m.valid, m.owner = false, 0
	return out
}

func (c *conn) forget(id data.InstrumentID) {
	if i := slices.Index(c.insts, id); i >= 0 {
		c.insts = slices.Delete(c.insts, i, i+1)
		c.feed.Remove(id)
	}
}

func (s *Stream) gap(id data.InstrumentID, recv data.Time, cause data.GapCause) data.Event {
	m := &s.markets[id]
	return data.Event{Kind: data.Gap, Inst: id, Recv: recv, Arg: data.VenueArg(m.key.Venue, uint8(cause)), Qty: data.Qty(recv - m.heard), Last: true}
}

// close takes a connection away. What it owned has a hole, until another connection brings a snapshot.
func (s *Stream) close(c *conn, recv data.Time, out []data.Event) []data.Event {
	s.conns = slices.DeleteFunc(s.conns, func(o *conn) bool { return o == c })
	for _, id := range c.insts {
		m := &s.markets[id]
		m.carriers--
		if m.owner != c.id {
			continue
		}
		m.owner = 0
		if !m.valid || m.settled {
			continue
		}
		m.valid = false
		out = append(out, s.gap(id, recv, data.GapDisconnect))
		s.renew(id, recv)
	}
	return out
}

// renew lets the newest other connection that has a market's book fetch it anew: what it has may be older than what the
// connection that ended had brought.
func (s *Stream) renew(id data.InstrumentID, recv data.Time) {
	m := &s.markets[id]
	for i := len(s.conns) - 1; i >= 0; i-- {
		c := s.conns[i]
		if c.venue != m.key.Venue || c.over || !slices.Contains(c.insts, id) || c.book(s.dict.Listings[id].Tokens[0], m.key.Native) == nil {
			continue
		}
		c.feed.Invalidate(id)
		s.repairs(c, recv)
		return
	}
}

// appendBook appends a book as a snapshot in the venues' order: the best price last.
func appendBook(out []data.Event, b *data.Book, at data.Event) []data.Event {
	n := len(out)
	clear := at
	clear.Kind = data.Clear
	out = append(out, clear)
	for _, side := range [2]data.Side{data.Buy, data.Sell} {
		from := len(out)
		for r := b.Best(side); r.Qty != 0; r = b.Next(side, r.Price) {
			e := at
			e.Kind, e.Side, e.Price, e.Qty = data.Level, side, r.Price, r.Qty
			out = append(out, e)
		}
		slices.Reverse(out[from:])
	}
	for i := n; i < len(out); i++ {
		out[i].Last = i == len(out)-1
	}
	return out
}

func (s *Stream) frame(c *conn, in *data.Input, out []data.Event) ([]data.Event, error) {
	s.counts.Frames++
	var err error
	if c.poly != nil {
		was := c.poly.Counts()
		s.buf, err = c.poly.Frame(in.Text, in.Recv, s.buf[:0])
		now := c.poly.Counts()
		if now.Pongs == was.Pongs { // a pong is no sign of life
			c.heard = in.Recv
		}
		s.counts.Hashes += int64(now.HashChecked - was.HashChecked)
		s.counts.Matched += int64(now.HashMatched - was.HashMatched)
	} else {
		s.buf, err = c.kal.Frame(in.Text, in.Recv, s.buf[:0])
		c.heard = in.Recv
	}
	return s.deliver(c, in.Recv, out), err
}

// deliver passes on the messages in s.buf that c may bring (S1).
func (s *Stream) deliver(c *conn, recv data.Time, out []data.Event) []data.Event {
	from, behind := 0, false
	for i := range s.buf {
		if e := &s.buf[from]; s.buf[i].Last {
			if e.Exch != 0 && (e.Kind == data.Level || e.Kind == data.Delta || e.Kind == data.Trade) {
				behind = c.age.add(e.Recv, e.Exch, s.opt.Behind) || behind
			}
			out = s.message(c, s.buf[from:i+1], out)
			from = i + 1
		}
	}
	if behind {
		out = s.giveUp(c, recv, out)
	}
	for i := range s.buf {
		if e := &s.buf[i]; e.Last && s.markets[e.Inst].carriers > 1 {
			s.meet(e.Inst)
		}
	}
	s.repairs(c, recv)
	return out
}

// repairs asks for what a connection's feed wants repaired.
func (s *Stream) repairs(c *conn, recv data.Time) {
	if c.poly != nil {
		for _, r := range c.poly.Repairs() {
			s.ask(Request{Kind: FetchBook, Venue: c.venue, Conn: c.id, Inst: r.Inst}, r.Again, recv)
		}
		return
	}
	for _, r := range c.kal.Repairs() {
		kind := FetchSnapshot
		if r.Probe {
			kind = FetchBook
		}
		s.ask(Request{Kind: kind, Venue: c.venue, Conn: c.id, Inst: r.Inst, SID: r.SID}, r.Probe, recv)
	}
}

func (s *Stream) ask(r Request, again bool, recv data.Time) {
	if again {
		r.Delay = confirm
	}
	s.requests = s.request(r, recv, s.requests)
}

// request appends a request unless the same answer is outstanding.
func (s *Stream) request(r Request, now data.Time, out []Request) []Request {
	m := &s.markets[r.Inst]
	m.asked = now
	switch r.Kind {
	case FetchBook:
		if m.fetch != 0 && now.Sub(m.fetch) < s.opt.Patience {
			return out
		}
		m.fetch = now
	case FetchSnapshot:
		c := s.conn(r.Venue, r.Conn)
		if since, ok := c.snaps[r.Inst]; ok && now.Sub(since) < s.opt.Patience {
			return out
		}
		c.snaps[r.Inst] = now
	}
	return append(out, r)
}

// meet moves a market to its newest connection once that has the owner's book.
func (s *Stream) meet(id data.InstrumentID) {
	m := &s.markets[id]
	owner := s.conn(m.key.Venue, m.owner)
	if !m.valid || owner == nil {
		return
	}
	token, ticker := s.dict.Listings[id].Tokens[0], m.key.Native
	for i := len(s.conns) - 1; i >= 0 && s.conns[i].id > owner.id; i-- {
		c := s.conns[i]
		if c.venue != m.key.Venue || c.over || !slices.Contains(c.insts, id) {
			continue
		}
		if b := c.book(token, ticker); b != nil && b.Equal(owner.book(token, ticker)) {
			s.counts.Handovers++
			m.owner = c.id
			if !slices.ContainsFunc(owner.insts, func(i data.InstrumentID) bool { return s.markets[i].owner == owner.id && s.markets[i].valid }) {
				s.requests = append(s.requests, Request{Kind: Retire, Venue: owner.venue, Conn: owner.id, Inst: id})
			}
			return
		}
	}
}

// giveUp ends the books of a connection that is too late, and asks for another one.
func (s *Stream) giveUp(c *conn, recv data.Time, out []data.Event) []data.Event {
	c.over = true
	for _, id := range c.insts {
		if m := &s.markets[id]; m.owner == c.id && m.valid && !m.settled {
			m.valid, m.owner = false, 0
			out = append(out, s.gap(id, recv, data.GapBehind))
		}
	}
	s.requests = append(s.requests, Request{Kind: Reopen, Venue: c.venue, Conn: c.id})
	return out
}

// message passes one venue message of a market on, or holds it back.
func (s *Stream) message(c *conn, evs, out []data.Event) []data.Event {
	e := &evs[0]
	m := &s.markets[e.Inst]
	if m.dropped {
		return out
	}
	switch e.Kind {
	case data.Trade:
		if slices.Contains(m.trades[:], e.Order) { // the other connection told it
			s.counts.Duplicates++
			return out
		}
		m.trades[m.tradeAt] = e.Order
		m.tradeAt = (m.tradeAt + 1) % len(m.trades)
	case data.Status:
		return s.setStatus(e.Inst, data.MarketStatus(e.Arg&0xff), e.Recv, e.Exch, out)
	case data.Settle:
		return s.settle(e.Inst, e.Cash, e.Recv, e.Exch, out)
	case data.TickSize:
		if m.tick == e.Price {
			return out
		}
		m.tick = e.Price
	case data.Clear:
		delete(c.snaps, e.Inst)
		if c.over || m.owner != c.id && m.valid { // it may be behind the owner
			s.counts.Duplicates++
			return out
		}
		m.owner, m.valid, m.unheard = c.id, true, 0
	default:
		if m.owner != c.id || !m.valid {
			s.counts.Duplicates++
			return out
		}
		if e.Kind == data.Gap {
			return s.broken(c, e, out)
		}
	}
	m.heard = e.Recv
	return append(out, evs...)
}

// broken passes on the gap of a market's owner.
func (s *Stream) broken(c *conn, e *data.Event, out []data.Event) []data.Event {
	m := &s.markets[e.Inst]
	m.valid = false
	e.Qty = data.Qty(e.Recv - m.heard)
	out = append(out, *e)
	if data.GapCause(e.Arg&0xff) != data.GapFrozen {
		return out
	}
	kind := Resubscribe
	if e.Recv.Sub(c.heard) > s.opt.Silent {
		kind = Reopen
	}
	s.requests = append(s.requests, Request{Kind: kind, Venue: c.venue, Conn: c.id, Inst: e.Inst})
	return out
}

// rest takes a REST body: its first line names the resource.
func (s *Stream) rest(in *data.Input, out []data.Event) ([]data.Event, error) {
	s.counts.Rests++
	name, body, ok := bytes.Cut(in.Text, []byte("\n"))
	if !ok {
		return out, fmt.Errorf("stream: a REST body without its name")
	}
	switch string(name) {
	case data.RestBooks:
		return s.books(in, body, out)
	case data.RestEvent, data.RestMarket, data.RestSeries:
		return s.record(in, string(name), body, out)
	case data.RestStatus:
		return s.exchange(in, body, out)
	}
	return out, fmt.Errorf("stream: REST resource %q is not known", name)
}

// books hands REST books to every connection of the venue: each compares or repairs what it carries.
func (s *Stream) books(in *data.Input, body []byte, out []data.Event) ([]data.Event, error) {
	var err error
	sound := false
	for _, c := range slices.Clone(s.conns) {
		if c.venue != in.Venue {
			continue
		}
		var matched, differed int
		switch {
		case c.poly != nil:
			was := c.poly.Counts()
			s.buf, err = c.poly.Rest(body, in.Recv, s.buf[:0])
			now := c.poly.Counts()
			matched, differed = now.ProbeMatched-was.ProbeMatched, now.ProbeDiffered-was.ProbeDiffered
		case c.polled:
			s.buf, err = c.kal.Poll(body, in.Recv, s.buf[:0])
			matched, c.heard = 1, in.Recv
		default:
			was := c.kal.Counts()
			s.buf, err = c.kal.Rest(body, in.Recv, s.buf[:0])
			now := c.kal.Counts()
			matched, differed = now.ProbeMatched-was.ProbeMatched, now.ProbeDiffered-was.ProbeDiffered
		}
		if err != nil {
			return out, err
		}
		for _, id := range c.feed.Answered() {
			if m := &s.markets[id]; m.fetch != in.Recv { // not asked for anew by another connection
				m.fetch = 0
			}
		}
		s.counts.Probes += int64(matched + differed)
		s.counts.ProbesDiffered += int64(differed)
		sound = sound || matched > 0 && differed == 0
		out = s.deliver(c, in.Recv, out)
	}
	if sound && in.Recv.Sub(s.alive[in.Venue]) >= data.Second {
		s.alive[in.Venue] = in.Recv
		out = append(out, data.Event{Kind: data.Alive, Inst: data.NoInstrument, Recv: in.Recv, Arg: data.VenueArg(in.Venue, 0), Last: true})
	}
	return out, nil
}

// Due appends what time alone makes necessary: books that are missing, and comparisons of what has been quiet. It
// changes no event.
func (s *Stream) Due(now data.Time, out []Request) []Request {
	for _, c := range s.conns {
		if !c.polled && now.Sub(c.heard) > s.opt.Silent && now.Sub(c.probed) > s.opt.Silent {
			c.probed = now
			out = s.probeSilent(c, now, out)
		}
		for _, id := range c.insts {
			m := &s.markets[id]
			if m.settled || c.polled || (m.owner != 0 && m.owner != c.id) {
				continue
			}
			switch wait := now.Sub(m.asked); {
			case !m.valid && wait > s.opt.Patience:
				out = s.missing(c, id, now, out)
			case m.valid && wait > s.opt.Quiet && now.Sub(m.heard) > s.opt.Quiet:
				out = s.request(Request{Kind: FetchBook, Venue: c.venue, Conn: c.id, Inst: id}, now, out)
			}
		}
	}
	return out
}

// silentProbes is how many markets of a silent connection are compared at once: those heard last.
const silentProbes = 20

func (s *Stream) probeSilent(c *conn, now data.Time, out []Request) []Request {
	insts := slices.Clone(c.insts)
	slices.SortStableFunc(insts, func(a, b data.InstrumentID) int {
		switch x, y := s.markets[a].heard, s.markets[b].heard; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	n := 0
	for _, id := range insts {
		if m := &s.markets[id]; m.valid && m.owner == c.id && n < silentProbes {
			n++
			out = s.request(Request{Kind: FetchBook, Venue: c.venue, Conn: c.id, Inst: id}, now, out)
		}
	}
	return out
}

// missing asks for a book that did not come, and for a new connection when asking did not help.
func (s *Stream) missing(c *conn, id data.InstrumentID, now data.Time, out []Request) []Request {
	m := &s.markets[id]
	m.asked = now
	m.unheard++
	if m.unheard%4 == 0 {
		kind := Renew
		if now.Sub(c.heard) > s.opt.Silent {
			kind = Reopen
		}
		return append(out, Request{Kind: kind, Venue: c.venue, Conn: c.id, Inst: id})
	}
	r := Request{Kind: FetchBook, Venue: c.venue, Conn: c.id, Inst: id}
	if c.kal != nil {
		r.Kind, r.SID = FetchSnapshot, c.kal.SID()
	}
	return s.request(r, now, out)
}
