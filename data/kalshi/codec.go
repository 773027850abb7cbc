package kalshi

import (
	"errors"
	"fmt"

	"arbiter/data"
	"arbiter/data/wire"
)

// ErrMessage is wrapped by every refusal of a message's content.
var ErrMessage = errors.New("bad message")

// MessageType is a WebSocket message's type, or BookRest for GET /markets/{ticker}/orderbook.
type MessageType uint8

// The messages (asyncapi 2.0.0 copy of spring 2026; all but the last three seen in real captures).
const (
	Other MessageType = iota // a type that is not known: tolerated, counted
	Snapshot
	Delta
	Trade
	Lifecycle
	Subscribed
	Failure
)

// Message is one decoded message. Byte slices point into the frame; Yes and No are reused by the next Decode. Both
// sides hold bids as the venue writes them; only Feed turns NO bids into YES asks.
type Message struct {
	Type     MessageType
	SID      int64
	Seq      int64
	ID       int64
	Ticker   []byte
	Yes, No  []data.Rung
	Price    data.Price // of the delta's own side; of YES in a trade
	Qty      data.Qty   // signed in a delta
	YesSide  bool       // the delta's side, or the trade's taker outcome
	Time     data.Time  // the venue's stamp
	TradeID  []byte
	Block    bool
	Channel  []byte
	Code     int64
	Text     []byte
	Event    []byte // a lifecycle's event_type
	Result   []byte
	CloseTS  int64 // seconds; 0: not given
	envelope uint32
	present  uint32
}

const (
	hasType = 1 << iota
	hasSID
	hasSeq
	hasID
	hasMsg
)

var envelopeNames = [...]string{"type", "sid", "seq", "id", "msg"}

const (
	hasTicker = 1 << iota
	hasYes
	hasNo
	hasPrice
	hasDelta
	hasSide
	hasTime
	hasMillis
	hasTradeID
	hasYesPrice
	hasNoPrice
	hasCount
	hasTaker
	hasBlock
	hasChannel
	hasCode
	hasText
	hasEvent
	hasResult
	hasClose
	hasSubSID
	hasTakerOutcome
)

var fieldNames = [...]string{"market_ticker", "yes_dollars_fp", "no_dollars_fp", "price_dollars", "delta_fp", "side", "ts", "ts_ms", "trade_id",
	"yes_price_dollars", "no_price_dollars", "count_fp", "taker_side", "is_block_trade", "channel", "code", "msg", "event_type", "result", "close_ts", "sid",
	"taker_outcome_side"}

var requiredEnvelope = [...]uint32{
	Other: hasType, Snapshot: hasType | hasSID | hasSeq | hasMsg, Delta: hasType | hasSID | hasSeq | hasMsg, Trade: hasType | hasSID | hasSeq | hasMsg,
	Lifecycle: hasType | hasMsg, Subscribed: hasType | hasMsg, Failure: hasType | hasMsg,
}

var required = [...]uint32{
	Other: 0, Snapshot: hasTicker, Delta: hasTicker | hasPrice | hasDelta | hasSide | hasMillis,
	Trade:     hasTicker | hasTradeID | hasYesPrice | hasNoPrice | hasCount | hasTaker | hasMillis,
	Lifecycle: hasTicker | hasEvent, Subscribed: hasChannel | hasSubSID, Failure: hasCode,
}

// Decoder reads frames of one message each. It allocates nothing in steady state.
type Decoder struct {
	s     wire.Scanner
	field string
	err   error
}

// Decode reads one frame into m.
func (d *Decoder) Decode(frame []byte, m *Message) error {
	*m = Message{Yes: m.Yes[:0], No: m.No[:0]}
	d.field, d.err = "", nil
	if d.delta(frame, m) {
		return nil
	}
	*m = Message{Yes: m.Yes, No: m.No}
	s := &d.s
	s.Reset(frame)
	s.Open('{')
	for s.More('}') {
		switch string(s.Key()) {
		case "type":
			d.seen(&m.envelope, hasType, "type")
			m.Type = messageType(s.String())
		case "sid":
			d.seen(&m.envelope, hasSID, "sid")
			m.SID = s.Int()
		case "seq":
			d.seen(&m.envelope, hasSeq, "seq")
			m.Seq = s.Int()
		case "id":
			d.seen(&m.envelope, hasID, "id")
			m.ID = s.Int()
		case "msg":
			d.seen(&m.envelope, hasMsg, "msg")
			d.body(m)
		default:
			s.Skip()
		}
	}
	s.End()
	if d.err == nil {
		d.err = s.Err()
	}
	if d.err == nil {
		d.check(m)
	}
	if d.err != nil {
		where := ""
		if d.field != "" {
			where = d.field + ": "
		}
		return fmt.Errorf("kalshi: decode: %s%w", where, d.err)
	}
	return nil
}

// delta reads an orderbook_delta in exactly the layout of the real captures (2026-08), 99 of 100 messages. Anything
// else, also a value that does not parse, is left to the general path, which reads any order of keys and names errors.
func (d *Decoder) delta(frame []byte, m *Message) bool {
	s := &d.s
	s.Reset(frame)
	if !s.Literal(`{"type":"orderbook_delta","sid":`) {
		return false
	}
	m.SID = s.Int()
	if !s.Literal(`,"seq":`) {
		return false
	}
	m.Seq = s.Int()
	if !s.Literal(`,"msg":{"market_ticker":`) {
		return false
	}
	m.Ticker = s.String()
	if !s.Literal(`,"market_id":`) {
		return false
	}
	_ = s.String()
	if !s.Literal(`,"price_dollars":`) {
		return false
	}
	price, err := data.ParsePrice(s.String())
	if err != nil || !price.Tradable() || !s.Literal(`,"delta_fp":`) {
		return false
	}
	qty, err := data.ParseDelta(s.String())
	if err != nil {
		return false
	}
	switch {
	case s.Literal(`,"side":"yes","ts":`):
		m.YesSide = true
	case !s.Literal(`,"side":"no","ts":`):
		return false
	}
	at, err := data.ParseTime(s.String())
	if err != nil || at == 0 || !s.Literal(`,"ts_ms":`) {
		return false
	}
	if v := s.Int(); v < 0 || v > 1e13 || !s.Literal(`}}`) || !s.AtEnd() {
		return false
	}
	m.Type, m.Price, m.Qty, m.Time = Delta, price, qty, at
	return true
}

func messageType(t []byte) MessageType {
	switch string(t) {
	case "orderbook_delta":
		return Delta
	case "trade":
		return Trade
	case "orderbook_snapshot":
		return Snapshot
	case "market_lifecycle_v2":
		return Lifecycle
	case "subscribed":
		return Subscribed
	case "error":
		return Failure
	}
	return Other
}

func (d *Decoder) seen(present *uint32, bit uint32, field string) {
	if *present&bit != 0 {
		d.refuse(field, "appears twice")
	}
	*present |= bit
}

func (d *Decoder) refuse(field, why string) {
	if d.err == nil {
		d.field = field
		d.err = fmt.Errorf("%s: %w", why, ErrMessage)
		d.s.Fail(why)
	}
}

func (d *Decoder) parse(field string, err error) {
	if err != nil && d.err == nil {
		if serr := d.s.Err(); serr != nil {
			err = serr
		}
		d.field, d.err = field, err
		d.s.Fail("bad number")
	}
}

// body reads msg, the union of all types' fields: type may follow it.
func (d *Decoder) body(m *Message) {
	s := &d.s
	var yes, no data.Price
	var takerYes, outcomeYes bool
	s.Open('{')
	for s.More('}') {
		switch string(s.Key()) {
		case "market_ticker":
			d.seen(&m.present, hasTicker, "market_ticker")
			m.Ticker = s.String()
		case "price_dollars":
			d.seen(&m.present, hasPrice, "price_dollars")
			m.Price = d.price("price_dollars")
		case "delta_fp":
			d.seen(&m.present, hasDelta, "delta_fp")
			v, err := data.ParseDelta(s.String())
			if err != nil {
				d.parse("delta_fp", err)
			}
			m.Qty = v
		case "side":
			d.seen(&m.present, hasSide, "side")
			m.YesSide = d.outcome("side")
		case "ts":
			d.seen(&m.present, hasTime, "ts")
			d.stamp(m)
		case "ts_ms":
			d.seen(&m.present, hasMillis, "ts_ms")
			v := s.Int()
			if v < 0 || v > 1e13 {
				d.refuse("ts_ms", "not milliseconds since 1970")
			}
			if m.Time == 0 {
				m.Time = data.Time(v) * data.Time(data.Millisecond)
			}
		case "yes_dollars_fp":
			d.seen(&m.present, hasYes, "yes_dollars_fp")
			m.Yes = d.levels("yes_dollars_fp", m.Yes)
		case "no_dollars_fp":
			d.seen(&m.present, hasNo, "no_dollars_fp")
			m.No = d.levels("no_dollars_fp", m.No)
		case "trade_id":
			d.seen(&m.present, hasTradeID, "trade_id")
			m.TradeID = s.String()
		case "yes_price_dollars":
			d.seen(&m.present, hasYesPrice, "yes_price_dollars")
			yes = d.price("yes_price_dollars")
		case "no_price_dollars":
			d.seen(&m.present, hasNoPrice, "no_price_dollars")
			no = d.price("no_price_dollars")
		case "count_fp":
			d.seen(&m.present, hasCount, "count_fp")
			v, err := data.ParseQty(s.String())
			if err != nil {
				d.parse("count_fp", err)
			}
			m.Qty = v
		case "taker_side":
			d.seen(&m.present, hasTaker, "taker_side")
			takerYes = d.outcome("taker_side")
		case "taker_outcome_side":
			d.seen(&m.present, hasTakerOutcome, "taker_outcome_side")
			outcomeYes = d.outcome("taker_outcome_side")
		case "is_block_trade":
			d.seen(&m.present, hasBlock, "is_block_trade")
			m.Block = s.Bool()
		case "channel":
			d.seen(&m.present, hasChannel, "channel")
			m.Channel = s.String()
		case "sid":
			d.seen(&m.present, hasSubSID, "sid")
			m.SID = s.Int()
		case "code":
			d.seen(&m.present, hasCode, "code")
			m.Code = s.Int()
		case "msg":
			d.seen(&m.present, hasText, "msg")
			m.Text = s.String()
		case "event_type":
			d.seen(&m.present, hasEvent, "event_type")
			m.Event = s.String()
		case "result":
			d.seen(&m.present, hasResult, "result")
			m.Result = s.String()
		case "close_ts":
			d.seen(&m.present, hasClose, "close_ts")
			m.CloseTS = s.Int()
		default:
			s.Skip()
		}
	}
	if d.err != nil || m.present&(hasYesPrice|hasNoPrice) == 0 {
		return
	}
	if m.present&hasPrice != 0 || m.present&hasYesPrice == 0 || m.present&hasNoPrice == 0 {
		return // check names what is missing or foreign
	}
	if yes+no != data.One {
		d.refuse("no_price_dollars", "yes and no prices do not add up to one dollar")
	}
	if m.present&hasTakerOutcome != 0 && m.present&hasTaker != 0 && takerYes != outcomeYes {
		d.refuse("taker_outcome_side", "contradicts taker_side")
	}
	m.Price, m.YesSide = yes, takerYes
}

// stamp reads ts: RFC 3339 text in a delta, seconds in a trade.
func (d *Decoder) stamp(m *Message) {
	if d.s.Peek() == '"' {
		t, err := data.ParseTime(d.s.String())
		if err != nil {
			d.parse("ts", err)
		}
		m.Time = t
		return
	}
	if v := d.s.Int(); v < 0 || v > 1e10 {
		d.refuse("ts", "not seconds since 1970")
	}
}

func (d *Decoder) price(field string) data.Price {
	v, err := data.ParsePrice(d.s.String())
	if err != nil {
		d.parse(field, err)
	} else if !v.Tradable() {
		d.refuse(field, "a price outside 0 to 1")
	}
	return v
}

func (d *Decoder) outcome(field string) bool {
	switch string(d.s.String()) {
	case "yes":
		return true
	case "no":
		return false
	}
	d.refuse(field, "neither yes nor no")
	return false
}

func (d *Decoder) levels(field string, to []data.Rung) []data.Rung {
	s := &d.s
	s.Open('[')
	for s.More(']') {
		var r data.Rung
		n := 0
		s.Open('[')
		for s.More(']') {
			switch n {
			case 0:
				r.Price = d.price(field)
			case 1:
				v, err := data.ParseQty(s.String())
				if err != nil {
					d.parse(field, err)
				}
				r.Qty = v
			default:
				s.Skip()
			}
			n++
		}
		if n != 2 {
			d.refuse(field, "a level that is not [price, size]")
		}
		to = append(to, r)
	}
	return to
}

func (d *Decoder) check(m *Message) {
	if miss := requiredEnvelope[m.Type] &^ m.envelope; m.envelope&hasType == 0 || miss != 0 {
		if m.envelope&hasType == 0 {
			miss = hasType
		}
		d.refuse(nameOf(envelopeNames[:], miss), "required field is missing")
		return
	}
	if miss := required[m.Type] &^ m.present; miss != 0 {
		d.refuse("msg."+nameOf(fieldNames[:], miss), "required field is missing")
	}
}

func nameOf(names []string, bitset uint32) string {
	for i, n := range names {
		if bitset&(1<<i) != 0 {
			return n
		}
	}
	return "?"
}
