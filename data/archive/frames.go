package archive

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arbiter/data"
	"arbiter/data/polymarket"
	"arbiter/data/tape"
)

// frameMarket is one line of markets.jsonl, as the capture's own recorder wrote it.
type frameMarket struct {
	Slug        *string `json:"slug"`
	Title       string  `json:"title"`
	ConditionID *string `json:"condition_id"`
	Outcomes    []struct {
		Token string `json:"token_id"`
		Name  string `json:"outcome"`
	} `json:"outcomes"`
	Start   int64        `json:"start_ts"`
	End     int64        `json:"end_ts"`
	Source  string       `json:"resolution_source"`
	Tick    *json.Number `json:"tick_size"`
	MinSize *json.Number `json:"min_order_size"`
	Fees    struct {
		Raw *struct {
			Exponent *json.Number `json:"exponent"`
			Rate     *json.Number `json:"rate"`
			Rebate   *json.Number `json:"rebateRate"`
		} `json:"raw_fee_config"`
	} `json:"fee_parameters"`
}

// PolymarketFrames reads captures of market-channel frames and REST books: raw_messages.jsonl of {"recv_wall_ts",
// "recv_mono_ns","payload"} with markets.jsonl beside it. recv_mono_ns is the wall clock in nanoseconds, whatever its
// name says. Every book hash that a message carries is checked and counted.
func PolymarketFrames(ctx context.Context, o Options) (*tape.Manifest, []*Health, error) {
	var dirs []string
	for _, in := range o.Inputs {
		err := filepath.WalkDir(in, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "raw_messages.jsonl" {
				dirs = append(dirs, filepath.Dir(path))
			}
			return err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("import: %w", err)
		}
	}
	if len(dirs) == 0 {
		return nil, nil, fmt.Errorf("import: no raw_messages.jsonl below %s", strings.Join(o.Inputs, ", "))
	}
	slices.Sort(dirs)
	opt := o.Tape
	opt.Origin = fmt.Sprintf("polymarket-frames: raw market-channel frames of %d recordings", len(dirs))
	opt.Notes = append(opt.Notes, "gaps unverifiable: Polymarket's market channel has no sequence numbers; hashes and best prices are evidence only",
		"rule texts are not in these captures: their pairs cannot be approved")
	w, err := tape.Create(o.Out, opt)
	if err != nil {
		return nil, nil, err
	}
	defer w.Abort()
	var health []*Health
	for _, dir := range dirs {
		h, err := importFrames(ctx, w, &o, dir)
		if h != nil {
			health = append(health, h)
		}
		if err != nil {
			return nil, health, err
		}
	}
	m, err := w.Close()
	return m, health, err
}

func importFrames(ctx context.Context, w *tape.Writer, o *Options, dir string) (*Health, error) {
	path := filepath.Join(dir, "raw_messages.jsonl")
	if o.Progress != nil {
		o.Progress(path)
	}
	markets, err := readFrameMarkets(filepath.Join(dir, "markets.jsonl"))
	if err != nil {
		return nil, err
	}
	s, err := w.Source(tape.SourceOptions{Venue: data.Polymarket, Recorder: "polymarket-frames", Connection: filepath.Base(dir), Unverified: true,
		RecvUnit: 1, ExchUnit: data.Millisecond})
	if err != nil {
		return nil, err
	}
	f := &frames{s: s, markets: markets, o: o, feed: polymarket.NewFeed(polymarket.Options{Hashes: true}), h: &Health{File: path}}
	err = f.file(ctx, path)
	c := f.feed.Counts()
	h := f.h
	h.Snapshots, h.Changes, h.Trades, h.Others = c.Books+c.RestBooks, c.Changes, c.Trades, c.Others+c.Tops+c.Pongs
	h.Malformed, h.Gaps, h.Before, h.Unknown, h.Crossed = c.Malformed, c.Gaps, c.BeforeStart, c.UnknownAsset, c.Crossed
	h.Hashes, h.Tops, h.Mirrors = [2]int{c.HashMatched, c.HashChecked}, [2]int{c.TopMatched, c.TopChecked}, [2]int{c.MirrorMatched, c.MirrorChecked}
	h.finish()
	return h, err
}

func readFrameMarkets(path string) ([]frameMarket, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("import: %w: markets.jsonl must lie beside raw_messages.jsonl", err)
	}
	defer f.Close()
	var out []frameMarket
	dec := json.NewDecoder(bufio.NewReader(f))
	for n := 1; dec.More(); n++ {
		var m frameMarket
		if err := dec.Decode(&m); err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", path, n, err)
		}
		if m.ConditionID == nil || m.Tick == nil || m.MinSize == nil || len(m.Outcomes) != 2 {
			return nil, fmt.Errorf("%s: record %d: condition_id, tick_size, min_order_size or two outcomes are missing", path, n)
		}
		out = append(out, m)
	}
	return out, nil
}

func (m *frameMarket) listing() (data.Listing, *data.FeeSchedule, error) {
	l := data.Listing{Key: data.MarketKey{Venue: data.Polymarket, Native: *m.ConditionID}, Title: m.Title, Source: m.Source,
		Tokens: [2]string{m.Outcomes[0].Token, m.Outcomes[1].Token}, Outcomes: [2]string{m.Outcomes[0].Name, m.Outcomes[1].Name},
		Opens: ms(m.Start), Closes: ms(m.End)}
	if m.Slug != nil {
		l.Event = *m.Slug
	}
	polymarket.Sizes(&l)
	tick, err := data.ParsePrice([]byte(*m.Tick))
	if err != nil {
		return l, nil, fmt.Errorf("tick_size: %w", err)
	}
	l.Bands = data.UniformBands(tick)
	if l.QtyMin, err = data.ParseQty([]byte(*m.MinSize)); err != nil {
		return l, nil, fmt.Errorf("min_order_size: %w", err)
	}
	raw := m.Fees.Raw
	if raw == nil || raw.Rate == nil || raw.Exponent == nil {
		return l, nil, nil
	}
	rate, err := data.ParseDecimal([]byte(*raw.Rate), 6)
	if err != nil {
		return l, nil, fmt.Errorf("raw_fee_config.rate: %w", err)
	}
	exp, err := data.ParseDecimal([]byte(*raw.Exponent), 0)
	if err != nil {
		return l, nil, fmt.Errorf("raw_fee_config.exponent: %w", err)
	}
	s, err := polymarket.Schedule(data.Rate(rate), exp, 0, 0)
	return l, &s, err
}

func ms(v int64) data.Time { return data.Time(v) * data.Time(data.Millisecond) }

// frames folds one recording.
type frames struct {
	s       *tape.SourceWriter
	o       *Options
	markets []frameMarket
	feed    *polymarket.Feed
	h       *Health
	listed  bool
	last    data.Time
	out     []data.Event
}

func (f *frames) file(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer file.Close()
	sc := bufio.NewScanner(file)
	sc.Buffer(make([]byte, 64<<10), lineMax)
	for line := 1; sc.Scan(); line++ {
		f.h.Lines++
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := f.line(sc.Bytes()); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, line, err)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: after line %d: %w", path, f.h.Lines, err)
	}
	return nil
}

func (f *frames) line(b []byte) error {
	var row struct {
		WallMS  *int64  `json:"recv_wall_ts"`
		WallNS  *int64  `json:"recv_mono_ns"`
		Payload *string `json:"payload"`
	}
	if err := json.Unmarshal(b, &row); err != nil {
		return err
	}
	if row.WallMS == nil || row.Payload == nil {
		return errors.New("recv_wall_ts or payload is missing")
	}
	if *row.WallMS <= 0 || *row.WallMS > 1e13 {
		return fmt.Errorf("recv_wall_ts %d is not milliseconds since 1970", *row.WallMS)
	}
	recv := ms(*row.WallMS)
	if row.WallNS != nil && *row.WallNS/1_000_000 == *row.WallMS {
		recv = data.Time(*row.WallNS)
	}
	if recv < f.last {
		f.h.Regress++
		recv = f.last
	}
	f.last = recv
	f.h.span(recv)
	if !f.listed {
		if err := f.list(recv); err != nil {
			return err
		}
	}
	var err error
	f.out, err = f.feed.Frame([]byte(strings.TrimSpace(*row.Payload)), recv, f.out[:0])
	if err != nil {
		return err
	}
	for i := range f.out {
		if e := &f.out[i]; e.Last && e.Kind == data.Level && len(f.out) <= 4 {
			f.h.delay(recv, e.Exch)
		}
	}
	return messages(f.s, f.out)
}

func (f *frames) list(recv data.Time) error {
	f.listed = true
	for i := range f.markets {
		l, fees, err := f.markets[i].listing()
		if err != nil {
			return fmt.Errorf("market %s: %w", *f.markets[i].ConditionID, err)
		}
		if !wanted(f.o, l.Key.Native, l.Event) {
			continue
		}
		id, err := listAndOpen(f.s, l, fees, recv, data.Open)
		if err != nil {
			return err
		}
		f.feed.Add(polymarket.Market{Inst: id, Key: l.Key.Native, Tokens: l.Tokens, MinSize: l.QtyMin, Tick: l.Bands[0].Step})
	}
	return nil
}
