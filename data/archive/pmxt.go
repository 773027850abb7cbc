package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
	"arbiter/data/tape"
)

// The PMXT hourly archives (archive.pmxt.dev, CC BY 4.0; schemas of 2026-04 and 2026-05) are the only public full
// depth of both venues at once, from 2026-05-14 to 2026-06-11. Rows become the venue's own messages again and go
// through its Feed.

// rowsMax bounds the rows of one hour that are held for sorting; more need a selection of markets.
const rowsMax = 25_000_000

const hourLayout = len("2026-05-14T14")

// hourFiles finds an archive's files in order of the hour in their names.
func hourFiles(inputs []string, prefix string) ([]string, error) {
	var out []string
	for _, in := range inputs {
		err := filepath.WalkDir(in, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasPrefix(d.Name(), prefix) && strings.HasSuffix(d.Name(), ".parquet") {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("import: no %s*.parquet below %s", prefix, strings.Join(inputs, ", "))
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return out, nil
}

// hourOf reads the hour in a file's name.
func hourOf(path, prefix string) (data.Time, error) {
	t := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), prefix), ".parquet")
	if len(t) != hourLayout {
		return 0, fmt.Errorf("%s: its name holds no hour such as 2026-05-14T14", path)
	}
	return data.ParseTime([]byte(t + ":00:00Z"))
}

// pmxt is what both archives' imports share.
type pmxt struct {
	o      *Options
	s      *tape.SourceWriter
	prefix string
	venue  data.Venue
	lists  map[string]*data.Listing // by native id
	fees   map[string]*data.FeeSchedule
	ids    map[string]data.InstrumentID
	order  []data.InstrumentID
	last   data.Time
	before data.Time // the hour of the file before
	out    []data.Event
	frame  []byte
	write  func(frame []byte, recv data.Time, out []data.Event) ([]data.Event, error)
	reset  func() // drops the feed's books after a missing hour
}

func newPMXT(o *Options, v data.Venue, prefix string) (*pmxt, *tape.Writer, error) {
	p := &pmxt{o: o, prefix: prefix, venue: v, lists: map[string]*data.Listing{}, fees: map[string]*data.FeeSchedule{}, ids: map[string]data.InstrumentID{}}
	for i := range o.Listings {
		if l := &o.Listings[i]; l.Key.Venue == v {
			p.lists[l.Key.Native] = l
		}
	}
	if len(p.lists) == 0 {
		return nil, nil, fmt.Errorf("import: the archive holds no listings: give the venue's market records with --markets-file")
	}
	opt := o.Tape
	opt.Origin = "pmxt-" + v.String() + ": hourly archive (archive.pmxt.dev, CC BY 4.0)"
	opt.Notes = append(opt.Notes, "gaps unverifiable: the archive carries no sequence numbers")
	if v == data.Kalshi {
		opt.Notes = append(opt.Notes, "receive stamps are of write batches: events are ordered by the venue's stamps, and no claim about latency can rest on this tape")
	}
	w, err := tape.Create(o.Out, opt)
	if err != nil {
		return nil, nil, err
	}
	p.s, err = w.Source(tape.SourceOptions{Venue: v, Recorder: "pmxt", Connection: "archive", Unverified: true, RecvCoarse: v == data.Kalshi,
		RecvUnit: data.Microsecond, ExchUnit: data.Microsecond})
	if err != nil {
		w.Abort()
	}
	return p, w, err
}

// market lists a market at its first row; false: not wanted, or no record of it.
func (p *pmxt) market(native string, recv data.Time, h *Health) (data.InstrumentID, bool, error) {
	if id, ok := p.ids[native]; ok {
		return id, true, nil
	}
	l := p.lists[native]
	if l == nil {
		h.Unknown++
		return 0, false, nil
	}
	id, err := listAndOpen(p.s, *l, p.fees[native], recv, data.Open)
	if err != nil {
		return 0, false, err
	}
	p.ids[native] = id
	p.order = append(p.order, id)
	return id, true, nil
}

// hour tells of a missing hour between two files: a gap in every book.
func (p *pmxt) hour(path string, h *Health) (data.Time, error) {
	at, err := hourOf(path, p.prefix)
	if err != nil {
		return 0, err
	}
	if p.before != 0 && at.Sub(p.before) > data.Hour {
		h.Notes = append(h.Notes, fmt.Sprintf("%s of files are missing before this one", at.Sub(p.before)-data.Hour))
		p.reset()
		for _, id := range p.order {
			ev := data.Event{Kind: data.Gap, Inst: id, Recv: max(p.last, at), Arg: data.VenueArg(p.venue, uint8(data.GapDisconnect)),
				Qty: data.Qty(at.Sub(p.before) - data.Hour), Last: true}
			if err := p.s.Write(ev); err != nil {
				return 0, err
			}
			p.last = ev.Recv
		}
	}
	p.before = at
	return at, nil
}

// feed puts a rebuilt message through the venue's Feed.
func (p *pmxt) feed(recv data.Time, h *Health) error {
	if recv < p.last {
		h.Regress++
		recv = p.last
	}
	p.last = recv
	h.span(recv)
	var err error
	if p.out, err = p.write(p.frame, recv, p.out[:0]); err != nil {
		return err
	}
	return messages(p.s, p.out)
}

func (p *pmxt) run(ctx context.Context, files []string, w *tape.Writer, one func(ctx context.Context, path string, h *Health) error) (*tape.Manifest, []*Health, error) {
	defer w.Abort()
	var health []*Health
	for _, path := range files {
		if p.o.Progress != nil {
			p.o.Progress(path)
		}
		h := &Health{File: path}
		health = append(health, h)
		err := one(ctx, path, h)
		h.finish()
		if err != nil {
			return nil, health, err
		}
	}
	m, err := w.Close()
	return m, health, err
}

// pmRow is one row of the Polymarket archive.
type pmRow struct {
	recv, exch  data.Time
	market      string
	asset       string
	kind        string
	bids, asks  string
	price, size int64
	side        string
	bid, ask    int64
	hasTop      bool
	tx          string
	tickOld     int64
	tickNew     int64
	row         int64
}

// PMXTPolymarket reads polymarket_orderbook_YYYY-MM-DDTHH.parquet (v2). Its rows are sorted by market, not by time:
// an hour is held and sorted by (receipt, venue stamp, market, asset, row).
func PMXTPolymarket(ctx context.Context, o Options) (*tape.Manifest, []*Health, error) {
	const prefix = "polymarket_orderbook_"
	files, err := hourFiles(o.Inputs, prefix)
	if err != nil {
		return nil, nil, err
	}
	p, w, err := newPMXT(&o, data.Polymarket, prefix)
	if err != nil {
		return nil, nil, err
	}
	feed := polymarket.NewFeed(polymarket.Options{})
	added := map[string]bool{}
	p.write = func(frame []byte, recv data.Time, out []data.Event) ([]data.Event, error) {
		return feed.Frame(frame, recv, out)
	}
	p.reset = func() { feed, added = polymarket.NewFeed(polymarket.Options{}), map[string]bool{} }
	return p.run(ctx, files, w, func(ctx context.Context, path string, h *Health) error {
		hour, err := p.hour(path, h)
		if err != nil {
			return err
		}
		rows, err := p.readPolymarket(ctx, path, h)
		if err != nil {
			return err
		}
		before := feed.Counts()
		for i := range rows {
			r := &rows[i]
			if i > 0 && r.recv == rows[i-1].recv {
				h.Batched++
			}
			if r.recv < hour || r.recv >= hour.Add(data.Hour) {
				h.Misplaced++
			}
			if i > 0 && r.exch < rows[i-1].exch {
				h.Regress++
			}
			id, ok, err := p.market(r.market, max(r.recv, p.last), h)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if !added[r.market] {
				l := p.lists[r.market]
				added[r.market] = true
				feed.Add(polymarket.Market{Inst: id, Key: r.market, Tokens: l.Tokens, MinSize: l.QtyMin, Tick: l.Bands[0].Step, NegRisk: l.NegRisk})
			}
			p.frame = r.message(p.frame[:0])
			h.delay(r.recv, r.exch)
			if err := p.feed(r.recv, h); err != nil {
				return fmt.Errorf("%s: row %d: %w", path, r.row, err)
			}
		}
		c := feed.Counts()
		h.Snapshots, h.Changes, h.Trades = c.Books-before.Books, c.Changes-before.Changes, c.Trades-before.Trades
		h.Gaps, h.Before, h.Crossed = c.Gaps-before.Gaps, c.BeforeStart-before.BeforeStart, c.Crossed-before.Crossed
		h.Tops, h.Mirrors = [2]int{c.TopMatched - before.TopMatched, c.TopChecked - before.TopChecked}, [2]int{c.MirrorMatched - before.MirrorMatched, c.MirrorChecked - before.MirrorChecked}
		return nil
	})
}

func (p *pmxt) readPolymarket(ctx context.Context, path string, h *Health) ([]pmRow, error) {
	var rows []pmRow
	n := int64(0)
	err := readParquet(ctx, path, []string{"timestamp_received", "timestamp", "market", "event_type", "asset_id", "price", "size", "side"}, func(rec arrow.Record) error {
		get := map[string]arrow.Array{}
		for _, f := range rec.Schema().Fields() {
			get[f.Name] = columnOf(rec, f.Name)
		}
		for i := range int(rec.NumRows()) {
			n++
			h.Lines++
			r, err := pmRowAt(get, i)
			if err != nil {
				return fmt.Errorf("row %d: %w", n, err)
			}
			r.row = n
			if !wanted(p.o, r.market) {
				continue
			}
			if len(rows) == rowsMax {
				return fmt.Errorf("more than %d rows of wanted markets in one hour: choose markets with --market", rowsMax)
			}
			rows = append(rows, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b pmRow) int {
		switch {
		case a.recv != b.recv:
			return int(min(max(a.recv-b.recv, -1), 1))
		case a.exch != b.exch:
			return int(min(max(a.exch-b.exch, -1), 1))
		case a.market != b.market:
			return strings.Compare(a.market, b.market)
		case a.asset != b.asset:
			return strings.Compare(a.asset, b.asset)
		}
		return int(min(max(a.row-b.row, -1), 1))
	})
	return rows, nil
}

func pmRowAt(get map[string]arrow.Array, i int) (pmRow, error) {
	var r pmRow
	var err error
	var ok bool
	if r.recv, ok, err = timeAt(get["timestamp_received"], i); err != nil || !ok {
		return r, fmt.Errorf("timestamp_received: %w", orMissing(err))
	}
	if r.exch, ok, err = timeAt(get["timestamp"], i); err != nil || !ok {
		return r, fmt.Errorf("timestamp: %w", orMissing(err))
	}
	for _, f := range []struct {
		name string
		to   *string
		need bool
	}{{"market", &r.market, true}, {"asset_id", &r.asset, true}, {"event_type", &r.kind, true}, {"bids", &r.bids, false}, {"asks", &r.asks, false},
		{"side", &r.side, false}, {"transaction_hash", &r.tx, false}} {
		if *f.to, ok, err = textAt(get[f.name], i); err != nil || (f.need && !ok) {
			return r, fmt.Errorf("%s: %w", f.name, orMissing(err))
		}
	}
	top := 0
	for _, f := range []struct {
		name  string
		scale int32
		to    *int64
		top   bool
	}{{"price", 4, &r.price, false}, {"size", 6, &r.size, false}, {"best_bid", 4, &r.bid, true}, {"best_ask", 4, &r.ask, true},
		{"old_tick_size", 4, &r.tickOld, false}, {"new_tick_size", 4, &r.tickNew, false}} {
		if *f.to, ok, err = decimalAt(get[f.name], i, f.scale); err != nil {
			return r, fmt.Errorf("%s: %w", f.name, err)
		}
		if ok && f.top {
			top++
		}
	}
	r.hasTop = top == 2
	return r, nil
}

func orMissing(err error) error {
	if err == nil {
		return fmt.Errorf("null where a value is required")
	}
	return err
}

// message writes the row as the venue's own message.
func (r *pmRow) message(b []byte) []byte {
	text := func(key, v string) {
		b = append(b, ',', '"')
		b = append(b, key...)
		b = append(b, `":`...)
		q, _ := json.Marshal(v) // a string always marshals
		b = append(b, q...)
	}
	num := func(key string, v int64, scale int) { text(key, string(data.AppendDecimal(nil, v, scale, 0))) }
	b = append(b, `{"event_type":`...)
	q, _ := json.Marshal(r.kind)
	b = append(b, q...)
	text("market", r.market)
	num("timestamp", int64(r.exch/data.Time(data.Millisecond)), 0)
	switch r.kind {
	case "price_change":
		b = append(b, `,"price_changes":[{"side":`...)
		q, _ := json.Marshal(r.side)
		b = append(b, q...)
		text("asset_id", r.asset)
		num("price", r.price, 4)
		num("size", r.size, 6)
		if r.hasTop {
			num("best_bid", r.bid, 4)
			num("best_ask", r.ask, 4)
		}
		b = append(b, `}]`...)
	case "book":
		text("asset_id", r.asset)
		b = appendLadder(b, "bids", r.bids)
		b = appendLadder(b, "asks", r.asks)
	case "last_trade_price":
		text("asset_id", r.asset)
		text("side", r.side)
		text("transaction_hash", r.tx)
		num("price", r.price, 4)
		num("size", r.size, 6)
	case "tick_size_change":
		text("asset_id", r.asset)
		num("old_tick_size", r.tickOld, 4)
		num("new_tick_size", r.tickNew, 4)
	}
	return append(b, '}')
}

// appendLadder turns the archive's [["price","size"],...] into the wire's [{"price":..,"size":..},...]. What is not of
// that shape is passed on as it is: the decoder refuses it and names the field.
func appendLadder(b []byte, key, text string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, `":`...)
	if text == "" {
		return append(b, `[]`...)
	}
	var levels [][2]string
	if err := json.Unmarshal([]byte(text), &levels); err != nil {
		q, _ := json.Marshal(text)
		return append(b, q...)
	}
	type level struct {
		Price string `json:"price"`
		Size  string `json:"size"`
	}
	out := make([]level, 0, len(levels))
	for _, l := range levels {
		out = append(out, level{l[0], l[1]})
	}
	q, _ := json.Marshal(out)
	return append(b, q...)
}

// kxRow is one row of the Kalshi archive.
type kxRow struct {
	batch    data.Time // receipt stamp: of a write batch
	at       data.Time // the venue's stamp; a snapshot's is worked out
	ticker   string
	snapshot bool
	yes, no  []data.Rung
	price    int64
	delta    int64
	side     string
	row      int64
}

// PMXTKalshi reads kalshi_orderbook_YYYY-MM-DDTHH.parquet. Its receipt stamps are of write batches, so events are
// ordered by the venue's stamps; snapshots have none and are placed by the deltas of their batch.
func PMXTKalshi(ctx context.Context, o Options) (*tape.Manifest, []*Health, error) {
	const prefix = "kalshi_orderbook_"
	files, err := hourFiles(o.Inputs, prefix)
	if err != nil {
		return nil, nil, err
	}
	p, w, err := newPMXT(&o, data.Kalshi, prefix)
	if err != nil {
		return nil, nil, err
	}
	feed := kalshi.NewFeed(kalshi.Increasing)
	seq, added := int64(0), map[string]bool{}
	p.write = func(frame []byte, recv data.Time, out []data.Event) ([]data.Event, error) {
		return feed.Frame(frame, recv, out)
	}
	p.reset = func() { feed, added = kalshi.NewFeed(kalshi.Increasing), map[string]bool{} }
	return p.run(ctx, files, w, func(ctx context.Context, path string, h *Health) error {
		hour, err := p.hour(path, h)
		if err != nil {
			return err
		}
		rows, err := p.readKalshi(ctx, path, h)
		if err != nil {
			return err
		}
		before := feed.Counts()
		for i := range rows {
			r := &rows[i]
			if r.at < hour || r.at >= hour.Add(data.Hour) {
				h.Misplaced++
			}
			id, ok, err := p.market(r.ticker, max(r.at, p.last), h)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if !added[r.ticker] {
				added[r.ticker] = true
				feed.Add(r.ticker, id)
			}
			seq++
			p.frame = r.message(p.frame[:0], seq)
			if !r.snapshot {
				h.delay(r.batch, r.at)
			}
			if err := p.feed(r.at, h); err != nil {
				return fmt.Errorf("%s: row %d: %w", path, r.row, err)
			}
			if b := feed.Book(r.ticker); b != nil && b.Crossed() {
				h.Crossed++
			}
		}
		c := feed.Counts()
		h.Snapshots, h.Changes = c.Snapshots-before.Snapshots, c.Deltas-before.Deltas
		h.Gaps, h.Before, h.Negative = c.Gaps-before.Gaps, c.BeforeStart-before.BeforeStart, c.Negative-before.Negative
		if h.Changes == 0 {
			h.Notes = append(h.Notes, "no deltas at all")
		}
		if 2*h.Misplaced > len(rows) && len(rows) > 0 {
			h.Notes = append(h.Notes, "most rows lie outside the hour in the file's name")
		}
		return nil
	})
}

func (p *pmxt) readKalshi(ctx context.Context, path string, h *Health) ([]kxRow, error) {
	var rows []kxRow
	n := int64(0)
	var before data.Time
	err := readParquet(ctx, path, []string{"timestamp_received", "timestamp", "market_ticker", "event_type", "yes_bids", "no_bids", "price", "delta", "side"}, func(rec arrow.Record) error {
		get := map[string]arrow.Array{}
		for _, f := range rec.Schema().Fields() {
			get[f.Name] = columnOf(rec, f.Name)
		}
		for i := range int(rec.NumRows()) {
			n++
			h.Lines++
			r, err := kxRowAt(get, i)
			if err != nil {
				return fmt.Errorf("row %d: %w", n, err)
			}
			if r.batch == before {
				h.Batched++
			}
			before = r.batch
			r.row = n
			if len(rows) == rowsMax {
				return fmt.Errorf("more than %d rows in one hour: choose markets with --market", rowsMax)
			}
			// rows of other markets still bracket their batch's snapshots
			rows = append(rows, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	unplaced := place(rows)
	if unplaced > 0 {
		h.Notes = append(h.Notes, fmt.Sprintf("%d snapshots share their batch with no delta: placed at the batch's receipt", unplaced))
	}
	rows = slices.DeleteFunc(rows, func(r kxRow) bool { return !wanted(p.o, r.ticker) })
	slices.SortStableFunc(rows, func(a, b kxRow) int { return cmp.Compare(a.at, b.at) }) // rows are in order already
	return rows, nil
}

// place gives snapshots a time: the newest stamp of the same market's deltas before it in its batch, else the oldest
// stamp of the batch, else the receipt.
func place(rows []kxRow) (unplaced int) {
	for from := 0; from < len(rows); {
		to := from
		oldest := data.Time(0)
		newest := map[string]data.Time{}
		for ; to < len(rows) && rows[to].batch == rows[from].batch; to++ {
			if r := &rows[to]; !r.snapshot && (oldest == 0 || r.at < oldest) {
				oldest = r.at
			}
		}
		for i := from; i < to; i++ {
			r := &rows[i]
			switch {
			case !r.snapshot:
				newest[r.ticker] = max(newest[r.ticker], r.at)
			case newest[r.ticker] != 0:
				r.at = newest[r.ticker]
			case oldest != 0:
				r.at = oldest
			default:
				r.at = r.batch
				unplaced++
			}
		}
		from = to
	}
	return unplaced
}

func kxRowAt(get map[string]arrow.Array, i int) (kxRow, error) {
	var r kxRow
	var err error
	var ok bool
	if r.batch, ok, err = timeAt(get["timestamp_received"], i); err != nil || !ok {
		return r, fmt.Errorf("timestamp_received: %w", orMissing(err))
	}
	if r.ticker, ok, err = textAt(get["market_ticker"], i); err != nil || !ok {
		return r, fmt.Errorf("market_ticker: %w", orMissing(err))
	}
	kind, _, err := textAt(get["event_type"], i)
	if err != nil {
		return r, fmt.Errorf("event_type: %w", err)
	}
	switch kind {
	case "orderbook_snapshot":
		r.snapshot = true
		if r.yes, err = rungsAt(get["yes_bids"], i); err != nil {
			return r, fmt.Errorf("yes_bids: %w", err)
		}
		r.no, err = rungsAt(get["no_bids"], i)
		if err != nil {
			return r, fmt.Errorf("no_bids: %w", err)
		}
		return r, nil
	case "orderbook_delta":
	default:
		return r, fmt.Errorf("event_type %q is not known", kind)
	}
	if r.at, ok, err = timeAt(get["timestamp"], i); err != nil || !ok {
		return r, fmt.Errorf("timestamp: %w", orMissing(err))
	}
	if r.price, ok, err = decimalAt(get["price"], i, 4); err != nil || !ok {
		return r, fmt.Errorf("price: %w", orMissing(err))
	}
	if r.delta, ok, err = decimalAt(get["delta"], i, 6); err != nil || !ok {
		return r, fmt.Errorf("delta: %w", orMissing(err))
	}
	if r.side, ok, err = textAt(get["side"], i); err != nil || !ok {
		return r, fmt.Errorf("side: %w", orMissing(err))
	}
	return r, nil
}

// rungsAt reads list<struct<"1","2">>: price and size.
func rungsAt(a arrow.Array, i int) ([]data.Rung, error) {
	if a == nil || a.IsNull(i) {
		return nil, nil
	}
	l, ok := a.(*array.List)
	if !ok {
		return nil, fmt.Errorf("a %s where a list belongs", a.DataType())
	}
	st, ok := l.ListValues().(*array.Struct)
	if !ok || st.NumField() != 2 {
		return nil, fmt.Errorf("a list of %s where pairs belong", l.ListValues().DataType())
	}
	from, to := l.ValueOffsets(i)
	var out []data.Rung
	for j := int(from); j < int(to); j++ {
		p, ok, err := decimalAt(st.Field(0), j, 4)
		if err != nil || !ok {
			return nil, fmt.Errorf("price: %w", orMissing(err))
		}
		q, ok, err := decimalAt(st.Field(1), j, 6)
		if err != nil || !ok {
			return nil, fmt.Errorf("size: %w", orMissing(err))
		}
		out = append(out, data.Rung{Price: data.Price(p), Qty: data.Qty(q)})
	}
	return out, nil
}

// message writes the row as the venue's own message.
func (r *kxRow) message(b []byte, seq int64) []byte {
	ticker, _ := json.Marshal(r.ticker) // a string always marshals
	side, _ := json.Marshal(r.side)
	if r.snapshot {
		b = append(b, `{"type":"orderbook_snapshot","sid":1,"seq":`...)
		b = data.AppendDecimal(b, seq, 0, 0)
		b = append(b, `,"msg":{"market_ticker":`...)
		b = append(b, ticker...)
		b = appendBids(b, "yes_dollars_fp", r.yes)
		b = appendBids(b, "no_dollars_fp", r.no)
		return append(b, `}}`...)
	}
	b = append(b, `{"type":"orderbook_delta","sid":1,"seq":`...)
	b = data.AppendDecimal(b, seq, 0, 0)
	b = append(b, `,"msg":{"market_ticker":`...)
	b = append(b, ticker...)
	b = append(b, `,"market_id":"","price_dollars":"`...)
	b = data.AppendDecimal(b, r.price, 4, 4)
	b = append(b, `","delta_fp":"`...)
	b = data.AppendDecimal(b, r.delta, 6, 2)
	b = append(b, `","side":`...)
	b = append(b, side...)
	b = append(b, `,"ts":"`...)
	b = append(b, r.at.String()...)
	b = append(b, `","ts_ms":`...)
	b = data.AppendDecimal(b, int64(r.at/data.Time(data.Millisecond)), 0, 0)
	return append(b, `}}`...)
}

func appendBids(b []byte, key string, rs []data.Rung) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, `":[`...)
	for i, r := range rs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `["`...)
		b = data.AppendDecimal(b, int64(r.Price), 4, 4)
		b = append(b, `","`...)
		b = data.AppendDecimal(b, int64(r.Qty), 6, 2)
		b = append(b, `"]`...)
	}
	return append(b, ']')
}
