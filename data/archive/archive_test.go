package archive

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"arbiter/data"
	"arbiter/data/tape"
	"arbiter/testdata/captures"
)

// fold is the independent fold of a raw capture: maps of integers by its own parsing, which takes the point away.
type fold struct{ yes, no map[int]int }

func newFold() *fold { return &fold{map[int]int{}, map[int]int{}} }

func digits(s string) int {
	n, err := strconv.Atoi(strings.Replace(s, ".", "", 1))
	if err != nil {
		panic(s)
	}
	return n
}

type rawEvent struct {
	RecvMS int64 `json:"recv_ms"`
	Event  struct {
		Type string `json:"type"`
		Msg  struct {
			Yes   [][2]string `json:"yes_dollars_fp"`
			No    [][2]string `json:"no_dollars_fp"`
			Price string      `json:"price_dollars"`
			Delta string      `json:"delta_fp"`
			Side  string      `json:"side"`
		} `json:"msg"`
	} `json:"event"`
}

func (f *fold) apply(e *rawEvent) {
	m := &e.Event.Msg
	switch e.Event.Type {
	case "orderbook_snapshot":
		f.yes, f.no = map[int]int{}, map[int]int{}
		for _, l := range m.Yes {
			f.yes[digits(l[0])] = digits(l[1])
		}
		for _, l := range m.No {
			f.no[digits(l[0])] = digits(l[1])
		}
	case "orderbook_delta":
		side := f.yes
		if m.Side == "no" {
			side = f.no
		}
		k := digits(m.Price)
		if side[k] += digits(m.Delta); side[k] == 0 {
			delete(side, k)
		}
	}
}

// top is the best YES bid and ask: price in ten-thousandths, size in hundredths.
func (f *fold) top() [4]int {
	best := func(m map[int]int) (int, int) {
		at := 0
		for k := range m {
			at = max(at, k)
		}
		return at, m[at]
	}
	b, bq := best(f.yes)
	a, aq := best(f.no)
	if a != 0 {
		a = 10000 - a
	}
	return [4]int{b, bq, a, aq}
}

func topOf(b *data.Book) [4]int {
	bid, ask := b.Best(data.Buy), b.Best(data.Sell)
	return [4]int{int(bid.Price), int(bid.Qty / 10_000), int(ask.Price), int(ask.Qty / 10_000)}
}

func rawLines(t testing.TB, dir string) []rawEvent {
	var out []rawEvent
	for _, line := range captures.Lines(t, dir) {
		var e rawEvent
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// All eight windows: counts equal the file's, no negative level, no locked or crossed book, and the top of the book
// equals the independent fold's at every message.
func TestKalshiNDJSON_RealWindows(t *testing.T) {
	root := captures.Path(t, "kalshi", "gold15m")
	out := filepath.Join(t.TempDir(), "gold")
	m, health, err := KalshiNDJSON(context.Background(), Options{Inputs: []string{root}, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Sources) != 8 || len(health) != 9 {
		t.Fatalf("%d sources of %d files, want 8 of 9", len(m.Sources), len(health))
	}
	for i := range m.Sources {
		s := &m.Sources[i]
		in := &s.Instruments[0]
		raw := rawLines(t, filepath.Join(root, "events", in.Key.Native))
		n := map[string]int64{}
		for j := range raw {
			n[raw[j].Event.Type]++
		}
		if in.Snapshots != n["orderbook_snapshot"] || in.Deltas != n["orderbook_delta"] || in.Trades != n["trade"] || in.Gaps != 0 {
			t.Errorf("%s: %d snapshots, %d deltas, %d trades, %d gaps; the file has %v", in.Key, in.Snapshots, in.Deltas, in.Trades, in.Gaps, n)
		}
		if !s.Unverified || !in.Settled {
			t.Errorf("%s: unverified %v, settled %v", in.Key, s.Unverified, in.Settled)
		}
		checkTops(t, out, in.Key, raw)
	}
	for _, h := range health {
		if h.Malformed+h.Gaps+h.Negative+h.Crossed+h.Before+h.Regress != 0 {
			t.Errorf("%s: %+v", h.File, h)
		}
	}
}

func checkTops(t *testing.T, dir string, key data.MarketKey, raw []rawEvent) {
	set, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := set.Read(tape.Selection{Instruments: []data.MarketKey{key}})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	var book data.Book
	var ev data.Event
	f := newFold()
	n := 0
	for {
		err := rd.Next(&ev)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch ev.Kind {
		case data.Clear:
			book.Clear()
		case data.Level:
			book.Set(ev.Side, ev.Price, ev.Qty)
		case data.Delta:
			if !book.Add(ev.Side, ev.Price, ev.Qty) {
				t.Fatalf("%s: negative level", key)
			}
		case data.Trade:
		default:
			continue
		}
		if !ev.Last {
			continue
		}
		e := &raw[n]
		f.apply(e)
		n++
		if got := int64(ev.Recv) / 1_000_000; got != e.RecvMS {
			t.Fatalf("%s: message %d received at %d, the file says %d", key, n, got, e.RecvMS)
		}
		if got, want := topOf(&book), f.top(); got != want {
			t.Fatalf("%s: after message %d the top is %v, the independent fold has %v", key, n, got, want)
		}
		if book.Crossed() {
			t.Fatalf("%s: message %d left the book locked or crossed", key, n)
		}
	}
	if n != len(raw) {
		t.Errorf("%s: %d messages on the tape, %d in the file", key, n, len(raw))
	}
}

// Every hash that a real message carries is checked; the known misses of the facts (10 of 170 changes) stay the only
// ones.
func TestPolymarketFrames_RealRecordings(t *testing.T) {
	root := captures.Path(t, "polymarket", "frames_15m")
	out := filepath.Join(t.TempDir(), "pm")
	m, health, err := PolymarketFrames(context.Background(), Options{Inputs: []string{root}, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	var matched, checked, books int
	for _, h := range health {
		matched += h.Hashes[0]
		checked += h.Hashes[1]
		books += h.Snapshots
		if h.Malformed+h.Gaps+h.Crossed+h.Unknown != 0 || h.Mirrors[0] != h.Mirrors[1] {
			t.Errorf("%s: %+v", h.File, h)
		}
	}
	t.Logf("%d of %d hashes reproduce over %d books", matched, checked, books)
	if checked < books || checked-matched > 10 {
		t.Errorf("%d of %d hashes reproduce over %d books", matched, checked, books)
	}
	if len(m.Sources) != 3 {
		t.Errorf("%d sources", len(m.Sources))
	}
}

const goldMeta = `{"event":{"event_ticker":"KXT-1","series_ticker":"KXT","category":"Test","mutually_exclusive":false},"markets":[{"ticker":"KXT-1-A","event_ticker":"KXT-1","title":"T","status":"finalized","result":"yes","settlement_value_dollars":"1.0000","settlement_ts":"2026-08-10T23:50:00Z","rules_primary":"R","open_time":"2026-08-10T23:00:00Z","close_time":"2026-08-10T23:49:00Z","market_type":"binary","price_ranges":[{"start":"0.0000","end":"1.0000","step":"0.0100"}]}]}`

func writeWindow(t testing.TB, lines string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"metadata/KXT-1.json": goldMeta, "events/KXT-1-A/2026-08-10.ndjson": lines} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	lineSnapshot = `{"recv_ms":1786405577251,"event":{"type":"orderbook_snapshot","sid":1,"seq":5,"msg":{"market_ticker":"KXT-1-A","market_id":"m","yes_dollars_fp":[["0.4000","10.00"]],"no_dollars_fp":[["0.5500","3.00"]]}}}`
	lineDelta    = `{"recv_ms":1786405577260,"event":{"type":"orderbook_delta","sid":1,"seq":9,"msg":{"market_ticker":"KXT-1-A","market_id":"m","price_dollars":"0.5500","delta_fp":"-1.25","side":"no","ts":"2026-08-10T23:46:17.241218Z","ts_ms":1786405577241}}}`
)

func TestKalshiNDJSON_BadInputNamesFileAndLine(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"not JSON", lineSnapshot + "\n{oops\n", "line 2"},
		{"missing field", lineSnapshot + "\n" + strings.Replace(lineDelta, `"delta_fp":"-1.25",`, "", 1) + "\n", "delta_fp"},
		{"no receive time", strings.Replace(lineSnapshot, `"recv_ms":1786405577251,`, "", 1) + "\n", "recv_ms"},
		{"price off the unit", lineSnapshot + "\n" + strings.Replace(lineDelta, "0.5500", "0.55005", 1) + "\n", "price_dollars"},
	} {
		_, _, err := KalshiNDJSON(context.Background(), Options{Inputs: []string{writeWindow(t, c.lines)}, Out: filepath.Join(t.TempDir(), "x")})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "2026-08-10.ndjson") {
			t.Errorf("%s: %v, want %q and the file", c.name, err, c.want)
		}
	}
	if _, _, err := KalshiNDJSON(context.Background(), Options{Inputs: []string{t.TempDir()}, Out: filepath.Join(t.TempDir(), "x")}); err == nil || !strings.Contains(err.Error(), "events/MARKET") {
		t.Errorf("an empty folder: %v", err)
	}
	dir := writeWindow(t, lineSnapshot+"\n")
	if err := os.Remove(filepath.Join(dir, "metadata", "KXT-1.json")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := KalshiNDJSON(context.Background(), Options{Inputs: []string{dir}, Out: filepath.Join(t.TempDir(), "x")}); err == nil || !strings.Contains(err.Error(), "no REST record") {
		t.Errorf("no record: %v", err)
	}
}

// A regression of the sequence and a negative level are gaps: the book is invalid until a snapshot.
func TestKalshiNDJSON_LossBecomesAGap(t *testing.T) {
	back := strings.Replace(lineDelta, `"seq":9`, `"seq":4`, 1)
	below := strings.Replace(lineDelta, `-1.25`, `-99`, 1)
	for name, second := range map[string]string{"sequence went back": back, "below zero": below} {
		out := filepath.Join(t.TempDir(), "x")
		m, health, err := KalshiNDJSON(context.Background(), Options{Inputs: []string{writeWindow(t, lineSnapshot+"\n"+second+"\n"+lineDelta+"\n")}, Out: out})
		if err != nil {
			t.Fatal(err)
		}
		if m.Sources[0].Instruments[0].Gaps != 1 || health[0].Gaps != 1 {
			t.Errorf("%s: %d gaps on the tape, %d in the report; want 1", name, m.Sources[0].Instruments[0].Gaps, health[0].Gaps)
		}
	}
}

func FuzzKalshiNDJSON_NeverPanics(f *testing.F) {
	f.Add([]byte(lineSnapshot + "\n" + lineDelta + "\n"))
	f.Add([]byte(lineDelta))
	f.Fuzz(func(t *testing.T, lines []byte) {
		out := filepath.Join(t.TempDir(), "x")
		if _, _, err := KalshiNDJSON(context.Background(), Options{Inputs: []string{writeWindow(t, string(lines))}, Out: out}); err == nil {
			if _, err := tape.Open(out); err != nil {
				t.Fatalf("the import made a tape that does not open: %v", err)
			}
		}
	})
}

const frameMarketLine = `{"slug":"s","title":"T","condition_id":"0xabc","outcomes":[{"token_id":"11","outcome":"Up"},{"token_id":"22","outcome":"Down"}],"start_ts":1777452300000,"end_ts":1777453200000,"tick_size":0.01,"min_order_size":5.0,"fee_parameters":{"raw_fee_config":{"exponent":1,"rate":0.072}}}`

func FuzzPolymarketFrames_NeverPanics(f *testing.F) {
	f.Add(`{"market":"0xabc","asset_id":"11","timestamp":"1777366470133","bids":[{"price":"0.4","size":"10"}],"asks":[],"hash":"x"}`, int64(1777366911692))
	f.Add(`[{"event_type":"price_change","market":"0xabc","timestamp":"1777366470200","price_changes":[{"asset_id":"22","price":"0.6","size":"1","side":"SELL"}]}]`, int64(1777366911692))
	f.Fuzz(func(t *testing.T, payload string, recv int64) {
		dir := t.TempDir()
		row, err := json.Marshal(map[string]any{"recv_wall_ts": recv, "payload": payload})
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"markets.jsonl": frameMarketLine, "raw_messages.jsonl": string(row)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		out := filepath.Join(t.TempDir(), "x")
		if _, _, err := PolymarketFrames(context.Background(), Options{Inputs: []string{dir}, Out: out}); err == nil {
			if _, err := tape.Open(out); err != nil {
				t.Fatalf("the import made a tape that does not open: %v", err)
			}
		}
	})
}
