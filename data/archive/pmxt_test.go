package archive

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"arbiter/data"
	"arbiter/data/tape"
)

var (
	price  = &arrow.Decimal128Type{Precision: 9, Scale: 4}
	amount = &arrow.Decimal128Type{Precision: 18, Scale: 6}
	millis = &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}
	micros = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
)

// pmCondition is 66 characters, as the archive's fixed-size column wants.
var pmCondition = "0x" + strings.Repeat("ab", 32)

// polymarketSchema is the archive's, column by column (PMXT v2 data overview, 2026-04).
var polymarketSchema = arrow.NewSchema([]arrow.Field{
	{Name: "timestamp_received", Type: millis}, {Name: "timestamp", Type: millis}, {Name: "market", Type: &arrow.FixedSizeBinaryType{ByteWidth: 66}},
	{Name: "event_type", Type: arrow.BinaryTypes.String}, {Name: "asset_id", Type: arrow.BinaryTypes.String},
	{Name: "bids", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "asks", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "price", Type: price, Nullable: true}, {Name: "size", Type: amount, Nullable: true}, {Name: "side", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "best_bid", Type: price, Nullable: true}, {Name: "best_ask", Type: price, Nullable: true}, {Name: "fee_rate_bps", Type: arrow.PrimitiveTypes.Uint16, Nullable: true},
	{Name: "transaction_hash", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "old_tick_size", Type: price, Nullable: true}, {Name: "new_tick_size", Type: price, Nullable: true},
}, nil)

var kalshiSchema = arrow.NewSchema([]arrow.Field{
	{Name: "timestamp_received", Type: millis}, {Name: "timestamp", Type: micros, Nullable: true}, {Name: "market_ticker", Type: arrow.BinaryTypes.String},
	{Name: "market_id", Type: arrow.BinaryTypes.String}, {Name: "event_type", Type: arrow.BinaryTypes.String}, {Name: "yes_bids", Type: ladderType, Nullable: true},
	{Name: "no_bids", Type: ladderType, Nullable: true}, {Name: "price", Type: price, Nullable: true}, {Name: "delta", Type: amount, Nullable: true},
	{Name: "side", Type: arrow.BinaryTypes.String, Nullable: true},
}, nil)

// The struct's children are literally named "1" and "2".
var ladderType = arrow.ListOf(arrow.StructOf(arrow.Field{Name: "1", Type: price, Nullable: true}, arrow.Field{Name: "2", Type: amount, Nullable: true}))

type cell = any

// writeParquet writes rows of nil, string, int64 (decimals and timestamps) or [][2]int64 (ladders).
func writeParquet(t testing.TB, path string, schema *arrow.Schema, rows [][]cell) {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, row := range rows {
		for i, v := range row {
			f := b.Field(i)
			if v == nil {
				f.AppendNull()
				continue
			}
			switch f := f.(type) {
			case *array.TimestampBuilder:
				f.Append(arrow.Timestamp(v.(int64)))
			case *array.Decimal128Builder:
				f.Append(decimal128.FromI64(v.(int64)))
			case *array.StringBuilder:
				f.Append(v.(string))
			case *array.FixedSizeBinaryBuilder:
				f.Append([]byte(v.(string)))
			case *array.Uint16Builder:
				f.Append(uint16(v.(int64)))
			case *array.ListBuilder:
				f.Append(true)
				st := f.ValueBuilder().(*array.StructBuilder)
				for _, l := range v.([][2]int64) {
					st.Append(true)
					st.FieldBuilder(0).(*array.Decimal128Builder).Append(decimal128.FromI64(l[0]))
					st.FieldBuilder(1).(*array.Decimal128Builder).Append(decimal128.FromI64(l[1]))
				}
			}
		}
	}
	rec := b.NewRecord()
	defer rec.Release()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, f, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

const hour14 = int64(1_778_767_200_000) // 2026-05-14T14:00:00Z in ms

func pmListing() data.Listing {
	return data.Listing{Key: data.MarketKey{Venue: data.Polymarket, Native: pmCondition}, Tokens: [2]string{"11", "22"}, Outcomes: [2]string{"Yes", "No"},
		Bands: data.UniformBands(100), QtyMin: 5 * data.Contract, QtyStep: data.Contract / 100}
}

func pmRows() [][]cell {
	change := func(at int64, asset string, p, size int64, side string, bid, ask int64) []cell {
		return []cell{hour14 + at, hour14 + at - 5, pmCondition, "price_change", asset, nil, nil, p, size, side, bid, ask, nil, nil, nil, nil}
	}
	// Sorted by (market, asset, receipt), as the archive is: not by time.
	return [][]cell{
		{hour14 + 1000, hour14 + 990, pmCondition, "book", "11", `[["0.40","10"],["0.41","5"]]`, `[["0.45","7"]]`, nil, nil, nil, nil, nil, nil, nil, nil, nil},
		change(2000, "11", 4200, 3_000_000, "BUY", 4200, 4500),
		change(4000, "11", 4500, 0, "SELL", 4200, 0),
		{hour14 + 5000, hour14 + 4990, pmCondition, "last_trade_price", "11", nil, nil, int64(4200), int64(1_000_000), "SELL", nil, nil, int64(0), "0xdead", nil, nil},
		change(2000, "22", 5800, 3_000_000, "SELL", 5500, 5800), // the mirror of the first change
		change(3000, "22", 5500, 9_000_000, "BUY", 5500, 5800),  // NO bid at 0.55: YES ask at 0.45 is 9 now
	}
}

func TestPMXTPolymarket_SortsPairsAndReports(t *testing.T) {
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "pm")
	writeParquet(t, filepath.Join(in, "polymarket_orderbook_2026-05-14T14.parquet"), polymarketSchema, pmRows())
	late := pmRows()[:1]
	late[0][0] = hour14 + 3*3_600_000 + 500
	late[0][1] = hour14 + 3*3_600_000
	writeParquet(t, filepath.Join(in, "polymarket_orderbook_2026-05-14T17.parquet"), polymarketSchema, late)
	m, health, err := PMXTPolymarket(context.Background(), Options{Inputs: []string{in}, Out: out, Listings: []data.Listing{pmListing()}})
	if err != nil {
		t.Fatal(err)
	}
	in0 := &m.Sources[0].Instruments[0]
	if in0.Snapshots != 2 || in0.Deltas != 3 || in0.Trades != 1 || in0.Gaps != 1 {
		t.Errorf("instrument %+v: want 2 snapshots, 3 changes (the mirror is none), 1 trade, 1 gap for the missing hours", in0)
	}
	h := health[0]
	if h.Tops[0] != h.Tops[1] || h.Mirrors != [2]int{1, 1} || h.Lines != 6 {
		t.Errorf("health %+v", h)
	}
	if len(health[1].Notes) == 0 || !strings.Contains(health[1].Notes[0], "missing") {
		t.Errorf("the missing hours are not reported: %v", health[1].Notes)
	}
	set, err := tape.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	var ev data.Event
	var b data.Book
	for rd.Next(&ev) == nil && ev.Recv < ms(hour14+4500) {
		switch ev.Kind {
		case data.Clear:
			b.Clear()
		case data.Level:
			b.Set(ev.Side, ev.Price, ev.Qty)
		}
		if ev.Recv == ms(hour14+3000) && b.Qty(data.Sell, 4500) != 9*data.Contract {
			t.Errorf("the NO bid did not become the YES ask: %s at 0.45", b.Qty(data.Sell, 4500))
		}
	}
	if b.Best(data.Buy).Price != 4200 || b.Best(data.Sell).Qty != 0 {
		t.Errorf("at the end: %v, %v", b.Best(data.Buy), b.Best(data.Sell))
	}
}

func kxListing() data.Listing {
	return data.Listing{Key: data.MarketKey{Venue: data.Kalshi, Native: "KXT-1"}, Bands: data.UniformBands(10), QtyMin: data.Contract / 100, QtyStep: data.Contract / 100}
}

func kxRows() [][]cell {
	delta := func(batch, at int64, p, d int64, side string) []cell {
		return []cell{hour14 + batch, (hour14 + at) * 1000, "KXT-1", "m", "orderbook_delta", nil, nil, p, d, side}
	}
	return [][]cell{
		{hour14 + 2000, nil, "KXT-1", "m", "orderbook_snapshot", [][2]int64{{4000, 10_000_000}}, [][2]int64{{5500, 3_000_000}}, nil, nil, nil},
		delta(2000, 1500, 5500, 2_000_000, "no"),
		delta(2000, 1200, 4100, 1_000_000, "yes"), // not in order within its batch
		delta(4000, 3000, 4010, 500_000, "yes"),   // a sub-cent price
	}
}

func TestPMXTKalshi_OrdersByTheVenuesStampAndSaysSo(t *testing.T) {
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "kx")
	writeParquet(t, filepath.Join(in, "kalshi_orderbook_2026-05-14T14.parquet"), kalshiSchema, kxRows())
	m, health, err := PMXTKalshi(context.Background(), Options{Inputs: []string{in}, Out: out, Listings: []data.Listing{kxListing()}})
	if err != nil {
		t.Fatal(err)
	}
	s := &m.Sources[0]
	if !s.RecvCoarse || !s.Unverified || !strings.Contains(strings.Join(m.Notes, " "), "no claim about latency") {
		t.Errorf("the tape does not say what its stamps cannot support: %v", m.Notes)
	}
	if in0 := s.Instruments[0]; in0.Snapshots != 1 || in0.Deltas != 3 || in0.Gaps != 0 {
		t.Errorf("instrument %+v", in0)
	}
	if health[0].Batched != 2 || health[0].Delay["p50"] == 0 {
		t.Errorf("health %+v", health[0])
	}
	set, err := tape.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	var ev data.Event
	var order []string
	for rd.Next(&ev) == nil {
		if ev.Kind == data.Delta {
			order = append(order, ev.Price.String())
		}
	}
	if got := strings.Join(order, " "); got != "0.41 0.45 0.401" {
		t.Errorf("deltas in order %s, want 0.41 0.45 0.401", got)
	}
}

func TestPMXT_BadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, schema *arrow.Schema, rows [][]cell) string {
		d := filepath.Join(dir, strings.ReplaceAll(t.Name()+name, "/", "-"))
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		writeParquet(t, filepath.Join(d, name), schema, rows)
		return d
	}
	foreign := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.BinaryTypes.String}}, nil)
	badSide := pmRows()
	badSide[1][9] = "HOLD"
	cut := write("polymarket_orderbook_2026-05-14T15.parquet", polymarketSchema, pmRows())
	path := filepath.Join(cut, "polymarket_orderbook_2026-05-14T15.parquet")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)*2/3], 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		dir  string
		ls   []data.Listing
		want string
	}{
		{"no listings", dir, nil, "--markets-file"},
		{"foreign schema", write("polymarket_orderbook_2026-05-14T16.parquet", foreign, [][]cell{{"y"}}), []data.Listing{pmListing()}, "timestamp_received is missing"},
		{"unknown side", write("polymarket_orderbook_2026-05-14T18.parquet", polymarketSchema, badSide), []data.Listing{pmListing()}, "neither BUY nor SELL"},
		{"truncated", cut, []data.Listing{pmListing()}, "2026-05-14T15.parquet"},
		{"no hour in the name", write("polymarket_orderbook_x.parquet", polymarketSchema, pmRows()), []data.Listing{pmListing()}, "no hour"},
	} {
		_, _, err := PMXTPolymarket(context.Background(), Options{Inputs: []string{c.dir}, Out: filepath.Join(t.TempDir(), "o"), Listings: c.ls})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
