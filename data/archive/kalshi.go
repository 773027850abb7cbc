package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/tape"
	"arbiter/data/wire"
)

// window is one captured market: its day files, in order, are one stream.
type window struct {
	ticker string
	files  []string
	record kalshi.Record
}

// KalshiNDJSON reads raw WebSocket captures, one gzipped NDJSON a market and day: {"recv_ms":..,"event":{type,sid,
// seq,msg}}. Each market becomes a source of its own. They are single markets of a shared subscription, so a skipped
// sequence number proves nothing: the tape is marked "gaps unverifiable". The market's REST record, metadata/EVENT.json
// beside events/, gives listing, rules and settlement; fees are not in it.
func KalshiNDJSON(ctx context.Context, o Options) (*tape.Manifest, []*Health, error) {
	windows, series, err := findWindows(o)
	if err != nil {
		return nil, nil, err
	}
	opt := o.Tape
	opt.Origin = fmt.Sprintf("kalshi-ndjson: raw WebSocket captures of %d markets", len(windows))
	opt.Notes = append(opt.Notes, "gaps unverifiable: single markets of a shared Kalshi subscription; a skipped sequence number proves nothing",
		"results come from the market's REST record and are placed at its settlement time")
	w, err := tape.Create(o.Out, opt)
	if err != nil {
		return nil, nil, err
	}
	defer w.Abort()
	var health []*Health
	for i := range windows {
		h, err := importWindow(ctx, w, &o, &windows[i], series)
		health = append(health, h...)
		if err != nil {
			return nil, health, fmt.Errorf("market %s: %w", windows[i].ticker, err)
		}
	}
	m, err := w.Close()
	return m, health, err
}

// findWindows collects the day files of every market below the inputs, and its record.
func findWindows(o Options) ([]window, map[string]kalshi.Series, error) {
	days := map[string][]string{}
	records := map[string]string{}
	series := map[string]kalshi.Series{}
	for _, in := range o.Inputs {
		err := filepath.WalkDir(in, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name := d.Name()
			switch {
			case strings.HasPrefix(name, "._"): // what macOS leaves in archives
			case strings.HasSuffix(name, ".ndjson.gz"), strings.HasSuffix(name, ".ndjson"):
				t := filepath.Base(filepath.Dir(path))
				days[t] = append(days[t], path)
			case name == "series.json":
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				s, err := kalshi.ParseSeries(b)
				series[s.Ticker] = s
				return err
			case strings.HasSuffix(name, ".json"):
				records[strings.TrimSuffix(name, ".json")] = path
			}
			return nil
		})
		if err != nil {
			return nil, nil, fmt.Errorf("import: %w", err)
		}
	}
	var out []window
	for t, files := range days {
		if !wanted(&o, t) {
			continue
		}
		slices.Sort(files)
		rec, err := recordOf(t, records)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, window{t, files, rec})
	}
	if len(out) == 0 {
		return nil, nil, fmt.Errorf("import: no .ndjson.gz files of wanted markets below %s: want events/MARKET/DAY.ndjson.gz", strings.Join(o.Inputs, ", "))
	}
	slices.SortFunc(out, func(a, b window) int { return strings.Compare(a.ticker, b.ticker) })
	return out, series, nil
}

// recordOf reads the event record that names a ticker: the ticker without its last part.
func recordOf(ticker string, records map[string]string) (kalshi.Record, error) {
	event := ticker
	for {
		if path, ok := records[event]; ok {
			b, err := os.ReadFile(path)
			if err != nil {
				return kalshi.Record{}, err
			}
			var wrapped struct {
				Response json.RawMessage `json:"response"`
			}
			if json.Unmarshal(b, &wrapped) == nil && wrapped.Response != nil {
				b = wrapped.Response
			}
			recs, err := kalshi.ParseEvent(b)
			if err != nil {
				return kalshi.Record{}, fmt.Errorf("%s: %w", path, err)
			}
			for _, r := range recs {
				if r.Listing.Key.Native == ticker {
					return r, nil
				}
			}
			return kalshi.Record{}, fmt.Errorf("%s: has no market %s", path, ticker)
		}
		cut := strings.LastIndexByte(event, '-')
		if cut < 0 {
			return kalshi.Record{}, fmt.Errorf("market %s: no REST record found: put the body of GET /events/{ticker} at metadata/EVENT.json beside events/", ticker)
		}
		event = event[:cut]
	}
}

func importWindow(ctx context.Context, w *tape.Writer, o *Options, win *window, series map[string]kalshi.Series) ([]*Health, error) {
	s, err := w.Source(tape.SourceOptions{Venue: data.Kalshi, Recorder: "kalshi-ndjson", Connection: win.ticker, Unverified: true,
		RecvUnit: data.Millisecond, ExchUnit: data.Microsecond})
	if err != nil {
		return nil, err
	}
	var fees *data.FeeSchedule
	if sr, ok := series[win.record.Listing.Series]; ok {
		f, err := kalshi.Schedule(sr.FeeType, sr.Multiplier, kalshi.Direct, 0)
		if err != nil {
			return nil, err
		}
		fees = &f
	}
	in := &ndjson{s: s, win: win, fees: fees, feed: kalshi.NewFeed(kalshi.Increasing)}
	var out []*Health
	for _, path := range win.files {
		if o.Progress != nil {
			o.Progress(path)
		}
		before := in.feed.Counts()
		in.h = &Health{File: path, Market: win.ticker}
		err := in.file(ctx, path)
		c := in.feed.Counts()
		in.h.Snapshots, in.h.Changes, in.h.Trades, in.h.Others = c.Snapshots-before.Snapshots, c.Deltas-before.Deltas, c.Trades-before.Trades, c.Others-before.Others
		in.h.Malformed, in.h.Skips, in.h.Gaps = c.Malformed-before.Malformed, c.Skips-before.Skips, c.Gaps-before.Gaps
		in.h.Before, in.h.Negative, in.h.Unknown = c.BeforeStart-before.BeforeStart, c.Negative-before.Negative, c.UnknownMarket-before.UnknownMarket
		in.h.finish()
		out = append(out, in.h)
		if err != nil {
			return out, fmt.Errorf("%s: %w", path, err)
		}
	}
	if in.listed && win.record.Settled {
		return out, settle(s, in.id, data.Kalshi, in.last, win.record.Listing.Closes, win.record.SettledAt, win.record.Payout)
	}
	return out, nil
}

// ndjson folds the lines of one market.
type ndjson struct {
	s      *tape.SourceWriter
	win    *window
	fees   *data.FeeSchedule
	feed   *kalshi.Feed
	h      *Health
	id     data.InstrumentID
	listed bool
	last   data.Time
	scan   wire.Scanner
	out    []data.Event
}

// lineMax bounds a line: the largest real snapshot is 3 kB.
const lineMax = 4 << 20

func (n *ndjson) file(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bufio.NewReader(f))
		if err != nil {
			return err
		}
		r = z
	}
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), lineMax)
	for line := 1; sc.Scan(); line++ {
		n.h.Lines++
		if line%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		if err := n.line(sc.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("after line %d: %w (a truncated file is refused: what is missing cannot be known)", n.h.Lines, err)
	}
	return nil
}

// line reads {"recv_ms":N,"event":{...}}; the event goes to the feed as the venue's own frame.
func (n *ndjson) line(b []byte) error {
	recv, event, err := n.envelope(b)
	if err != nil {
		return err
	}
	if recv < n.last {
		n.h.Regress++
		recv = n.last // the capture wrote them in this order
	}
	n.last = recv
	n.h.span(recv)
	if !n.listed {
		n.listed = true
		if n.id, err = listAndOpen(n.s, n.win.record.Listing, n.fees, recv, data.Open); err != nil {
			return err
		}
		n.feed.Add(n.win.ticker, n.id)
	}
	n.out, err = n.feed.Frame(event, recv, n.out[:0])
	if err != nil {
		return err // a message that cannot be decoded ends the import: field and reason are in it
	}
	for i := range n.out {
		if e := &n.out[i]; e.Last && (e.Kind == data.Delta || e.Kind == data.Trade) {
			n.h.delay(recv, e.Exch)
		}
	}
	if err := messages(n.s, n.out); err != nil {
		return err
	}
	if k := n.feed.Book(n.win.ticker); k != nil && k.Crossed() {
		n.h.Crossed++
	}
	return nil
}

// envelope takes the event's bytes verbatim.
func (n *ndjson) envelope(b []byte) (data.Time, []byte, error) {
	s := &n.scan
	s.Reset(b)
	var recv int64 = -1
	var event []byte
	s.Open('{')
	for s.More('}') {
		switch string(s.Key()) {
		case "recv_ms":
			recv = s.Int()
		case "event":
			s.Peek()
			from := s.Pos()
			s.Skip()
			if to := s.Pos(); to > from {
				event = b[from:to]
			}
		default:
			s.Skip()
		}
	}
	s.End()
	if err := s.Err(); err != nil {
		return 0, nil, err
	}
	if recv <= 0 || recv > 1e13 || event == nil {
		return 0, nil, errors.New("recv_ms or event is missing or of another type")
	}
	return data.Time(recv) * data.Time(data.Millisecond), event, nil
}
