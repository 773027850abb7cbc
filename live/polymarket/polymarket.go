// Package polymarket is Polymarket's public side over sockets: market records (Gamma), order books and the market
// channel (CLOB). Addresses, limits and messages: docs.polymarket.com, copies of 2026-04 to 2026-08.
package polymarket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"arbiter/data"
	"arbiter/data/polymarket"
	"arbiter/data/wire"
	"arbiter/live/link"
)

// Options are addresses and limits.
type Options struct {
	Gamma  string // market records
	CLOB   string // order books
	Stream string // market channel
	Carry  int    // markets a connection; each has two assets. Over 500 assets the venue silently sends no book
	Ping   time.Duration
	Dead   time.Duration
	Rate   float64 // REST requests a second, each host
}

// Defaults are the venue's production addresses and a third of its published limits (500 POST /books in 10 s, 300 market
// records in 10 s).
func Defaults() Options {
	return Options{Gamma: "https://gamma-api.polymarket.com", CLOB: "https://clob.polymarket.com", Stream: "wss://ws-subscriptions-clob.polymarket.com/ws/market",
		Carry: 100, Ping: 10 * time.Second, Dead: 30 * time.Second, Rate: 10}
}

// Venue is the public side.
type Venue struct {
	opt   Options
	gamma *link.Client
	clob  *link.Client
}

// New makes a client; it connects to nothing yet.
func New(opt Options) *Venue {
	return &Venue{opt: opt, gamma: link.NewClient(link.ClientOptions{Base: opt.Gamma, Rate: opt.Rate, Burst: int(opt.Rate)}),
		clob: link.NewClient(link.ClientOptions{Base: opt.CLOB, Rate: opt.Rate, Burst: int(opt.Rate)})}
}

// Venue names the venue.
func (v *Venue) Venue() data.Venue { return data.Polymarket }

// Streams says that books come by a stream.
func (v *Venue) Streams() bool { return true }

// CarryMax is how many markets a connection carries.
func (v *Venue) CarryMax() int { return v.opt.Carry }

// BooksMax is how many books one request asks for; the venue allows 500.
func (v *Venue) BooksMax() int { return 100 }

// Origin is the host of the stream.
func (v *Venue) Origin() string {
	u, err := url.Parse(v.opt.Stream)
	if err != nil {
		return "?"
	}
	return u.Host
}

// Backlog is what the REST clients wait for.
func (v *Venue) Backlog() string { return v.gamma.Backlog() + v.clob.Backlog() }

// Status tells nothing: the venue has no such resource.
func (v *Venue) Status(context.Context) ([]byte, error) { return nil, nil }

// pagesMax bounds what one search reads.
const pagesMax = 200

// pages walks a keyset resource (limit 100 since 2026-05-14).
func (v *Venue) pages(ctx context.Context, path, name string, q url.Values, each func(element json.RawMessage) error) error {
	q.Set("limit", "100")
	for range pagesMax {
		body, err := v.gamma.Get(ctx, path, q)
		if err != nil {
			return err
		}
		var page map[string]json.RawMessage
		var list []json.RawMessage
		next := ""
		if json.Unmarshal(body, &list) != nil {
			if err := json.Unmarshal(body, &page); err != nil {
				return fmt.Errorf("polymarket: %s: %w", path, err)
			}
			if err := json.Unmarshal(page[name], &list); err != nil {
				return fmt.Errorf("polymarket: %s: %s: required field is missing or of another type: %w", path, name, polymarket.ErrMessage)
			}
			if raw := page["next_cursor"]; raw != nil {
				if err := json.Unmarshal(raw, &next); err != nil {
					return fmt.Errorf("polymarket: %s: next_cursor: %w", path, err)
				}
			}
		}
		for _, e := range list {
			if err := each(e); err != nil {
				return err
			}
		}
		if next == "" || next == "LTE=" {
			return nil
		}
		q.Set("after_cursor", next)
	}
	return fmt.Errorf("polymarket: %s: more than %d pages: choose fewer markets", path, pagesMax)
}

// Find searches the chosen markets: events by slug or tag with all their markets, markets by condition id.
func (v *Venue) Find(ctx context.Context, c *link.Choice) ([]link.Record, error) {
	var out []link.Record
	events := func(key, value string) error {
		found := 0
		err := v.pages(ctx, "/events/keyset", "events", url.Values{key: {value}, "closed": {"false"}}, func(e json.RawMessage) error {
			rec, err := eventRecord(e, c.VolumeMin)
			if err != nil {
				return err
			}
			found++
			out = append(out, rec)
			return nil
		})
		if err == nil && found == 0 {
			err = fmt.Errorf("polymarket: no open event has %s %q: %w", strings.ReplaceAll(key, "_", " "), value, link.ErrNotFound)
		}
		return err
	}
	for _, slug := range c.Events {
		if err := events("slug", slug); err != nil {
			return nil, err
		}
	}
	for _, tag := range c.Tags {
		if err := events("tag_slug", tag); err != nil {
			return nil, err
		}
	}
	for _, id := range c.Markets {
		recs, err := v.byID(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(recs) == 0 {
			return nil, fmt.Errorf("polymarket: market %s: %w", id, link.ErrNotFound)
		}
		out = append(out, recs...)
	}
	return out, nil
}

// byID fetches one market; closed ones are a search of their own (changelog of 2026-04-10).
func (v *Venue) byID(ctx context.Context, id string) ([]link.Record, error) {
	var out []link.Record
	for _, closed := range []string{"false", "true"} {
		err := v.pages(ctx, "/markets/keyset", "markets", url.Values{"condition_ids": {id}, "closed": {closed}}, func(e json.RawMessage) error {
			r, err := polymarket.ParseMarket(e)
			if err != nil {
				return err
			}
			out = append(out, link.Record{Resource: data.RestMarket, Body: e, Markets: []link.Market{{Listing: r.Listing, Status: r.Status, Settled: r.Settled}}})
			return nil
		})
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
	return nil, nil
}

// Again fetches the records of listed markets.
func (v *Venue) Again(ctx context.Context, listings []data.Listing) ([]link.Record, error) {
	var out []link.Record
	done := map[string]bool{}
	for i := range listings {
		l := &listings[i]
		if l.EventSize == 0 || l.Event == "" {
			recs, err := v.byID(ctx, l.Key.Native)
			if err != nil {
				return nil, err
			}
			out = append(out, recs...)
			continue
		}
		if done[l.Event] {
			continue
		}
		done[l.Event] = true
		for _, closed := range []string{"false", "true"} {
			n := len(out)
			err := v.pages(ctx, "/events/keyset", "events", url.Values{"slug": {l.Event}, "closed": {closed}}, func(e json.RawMessage) error {
				rec, err := eventRecord(e, 0)
				out = append(out, rec)
				return err
			})
			if err != nil {
				return nil, err
			}
			if len(out) > n {
				break
			}
		}
	}
	return out, nil
}

func eventRecord(e json.RawMessage, volumeMin data.Qty) (link.Record, error) {
	recs, err := polymarket.ParseEvent(e)
	if err != nil {
		return link.Record{}, err
	}
	out := link.Record{Resource: data.RestEvent, Body: e}
	var volumes struct {
		Markets []struct {
			Volume json.Number `json:"volumeNum"`
		} `json:"markets"`
	}
	if volumeMin > 0 {
		if err := json.Unmarshal(e, &volumes); err != nil {
			return out, fmt.Errorf("polymarket: event record: volumeNum: %w", err)
		}
	}
	for i, r := range recs {
		if volumeMin > 0 && whole(volumes.Markets[i].Volume) < volumeMin {
			continue
		}
		out.Markets = append(out.Markets, link.Market{Listing: r.Listing, Status: r.Status, Settled: r.Settled})
	}
	return out, nil
}

// whole is a volume without its decimals: it only chooses markets.
func whole(n json.Number) data.Qty {
	text, _, _ := strings.Cut(n.String(), ".")
	q, err := data.ParseQty([]byte(text))
	if err != nil {
		return 0
	}
	return q
}

// Books fetches the YES tokens' books in one request.
func (v *Venue) Books(ctx context.Context, listings []data.Listing) ([]byte, error) {
	body := []byte{'['}
	for i := range listings {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(wire.AppendString(append(body, `{"token_id":`...), listings[i].Tokens[0]), '}')
	}
	return v.clob.Post(ctx, "/books", append(body, ']'))
}

// Dial opens a market channel.
func (v *Venue) Dial(ctx context.Context, frame func([]byte)) (link.Conn, error) {
	s, err := link.DialSocket(ctx, link.SocketOptions{URL: v.opt.Stream, Ping: "PING", PingEvery: v.opt.Ping, Dead: v.opt.Dead})
	if err != nil {
		return nil, fmt.Errorf("polymarket: %w", err)
	}
	return &conn{s: s, frame: frame}, nil
}

type conn struct {
	s     *link.Socket
	frame func([]byte)
	begun bool
}

func (c *conn) Run(ctx context.Context) error { return c.s.Run(ctx, c.frame) }

// Subscribe sends the channel's first frame, or adds to it.
func (c *conn) Subscribe(listings []data.Listing) error {
	b := assets([]byte(`{"assets_ids":[`), listings)
	if !c.begun {
		c.begun = true
		return c.s.Send(append(b, `],"type":"market","custom_feature_enabled":true}`...))
	}
	return c.s.Send(append(b, `],"operation":"subscribe","custom_feature_enabled":true}`...))
}

func (c *conn) Unsubscribe(listings []data.Listing) error {
	return c.s.Send(append(assets([]byte(`{"assets_ids":[`), listings), `],"operation":"unsubscribe"}`...))
}

// Snapshot is not to be had: the channel sends a book on subscription only.
func (c *conn) Snapshot(*data.Listing, int64) error {
	return errors.New("polymarket: the market channel sends no snapshot on demand")
}

func assets(b []byte, listings []data.Listing) []byte {
	for i := range listings {
		for j, t := range listings[i].Tokens {
			if i+j > 0 {
				b = append(b, ',')
			}
			b = wire.AppendString(b, t)
		}
	}
	return b
}
