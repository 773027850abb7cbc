package polymarket

import (
	"errors"
	"fmt"

	"arbiter/data"
	"arbiter/data/wire"
)

// ErrMessage is wrapped by every refusal of a message's content.
var ErrMessage = errors.New("bad message")

// MessageType is a market-channel message's event_type, or BookRest for GET /book.
type MessageType uint8

// The market channel's messages (docs.polymarket.com, WSS market channel, copy of 2026-04).
const (
	Other MessageType = iota // an event_type that is not known: tolerated, counted
	BookRest
	BookSnapshot
	PriceChange
	TickSizeChange
	LastTradePrice
	BestBidAsk
	NewMarket
	MarketResolved
	Pong // the plain text PONG, which is not JSON
)

// Change is one entry of a price_change: the level's new total size, not a difference.
type Change struct {
	Asset   []byte
	Hash    []byte
	Price   data.Price
	Size    data.Qty
	Side    data.Side // Buy: the bid side of this asset's own book
	Bid     data.Price
	Ask     data.Price
	present uint16
}

// Message is one decoded message. Byte slices point into the frame; slices are reused by the next Decode.
type Message struct {
	Type       MessageType
	Market     []byte
	Asset      []byte
	Hash       []byte
	Timestamp  int64 // milliseconds
	Bids, Asks []data.Rung
	Changes    []Change
	Price      data.Price
	Size       data.Qty
	Side       data.Side
	TickOld    data.Price
	TickNew    data.Price
	Bid, Ask   data.Price
	MinSize    data.Qty
	NegRisk    bool
	LastTrade  []byte // verbatim: it is part of the hash; may be empty
	TxHash     []byte
	Winner     []byte
	Assets     [2][]byte
	Outcomes   [2][]byte
	Question   []byte
	Text       []byte // description: the rules
	present    uint32
}

const (
	hasType = 1 << iota
	hasMarket
	hasAsset
	hasTimestamp
	hasHash
	hasBids
	hasAsks
	hasChanges
	hasPrice
	hasSize
	hasSide
	hasTickOld
	hasTickNew
	hasTick
	hasBid
	hasAsk
	hasMinSize
	hasNegRisk
	hasLastTrade
	hasTxHash
	hasWinner
	hasAssets
	hasOutcomes
	hasQuestion
	hasText
)

var fieldNames = [...]string{"event_type", "market", "asset_id", "timestamp", "hash", "bids", "asks", "price_changes", "price", "size", "side",
	"old_tick_size", "new_tick_size", "tick_size", "best_bid", "best_ask", "min_order_size", "neg_risk", "last_trade_price",
	"transaction_hash", "winning_asset_id", "assets_ids", "outcomes", "question", "description"}

// required fields by message type.
var required = [...]uint32{
	Other:          hasType,
	BookRest:       hasMarket | hasAsset | hasTimestamp | hasBids | hasAsks,
	BookSnapshot:   hasType | hasMarket | hasAsset | hasTimestamp | hasBids | hasAsks,
	PriceChange:    hasType | hasMarket | hasTimestamp | hasChanges,
	TickSizeChange: hasType | hasMarket | hasAsset | hasTimestamp | hasTickOld | hasTickNew,
	LastTradePrice: hasType | hasMarket | hasAsset | hasTimestamp | hasPrice | hasSize | hasSide,
	BestBidAsk:     hasType | hasMarket | hasAsset | hasTimestamp | hasBid | hasAsk,
	NewMarket:      hasType | hasMarket | hasTimestamp | hasAssets | hasOutcomes | hasQuestion,
	MarketResolved: hasType | hasMarket | hasTimestamp | hasAssets | hasWinner,
	Pong:           0,
}

// HasHash and HasTick say whether the optional field was there.
func (m *Message) HasHash() bool      { return m.present&hasHash != 0 }
func (m *Message) HasLastTrade() bool { return m.present&hasLastTrade != 0 }

// HasTop says that the change carried best_bid and best_ask.
func (c *Change) HasTop() bool { return c.present&(changeBid|changeAsk) == changeBid|changeAsk }

// Decoder reads frames: one message, an array of messages, or the text PONG. It allocates nothing in steady state.
type Decoder struct {
	s     wire.Scanner
	array bool
	done  bool
	pong  bool
	field string
	index int
	err   error
}

// Reset starts a frame.
func (d *Decoder) Reset(frame []byte) {
	d.array, d.done, d.field, d.index, d.err = false, false, "", -1, nil
	if d.pong = string(frame) == "PONG"; d.pong {
		return
	}
	d.s.Reset(frame)
	if d.s.Peek() == '[' {
		d.array = d.s.Open('[')
	}
}

// Next decodes the frame's next message into m. It returns false at the end of the frame.
func (d *Decoder) Next(m *Message) (bool, error) {
	if d.done || d.err != nil {
		return false, d.err
	}
	if d.pong {
		d.done = true
		m.reset()
		m.Type = Pong
		return true, nil
	}
	if d.array {
		if !d.s.More(']') {
			d.done = true
			d.s.End()
			return false, d.fail(m, d.s.Err())
		}
		d.index++
	}
	d.message(m)
	if !d.array {
		d.done = true
		d.s.End()
	}
	if d.err == nil {
		d.err = d.s.Err()
	}
	if d.err == nil {
		d.check(m)
	}
	if d.err != nil {
		return false, d.fail(m, d.err)
	}
	return true, nil
}

func (d *Decoder) fail(m *Message, err error) error {
	if err == nil {
		return nil
	}
	where := ""
	if d.index >= 0 {
		where = fmt.Sprintf("message %d of the frame: ", d.index)
	}
	if d.field != "" {
		where += d.field + ": "
	}
	d.err = fmt.Errorf("polymarket: decode: %s%w", where, err)
	return d.err
}

func (m *Message) reset() {
	*m = Message{Bids: m.Bids[:0], Asks: m.Asks[:0], Changes: m.Changes[:0]}
}

func (d *Decoder) seen(m *Message, bit uint32) {
	if m.present&bit != 0 {
		d.refuse(fieldName(bit), "appears twice")
	}
	m.present |= bit
}

func fieldName(bit uint32) string {
	for i := range fieldNames {
		if bit == 1<<i {
			return fieldNames[i]
		}
	}
	return "?"
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

func (d *Decoder) price(field string) data.Price {
	v, err := data.ParsePrice(d.s.String())
	d.parse(field, err)
	return v
}

// top reads best_bid or best_ask, where an empty side is an empty string or a 0.
func (d *Decoder) top(field string) data.Price {
	t := d.s.String()
	if len(t) == 0 {
		return 0
	}
	v, err := data.ParsePrice(t)
	d.parse(field, err)
	return v
}

func (d *Decoder) qty(field string) data.Qty {
	v, err := data.ParseQty(d.s.String())
	d.parse(field, err)
	return v
}

func (d *Decoder) side(field string) data.Side {
	switch string(d.s.String()) {
	case "BUY":
		return data.Buy
	case "SELL":
		return data.Sell
	}
	d.refuse(field, "neither BUY nor SELL")
	return 0
}

func (d *Decoder) message(m *Message) {
	m.reset()
	s := &d.s
	if saved := *s; d.usual(m) {
		return
	} else {
		*s = saved
		m.reset()
	}
	if !s.Open('{') {
		return
	}
	for s.More('}') {
		switch string(s.Key()) {
		case "event_type":
			d.seen(m, hasType)
			m.Type = messageType(s.String())
		case "market":
			d.seen(m, hasMarket)
			m.Market = s.String()
		case "asset_id":
			d.seen(m, hasAsset)
			m.Asset = s.String()
		case "timestamp":
			d.seen(m, hasTimestamp)
			v, ok := wire.ParseInt(s.String())
			if !ok || v < 0 || v > 1e15 {
				d.refuse("timestamp", "not milliseconds in a string")
			}
			m.Timestamp = v
		case "hash":
			d.seen(m, hasHash)
			m.Hash = s.String()
		case "bids":
			d.seen(m, hasBids)
			m.Bids = d.levels("bids", m.Bids)
		case "asks":
			d.seen(m, hasAsks)
			m.Asks = d.levels("asks", m.Asks)
		case "price_changes":
			d.seen(m, hasChanges)
			d.changes(m)
		case "price":
			d.seen(m, hasPrice)
			m.Price = d.price("price")
		case "size":
			d.seen(m, hasSize)
			m.Size = d.qty("size")
		case "side":
			d.seen(m, hasSide)
			m.Side = d.side("side")
		case "tick_size":
			d.seen(m, hasTick)
			m.TickNew = d.price("tick_size")
		case "old_tick_size":
			d.seen(m, hasTickOld)
			m.TickOld = d.price("old_tick_size")
		case "new_tick_size":
			d.seen(m, hasTickNew)
			m.TickNew = d.price("new_tick_size")
		case "best_bid":
			d.seen(m, hasBid)
			m.Bid = d.top("best_bid")
		case "best_ask":
			d.seen(m, hasAsk)
			m.Ask = d.top("best_ask")
		case "min_order_size":
			d.seen(m, hasMinSize)
			m.MinSize = d.qty("min_order_size")
		case "neg_risk":
			d.seen(m, hasNegRisk)
			m.NegRisk = s.Bool()
		case "last_trade_price":
			d.seen(m, hasLastTrade)
			m.LastTrade = s.String()
		case "transaction_hash":
			d.seen(m, hasTxHash)
			m.TxHash = s.String()
		case "winning_asset_id":
			d.seen(m, hasWinner)
			m.Winner = s.String()
		case "assets_ids":
			d.seen(m, hasAssets)
			d.couple("assets_ids", &m.Assets)
		case "outcomes":
			d.seen(m, hasOutcomes)
			d.couple("outcomes", &m.Outcomes)
		case "question":
			d.seen(m, hasQuestion)
			m.Question = s.String()
		case "description":
			d.seen(m, hasText)
			m.Text = s.String()
		default:
			s.Skip()
		}
	}
}

// usual reads a price_change in exactly the layout of the real captures (2026-04 to 2026-07), 99 of 100 messages.
// Anything else, also a value that does not parse, is left to the general path, which reads any order of keys and
// names errors.
func (d *Decoder) usual(m *Message) bool {
	s := &d.s
	if !s.Literal(`{"market":`) {
		return false
	}
	m.Market = s.String()
	if !s.Literal(`,"price_changes":[`) {
		return false
	}
	for {
		m.Changes = append(m.Changes, Change{present: changeAsset | changePrice | changeSize | changeSide | changeHash | changeBid | changeAsk})
		if !usualChange(s, &m.Changes[len(m.Changes)-1]) {
			return false
		}
		if !s.Literal(`,`) {
			break
		}
	}
	if !s.Literal(`],"timestamp":`) {
		return false
	}
	v, ok := wire.ParseInt(s.String())
	if !ok || v < 0 || v > 1e15 || !s.Literal(`,"event_type":"price_change"}`) {
		return false
	}
	m.Type, m.Timestamp, m.present = PriceChange, v, hasType|hasMarket|hasTimestamp|hasChanges
	return true
}

func usualChange(s *wire.Scanner, c *Change) bool {
	var err error
	if !s.Literal(`{"asset_id":`) {
		return false
	}
	c.Asset = s.String()
	if !s.Literal(`,"price":`) {
		return false
	}
	if c.Price, err = data.ParsePrice(s.String()); err != nil || !c.Price.Tradable() || !s.Literal(`,"size":`) {
		return false
	}
	if c.Size, err = data.ParseQty(s.String()); err != nil {
		return false
	}
	switch {
	case s.Literal(`,"side":"BUY","hash":`):
		c.Side = data.Buy
	case s.Literal(`,"side":"SELL","hash":`):
		c.Side = data.Sell
	default:
		return false
	}
	c.Hash = s.String()
	if !s.Literal(`,"best_bid":`) {
		return false
	}
	if c.Bid, err = data.ParsePrice(s.String()); err != nil || !s.Literal(`,"best_ask":`) {
		return false
	}
	if c.Ask, err = data.ParsePrice(s.String()); err != nil {
		return false
	}
	return s.Literal(`}`)
}

func messageType(t []byte) MessageType {
	switch string(t) {
	case "price_change":
		return PriceChange
	case "book":
		return BookSnapshot
	case "last_trade_price":
		return LastTradePrice
	case "tick_size_change":
		return TickSizeChange
	case "best_bid_ask":
		return BestBidAsk
	case "new_market":
		return NewMarket
	case "market_resolved":
		return MarketResolved
	}
	return Other
}

// check requires the fields of the message's type. A GET /book response has no event_type.
func (d *Decoder) check(m *Message) {
	if m.present&hasType == 0 {
		if m.present&(hasBids|hasAsks|hasAsset) == hasBids|hasAsks|hasAsset {
			m.Type = BookRest
		} else {
			d.refuse("event_type", "required field is missing")
			return
		}
	}
	if miss := required[m.Type] &^ m.present; miss != 0 {
		d.refuse(fieldName(miss&-miss), "required field is missing")
		return
	}
	if m.Type == BookSnapshot || m.Type == BookRest || m.Type == LastTradePrice {
		for _, r := range m.Bids {
			d.tradable("bids", r.Price)
		}
		for _, r := range m.Asks {
			d.tradable("asks", r.Price)
		}
		if m.Type == LastTradePrice {
			d.tradable("price", m.Price)
		}
	}
	if m.Type == TickSizeChange && m.TickNew == 0 {
		d.refuse("new_tick_size", "a tick of zero")
	}
}

func (d *Decoder) tradable(field string, p data.Price) {
	if !p.Tradable() {
		d.refuse(field, "a price outside 0 to 1")
	}
}

func (d *Decoder) couple(field string, to *[2][]byte) {
	s := &d.s
	n := 0
	s.Open('[')
	for s.More(']') {
		v := s.String()
		if n < 2 {
			to[n] = v
		}
		n++
	}
	if n != 2 {
		d.refuse(field, "not exactly two entries")
	}
}

func (d *Decoder) levels(field string, to []data.Rung) []data.Rung {
	s := &d.s
	s.Open('[')
	for s.More(']') {
		var r data.Rung
		var present uint8
		s.Open('{')
		for s.More('}') {
			switch string(s.Key()) {
			case "price":
				if present&1 != 0 {
					d.refuse(field+".price", "appears twice")
				}
				present |= 1
				v, err := data.ParsePrice(s.String())
				if err != nil {
					d.parse(field+".price", err)
				}
				r.Price = v
			case "size":
				if present&2 != 0 {
					d.refuse(field+".size", "appears twice")
				}
				present |= 2
				v, err := data.ParseQty(s.String())
				if err != nil {
					d.parse(field+".size", err)
				}
				r.Qty = v
			default:
				s.Skip()
			}
		}
		if present != 3 {
			d.refuse(field, "a level without price or size")
		}
		to = append(to, r)
	}
	return to
}

const (
	changeAsset = 1 << iota
	changePrice
	changeSize
	changeSide
	changeHash
	changeBid
	changeAsk
)

var changeNames = [...]string{"asset_id", "price", "size", "side", "hash", "best_bid", "best_ask"}

func (d *Decoder) once(c *Change, bit uint16) {
	if c.present&bit != 0 {
		d.refuse("price_changes", "a field appears twice")
	}
	c.present |= bit
}

func (d *Decoder) changes(m *Message) {
	s := &d.s
	s.Open('[')
	for s.More(']') {
		m.Changes = append(m.Changes, Change{})
		c := &m.Changes[len(m.Changes)-1]
		s.Open('{')
		for s.More('}') {
			switch string(s.Key()) {
			case "asset_id":
				d.once(c, changeAsset)
				c.Asset = s.String()
			case "price":
				d.once(c, changePrice)
				c.Price = d.price("price_changes.price")
			case "size":
				d.once(c, changeSize)
				c.Size = d.qty("price_changes.size")
			case "side":
				d.once(c, changeSide)
				c.Side = d.side("price_changes.side")
			case "hash":
				d.once(c, changeHash)
				c.Hash = s.String()
			case "best_bid":
				d.once(c, changeBid)
				c.Bid = d.top("price_changes.best_bid")
			case "best_ask":
				d.once(c, changeAsk)
				c.Ask = d.top("price_changes.best_ask")
			default:
				s.Skip()
			}
		}
		const need = changeAsset | changePrice | changeSize | changeSide
		if miss := need &^ c.present; miss != 0 {
			for i := range changeNames {
				if miss&(1<<i) != 0 {
					d.refuse("price_changes."+changeNames[i], "required field is missing")
					break
				}
			}
		}
		d.tradable("price_changes.price", c.Price)
	}
}
