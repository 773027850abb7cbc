// Package link is one venue connection as the recorder and the session see it: a WebSocket with its keep-alive and
// limits, a REST client under a budget that keeps a reserve, and the words in which venues and their users speak.
// (2026-11-21: a room of its own, because both venues' drivers need it and neither may import the other.)
//
// It refuses to know what a frame means. Nothing of a header, a key or a signed request reaches an error or a log.
package link

import (
	"context"

	"arbiter/data"
)

// Choice says which markets are wanted.
type Choice struct {
	Markets   []string // native ids: condition ids, tickers
	Events    []string // slugs (Polymarket), event tickers (Kalshi)
	Series    []string // series tickers (Kalshi)
	Tags      []string // tag slugs (Polymarket)
	VolumeMin data.Qty // of what Events, Series and Tags find
	Limit     int      // of markets that they find; more is an error, because a half choice would be silent
}

// Empty says that nothing is chosen.
func (c *Choice) Empty() bool {
	return len(c.Markets)+len(c.Events)+len(c.Series)+len(c.Tags) == 0
}

// Record is a REST record of one or more markets, verbatim, with what was read from it.
type Record struct {
	Resource string // data.RestEvent, data.RestMarket or data.RestSeries
	Name     string // of the series, where it is one
	Body     []byte
	Markets  []Market // those that were asked for; none in a series' record
}

// Market is what following a market needs to know.
type Market struct {
	Listing data.Listing
	Status  data.MarketStatus
	Settled bool
}

// Venue is a venue's public side.
type Venue interface {
	Venue() data.Venue
	Find(ctx context.Context, c *Choice) ([]Record, error)
	Again(ctx context.Context, listings []data.Listing) ([]Record, error) // records of listed markets, as they are now
	Books(ctx context.Context, listings []data.Listing) (body []byte, err error)
	Status(ctx context.Context) (body []byte, err error) // nil: the venue tells none
	Dial(ctx context.Context, frame func([]byte)) (Conn, error)
	Streams() bool   // false: books are polled
	CarryMax() int   // markets that a connection may carry
	BooksMax() int   // markets of one Books call
	Origin() string  // for a tape's provenance: the host, nothing else
	Backlog() string // what its REST client waits for, for the status line; "": nothing
}

// Conn is one open stream.
type Conn interface {
	Run(ctx context.Context) error // reads until the connection or ctx ends
	Subscribe(listings []data.Listing) error
	Unsubscribe(listings []data.Listing) error
	Snapshot(l *data.Listing, sid int64) error
}
