// Package kalshi is Kalshi's public side over sockets: market records and order books by REST, the order book, trade and
// lifecycle channels by WebSocket. Every WebSocket needs a key; without one the books are polled. Addresses, limits and
// messages: docs.kalshi.com, openapi 3.26 and asyncapi 2.0, copies of 2026.
package kalshi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/wire"
	"arbiter/live/link"
)

// Options are addresses, limits and the key.
type Options struct {
	REST   string // with /trade-api/v2
	Stream string // with /trade-api/ws/v2
	Key    *Key   // nil: books are polled
	Carry  int    // markets a connection
	Dead   time.Duration
	Rate   float64 // REST requests a second
}

// Defaults are the venue's production addresses and the Basic tier: 200 tokens a second, 10 a request.
func Defaults() Options {
	return Options{REST: "https://external-api.kalshi.com/trade-api/v2", Stream: "wss://external-api-ws.kalshi.com/trade-api/ws/v2", Carry: 500, Dead: 30 * time.Second, Rate: 15}
}

// Venue is the public side.
type Venue struct {
	opt  Options
	rest *link.Client
}

// New makes a client; it connects to nothing yet.
func New(opt Options) *Venue {
	c := link.ClientOptions{Base: opt.REST, Rate: opt.Rate, Burst: int(opt.Rate)}
	if opt.Key != nil {
		c.Sign = opt.Key.Sign
	}
	return &Venue{opt: opt, rest: link.NewClient(c)}
}

// Venue names the venue.
func (v *Venue) Venue() data.Venue { return data.Kalshi }

// Streams says that there is a key.
func (v *Venue) Streams() bool { return v.opt.Key != nil }

// CarryMax is how many markets a connection carries.
func (v *Venue) CarryMax() int { return v.opt.Carry }

// BooksMax is how many books one request asks for.
func (v *Venue) BooksMax() int { return 50 }

// Origin is the REST host.
func (v *Venue) Origin() string { return v.rest.Host() }

// Backlog is what the REST client waits for.
func (v *Venue) Backlog() string { return v.rest.Backlog() }

// Status fetches whether the exchange trades.
func (v *Venue) Status(ctx context.Context) ([]byte, error) {
	return v.rest.Get(ctx, "/exchange/status", nil)
}

const pagesMax = 200

// Find searches the chosen markets: series and events with all their markets, markets by ticker.
func (v *Venue) Find(ctx context.Context, c *link.Choice) ([]link.Record, error) {
	var out []link.Record
	for _, s := range c.Series {
		n := len(out)
		if err := v.events(ctx, s, c.VolumeMin, &out); err != nil {
			return nil, err
		}
		if len(out) == n {
			return nil, fmt.Errorf("kalshi: series %s has no open event: %w", s, link.ErrNotFound)
		}
	}
	wanted := map[string]map[string]bool{} // tickers by event; nil: all
	var order []string
	add := func(event string) {
		if _, ok := wanted[event]; !ok {
			order = append(order, event)
			wanted[event] = nil
		}
	}
	for _, e := range c.Events {
		add(e)
	}
	for _, t := range c.Markets {
		body, err := v.rest.Get(ctx, "/markets/"+url.PathEscape(t), nil)
		if err != nil {
			return nil, fmt.Errorf("kalshi: market %s: %w", t, err)
		}
		var r struct {
			Market struct {
				Event string `json:"event_ticker"`
			} `json:"market"`
		}
		if err := json.Unmarshal(body, &r); err != nil || r.Market.Event == "" {
			return nil, fmt.Errorf("kalshi: market %s: event_ticker: required field is missing: %w", t, kalshi.ErrMessage)
		}
		had, ok := wanted[r.Market.Event]
		add(r.Market.Event)
		if ok && had == nil {
			continue // the whole event is wanted
		}
		if had == nil {
			had = map[string]bool{}
			wanted[r.Market.Event] = had
		}
		had[t] = true
	}
	for _, e := range order {
		rec, err := v.event(ctx, e, wanted[e])
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return v.withSeries(ctx, out)
}

// withSeries puts the records of the series before the events: the fee rules stand in them.
func (v *Venue) withSeries(ctx context.Context, events []link.Record) ([]link.Record, error) {
	var out []link.Record
	done := map[string]bool{}
	for i := range events {
		for _, m := range events[i].Markets {
			s := m.Listing.Series
			if s == "" || done[s] {
				continue
			}
			done[s] = true
			body, err := v.rest.Get(ctx, "/series/"+url.PathEscape(s), nil)
			if err != nil {
				return nil, fmt.Errorf("kalshi: series %s: %w", s, err)
			}
			out = append(out, link.Record{Resource: data.RestSeries, Name: s, Body: body})
		}
	}
	return append(out, events...), nil
}

// events walks the open events of a series.
func (v *Venue) events(ctx context.Context, series string, volumeMin data.Qty, out *[]link.Record) error {
	q := url.Values{"series_ticker": {series}, "status": {"open"}, "with_nested_markets": {"true"}, "limit": {"200"}}
	for range pagesMax {
		body, err := v.rest.Get(ctx, "/events", q)
		if err != nil {
			return fmt.Errorf("kalshi: events of series %s: %w", series, err)
		}
		var page struct {
			Events []json.RawMessage `json:"events"`
			Cursor string            `json:"cursor"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("kalshi: events of series %s: %w", series, err)
		}
		for _, e := range page.Events {
			one := append(append([]byte(`{"event":`), e...), '}') // as GET /events/{ticker} has it
			rec, err := record(one, nil, volumeMin)
			if err != nil {
				return err
			}
			*out = append(*out, rec)
		}
		if page.Cursor == "" {
			return nil
		}
		q.Set("cursor", page.Cursor)
	}
	return fmt.Errorf("kalshi: series %s: more than %d pages: choose fewer markets", series, pagesMax)
}

func (v *Venue) event(ctx context.Context, ticker string, only map[string]bool) (link.Record, error) {
	body, err := v.rest.Get(ctx, "/events/"+url.PathEscape(ticker), url.Values{"with_nested_markets": {"true"}})
	if err != nil {
		return link.Record{}, fmt.Errorf("kalshi: event %s: %w", ticker, err)
	}
	return record(body, only, 0)
}

func record(body []byte, only map[string]bool, volumeMin data.Qty) (link.Record, error) {
	recs, err := kalshi.ParseEvent(body)
	if err != nil {
		return link.Record{}, err
	}
	out := link.Record{Resource: data.RestEvent, Body: body}
	volumes := map[string]data.Qty{}
	if volumeMin > 0 {
		if volumes, err = volumesOf(body); err != nil {
			return out, err
		}
	}
	for _, r := range recs {
		t := r.Listing.Key.Native
		if (only != nil && !only[t]) || (volumeMin > 0 && volumes[t] < volumeMin) {
			continue
		}
		out.Markets = append(out.Markets, link.Market{Listing: r.Listing, Status: r.Status, Settled: r.Settled})
	}
	return out, nil
}

func volumesOf(body []byte) (map[string]data.Qty, error) {
	var r struct {
		Event struct {
			Markets []struct {
				Ticker string `json:"ticker"`
				Volume string `json:"volume_fp"`
			} `json:"markets"`
		} `json:"event"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("kalshi: event record: %w", err)
	}
	out := map[string]data.Qty{}
	for _, m := range r.Event.Markets {
		q, err := data.ParseQty([]byte(m.Volume))
		if err != nil {
			return nil, fmt.Errorf("kalshi: market %s: volume_fp: %w", m.Ticker, err)
		}
		out[m.Ticker] = q
	}
	return out, nil
}

// Again fetches the events of listed markets, and their series.
func (v *Venue) Again(ctx context.Context, listings []data.Listing) ([]link.Record, error) {
	var out []link.Record
	done := map[string]bool{}
	for i := range listings {
		if e := listings[i].Event; !done[e] {
			done[e] = true
			rec, err := v.event(ctx, e, nil)
			if err != nil {
				return nil, err
			}
			out = append(out, rec)
		}
	}
	return v.withSeries(ctx, out)
}

// Books fetches order books in one request.
func (v *Venue) Books(ctx context.Context, listings []data.Listing) ([]byte, error) {
	q := url.Values{}
	for i := range listings {
		q.Add("tickers", listings[i].Key.Native)
	}
	return v.rest.Get(ctx, "/markets/orderbooks", q)
}

// Dial opens a WebSocket with a signed handshake.
func (v *Venue) Dial(ctx context.Context, frame func([]byte)) (link.Conn, error) {
	u, err := url.Parse(v.opt.Stream)
	if err != nil {
		return nil, fmt.Errorf("kalshi: stream address: %w", err)
	}
	h := http.Header{}
	v.opt.Key.Sign(h, http.MethodGet, u.Path)
	s, err := link.DialSocket(ctx, link.SocketOptions{URL: v.opt.Stream, Header: h, Dead: v.opt.Dead})
	if err != nil {
		return nil, fmt.Errorf("kalshi: %w", err)
	}
	return &conn{s: s, frame: frame}, nil
}

// conn is one WebSocket. Its subscriptions are made by the first Subscribe; later ones wait for the sids.
type conn struct {
	s     *link.Socket
	frame func([]byte)

	mu      sync.Mutex
	id      int64
	begun   bool
	sids    []int64 // of the channels that take markets, once the venue told them
	books   int64   // the order book channel's
	waiting [][]byte
}

// Run reads until the connection ends. Errors 10 and 25 end a channel for good, so they end the connection.
func (c *conn) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return c.s.Run(ctx, func(b []byte) {
		if bytes.HasPrefix(b, []byte(`{"type":"subscribed"`)) || bytes.HasPrefix(b, []byte(`{"type":"error"`)) {
			if err := c.control(b); err != nil {
				cancel(err)
			}
		}
		c.frame(b)
	})
}

func (c *conn) control(b []byte) error {
	var d kalshi.Decoder
	var m kalshi.Message
	if d.Decode(b, &m) != nil {
		return nil // the stream's decoder tells
	}
	if m.Type == kalshi.Failure {
		if m.Code == 10 || m.Code == 25 {
			return fmt.Errorf("kalshi: the venue ended a channel: error %d", m.Code)
		}
		return nil
	}
	if m.Type != kalshi.Subscribed {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch string(m.Channel) {
	case "orderbook_delta":
		c.books = m.SID
		c.sids = append(c.sids, m.SID)
	case "trade":
		c.sids = append(c.sids, m.SID)
	}
	if len(c.sids) < 2 {
		return nil
	}
	for _, w := range c.waiting {
		for _, sid := range c.sids {
			if err := c.send(bytes.ReplaceAll(w, []byte(`"SID"`), data.AppendDecimal(nil, sid, 0, 0))); err != nil {
				return err
			}
		}
	}
	c.waiting = nil
	return nil
}

// send puts the next command id in and sends.
func (c *conn) send(b []byte) error {
	c.id++
	return c.s.Send(bytes.Replace(b, []byte(`"ID"`), data.AppendDecimal(nil, c.id, 0, 0), 1))
}

func tickers(listings []data.Listing) []byte {
	b := []byte{'['}
	for i := range listings {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, listings[i].Key.Native)
	}
	return append(b, ']')
}

// Subscribe asks for books and trades, and once for the life of all markets.
func (c *conn) Subscribe(listings []data.Listing) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := tickers(listings)
	if c.begun {
		return c.update("add_markets", list)
	}
	c.begun = true
	if err := c.send([]byte(`{"id":"ID","cmd":"subscribe","params":{"channels":["market_lifecycle_v2"]}}`)); err != nil {
		return err
	}
	return c.send(append(append([]byte(`{"id":"ID","cmd":"subscribe","params":{"channels":["orderbook_delta","trade"],"market_tickers":`), list...), `}}`...))
}

// update changes the markets of both subscriptions.
func (c *conn) update(action string, list []byte) error {
	cmd := append(append([]byte(`{"id":"ID","cmd":"update_subscription","params":{"sids":["SID"],"market_tickers":`), list...), `,"action":"`+action+`"}}`...)
	if len(c.sids) < 2 {
		c.waiting = append(c.waiting, cmd)
		return nil
	}
	for _, sid := range c.sids {
		if err := c.send(bytes.ReplaceAll(cmd, []byte(`"SID"`), data.AppendDecimal(nil, sid, 0, 0))); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) Unsubscribe(listings []data.Listing) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.update("delete_markets", tickers(listings))
}

// Snapshot asks the stream for a fresh book: the only repair that is in order with the changes.
func (c *conn) Snapshot(l *data.Listing, sid int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sid == 0 {
		sid = c.books
	}
	if sid == 0 {
		return nil // not subscribed yet: the snapshot comes with it
	}
	return c.send(fmt.Appendf(nil, `{"id":"ID","cmd":"update_subscription","params":{"sids":[%d],"market_tickers":%s,"action":"get_snapshot"}}`, sid, tickers([]data.Listing{*l})))
}
