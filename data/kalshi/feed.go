package kalshi

import (
	"bytes"
	"fmt"
	"hash/fnv"

	"arbiter/data"
	"arbiter/data/wire"
)

// Sequence says what a skipped sequence number proves.
type Sequence uint8

const (
	// Strict: every subscription's numbers rise by one; a skip is a loss and invalidates the subscription's books.
	Strict Sequence = iota
	// Increasing: the capture holds some markets of a shared subscription; only a step back is a loss.
	Increasing
)

// Repair asks the feed's owner to fetch a snapshot. At most one is outstanding a book.
type Repair struct {
	Inst  data.InstrumentID
	SID   int64
	Probe bool // the book stands: a REST book is only to be compared
}

// Counts is what a feed has seen.
type Counts struct {
	Snapshots, Deltas, Trades, Lifecycles, Others                            int
	Malformed, Gaps, Duplicates, Skips, BeforeStart, Negative, UnknownMarket int
	Failures, RestBooks, ProbeMatched, ProbeDiffered                         int
}

// Feed turns frames into events: sequence by subscription, snapshot pending, signed deltas. It is the only
// implementation of that state; live, archive and re-decoding use it.
type Feed struct {
	mode    Sequence
	markets map[string]*market
	order   []*market
	subs    map[int64]*subscription
	dec     Decoder
	msg     Message
	repairs []Repair
	answers []data.InstrumentID
	counts  Counts
	rest    data.Book
	sid     int64
}

type market struct {
	ticker   string
	inst     data.InstrumentID
	book     data.Book
	sid      int64 // the subscription that its book messages come by; 0: not known yet
	pending  bool  // no valid book: deltas are ignored until a snapshot
	asked    bool  // a repair is outstanding
	told     bool  // that there is no valid book
	lastRecv data.Time
	struck   data.Time // lastRecv when a REST book differed; 0: none did
}

type subscription struct {
	seq  int64
	hash uint64
	seen bool
}

// NewFeed makes a feed without markets.
func NewFeed(mode Sequence) *Feed {
	return &Feed{mode: mode, markets: map[string]*market{}, subs: map[int64]*subscription{}}
}

// Add makes the feed follow a market. A ticker that was not added is counted and ignored.
func (f *Feed) Add(ticker string, inst data.InstrumentID) {
	m := &market{ticker: ticker, inst: inst, pending: true, asked: true} // a subscription brings a snapshot
	f.markets[ticker] = m
	f.order = append(f.order, m)
}

// Remove makes the feed forget a market.
func (f *Feed) Remove(inst data.InstrumentID) {
	for i, k := range f.order {
		if k.inst == inst {
			f.order = append(f.order[:i], f.order[i+1:]...)
			delete(f.markets, k.ticker)
			return
		}
	}
}

// Lost tells that frames went missing between the socket and the feed: no book can be trusted.
func (f *Feed) Lost(recv data.Time, cause data.GapCause, out []data.Event) []data.Event {
	return f.gapAll(recv, cause, 0, out)
}

// Invalidate gives a market's book up and asks for another one; the owner has declared the hole.
func (f *Feed) Invalidate(inst data.InstrumentID) {
	for _, k := range f.order {
		if k.inst == inst && !k.pending {
			f.gap(k, 0, 0, nil)
		}
	}
}

// SID is the subscription that brings the books, 0 before the first one came.
func (f *Feed) SID() int64 { return f.sid }

// Answered are the markets that the newest REST body was about.
func (f *Feed) Answered() []data.InstrumentID { return f.answers }

// Rest takes the body of GET /markets/{ticker}/orderbook or /markets/orderbooks and compares it with the books that the
// stream built. It has no stamp, so a market that moves cannot be compared; one that differs twice and did not move
// between has lost its stream. A snapshot by the stream repairs it, because only that is in order with the changes.
func (f *Feed) Rest(body []byte, recv data.Time, out []data.Event) ([]data.Event, error) {
	books, err := ParseOrderbooks(body)
	if err != nil {
		return out, err
	}
	f.answers = f.answers[:0]
	for i := range books {
		k := f.markets[books[i].Ticker]
		if k == nil {
			f.counts.UnknownMarket++
			continue
		}
		f.counts.RestBooks++
		f.answers = append(f.answers, k.inst)
		if k.pending {
			continue
		}
		if f.same(k, &books[i]) {
			f.counts.ProbeMatched++
			k.struck = 0
			continue
		}
		f.counts.ProbeDiffered++
		if k.struck != 0 && k.struck == k.lastRecv {
			out = f.gap(k, recv, data.GapFrozen, out)
			continue
		}
		k.struck = k.lastRecv
		f.repairs = append(f.repairs, Repair{Inst: k.inst, SID: k.sid, Probe: true})
	}
	return out, nil
}

// Poll takes the same bodies where there is no stream: each book that changed is a snapshot.
func (f *Feed) Poll(body []byte, recv data.Time, out []data.Event) ([]data.Event, error) {
	books, err := ParseOrderbooks(body)
	if err != nil {
		return out, err
	}
	for i := range books {
		b := &books[i]
		k := f.markets[b.Ticker]
		if k == nil {
			f.counts.UnknownMarket++
			continue
		}
		f.counts.RestBooks++
		if !k.pending && f.same(k, b) {
			continue
		}
		f.msg = Message{Yes: b.Bids, No: f.msg.No[:0]}
		for _, r := range b.Asks {
			f.msg.No = append(f.msg.No, data.Rung{Price: r.Price.Complement(), Qty: r.Qty})
		}
		out = f.snapshot(k, recv, out)
	}
	return out, nil
}

func (f *Feed) same(k *market, o *Orderbook) bool {
	f.rest.Clear()
	for _, r := range o.Bids {
		f.rest.Set(data.Buy, r.Price, r.Qty)
	}
	for _, r := range o.Asks {
		f.rest.Set(data.Sell, r.Price, r.Qty)
	}
	return f.rest.Equal(&k.book)
}

// Counts so far.
func (f *Feed) Counts() Counts { return f.counts }

// Book is the feed's book of a market, for statistics; nil if unknown or not valid.
func (f *Feed) Book(ticker string) *data.Book {
	if m := f.markets[ticker]; m != nil && !m.pending {
		return &m.book
	}
	return nil
}

// Repairs returns and clears what the owner should fetch.
func (f *Feed) Repairs() []Repair {
	r := f.repairs
	f.repairs = f.repairs[:0]
	return r
}

// Frame decodes one frame received at recv and appends its events to out; they carry no Seq. A message that cannot
// be decoded yields a Gap for the books that it may have changed, and the error, which names the field.
func (f *Feed) Frame(frame []byte, recv data.Time, out []data.Event) ([]data.Event, error) {
	m := &f.msg
	if err := f.dec.Decode(frame, m); err != nil {
		f.counts.Malformed++
		return f.gapAll(recv, data.GapMalformed, 0, out), err
	}
	switch m.Type {
	case Snapshot, Delta, Trade:
	case Failure:
		f.counts.Failures++
		return out, nil
	case Lifecycle:
		f.counts.Lifecycles++
		return f.lifecycle(recv, out)
	default:
		f.counts.Others++
		return out, nil
	}
	dup, out := f.sequence(frame, recv, out)
	if dup {
		return out, nil
	}
	k := f.markets[string(m.Ticker)]
	if k == nil {
		f.counts.UnknownMarket++
		return out, nil
	}
	switch m.Type {
	case Snapshot:
		f.counts.Snapshots++
		k.sid, f.sid = m.SID, m.SID
		return f.snapshot(k, recv, out), nil
	case Delta:
		f.counts.Deltas++
		k.sid = m.SID
		return f.delta(k, recv, out), nil
	}
	f.counts.Trades++
	return append(out, tradeEvent(k, m, recv)), nil
}

// sequence checks the number of the message's subscription.
func (f *Feed) sequence(frame []byte, recv data.Time, out []data.Event) (duplicate bool, _ []data.Event) {
	m := &f.msg
	sub := f.subs[m.SID]
	if sub == nil {
		sub = &subscription{}
		f.subs[m.SID] = sub
	}
	var sum uint64
	if f.mode == Strict {
		h := fnv.New64a()
		h.Write(frame)
		sum = h.Sum64()
	}
	was, seen := sub.seq, sub.seen
	sub.seen = true
	switch {
	case !seen, m.Seq == was+1:
	case m.Seq > was:
		if f.mode == Strict {
			out = f.gapAll(recv, data.GapSequence, m.SID, out)
		}
		f.counts.Skips++
	case f.mode == Strict && m.Seq == was && sum == sub.hash:
		f.counts.Duplicates++
		return true, out
	default:
		out = f.gapAll(recv, data.GapSequence, m.SID, out)
	}
	sub.seq, sub.hash = m.Seq, sum
	return false, out
}

// gapAll invalidates the books of a subscription (0: all) and asks for repair.
func (f *Feed) gapAll(recv data.Time, cause data.GapCause, sid int64, out []data.Event) []data.Event {
	for _, k := range f.order {
		if (sid == 0 || k.sid == sid || k.sid == 0) && !k.pending {
			out = f.gap(k, recv, cause, out)
		}
	}
	return out
}

func (f *Feed) gap(k *market, recv data.Time, cause data.GapCause, out []data.Event) []data.Event {
	f.counts.Gaps++
	k.pending, k.told = true, true
	k.book.Clear()
	if !k.asked {
		k.asked = true
		f.repairs = append(f.repairs, Repair{Inst: k.inst, SID: k.sid})
	}
	return append(out, data.Event{Kind: data.Gap, Inst: k.inst, Recv: recv, Arg: data.VenueArg(data.Kalshi, uint8(cause)),
		Qty: data.Qty(recv - k.lastRecv), Last: true})
}

func (f *Feed) snapshot(k *market, recv data.Time, out []data.Event) []data.Event {
	m := &f.msg
	k.pending, k.asked, k.lastRecv, k.struck = false, false, recv, 0
	k.book.Clear()
	out = append(out, data.Event{Kind: data.Clear, Inst: k.inst, Recv: recv, Exch: m.Time})
	for _, r := range m.Yes {
		out = k.level(out, data.Buy, r, recv, m.Time)
	}
	for _, r := range m.No {
		r.Price = r.Price.Complement()
		out = k.level(out, data.Sell, r, recv, m.Time)
	}
	out[len(out)-1].Last = true
	return out
}

func (k *market) level(out []data.Event, s data.Side, r data.Rung, recv, exch data.Time) []data.Event {
	k.book.Set(s, r.Price, r.Qty)
	return append(out, data.Event{Kind: data.Level, Inst: k.inst, Side: s, Price: r.Price, Qty: r.Qty, Recv: recv, Exch: exch})
}

func (f *Feed) delta(k *market, recv data.Time, out []data.Event) []data.Event {
	m := &f.msg
	if k.pending {
		f.counts.BeforeStart++
		if !k.told {
			out = f.gap(k, recv, data.GapBeforeStart, out)
		}
		return out
	}
	side, price := data.Buy, m.Price
	if !m.YesSide {
		side, price = data.Sell, m.Price.Complement()
	}
	if !k.book.Add(side, price, m.Qty) {
		f.counts.Negative++
		return f.gap(k, recv, data.GapNegative, out)
	}
	k.lastRecv = recv
	return append(out, data.Event{Kind: data.Delta, Inst: k.inst, Side: side, Price: price, Qty: m.Qty, Recv: recv, Exch: m.Time, Last: true})
}

func tradeEvent(k *market, m *Message, recv data.Time) data.Event {
	ev := data.Event{Kind: data.Trade, Inst: k.inst, Side: data.Sell, Price: m.Price, Qty: m.Qty, Recv: recv, Exch: m.Time, Last: true}
	if m.YesSide {
		ev.Side = data.Buy
	}
	if m.Block {
		ev.Arg = data.TradeBlock
	}
	ev.Order = identity(m.TradeID)
	return ev
}

// servedTrade begins the trade_id of a trade that a simulated venue serves from a tape: the rest is its identity there.
// A real one is a random UUID.
const servedTrade = "00000000-0000-0000-"

// AppendTradeID appends the trade_id by which a trade keeps its identity over a simulated venue.
func AppendTradeID(dst []byte, id data.OrderID) []byte {
	digits := wire.AppendHex(nil, uint64(id))
	return append(append(append(append(dst, servedTrade...), digits[:4]...), '-'), digits[4:]...)
}

func identity(tradeID []byte) data.OrderID {
	if rest, served := bytes.CutPrefix(tradeID, []byte(servedTrade)); served && len(rest) == 17 && rest[4] == '-' {
		var digits [16]byte
		copy(digits[copy(digits[:], rest[:4]):], rest[5:])
		if id, ok := wire.ParseHex(digits[:]); ok {
			return data.OrderID(id)
		}
	}
	h := fnv.New64a()
	h.Write(tradeID)
	return data.OrderID(h.Sum64())
}

// lifecycle turns market_lifecycle_v2 into Status and Settle events.
func (f *Feed) lifecycle(recv data.Time, out []data.Event) ([]data.Event, error) {
	m := &f.msg
	k := f.markets[string(m.Ticker)]
	if k == nil {
		f.counts.UnknownMarket++
		return out, nil
	}
	status := data.StatusUnknown
	switch string(m.Event) {
	case "activated":
		status = data.Open
	case "deactivated":
		status = data.Halted
	case "determined":
		status = data.Determined
	case "settled":
		status = data.Settled
	case "created", "close_date_updated":
		return out, nil
	default:
		f.counts.Others++
		return out, nil
	}
	ev := data.Event{Kind: data.Status, Inst: k.inst, Recv: recv, Exch: m.Time, Arg: data.VenueArg(data.Kalshi, uint8(status)), Last: true}
	out = append(out, ev)
	if status != data.Determined {
		return out, nil
	}
	pay, err := resultPayout(string(m.Result))
	if err != nil {
		return out, fmt.Errorf("kalshi: lifecycle of %s: %w", m.Ticker, err)
	}
	return append(out, data.Event{Kind: data.Settle, Inst: k.inst, Recv: recv, Exch: m.Time, Cash: pay, Last: true}), nil
}

// resultPayout is what YES pays by a result of "yes" or "no".
func resultPayout(result string) (data.Money, error) {
	switch result {
	case "yes":
		return data.Dollar, nil
	case "no":
		return 0, nil
	}
	return 0, fmt.Errorf("result %q is neither yes nor no: %w", result, ErrMessage)
}
