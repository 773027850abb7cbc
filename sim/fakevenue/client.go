package fakevenue

import (
	"bufio"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
)

// client is one WebSocket to us. Fields but the outbox belong to the server's lock.
type client struct {
	s      *Server
	venue  data.Venue
	ws     *websocket.Conn
	raw    *batchConn
	out    chan []byte // nil: flush and wait
	once   sync.Once
	gone   chan struct{}
	opened time.Time
	first  *market // that FreezeOne is about; nil again once it was subscribed anew
	met    bool
	due    map[*market]bool    // a late snapshot is to come
	assets map[*market][2]bool // Polymarket: subscribed tokens
	books  *subscription       // Kalshi
	trades *subscription
	life   int64 // Kalshi: sid of the lifecycle channel
	sids   int64
	skip   int
	held   []byte
}

// subscription is one sid of a Kalshi connection: its numbers rise by one over all its markets.
type subscription struct {
	sid     int64
	seq     int64
	markets map[*market]bool
}

var upgrader = websocket.Upgrader{ReadBufferSize: 4 << 10, WriteBufferSize: 64 << 10, CheckOrigin: func(*http.Request) bool { return true }}

// accept upgrades a request and reads its commands until the client goes.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, v data.Venue, command func(c *client, msg []byte)) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	c := &client{s: s, venue: v, ws: ws, out: make(chan []byte, s.opt.Outbox), gone: make(chan struct{}), opened: time.Now(), due: map[*market]bool{}, assets: map[*market][2]bool{}}
	if raw, ok := ws.NetConn().(*batchConn); ok {
		raw.mu.Lock()
		raw.w = bufio.NewWriterSize(raw.Conn, 64<<10)
		raw.mu.Unlock()
		c.raw = raw
	}
	s.mu.Lock()
	s.clients = append(s.clients, c)
	s.mu.Unlock()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	for {
		_, msg, err := ws.ReadMessage()
		if err != nil {
			break
		}
		s.mu.Lock()
		command(c, msg)
		s.mu.Unlock()
	}
	c.end()
	<-written
	s.mu.Lock()
	s.clients = slices.DeleteFunc(s.clients, func(o *client) bool { return o == c })
	s.mu.Unlock()
}

// end cuts the client off.
func (c *client) end() {
	c.once.Do(func() {
		close(c.gone)
		c.ws.NetConn().Close()
	})
}

// queue hands a frame to the writer; a client that does not read is cut off.
func (c *client) queue(frame []byte) {
	if frame != nil {
		c.s.served.Frames++
	}
	select {
	case c.out <- frame:
	default:
		c.end()
	}
}

// write sends what is queued, in as few segments as it comes in.
func (c *client) write() {
	ping := time.NewTicker(10 * time.Second)
	defer ping.Stop()
	began, sent := time.Now(), 0
	for {
		var frame []byte
		select {
		case <-c.gone:
			return
		case <-ping.C:
			if c.venue == data.Kalshi && c.ws.WriteControl(websocket.PingMessage, []byte("heartbeat"), time.Now().Add(time.Second)) != nil {
				c.end()
			}
			c.flush()
			continue
		case frame = <-c.out:
		}
		if frame != nil {
			if limit := c.s.opt.Faults.Slow; limit > 0 {
				sent += len(frame)
				time.Sleep(time.Until(began.Add(time.Duration(float64(sent) / float64(limit) * float64(time.Second)))))
			}
			c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if c.ws.WriteMessage(websocket.TextMessage, frame) != nil {
				c.end()
				return
			}
		}
		if frame == nil || len(c.out) == 0 || c.s.opt.Faults.Slow > 0 {
			c.flush()
		}
	}
}

func (c *client) flush() {
	if c.raw != nil && c.raw.flush() != nil {
		c.end()
	}
}

func (c *client) carries(m *market) bool {
	if c.venue != m.list.Key.Venue || c.frozen(m) {
		return false
	}
	if c.venue == data.Polymarket {
		a := c.assets[m]
		return a[0] || a[1]
	}
	return c.books != nil && c.books.markets[m]
}

// subscribedTo counts towards the beginning of the tape.
func (s *Server) subscribedTo(c *client, m *market) {
	switch {
	case !c.met:
		c.first, c.met = m, true
	case c.first == m:
		c.first = nil
	}
	s.subscribed++
	if s.subscribed == s.opt.Await {
		close(s.started)
	}
}

// polymarketCommand takes a market channel's text.
func (s *Server) polymarketCommand(c *client, msg []byte) {
	if string(msg) == "PING" {
		c.queue([]byte("PONG"))
		return
	}
	var cmd struct {
		Assets    []string `json:"assets_ids"`
		Operation string   `json:"operation"`
		Type      string   `json:"type"`
	}
	if json.Unmarshal(msg, &cmd) != nil || (cmd.Type != "market" && cmd.Operation == "") {
		c.queue([]byte("INVALID OPERATION"))
		return
	}
	var begun []*market
	for _, a := range cmd.Assets {
		t, ok := s.tokens[a]
		if !ok {
			continue
		}
		was := c.assets[t.m]
		now := was
		now[index(t.no)] = cmd.Operation != "unsubscribe"
		c.assets[t.m] = now
		if cmd.Operation == "unsubscribe" {
			continue
		}
		if !was[0] && !was[1] {
			begun = append(begun, t.m)
		}
	}
	for _, m := range begun {
		s.subscribedTo(c, m)
		s.begin(c, m)
	}
}

// begin answers a subscription with the market's book, as the faults want it.
func (s *Server) begin(c *client, m *market) {
	if !m.has {
		return // it comes with the tape's first one
	}
	if s.opt.Faults.DeltaFirst {
		s.served.Faults["delta-first"]++
		s.repeat(c, m)
	}
	s.answer(c, m)
}

// answer sends the book that a client asked for, late if that is the fault.
func (s *Server) answer(c *client, m *market) {
	late := s.opt.Faults.Late
	if late == 0 {
		s.books(c, m)
		return
	}
	if c.due[m] {
		s.served.Repeated++
		return
	}
	c.due[m] = true
	s.served.Faults["late-snapshot"]++
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		select {
		case <-c.gone:
			return
		case <-time.After(late):
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		c.due[m] = false
		s.books(c, m)
	}()
}

// repeat tells a level that stands: a change that changes nothing.
func (s *Server) repeat(c *client, m *market) {
	r := m.book.Best(data.Buy)
	if r.Qty == 0 {
		return
	}
	if c.venue == data.Polymarket {
		c.send(m, s.priceChange(m, []data.Event{{Side: data.Buy, Price: r.Price, Qty: r.Qty}}))
		return
	}
	c.books.seq++
	msg := kalshi.Message{Type: kalshi.Delta, SID: c.books.sid, Seq: c.books.seq, Ticker: []byte(m.list.Key.Native), Price: r.Price, YesSide: true, Time: s.skewed(max(m.stamp, s.clock))}
	c.send(m, kalshi.AppendMessage(nil, &msg))
}

// books sends a client the market's book as it stands.
func (s *Server) books(c *client, m *market) {
	if !m.has || !c.carries(m) {
		return
	}
	if c.venue == data.Kalshi {
		c.send(m, s.snapshot(c, m, nil))
		return
	}
	frame := []byte{'['}
	for no := range 2 {
		if c.assets[m][no] {
			if len(frame) > 1 {
				frame = append(frame, ',')
			}
			frame = s.book(frame, m, no == 1, nil, polymarket.BookSnapshot)
		}
	}
	c.send(m, append(frame, ']'))
}

// snapshots sends every subscriber a book of the tape, its levels in the tape's order.
func (s *Server) snapshots(m *market, evs []data.Event) {
	for _, c := range s.clients {
		if !c.carries(m) {
			continue
		}
		if c.venue == data.Kalshi {
			c.send(m, s.snapshot(c, m, evs))
			continue
		}
		for no := range 2 {
			if c.assets[m][no] {
				c.send(m, s.book(nil, m, no == 1, evs, polymarket.BookSnapshot))
			}
		}
	}
}

// ladders are a market's levels, bids then asks, best last: as the tape's message has them, or as they stand.
func (m *market) ladders(evs []data.Event) (bids, asks []data.Rung) {
	if evs != nil {
		for i := range evs {
			r := data.Rung{Price: evs[i].Price, Qty: evs[i].Qty}
			switch {
			case evs[i].Kind != data.Level:
			case evs[i].Side == data.Buy:
				bids = append(bids, r)
			default:
				asks = append(asks, r)
			}
		}
		return bids, asks
	}
	for _, side := range [2]data.Side{data.Buy, data.Sell} {
		var rs []data.Rung
		for r := m.book.Best(side); r.Qty != 0; r = m.book.Next(side, r.Price) {
			rs = append(rs, r)
		}
		slices.Reverse(rs)
		if side == data.Buy {
			bids = rs
		} else {
			asks = rs
		}
	}
	return bids, asks
}

func complement(rs []data.Rung) []data.Rung {
	out := make([]data.Rung, 0, len(rs))
	for _, r := range rs {
		out = append(out, data.Rung{Price: r.Price.Complement(), Qty: r.Qty})
	}
	return out
}

func (s *Server) snapshot(c *client, m *market, evs []data.Event) []byte {
	c.books.seq++
	bids, asks := m.ladders(evs)
	msg := kalshi.Message{Type: kalshi.Snapshot, SID: c.books.sid, Seq: c.books.seq, Ticker: []byte(m.list.Key.Native), Yes: bids, No: complement(asks)}
	return kalshi.AppendMessage(nil, &msg)
}

func index(no bool) int {
	if no {
		return 1
	}
	return 0
}

// book appends a Polymarket book of one token, with its hash.
func (s *Server) book(dst []byte, m *market, no bool, evs []data.Event, kind polymarket.MessageType) []byte {
	bids, asks := m.ladders(evs)
	if no {
		bids, asks = complement(asks), complement(bids)
	}
	msg := polymarket.Message{Type: kind, Market: []byte(m.list.Key.Native), Asset: []byte(m.list.Tokens[index(no)]), Timestamp: s.millis(m), Bids: bids, Asks: asks,
		TickNew: m.tick, LastTrade: m.last[index(no)], MinSize: m.list.QtyMin, NegRisk: m.list.NegRisk}
	msg.Hash = s.hash(m, no, bids, asks)
	return polymarket.AppendMessage(dst, &msg)
}

func (s *Server) hash(m *market, no bool, bids, asks []data.Rung) []byte {
	if s.opt.NoHashes {
		return nil
	}
	if s.opt.Faults.BadHash {
		s.served.Faults["bad-hash"]++
		return []byte("0000000000000000000000000000000000000000")
	}
	h := polymarket.HashInput{Market: []byte(m.list.Key.Native), Asset: []byte(m.list.Tokens[index(no)]), Timestamp: s.millis(m), Bids: bids, Asks: asks, MinSize: m.list.QtyMin,
		Tick: m.tick, NegRisk: m.list.NegRisk, LastTrade: m.last[index(no)]}
	out, _ := h.AppendHash(nil, nil)
	return out
}

// changes applies a message's changes and sends them.
func (s *Server) changes(m *market, evs []data.Event) {
	if m.list.Key.Venue == data.Polymarket {
		for i := range evs {
			m.book.Set(evs[i].Side, evs[i].Price, evs[i].Qty)
		}
		frame := []byte(nil)
		for _, c := range s.clients {
			if c.carries(m) {
				if frame == nil {
					frame = s.priceChange(m, evs)
				}
				c.send(m, frame)
			}
		}
		s.changeTick(m)
		return
	}
	for i := range evs {
		e := &evs[i]
		d := e.Qty
		if e.Kind == data.Level {
			d -= m.book.Qty(e.Side, e.Price)
		}
		m.book.Add(e.Side, e.Price, d)
		msg := kalshi.Message{Type: kalshi.Delta, Ticker: []byte(m.list.Key.Native), Price: e.Price, Qty: d, YesSide: e.Side == data.Buy, Time: s.skewed(m.stamp)}
		if e.Side == data.Sell {
			msg.Price = e.Price.Complement()
		}
		for _, c := range s.clients {
			if c.carries(m) {
				c.books.seq++
				msg.SID, msg.Seq = c.books.sid, c.books.seq
				c.send(m, kalshi.AppendMessage(nil, &msg))
			}
		}
	}
}

// priceChange is the change and its mirror on the other token, with the hashes and best prices after it.
func (s *Server) priceChange(m *market, evs []data.Event) []byte {
	var hashes [2][]byte
	if !s.opt.NoHashes {
		bids, asks := m.ladders(nil)
		hashes[0], hashes[1] = s.hash(m, false, bids, asks), s.hash(m, true, complement(asks), complement(bids))
	}
	bid, ask := m.book.Best(data.Buy).Price, m.book.Best(data.Sell).Price
	msg := polymarket.Message{Type: polymarket.PriceChange, Market: []byte(m.list.Key.Native), Timestamp: s.millis(m)}
	for i := range evs {
		e := &evs[i]
		if e.Kind == data.Clear {
			continue
		}
		msg.Changes = append(msg.Changes,
			polymarket.Change{Asset: []byte(m.list.Tokens[0]), Hash: hashes[0], Price: e.Price, Size: e.Qty, Side: e.Side, Bid: bid, Ask: empty(ask)},
			polymarket.Change{Asset: []byte(m.list.Tokens[1]), Hash: hashes[1], Price: e.Price.Complement(), Size: e.Qty, Side: e.Side.Opposite(),
				Bid: empty(ask).Complement(), Ask: bid.Complement()})
	}
	return polymarket.AppendMessage(nil, &msg)
}

// empty is the best ask of an empty side: one.
func empty(ask data.Price) data.Price {
	if ask == 0 {
		return data.One
	}
	return ask
}

func (s *Server) trade(m *market, e *data.Event) {
	if m.list.Key.Venue == data.Polymarket {
		msg := polymarket.Message{Type: polymarket.LastTradePrice, Market: []byte(m.list.Key.Native), Asset: []byte(m.list.Tokens[0]), Price: e.Price, Size: e.Qty, Side: e.Side,
			Timestamp: s.millis(m), TxHash: polymarket.AppendTx(nil, e.Order)}
		m.last[0] = data.AppendDecimal(nil, int64(e.Price), 4, 0)
		s.toAssets(m, polymarket.AppendMessage(nil, &msg))
		return
	}
	msg := kalshi.Message{Type: kalshi.Trade, TradeID: kalshi.AppendTradeID(nil, e.Order), Ticker: []byte(m.list.Key.Native), Price: e.Price, Qty: e.Qty,
		YesSide: e.Side == data.Buy, Block: e.Arg == data.TradeBlock, Time: s.skewed(m.stamp)}
	for _, c := range s.clients {
		if c.venue == data.Kalshi && c.trades != nil && c.trades.markets[m] && !c.frozen(m) {
			c.trades.seq++
			msg.SID, msg.Seq = c.trades.sid, c.trades.seq
			c.send(m, kalshi.AppendMessage(nil, &msg))
		}
	}
}

func (s *Server) tickChange(m *market, old data.Price) {
	if m.list.Key.Venue != data.Polymarket {
		return
	}
	msg := polymarket.Message{Type: polymarket.TickSizeChange, Market: []byte(m.list.Key.Native), Asset: []byte(m.list.Tokens[0]), TickOld: old, TickNew: m.tick, Timestamp: s.millis(m)}
	s.toAssets(m, polymarket.AppendMessage(nil, &msg))
}

func (s *Server) toAssets(m *market, frame []byte) {
	for _, c := range s.clients {
		if c.carries(m) {
			c.send(m, frame)
		}
	}
}

// kalshiCommand takes a WebSocket command (asyncapi 2.0).
func (s *Server) kalshiCommand(c *client, msg []byte) {
	var cmd struct {
		ID     int64  `json:"id"`
		Cmd    string `json:"cmd"`
		Params struct {
			Channels []string `json:"channels"`
			Tickers  []string `json:"market_tickers"`
			SIDs     []int64  `json:"sids"`
			Action   string   `json:"action"`
		} `json:"params"`
	}
	fail := func(code int64, text string) {
		m := kalshi.Message{Type: kalshi.Failure, ID: cmd.ID, Code: code, Text: []byte(text)}
		c.queue(kalshi.AppendMessage(nil, &m))
	}
	if json.Unmarshal(msg, &cmd) != nil {
		fail(1, "Unable to process message")
		return
	}
	p := &cmd.Params
	switch cmd.Cmd {
	case "subscribe":
		if len(p.Channels) == 0 {
			fail(3, "Channels required")
			return
		}
		s.kalshiSubscribe(c, cmd.ID, p.Channels, p.Tickers, fail)
	case "update_subscription":
		if len(p.SIDs) != 1 {
			fail(12, "Exactly one sid required")
			return
		}
		s.kalshiUpdate(c, p.SIDs[0], p.Action, p.Tickers, fail)
	default:
		fail(5, "Unknown command")
	}
}

func (s *Server) kalshiSubscribe(c *client, id int64, channels, tickers []string, fail func(int64, string)) {
	for _, ch := range channels {
		c.sids++
		ack := kalshi.Message{Type: kalshi.Subscribed, ID: id, Channel: []byte(ch), SID: c.sids}
		sub := &subscription{sid: c.sids, markets: map[*market]bool{}}
		switch ch {
		case "orderbook_delta":
			c.books = sub
		case "trade":
			c.trades = sub
		case "market_lifecycle_v2":
			c.life = c.sids
		default:
			fail(8, "Unknown channel name")
			continue
		}
		c.queue(kalshi.AppendMessage(nil, &ack))
		if !s.opt.Faults.Coalesce {
			c.queue(nil) // the acknowledgement leaves alone
		}
		if ch != "market_lifecycle_v2" {
			s.kalshiAdd(c, sub, tickers)
		}
	}
}

func (s *Server) kalshiAdd(c *client, sub *subscription, tickers []string) {
	for _, t := range tickers {
		m := s.markets[data.MarketKey{Venue: data.Kalshi, Native: t}]
		if m == nil || sub.markets[m] {
			continue
		}
		sub.markets[m] = true
		if sub == c.books {
			s.subscribedTo(c, m)
			s.begin(c, m)
		}
	}
}

func (s *Server) kalshiUpdate(c *client, sid int64, action string, tickers []string, fail func(int64, string)) {
	var sub *subscription
	for _, o := range []*subscription{c.books, c.trades} {
		if o != nil && o.sid == sid {
			sub = o
		}
	}
	if sub == nil {
		fail(7, "Unknown subscription ID")
		return
	}
	switch action {
	case "add_markets":
		s.kalshiAdd(c, sub, tickers)
	case "delete_markets", "get_snapshot":
		for _, t := range tickers {
			m := s.markets[data.MarketKey{Venue: data.Kalshi, Native: t}]
			switch {
			case m == nil:
			case action == "delete_markets":
				delete(sub.markets, m)
			default:
				s.answer(c, m)
			}
		}
	default:
		fail(13, "Unknown action")
	}
}
