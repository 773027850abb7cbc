package stream

import (
	"bytes"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// venues is a naive model of both venues behind unreliable connections: every state of every book is remembered.
type venues struct {
	t       *testing.T
	r       *rand.Rand
	s       *Stream
	dict    data.Dictionary
	now     data.Time
	stamp   int64 // ms, of Polymarket's messages
	markets []*served
	conns   []*socket
	next    uint32
	asked   []Request
	waits   map[wait]data.Time // for an answer, since when
	events  int
	gaps    int
	checks  int
}

// served is a market as the venue has it, and as the events tell it.
type served struct {
	list  data.Listing
	book  data.Book
	stamp int64
	sums  []uint64 // of every state there ever was
	times []int64  // its millisecond

	told  data.Book
	valid bool
	at    int // newest state that the events were known to be in
}

// wait is an answer that is outstanding: a REST book of a market (conn 0), or a snapshot on a connection.
type wait struct {
	inst data.InstrumentID
	conn uint32
}

type socket struct {
	id    uint32
	venue data.Venue
	seq   int64
	queue [][]byte
}

func sum(b *data.Book) uint64 {
	h := fnv.New64a()
	for _, s := range [2]data.Side{data.Buy, data.Sell} {
		for r := b.Best(s); r.Qty != 0; r = b.Next(s, r.Price) {
			fmt.Fprintln(h, s, r.Price, r.Qty)
		}
	}
	return h.Sum64()
}

func newVenues(t *testing.T, seed uint64) *venues {
	v := &venues{t: t, waits: map[wait]data.Time{}, r: rand.New(rand.NewPCG(seed, 77)), now: data.Time(1_790_000_000) * data.Time(data.Second), stamp: 1_790_000_000_000}
	v.s = New(Defaults(), &v.dict)
	for i := range 6 {
		m := &served{list: data.Listing{Key: data.MarketKey{Venue: data.Polymarket, Native: fmt.Sprintf("0x%d", i)}, Tokens: [2]string{fmt.Sprintf("%d0", i+1), fmt.Sprintf("%d1", i+1)}}}
		if i%2 == 1 {
			m.list = data.Listing{Key: data.MarketKey{Venue: data.Kalshi, Native: fmt.Sprintf("K-%d", i)}}
		}
		m.list.Bands = []data.Band{{Start: 0, End: data.One, Step: 100}}
		v.markets = append(v.markets, m)
		v.apply(data.InputWant, m.list.Key.Venue, 0, m.list.Key.Native)
		v.fold(v.s.follow(&facts{listing: m.list, feesIndex: -1, status: data.Open}, v.now, nil))
		m.sums, m.times = append(m.sums, sum(&m.book)), append(m.times, 0)
	}
	return v
}

// apply hands an input over and checks everything that came of it.
func (v *venues) apply(kind data.InputKind, venue data.Venue, conn uint32, text string) {
	v.now++
	in := data.Input{Recv: v.now, Kind: kind, Venue: venue, Conn: conn, Text: []byte(text)}
	out, _ := v.s.Apply(&in, nil) // an error is expected of a broken frame
	v.fold(out)
	v.note(v.s.Requests())
}

func (v *venues) fold(events []data.Event) {
	for i := range events {
		e := &events[i]
		v.events++
		if e.Inst == data.NoInstrument {
			continue
		}
		m := v.markets[e.Inst]
		switch e.Kind {
		case data.Gap:
			v.gaps++
			if !m.valid {
				v.t.Fatalf("a gap of %s, which had no valid book", m.list.Key)
			}
			m.valid, m.at = false, 0 // another connection may be behind
		case data.Clear:
			m.told.Clear()
			m.valid = true
		case data.Level, data.Delta:
			if !m.valid {
				v.t.Fatalf("S2: a change of %s between a gap and a snapshot", m.list.Key)
			}
			if e.Kind == data.Level {
				m.told.Set(e.Side, e.Price, e.Qty)
			} else if !m.told.Add(e.Side, e.Price, e.Qty) {
				v.t.Fatalf("%s: a level below zero", m.list.Key)
			}
		}
		if e.Last && m.valid {
			v.check(m)
		}
	}
	for i, m := range v.markets {
		if int(i) < len(v.s.markets) {
			if b := v.s.Book(data.InstrumentID(i)); (b != nil) != m.valid {
				v.t.Fatalf("%s: the stream says %v, its events say %v", m.list.Key, b != nil, m.valid)
			} else if b != nil && !b.Equal(&m.told) {
				v.t.Fatalf("%s: the stream's book is not what its events say", m.list.Key)
			}
		}
	}
}

// check finds the book among the states that the venue was in, none older than before.
func (v *venues) check(m *served) {
	v.checks++
	s := sum(&m.told)
	from := m.at
	for m.list.Key.Venue == data.Polymarket && from > 0 && m.times[from-1] == m.times[m.at] { // a subscription's book and a REST book of one millisecond cannot be told apart
		from--
	}
	for i := from; i < len(m.sums); i++ {
		if m.sums[i] == s {
			m.at = i
			return
		}
	}
	v.t.Fatalf("%s: a valid book that the venue never had after state %d of %d", m.list.Key, m.at, len(m.sums)-1)
}

// note checks S3.
func (v *venues) note(rs []Request) {
	for _, r := range rs {
		key := wait{r.Inst, r.Conn}
		if r.Kind == FetchBook {
			key.conn = 0
		}
		if r.Kind == FetchBook || r.Kind == FetchSnapshot {
			if since, ok := v.waits[key]; ok && v.now.Sub(since) < v.s.opt.Patience {
				v.t.Fatalf("S3: %s is asked for while an answer is outstanding", v.markets[r.Inst].list.Key)
			}
			v.waits[key] = v.now
		}
		v.asked = append(v.asked, r)
	}
}

func (v *venues) send(c *socket, frame []byte) { c.queue = append(c.queue, frame) }

// mark is what stands for a book's hash: it tells the state.
func (m *served) mark() []byte { return fmt.Appendf(nil, "%040x", len(m.sums)) }

func (m *served) ladders() (bids, asks []data.Rung) {
	for r := m.book.Best(data.Buy); r.Qty != 0; r = m.book.Next(data.Buy, r.Price) {
		bids = append(bids, r)
	}
	for r := m.book.Best(data.Sell); r.Qty != 0; r = m.book.Next(data.Sell, r.Price) {
		asks = append(asks, r)
	}
	return bids, asks
}

// snapshot queues a market's book on a connection.
func (v *venues) snapshot(c *socket, m *served) {
	bids, asks := m.ladders()
	if c.venue == data.Polymarket {
		v.send(c, v.polymarketBook(m, polymarket.BookSnapshot))
		return
	}
	for i := range asks {
		asks[i].Price = asks[i].Price.Complement()
	}
	c.seq++
	v.send(c, kalshi.AppendMessage(nil, &kalshi.Message{Type: kalshi.Snapshot, SID: 7, Seq: c.seq, Ticker: []byte(m.list.Key.Native), Yes: bids, No: asks}))
}

func (v *venues) polymarketBook(m *served, kind polymarket.MessageType) []byte {
	bids, asks := m.ladders()
	slices.Reverse(bids)
	slices.Reverse(asks)
	msg := polymarket.Message{Type: kind, Market: []byte(m.list.Key.Native), Asset: []byte(m.list.Tokens[0]), Timestamp: m.stamp, Bids: bids, Asks: asks, TickNew: 100, Hash: m.mark()}
	return polymarket.AppendMessage(nil, &msg)
}

// change moves a market on and tells every connection.
func (v *venues) change(m *served) {
	side, p, q := data.Side(1+v.r.IntN(2)), data.Price(1+v.r.IntN(40))*100, data.Qty(v.r.IntN(5))*data.Contract
	if side == data.Sell {
		p = p.Complement()
	}
	d := q - m.book.Qty(side, p)
	m.book.Set(side, p, q)
	m.sums = append(m.sums, sum(&m.book))
	if v.r.IntN(3) > 0 { // some changes share a millisecond
		v.stamp++
	}
	m.stamp = v.stamp
	m.times = append(m.times, m.stamp)
	for _, c := range v.conns {
		if c.venue != m.list.Key.Venue {
			continue
		}
		if c.venue == data.Polymarket {
			msg := polymarket.Message{Type: polymarket.PriceChange, Market: []byte(m.list.Key.Native), Timestamp: m.stamp, Changes: []polymarket.Change{
				{Asset: []byte(m.list.Tokens[0]), Hash: m.mark(), Price: p, Size: q, Side: side, Bid: m.book.Best(data.Buy).Price, Ask: m.book.Best(data.Sell).Price}}}
			v.send(c, polymarket.AppendMessage(nil, &msg))
			continue
		}
		c.seq++
		msg := kalshi.Message{Type: kalshi.Delta, SID: 7, Seq: c.seq, Ticker: []byte(m.list.Key.Native), Price: p, Qty: d, YesSide: side == data.Buy, Time: v.now}
		if side == data.Sell {
			msg.Price = p.Complement()
		}
		v.send(c, kalshi.AppendMessage(nil, &msg))
	}
}

func (v *venues) open(venue data.Venue) {
	v.next++
	c := &socket{id: v.next, venue: venue}
	v.conns = append(v.conns, c)
	v.apply(data.InputOpen, venue, c.id, data.ConnStream)
	for _, m := range v.markets {
		if m.list.Key.Venue == venue {
			v.apply(data.InputCarry, venue, c.id, m.list.Key.Native)
			v.snapshot(c, m)
		}
	}
}

func (v *venues) close(c *socket) {
	v.conns = slices.DeleteFunc(v.conns, func(o *socket) bool { return o == c })
	v.apply(data.InputClose, c.venue, c.id, "closed")
}

// answer does what the stream asked for.
func (v *venues) answer(r Request) {
	m := v.markets[r.Inst]
	i := slices.IndexFunc(v.conns, func(c *socket) bool { return c.venue == r.Venue && c.id == r.Conn })
	switch {
	case r.Kind == FetchBook:
		delete(v.waits, wait{inst: r.Inst})
		body := data.RestBooks + "\n"
		if r.Venue == data.Polymarket {
			body += "[" + string(v.polymarketBook(m, polymarket.BookRest)) + "]"
		} else {
			bids, asks := m.ladders()
			for j := range asks {
				asks[j].Price = asks[j].Price.Complement()
			}
			b := fmt.Appendf(nil, `{"orderbooks":[{"ticker":%q,"orderbook_fp":{"yes_dollars":`, m.list.Key.Native)
			b = kalshi.AppendLevels(b, bids)
			b = kalshi.AppendLevels(append(b, `,"no_dollars":`...), asks)
			body += string(b) + "}}]}"
		}
		v.apply(data.InputRest, r.Venue, 0, body)
	case i < 0, r.Kind == Retire:
	case r.Kind == Reopen, r.Kind == Renew:
		v.close(v.conns[i])
		v.open(r.Venue)
	default:
		v.snapshot(v.conns[i], m)
	}
}

// deliver brings a connection's next frame, or does not.
func (v *venues) deliver(c *socket) {
	frame := c.queue[0]
	c.queue = c.queue[1:]
	if bytes.Contains(frame, []byte("orderbook_snapshot")) {
		for i, m := range v.markets {
			if bytes.Contains(frame, []byte(`"`+m.list.Key.Native+`"`)) {
				delete(v.waits, wait{data.InstrumentID(i), c.id})
			}
		}
	}
	switch x := v.r.IntN(200); {
	case x == 0 && c.venue == data.Kalshi: // lost on the way: the numbers tell
		return
	case x == 1: // broken
		frame = frame[:len(frame)/2]
	case x < 6: // twice
		v.apply(data.InputFrame, c.venue, c.id, string(frame))
	}
	v.apply(data.InputFrame, c.venue, c.id, string(frame))
}

// Over random histories of both venues, with connections that come, overlap and go, with frames that are lost, broken
// and doubled and answers that are late: a valid book is always one that the venue had, never older than before; S2 and
// S3; and what a keyframe tells is what is known.
func TestStream_ValidBooksAreTheVenues(t *testing.T) {
	var events, gaps, checks, handovers int64
	for n := range uint64(20) {
		v := newVenues(t, *seed*1000+n)
		for range 3000 {
			v.now = v.now.Add(data.Duration(v.r.IntN(int(2 * data.Millisecond))))
			venue := data.Venue(1 + v.r.IntN(2))
			switch x := v.r.IntN(1000); {
			case x < 400:
				v.change(v.markets[v.r.IntN(len(v.markets))])
			case x < 900:
				if len(v.conns) > 0 {
					if c := v.conns[v.r.IntN(len(v.conns))]; len(c.queue) > 0 {
						v.deliver(c)
					}
				}
			case x < 960:
				if len(v.asked) > 0 {
					r := v.asked[0]
					v.asked = v.asked[1:]
					v.answer(r)
				}
			case x < 975:
				if n := len(v.conns); n < 5 {
					v.open(venue)
				}
			case x < 985:
				if len(v.conns) > 0 {
					v.close(v.conns[v.r.IntN(len(v.conns))])
				}
			case x < 990:
				if len(v.conns) > 0 {
					if c := v.conns[v.r.IntN(len(v.conns))]; len(c.queue) > 0 {
						lost := 1 + v.r.IntN(len(c.queue))
						c.queue = c.queue[lost:]
						v.apply(data.InputLost, c.venue, c.id, fmt.Sprint(lost))
					}
				}
			case x < 995:
				v.now = v.now.Add(data.Duration(v.r.IntN(int(8 * data.Second))))
				v.note(v.s.Due(v.now, nil))
			default:
				v.keyframe()
			}
		}
		events, gaps, checks, handovers = events+int64(v.events), gaps+int64(v.gaps), checks+int64(v.checks), handovers+v.s.Counts().Handovers
	}
	t.Logf("%d events, %d gaps, %d books compared, %d handovers", events, gaps, checks, handovers)
	if gaps < 100 || checks < 5_000 || handovers < 100 {
		t.Error("the test tests too little")
	}
}

// keyframe checks that a keyframe's books are the valid ones.
func (v *venues) keyframe() {
	books := map[data.InstrumentID]*data.Book{}
	for _, e := range v.s.Keyframe(0, v.now, nil) {
		switch e.Kind {
		case data.Clear:
			books[e.Inst] = &data.Book{}
		case data.Level:
			books[e.Inst].Set(e.Side, e.Price, e.Qty)
		}
	}
	for i, m := range v.markets {
		b := books[data.InstrumentID(i)]
		if (b != nil) != m.valid || b != nil && !b.Equal(&m.told) {
			v.t.Fatalf("%s: the keyframe tells another book", m.list.Key)
		}
	}
}
