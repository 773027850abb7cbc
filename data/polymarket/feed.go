package polymarket

import (
	"bytes"
	"fmt"
	"hash/fnv"

	"arbiter/data"
	"arbiter/data/wire"
)

// Market is what a Feed has to know of a market: its ids, and what a WebSocket message leaves out of the book hash.
type Market struct {
	Inst    data.InstrumentID
	Key     string // condition id
	Tokens  [2]string
	MinSize data.Qty
	Tick    data.Price
	NegRisk bool
}

// Options of a Feed.
type Options struct {
	// Hashes computes every book hash that a message carries and counts how many reproduce. It costs a SHA-1 over the
	// whole book a message.
	Hashes bool
	// HashEvery computes a change's hash once in so long a market, if Hashes does not compute all. A hash that does not
	// reproduce is a suspicion, which a REST book confirms or not.
	HashEvery data.Duration
}

// Repair asks the feed's owner for a REST book of the market's YES token. At most one is outstanding a book.
type Repair struct {
	Inst  data.InstrumentID
	Probe bool // the book stands: it is only to be compared
	Again bool // the comparison before did not decide it: leave the stream a moment
}

// Counts is what a feed has seen. Hashes, tops and mirrors are evidence: a mismatch is counted and reported. What
// invalidates the book is a top that stays wrong or a REST book that differs, and no hash alone, because the venue's own hash may depend on a trade that is
// announced later (official client's issue 117, 2026-09-09).
type Counts struct {
	Books, RestBooks, Changes, Trades, Ticks, Tops, Resolved, Pongs, Others int
	Malformed, Gaps, BeforeStart, Stale, UnknownAsset                       int
	HashChecked, HashMatched                                                int
	ProbeMatched, ProbeDiffered                                             int
	TopChecked, TopMatched                                                  int
	MirrorChecked, MirrorMatched                                            int
	Crossed                                                                 int
}

// topPatience is how many messages in a row may disagree with the venue's best prices before the book is given up.
const topPatience = 8

// bufferMax bounds the changes kept for one book while a REST snapshot is awaited; more make it wait for a newer one.
const bufferMax = 4096

// Feed turns frames into events. It is the only implementation of the channel's state; live, archive and re-decoding
// use it.
type Feed struct {
	opt     Options
	tokens  map[string]token
	order   []*market
	dec     Decoder
	msg     Message
	repairs []Repair
	answers []data.InstrumentID
	counts  Counts
	scratch []byte
	sum     []byte
	bids    []data.Rung
	asks    []data.Rung
}

type token struct {
	m  *market
	no bool
}

type market struct {
	Market
	book     data.Book
	pending  bool
	asked    bool
	yesSeen  bool
	wrong    int   // messages in a row whose best prices disagree
	stamp    int64 // ms of the newest message applied
	lastRecv data.Time
	last     [2][]byte // last_trade_price by token, verbatim
	buffer   []change  // while pending or watched: changes since the last book or since the watch began
	watched  bool      // to be compared: changes are kept, so that an older REST book can be
	from     int64     // stamp from which on they are kept
	strikes  int       // how much says that the book is wrong; two are enough
	seen     change    // the newest change that came, applied or not
	ahead    bool      // rebuilt from a REST book that the stream has not come to: rest says which
	waits    bool      // a REST book is kept until the stream comes to it, to be compared then
	rest     restBook
	hashed   data.Time
	lastTx   uint64
	txCount  uint64
}

type change struct {
	stamp int64
	side  data.Side
	rung  data.Rung
	mark  mark
}

// mark is a message's book hash. A REST book carries that of the last change in it, which tells where in the stream it
// stands, even within a millisecond.
type mark [40]byte

func markOf(hash []byte) (m mark) {
	copy(m[:], hash)
	return m
}

// restBook is what is kept of a REST book.
type restBook struct {
	stamp int64
	mark  mark
	book  data.Book
}

// NewFeed makes a feed without markets.
func NewFeed(opt Options) *Feed { return &Feed{opt: opt, tokens: map[string]token{}} }

// Add makes the feed follow a market.
func (f *Feed) Add(m Market) {
	k := &market{Market: m, pending: true}
	f.tokens[m.Tokens[0]] = token{k, false}
	f.tokens[m.Tokens[1]] = token{k, true}
	f.order = append(f.order, k)
}

// Remove makes the feed forget a market.
func (f *Feed) Remove(inst data.InstrumentID) {
	for i, k := range f.order {
		if k.Inst == inst {
			f.order = append(f.order[:i], f.order[i+1:]...)
			delete(f.tokens, k.Tokens[0])
			delete(f.tokens, k.Tokens[1])
			return
		}
	}
}

// Lost tells that frames went missing between the socket and the feed: no book can be trusted.
func (f *Feed) Lost(recv data.Time, cause data.GapCause, out []data.Event) []data.Event {
	for _, k := range f.order {
		if !k.pending {
			out = f.gap(k, recv, cause, out)
		}
	}
	return out
}

// Invalidate gives a market's book up and asks for another one; the owner has declared the hole.
func (f *Feed) Invalidate(inst data.InstrumentID) {
	for _, k := range f.order {
		if k.Inst == inst && !k.pending {
			f.gap(k, 0, 0, nil)
		}
	}
}

// Counts so far.
func (f *Feed) Counts() Counts { return f.counts }

// Book is the feed's YES book of the market that a token belongs to; nil if unknown or not valid.
func (f *Feed) Book(asset string) *data.Book {
	if t, ok := f.tokens[asset]; ok && !t.m.pending {
		return &t.m.book
	}
	return nil
}

// Repairs returns and clears what the owner should fetch.
func (f *Feed) Repairs() []Repair {
	r := f.repairs
	f.repairs = f.repairs[:0]
	return r
}

// Frame decodes one frame (or REST body of GET /book) received at recv and appends its events to out; they carry no
// Seq. What cannot be decoded yields a Gap for every book, and the error, which names the field.
func (f *Feed) Frame(frame []byte, recv data.Time, out []data.Event) ([]data.Event, error) {
	f.dec.Reset(frame)
	for {
		ok, err := f.dec.Next(&f.msg)
		if err != nil {
			f.counts.Malformed++
			for _, k := range f.order {
				if !k.pending {
					out = f.gap(k, recv, data.GapMalformed, out)
				}
			}
			return out, err
		}
		if !ok {
			return out, nil
		}
		if out, err = f.message(recv, out); err != nil {
			return out, err
		}
	}
}

func (f *Feed) message(recv data.Time, out []data.Event) ([]data.Event, error) {
	m := &f.msg
	switch m.Type {
	case PriceChange:
		f.counts.Changes++
		return f.changes(recv, out), nil
	case Pong:
		f.counts.Pongs++
		return out, nil
	case NewMarket, Other:
		f.counts.Others++
		return out, nil
	case MarketResolved:
		f.counts.Resolved++
		return f.resolved(recv, out)
	}
	t, ok := f.tokens[string(m.Asset)]
	if !ok {
		f.counts.UnknownAsset++
		return out, nil
	}
	switch m.Type {
	case BookSnapshot, BookRest:
		if m.Type == BookRest {
			f.counts.RestBooks++
		} else {
			f.counts.Books++
		}
		return f.snapshot(t, recv, out), nil
	case LastTradePrice:
		f.counts.Trades++
		return append(out, f.trade(t, recv)), nil
	case TickSizeChange:
		f.counts.Ticks++
		return f.tick(t.m, m.TickNew, true, recv, out), nil
	}
	f.counts.Tops++
	f.checkTop(t.m, t.no, m.Bid, m.Ask)
	return out, nil
}

func exch(ms int64) data.Time { return data.Time(ms) * data.Time(data.Millisecond) }

func (f *Feed) gap(k *market, recv data.Time, cause data.GapCause, out []data.Event) []data.Event {
	f.counts.Gaps++
	k.pending, k.wrong = true, 0
	k.unwatch()
	k.ahead = false
	k.book.Clear()
	f.ask(k, false, false)
	return append(out, data.Event{Kind: data.Gap, Inst: k.Inst, Recv: recv, Arg: data.VenueArg(data.Polymarket, uint8(cause)),
		Qty: data.Qty(recv - k.lastRecv), Last: true})
}

func (f *Feed) ask(k *market, probe, again bool) {
	if k.asked && probe {
		return
	}
	k.asked = true
	f.repairs = append(f.repairs, Repair{k.Inst, probe, again})
}

// suspect begins to watch a market: something says that its book is wrong, and a REST book is to decide.
func (f *Feed) suspect(k *market) {
	if !k.watched && !k.pending {
		k.watch()
		k.strikes = 1
		f.ask(k, true, false)
	}
}

func (k *market) watch() {
	k.watched, k.from, k.buffer = true, k.stamp, k.buffer[:0]
}

func (k *market) unwatch() {
	k.watched, k.waits, k.strikes, k.buffer = false, false, 0, k.buffer[:0]
}

// newer is the index of the first kept change that a REST book does not hold.
func (k *market) newer(stamp int64, m mark) int {
	n := len(k.buffer)
	for n > 0 && k.buffer[n-1].stamp > stamp {
		n--
	}
	for i := n - 1; i >= 0 && k.buffer[i].stamp == stamp; i-- {
		if m != (mark{}) && k.buffer[i].mark == m {
			return i + 1
		}
	}
	return n
}

// Answered are the markets that the newest REST body was about.
func (f *Feed) Answered() []data.InstrumentID { return f.answers }

// Rest takes the body of GET /book or POST /books. A pending book is rebuilt from it. A standing one is compared: at
// once if the stream has come so far, and otherwise when it has. Where two comparisons in a row differ, or one after a
// hash did, or the stream has still not come so far when the next REST book does, the stream missed something, and the
// book is rebuilt. A REST book that is older than the stream can be compared only while the market is watched.
func (f *Feed) Rest(body []byte, recv data.Time, out []data.Event) ([]data.Event, error) {
	f.answers = f.answers[:0]
	f.dec.Reset(body)
	for {
		ok, err := f.dec.Next(&f.msg)
		if err != nil || !ok {
			return out, err
		}
		t, known := f.tokens[string(f.msg.Asset)]
		if known {
			f.answers = append(f.answers, t.m.Inst)
		}
		switch {
		case f.msg.Type != BookRest:
			return out, fmt.Errorf("polymarket: a REST body that holds no books: %w", ErrMessage)
		case !known:
			f.counts.UnknownAsset++
		case t.m.pending:
			f.counts.RestBooks++
			out = f.snapshot(t, recv, out)
		case !t.no:
			f.counts.RestBooks++
			out = f.compare(t, recv, out)
		}
	}
}

func (f *Feed) compare(t token, recv data.Time, out []data.Event) []data.Event {
	m, k := &f.msg, t.m
	k.asked = false
	if k.ahead {
		f.counts.Stale++ // the book is a REST book itself
		return out
	}
	if m.Timestamp < k.stamp && (!k.watched || m.Timestamp < k.from) {
		f.counts.Stale++ // the stream is ahead
		if k.watched {
			f.ask(k, true, true)
		}
		return out
	}
	if !k.watched {
		k.watch()
	}
	if k.waits { // the stream has still not come to the book before
		f.counts.ProbeDiffered++
		return f.rebuild(t, data.GapFrozen, recv, out)
	}
	k.rest.stamp, k.rest.mark = m.Timestamp, markOf(m.Hash)
	k.rest.book.Clear()
	for _, r := range m.Bids {
		k.rest.book.Set(data.Buy, r.Price, r.Qty)
	}
	for _, r := range m.Asks {
		k.rest.book.Set(data.Sell, r.Price, r.Qty)
	}
	for _, c := range k.buffer[k.newer(m.Timestamp, k.rest.mark):] {
		k.rest.book.Set(c.side, c.rung.Price, c.rung.Qty)
	}
	switch same := k.rest.book.Equal(&k.book); {
	case same:
		f.counts.ProbeMatched++
		k.unwatch()
		return out
	case m.Timestamp > k.stamp:
		k.waits = true
	default:
		f.counts.ProbeDiffered++
		if k.strikes++; k.strikes > 1 {
			return f.rebuild(t, data.GapEvidence, recv, out)
		}
	}
	f.ask(k, true, true)
	return out
}

// rebuild declares the book wrong and takes the REST book at hand.
func (f *Feed) rebuild(t token, cause data.GapCause, recv data.Time, out []data.Event) []data.Event {
	missed := append([]change(nil), t.m.buffer...)
	out = f.gap(t.m, recv, cause, out)
	f.repairs = f.repairs[:len(f.repairs)-1]
	t.m.buffer = missed
	return f.snapshot(t, recv, out)
}

// caughtUp compares the book with the REST book that it has come to. It returns whether the book may be kept.
func (f *Feed) caughtUp(k *market) bool {
	k.waits = false
	if k.rest.book.Equal(&k.book) {
		f.counts.ProbeMatched++
		k.unwatch()
		return true
	}
	f.counts.ProbeDiffered++
	k.strikes++
	return k.strikes < 2
}

// tick notes a new tick. A change in mid-stream is an epoch: the levels are dropped until a fresh book comes.
func (f *Feed) tick(k *market, tick data.Price, epoch bool, recv data.Time, out []data.Event) []data.Event {
	if tick == k.Tick || tick == 0 {
		return out
	}
	k.Tick = tick
	out = append(out, data.Event{Kind: data.TickSize, Inst: k.Inst, Price: tick, Recv: recv, Exch: exch(f.msg.Timestamp), Last: true})
	if epoch && !k.pending {
		out = f.gap(k, recv, data.GapTick, out)
	}
	return out
}

// snapshot rebuilds the book from the YES token's message. The NO token's message is only compared, unless the YES
// token is not received at all.
func (f *Feed) snapshot(t token, recv data.Time, out []data.Event) []data.Event {
	m, k := &f.msg, t.m
	if m.HasLastTrade() {
		k.last[index(t.no)] = append(k.last[index(t.no)][:0], m.LastTrade...)
	}
	if f.opt.Hashes && m.HasHash() {
		f.countHash(f.messageHash(k), m.Hash)
	}
	if t.no && k.yesSeen {
		if !k.pending && m.Timestamp == k.stamp {
			f.counts.MirrorChecked++
			if mirrors(&k.book, m) {
				f.counts.MirrorMatched++
			}
		}
		return out
	}
	k.yesSeen = k.yesSeen || !t.no
	rest := m.Type == BookRest
	if (rest || k.ahead) && !k.pending && m.Timestamp < k.stamp {
		f.counts.Stale++
		return out
	}
	out = f.tick(k, m.TickNew, false, recv, out)
	k.pending, k.asked, k.wrong, k.lastRecv = false, false, 0, recv
	k.watched, k.waits, k.strikes = false, false, 0
	k.book.Clear()
	out = append(out, data.Event{Kind: data.Clear, Inst: k.Inst, Recv: recv, Exch: exch(m.Timestamp)})
	out = f.side(k, t.no, data.Buy, m.Bids, recv, out)
	out = f.side(k, t.no, data.Sell, m.Asks, recv, out)
	k.stamp, k.ahead = m.Timestamp, false
	if rest {
		k.rest.stamp, k.rest.mark = m.Timestamp, markOf(m.Hash)
		newer := k.buffer[k.newer(m.Timestamp, k.rest.mark):]
		for _, c := range newer {
			out = k.level(c.side, c.rung, recv, c.stamp, out)
			k.stamp = max(k.stamp, c.stamp)
		}
		k.ahead = len(newer) == 0 && !k.reached(&k.seen)
	}
	k.buffer = k.buffer[:0]
	out[len(out)-1].Last = true
	f.countCrossed(k)
	return out
}

// reached says that the stream has come to k.rest with a change: what follows is newer.
func (k *market) reached(c *change) bool {
	return c.stamp > k.rest.stamp || c.stamp == k.rest.stamp && k.rest.mark != (mark{}) && c.mark == k.rest.mark
}

func (f *Feed) side(k *market, no bool, s data.Side, rs []data.Rung, recv data.Time, out []data.Event) []data.Event {
	for _, r := range rs {
		side, rung := yesTerms(no, s, r)
		out = k.level(side, rung, recv, f.msg.Timestamp, out)
	}
	return out
}

func (k *market) level(s data.Side, r data.Rung, recv data.Time, stamp int64, out []data.Event) []data.Event {
	k.book.Set(s, r.Price, r.Qty)
	return append(out, data.Event{Kind: data.Level, Inst: k.Inst, Side: s, Price: r.Price, Qty: r.Qty, Recv: recv, Exch: exch(stamp)})
}

func index(no bool) int {
	if no {
		return 1
	}
	return 0
}

// yesTerms turns a level of the NO token's book into the YES book's.
func yesTerms(no bool, s data.Side, r data.Rung) (data.Side, data.Rung) {
	if no {
		return s.Opposite(), data.Rung{Price: r.Price.Complement(), Qty: r.Qty}
	}
	return s, r
}

// mirrors says that the NO token's book message holds the same liquidity as the YES book.
func mirrors(b *data.Book, m *Message) bool {
	if b.Len(data.Sell) != len(m.Bids) || b.Len(data.Buy) != len(m.Asks) {
		return false
	}
	for _, r := range m.Bids {
		if b.Qty(data.Sell, r.Price.Complement()) != r.Qty {
			return false
		}
	}
	for _, r := range m.Asks {
		if b.Qty(data.Buy, r.Price.Complement()) != r.Qty {
			return false
		}
	}
	return true
}

// changes applies a price_change. Entries come in pairs, the change and its mirror on the other token; the second of
// a pair is checked against the first and not applied again.
func (f *Feed) changes(recv data.Time, out []data.Event) []data.Event {
	m := &f.msg
	var k *market
	first := len(out)
	var top *Change
	var topNo bool
	for i := range m.Changes {
		c := &m.Changes[i]
		t, ok := f.tokens[string(c.Asset)]
		if !ok {
			f.counts.UnknownAsset++
			continue
		}
		if k != nil && t.m != k { // another market in one message: its own message for us
			out = f.finish(k, first, top, topNo, recv, out)
			first, top = len(out), nil
		}
		k = t.m
		side, rung := yesTerms(t.no, c.Side, data.Rung{Price: c.Price, Qty: c.Size})
		k.seen = change{m.Timestamp, side, rung, markOf(c.Hash)}
		if k.pending {
			f.counts.BeforeStart++
			k.keep(k.seen)
			continue
		}
		if k.ahead {
			k.ahead = !k.reached(&k.seen)
			if k.ahead || k.seen.stamp == k.rest.stamp {
				f.counts.Stale++ // the REST book holds it
				continue
			}
		}
		if k.waits && k.seen.stamp > k.rest.stamp && !f.caughtUp(k) {
			if len(out) > first {
				out[len(out)-1].Last = true
			}
			out = f.gap(k, recv, data.GapEvidence, out)
			k.keep(k.seen)
			first, top = len(out), nil
			continue
		}
		if t.no && k.yesSeen && (i == 0 || !f.paired(&m.Changes[i-1], c, t, side, rung)) && k.book.Qty(side, rung.Price) == rung.Qty {
			f.counts.MirrorChecked++ // archives split a pair into two messages: the second says nothing new
			f.counts.MirrorMatched++
		} else if i > 0 && f.paired(&m.Changes[i-1], c, t, side, rung) {
			f.counts.MirrorChecked++
			if k.book.Qty(side, rung.Price) == rung.Qty {
				f.counts.MirrorMatched++
			}
		} else {
			out = k.level(side, rung, recv, m.Timestamp, out)
			if k.watched {
				k.keep(k.seen)
			}
		}
		f.checkHash(k, t.no, c.Hash, recv)
		top, topNo = c, t.no
	}
	if k != nil {
		out = f.finish(k, first, top, topNo, recv, out)
	}
	return out
}

// paired says that c is the mirror of the entry before it: the other token of the same market, same level.
func (f *Feed) paired(before, c *Change, t token, side data.Side, rung data.Rung) bool {
	b, ok := f.tokens[string(before.Asset)]
	if !ok || b.m != t.m || b.no == t.no {
		return false
	}
	s, r := yesTerms(b.no, before.Side, data.Rung{Price: before.Price, Qty: before.Size})
	return s == side && r.Price == rung.Price
}

// finish ends a market's part of a message: Last, evidence of the best prices, crossing.
func (f *Feed) finish(k *market, first int, top *Change, topNo bool, recv data.Time, out []data.Event) []data.Event {
	if k.pending || len(out) == first {
		return out
	}
	out[len(out)-1].Last = true
	k.stamp, k.lastRecv = max(k.stamp, f.msg.Timestamp), recv
	f.countCrossed(k)
	if top != nil && top.HasTop() {
		f.checkTop(k, topNo, top.Bid, top.Ask)
		if k.wrong >= topPatience {
			out = f.gap(k, recv, data.GapEvidence, out)
		}
	}
	return out
}

func (f *Feed) countCrossed(k *market) {
	if k.book.Crossed() {
		f.counts.Crossed++
	}
}

// checkTop compares the venue's best prices of a token with the book. An empty side is 0, or 1 for an ask.
func (f *Feed) checkTop(k *market, no bool, bid, ask data.Price) {
	if k.pending {
		return
	}
	if no {
		bid, ask = ask.Complement()%data.One, bid.Complement()%data.One
	}
	f.counts.TopChecked++
	if k.book.Best(data.Buy).Price == bid%data.One && k.book.Best(data.Sell).Price == ask%data.One {
		f.counts.TopMatched++
		k.wrong = 0
		return
	}
	k.wrong++
}

func (f *Feed) trade(t token, recv data.Time) data.Event {
	m, k := &f.msg, t.m
	k.last[index(t.no)] = data.AppendDecimal(k.last[index(t.no)][:0], int64(m.Price), 4, 0)
	side, rung := m.Side, data.Rung{Price: m.Price, Qty: m.Size}
	if t.no {
		side, rung.Price = side.Opposite(), rung.Price.Complement()
	}
	return data.Event{Kind: data.Trade, Inst: k.Inst, Side: side, Price: rung.Price, Qty: rung.Qty, Recv: recv, Exch: exch(m.Timestamp),
		Order: k.identity(m), Last: true}
}

// servedTx begins the transaction hash of a trade that a simulated venue serves from a tape: the rest is its identity
// there. A real hash does not begin with 192 zero bits.
const servedTx = "0x000000000000000000000000000000000000000000000000"

// AppendTx appends the transaction hash by which a trade keeps its identity over a simulated venue.
func AppendTx(dst []byte, id data.OrderID) []byte {
	return wire.AppendHex(append(dst, servedTx...), uint64(id))
}

// identity of a trade. Several fills share a transaction: the asset and a count tell them apart.
func (k *market) identity(m *Message) data.OrderID {
	if rest, served := bytes.CutPrefix(m.TxHash, []byte(servedTx)); served {
		if id, ok := wire.ParseHex(rest); ok {
			return data.OrderID(id)
		}
	}
	h := fnv.New64a()
	h.Write(m.TxHash)
	tx := h.Sum64()
	if tx != k.lastTx {
		k.lastTx, k.txCount = tx, 0
	}
	k.txCount++
	h.Write(m.Asset)
	h.Write([]byte{byte(k.txCount), byte(k.txCount >> 8)})
	return data.OrderID(h.Sum64())
}

func (f *Feed) resolved(recv data.Time, out []data.Event) ([]data.Event, error) {
	m := &f.msg
	t, ok := f.tokens[string(m.Assets[0])]
	if !ok {
		f.counts.UnknownAsset++
		return out, nil
	}
	var pay data.Money
	switch string(m.Winner) {
	case t.m.Tokens[0]:
		pay = data.Dollar
	case t.m.Tokens[1]:
	default:
		return out, fmt.Errorf("polymarket: market_resolved of %s: winning_asset_id is neither of its tokens: %w", t.m.Key, ErrMessage)
	}
	at := data.Event{Inst: t.m.Inst, Recv: recv, Exch: exch(m.Timestamp), Last: true}
	status, settle := at, at
	status.Kind, status.Arg = data.Status, data.VenueArg(data.Polymarket, uint8(data.Determined))
	settle.Kind, settle.Cash = data.Settle, pay
	return append(out, status, settle), nil
}

// keep notes a change for a REST book to come. Too many wait for a newer one.
func (k *market) keep(c change) {
	if len(k.buffer) == bufferMax {
		k.buffer, k.from = k.buffer[:0], c.stamp
	}
	k.buffer = append(k.buffer, c)
}

func (f *Feed) countHash(got, want []byte) bool {
	f.counts.HashChecked++
	if string(got) != string(want) {
		return false
	}
	f.counts.HashMatched++
	return true
}

// checkHash compares the hash of the book after a change with the message's.
func (f *Feed) checkHash(k *market, no bool, want []byte, recv data.Time) {
	if len(want) == 0 {
		return
	}
	if f.opt.Hashes {
		f.countHash(f.bookHash(k, no), want)
		return
	}
	if f.opt.HashEvery == 0 || recv.Sub(k.hashed) < f.opt.HashEvery {
		return
	}
	k.hashed = recv
	if !f.countHash(f.bookHash(k, no), want) {
		f.suspect(k)
	}
}

// messageHash is the hash of the book in the message itself.
func (f *Feed) messageHash(k *market) []byte {
	m := &f.msg
	h := HashInput{Market: m.Market, Asset: m.Asset, Timestamp: m.Timestamp, Bids: m.Bids, Asks: m.Asks, MinSize: k.MinSize, Tick: m.TickNew,
		NegRisk: k.NegRisk, LastTrade: m.LastTrade}
	if m.present&hasMinSize != 0 {
		h.MinSize = m.MinSize
	}
	if m.present&hasNegRisk != 0 {
		h.NegRisk = m.NegRisk
	}
	return f.hash(&h)
}

// bookHash is the hash of a token's book as it stands after a change.
func (f *Feed) bookHash(k *market, no bool) []byte {
	f.bids, f.asks = f.bids[:0], f.asks[:0]
	for _, s := range [2]data.Side{data.Buy, data.Sell} {
		for r := k.book.Best(s); r.Qty != 0; r = k.book.Next(s, r.Price) {
			side, rung := yesTerms(no, s, r)
			if side == data.Buy {
				f.bids = append(f.bids, rung)
			} else {
				f.asks = append(f.asks, rung)
			}
		}
	}
	reverse(f.bids)
	reverse(f.asks)
	h := HashInput{Market: []byte(k.Key), Asset: []byte(k.Tokens[index(no)]), Timestamp: f.msg.Timestamp, Bids: f.bids, Asks: f.asks,
		MinSize: k.MinSize, Tick: k.Tick, NegRisk: k.NegRisk, LastTrade: k.last[index(no)]}
	return f.hash(&h)
}

func (f *Feed) hash(h *HashInput) []byte {
	f.sum, f.scratch = h.AppendHash(f.sum[:0], f.scratch)
	return f.sum
}

func reverse(rs []data.Rung) {
	for i, j := 0, len(rs)-1; i < j; i, j = i+1, j-1 {
		rs[i], rs[j] = rs[j], rs[i]
	}
}
