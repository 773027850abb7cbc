// Package archive reads public archives and captures into tapes, each by the venue's own Feed, and reports the health
// of every file: what was there, what was refused, what the stamps can and cannot support.
//
// It loses nothing silently: a line that cannot be used is counted and named, or ends the import. It refuses to guess
// what a file does not say.
package archive

import (
	"context"
	"fmt"
	"slices"

	"arbiter/data"
	"arbiter/data/tape"
)

// Options of an import.
type Options struct {
	Inputs   []string          // files or folders
	Out      string            // the tape's folder
	Tape     tape.Options      // commit and limits
	Markets  []string          // only these markets (tickers or condition ids); empty: all
	Listings []data.Listing    // for archives that carry none
	Progress func(name string) // called before each file; may be nil
}

// Health is one file's report.
type Health struct {
	File      string           `json:"file"`
	Market    string           `json:"market,omitempty"`
	Lines     int              `json:"lines"`
	Snapshots int              `json:"snapshots"`
	Changes   int              `json:"changes"`
	Trades    int              `json:"trades"`
	Others    int              `json:"others"`
	Malformed int              `json:"malformed"`
	Skips     int              `json:"sequence_skips"`
	Gaps      int              `json:"gaps"`
	Before    int              `json:"before_first_snapshot"`
	Negative  int              `json:"negative_levels"`
	Crossed   int              `json:"crossed"`
	Unknown   int              `json:"unknown_market"`
	Hashes    [2]int           `json:"hashes_matched_of"`
	Tops      [2]int           `json:"best_prices_matched_of"`
	Mirrors   [2]int           `json:"mirrors_matched_of"`
	Regress   int              `json:"stamps_out_of_order"`
	Batched   int              `json:"batched_receipts"` // rows whose receipt stamp equals the row's before
	Misplaced int              `json:"outside_file_hour"`
	First     data.Time        `json:"first"`
	Last      data.Time        `json:"last"`
	Delay     map[string]int64 `json:"receive_minus_exchange_ms"` // p0, p50, p95, p99, p100
	Notes     []string         `json:"notes,omitempty"`
	delays    []int64
}

// delay notes a message's receive time less its stamp.
func (h *Health) delay(recv, exch data.Time) {
	if exch != 0 {
		h.delays = append(h.delays, int64(recv.Sub(exch)/data.Millisecond))
	}
}

func (h *Health) span(recv data.Time) {
	if h.First == 0 {
		h.First = recv
	}
	h.Last = max(h.Last, recv)
}

func (h *Health) finish() {
	if len(h.delays) == 0 {
		return
	}
	slices.Sort(h.delays)
	at := func(p int) int64 { return h.delays[min(len(h.delays)-1, len(h.delays)*p/100)] }
	h.Delay = map[string]int64{"p0": at(0), "p50": at(50), "p95": at(95), "p99": at(99), "p100": at(100)}
	h.delays = nil
}

// Format is a way in: its name on the command line and what it reads.
type Format struct {
	Name   string
	About  string
	Import func(ctx context.Context, o Options) (*tape.Manifest, []*Health, error)
}

// Formats are all ways in.
func Formats() []Format {
	return []Format{
		{"kalshi-ndjson", "raw Kalshi messages: a folder with events/WINDOW/DAY.ndjson.gz of {\"recv_ms\",\"event\"} and metadata/EVENT.json", KalshiNDJSON},
		{"polymarket-frames", "raw Polymarket frames: folders with raw_messages.jsonl and markets.jsonl", PolymarketFrames},
		{"pmxt-polymarket", "PMXT hourly archive, polymarket_orderbook_*.parquet (v2), with --markets-file", PMXTPolymarket},
		{"pmxt-kalshi", "PMXT hourly archive, kalshi_orderbook_*.parquet, with --markets-file", PMXTKalshi},
	}
}

// listAndOpen writes what a source says of a market before its first message.
func listAndOpen(s *tape.SourceWriter, l data.Listing, fees *data.FeeSchedule, at data.Time, status data.MarketStatus) (data.InstrumentID, error) {
	id, err := s.Listing(l)
	if err != nil {
		return 0, err
	}
	ev := data.Event{Inst: id, Recv: at, Last: true}
	ev.Kind, ev.Arg = data.Listed, uint32(id)
	if err := s.Write(ev); err != nil {
		return 0, err
	}
	if fees != nil {
		n, err := s.Fees(*fees)
		if err != nil {
			return 0, err
		}
		ev.Kind, ev.Arg = data.Fees, n
		if err := s.Write(ev); err != nil {
			return 0, err
		}
	}
	ev.Kind, ev.Arg = data.Status, data.VenueArg(l.Key.Venue, uint8(status))
	return id, s.Write(ev)
}

// settle writes a market's closing and result after its last message.
func settle(s *tape.SourceWriter, id data.InstrumentID, v data.Venue, last, closes, settled data.Time, payout data.Money) error {
	at := max(last, ceil(settled, data.Millisecond))
	ev := data.Event{Kind: data.Status, Inst: id, Recv: at, Exch: closes, Arg: data.VenueArg(v, uint8(data.Determined)), Last: true}
	if err := s.Write(ev); err != nil {
		return err
	}
	ev.Kind, ev.Arg, ev.Cash = data.Settle, 0, payout
	return s.Write(ev)
}

func ceil(t data.Time, unit data.Duration) data.Time {
	u := data.Time(unit)
	return (t + u - 1) / u * u
}

// messages splits a frame's events at Last and writes each as one message.
func messages(s *tape.SourceWriter, events []data.Event) error {
	from := 0
	for i := range events {
		if events[i].Last {
			if err := s.Write(events[from : i+1]...); err != nil {
				return err
			}
			from = i + 1
		}
	}
	if from != len(events) {
		return fmt.Errorf("a frame's events do not end a message")
	}
	return nil
}

func wanted(o *Options, names ...string) bool {
	if len(o.Markets) == 0 {
		return true
	}
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(o.Markets, n) })
}
