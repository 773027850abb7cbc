package kalshi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"arbiter/data"
	"arbiter/testdata/captures"
)

// Fixtures in the documented shape, one a message type; written for these tests.
var fixtures = map[string]string{
	"orderbook_snapshot": `{"type":"orderbook_snapshot","sid":1,"seq":7,"msg":{"market_ticker":"KXTEST-1","market_id":"m","yes_dollars_fp":[["0.4000","10.00"],["0.4100","2.50"]],"no_dollars_fp":[["0.5500","3.00"]]}}`,
	"empty snapshot":     `{"type":"orderbook_snapshot","sid":1,"seq":8,"msg":{"market_ticker":"KXTEST-1","market_id":"m"}}`,
	"orderbook_delta":    `{"type":"orderbook_delta","sid":1,"seq":9,"msg":{"market_ticker":"KXTEST-1","market_id":"m","price_dollars":"0.5500","delta_fp":"-1.25","side":"no","ts":"2026-08-10T23:46:17.241218Z","ts_ms":1786405577241}}`,
	"trade":              `{"type":"trade","sid":2,"seq":3,"msg":{"trade_id":"t-1","market_ticker":"KXTEST-1","yes_price_dollars":"0.4100","no_price_dollars":"0.5900","count_fp":"2.00","taker_side":"no","taker_outcome_side":"no","taker_book_side":"ask","ts":1786405577,"ts_ms":1786405577241}}`,
	"market_lifecycle":   `{"type":"market_lifecycle_v2","sid":3,"msg":{"market_ticker":"KXTEST-1","event_type":"determined","result":"yes","determination_ts":1786405577}}`,
	"subscribed":         `{"type":"subscribed","id":1,"msg":{"channel":"orderbook_delta","sid":1}}`,
	"error":              `{"type":"error","id":1,"msg":{"code":6,"msg":"Already subscribed"}}`,
	"unknown type":       `{"type":"multivariate_lookup","sid":9,"msg":{"x":[1,2,{"y":null}]}}`,
}

func TestDecode_Fixtures(t *testing.T) {
	var d Decoder
	var m Message
	for name, f := range fixtures {
		if err := d.Decode([]byte(f), &m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := d.Decode([]byte(fixtures["orderbook_delta"]), &m); err != nil {
		t.Fatal(err)
	}
	if m.Price != 5500 || m.Qty != -1_250_000 || m.YesSide || m.Seq != 9 || m.Time.String() != "2026-08-10T23:46:17.241218000Z" || string(m.Ticker) != "KXTEST-1" {
		t.Errorf("delta decoded as %+v", m)
	}
}

// Every required field, deleted or retyped, must be an error that names it: the venue once removed fields whose absence
// other programs read as zero.
func TestDecode_MissingOrRetypedFieldIsAnErrorThatNamesIt(t *testing.T) {
	required := map[string][]string{
		"orderbook_snapshot": {"type", "sid", "seq", "msg", "msg.market_ticker"},
		"orderbook_delta":    {"type", "sid", "seq", "msg", "msg.market_ticker", "msg.price_dollars", "msg.delta_fp", "msg.side", "msg.ts_ms"},
		"trade":              {"type", "sid", "seq", "msg", "msg.trade_id", "msg.market_ticker", "msg.yes_price_dollars", "msg.no_price_dollars", "msg.count_fp", "msg.taker_side", "msg.ts_ms"},
		"market_lifecycle":   {"type", "msg", "msg.market_ticker", "msg.event_type"},
		"subscribed":         {"type", "msg", "msg.channel", "msg.sid"},
		"error":              {"type", "msg", "msg.code"},
	}
	var d Decoder
	var m Message
	for name, fields := range required {
		for _, path := range fields {
			for _, how := range []string{"deleted", "retyped"} {
				var tree map[string]any
				dec := json.NewDecoder(strings.NewReader(fixtures[name]))
				dec.UseNumber()
				if err := dec.Decode(&tree); err != nil {
					t.Fatal(err)
				}
				node, key := tree, path
				if rest, ok := strings.CutPrefix(path, "msg."); ok {
					node, key = tree["msg"].(map[string]any), rest
				}
				if how == "deleted" {
					delete(node, key)
				} else {
					node[key] = []any{true}
				}
				text, err := json.Marshal(tree)
				if err != nil {
					t.Fatal(err)
				}
				err = d.Decode(text, &m)
				if err == nil {
					t.Errorf("%s with %s %s was accepted", name, path, how)
				} else if how == "deleted" && !strings.Contains(err.Error(), key) {
					t.Errorf("%s without %s: the error does not name it: %v", name, path, err)
				}
			}
		}
	}
}

func TestDecode_RefusesDuplicateAndContradiction(t *testing.T) {
	var d Decoder
	var m Message
	for name, f := range map[string]string{
		"duplicate":     strings.Replace(fixtures["orderbook_delta"], `"side":"no"`, `"side":"no","side":"yes"`, 1),
		"sum":           strings.Replace(fixtures["trade"], `"no_price_dollars":"0.5900"`, `"no_price_dollars":"0.5800"`, 1),
		"taker":         strings.Replace(fixtures["trade"], `"taker_outcome_side":"no"`, `"taker_outcome_side":"yes"`, 1),
		"trailing":      fixtures["trade"] + "x",
		"too fine":      strings.Replace(fixtures["orderbook_delta"], `0.5500`, `0.55001`, 1),
		"price of one":  strings.Replace(fixtures["orderbook_delta"], `0.5500`, `1.0000`, 1),
		"number price":  strings.Replace(fixtures["orderbook_delta"], `"0.5500"`, `0.55`, 1),
		"level of one":  strings.Replace(fixtures["orderbook_snapshot"], `["0.5500","3.00"]`, `["0.5500"]`, 1),
		"level of many": strings.Replace(fixtures["orderbook_snapshot"], `["0.5500","3.00"]`, `["0.5500","3.00","1"]`, 1),
		"empty":         "", "null": "null", "array": "[]",
	} {
		if err := d.Decode([]byte(f), &m); err == nil {
			t.Errorf("%s was accepted: %+v", name, m)
		}
	}
	if err := d.Decode([]byte(strings.Replace(fixtures["trade"], `"sid":2`, `"new_field":{"a":[1e3,"é"]},"sid":2`, 1)), &m); err != nil {
		t.Errorf("an unknown field broke the decoder: %v", err)
	}
}

func TestDecode_SteadyStateAllocatesNothing(t *testing.T) {
	var d Decoder
	var m Message
	for _, name := range []string{"orderbook_delta", "trade", "orderbook_snapshot"} {
		f := []byte(fixtures[name])
		if n := testing.AllocsPerRun(1000, func() {
			if d.Decode(f, &m) != nil {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

// readGold reads every line of a gold window's day files in order.
func readGold(t testing.TB, window string) (frames [][]byte, recv []data.Time) {
	t.Helper()
	for _, line := range captures.Lines(t, captures.Path(t, "kalshi", "gold15m", "events", window)) {
		var row struct {
			RecvMS int64           `json:"recv_ms"`
			Event  json.RawMessage `json:"event"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		frames = append(frames, row.Event)
		recv = append(recv, data.Time(row.RecvMS)*data.Time(data.Millisecond))
	}
	return frames, recv
}

// twin is the strict encoding/json twin: case-sensitive keys, duplicates of known keys refused, unknown keys allowed.
// It shares no code with the scanner.
type object map[string]json.RawMessage

// parseObject reads an object by tokens, so that case and duplicates are seen.
func parseObject(raw []byte, known string) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	tok, err := dec.Token()
	if err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("not an object: %v", err)
	}
	o := object{}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		key := k.(string)
		if !strings.Contains(known, " "+key+" ") {
			continue
		}
		if _, dup := o[key]; dup {
			return nil, fmt.Errorf("duplicate %s", key)
		}
		o[key] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	return o, nil
}

func isString(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errors.New("not a string")
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

func isInt(raw json.RawMessage) (int64, error) {
	var v int64
	if len(raw) == 0 || bytes.ContainsAny(raw, `.eEn"tf[{`) {
		return 0, errors.New("not an integer")
	}
	err := json.Unmarshal(raw, &v)
	if err == nil && (v > 999_999_999_999_999_999 || v < -999_999_999_999_999_999) {
		err = errors.New("too many digits")
	}
	return v, err
}

type twinMessage struct {
	typ           string
	sid, seq      int64
	ticker        string
	yes, no       []data.Rung
	price         data.Price
	qty           data.Qty
	yesSide       bool
	time          data.Time
	tradeID       string
	block         bool
	code          int64
	event, result string
	channel       string
	present       map[string]bool
}

const envelopeKeys = " type sid seq id msg "
const bodyKeys = " market_ticker yes_dollars_fp no_dollars_fp price_dollars delta_fp side ts ts_ms trade_id yes_price_dollars no_price_dollars count_fp taker_side taker_outcome_side is_block_trade channel code msg event_type result close_ts sid "

func depth(b []byte) int {
	deepest, d := 0, 0
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == '{' || c == '['):
			d++
			deepest = max(deepest, d)
		case !inString && (c == '}' || c == ']'):
			d--
		}
	}
	return deepest
}

func twinDecode(frame []byte) (*twinMessage, error) {
	if !json.Valid(frame) || !utf8.Valid(frame) || depth(frame) > 64 {
		return nil, errors.New("not JSON")
	}
	env, err := parseObject(bytes.TrimLeft(frame, " \t\r\n"), envelopeKeys)
	if err != nil {
		return nil, err
	}
	m := &twinMessage{present: map[string]bool{}}
	for k, v := range env {
		switch k {
		case "type":
			if m.typ, err = isString(v); err != nil {
				return nil, err
			}
		case "sid":
			if m.sid, err = isInt(v); err != nil {
				return nil, err
			}
		case "seq":
			if m.seq, err = isInt(v); err != nil {
				return nil, err
			}
		case "id":
			if _, err = isInt(v); err != nil {
				return nil, err
			}
		case "msg":
			if err := m.body(v); err != nil {
				return nil, err
			}
		}
		m.present[k] = true
	}
	need := map[string]string{"orderbook_snapshot": "type sid seq msg .market_ticker", "orderbook_delta": "type sid seq msg .market_ticker .price_dollars .delta_fp .side .ts_ms",
		"trade":               "type sid seq msg .market_ticker .trade_id .yes_price_dollars .no_price_dollars .count_fp .taker_side .ts_ms",
		"market_lifecycle_v2": "type msg .market_ticker .event_type", "subscribed": "type msg .channel .sid", "error": "type msg .code"}[m.typ]
	for _, n := range strings.Fields("type " + need) {
		if !m.present[n] {
			return nil, fmt.Errorf("%s missing", n)
		}
	}
	return m, nil
}

func twinPrice(raw json.RawMessage) (data.Price, error) {
	s, err := isString(raw)
	if err != nil {
		return 0, err
	}
	p, err := data.ParsePrice([]byte(s))
	if err == nil && (p <= 0 || p >= data.One) {
		err = errors.New("price out of range")
	}
	return p, err
}

func twinOutcome(raw json.RawMessage) (bool, error) {
	s, err := isString(raw)
	if err == nil && s != "yes" && s != "no" {
		err = errors.New("outcome")
	}
	return s == "yes", err
}

func twinLevels(raw json.RawMessage) ([]data.Rung, error) {
	var rows []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' {
		return nil, errors.New("not an array")
	}
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, err
	}
	var out []data.Rung
	for _, row := range rows {
		var cells []json.RawMessage
		if row[0] != '[' {
			return nil, errors.New("not an array")
		}
		if err := json.Unmarshal(row, &cells); err != nil || len(cells) != 2 {
			return nil, errors.New("level")
		}
		p, err := twinPrice(cells[0])
		if err != nil {
			return nil, err
		}
		s, err := isString(cells[1])
		if err != nil {
			return nil, err
		}
		q, err := data.ParseQty([]byte(s))
		if err != nil {
			return nil, err
		}
		out = append(out, data.Rung{Price: p, Qty: q})
	}
	return out, nil
}

func (m *twinMessage) body(raw json.RawMessage) error {
	o, err := parseObject(raw, bodyKeys)
	if err != nil {
		return err
	}
	var yes, no data.Price
	var taker, outcome bool
	var millis int64
	for k, v := range o {
		m.present["."+k] = true
		var err error
		switch k {
		case "market_ticker":
			m.ticker, err = isString(v)
		case "yes_dollars_fp":
			m.yes, err = twinLevels(v)
		case "no_dollars_fp":
			m.no, err = twinLevels(v)
		case "price_dollars":
			m.price, err = twinPrice(v)
		case "delta_fp", "count_fp":
			var s string
			if s, err = isString(v); err == nil {
				if k == "delta_fp" {
					m.qty, err = data.ParseDelta([]byte(s))
				} else {
					m.qty, err = data.ParseQty([]byte(s))
				}
			}
		case "side":
			m.yesSide, err = twinOutcome(v)
		case "taker_side":
			taker, err = twinOutcome(v)
		case "taker_outcome_side":
			outcome, err = twinOutcome(v)
		case "ts":
			if v[0] == '"' {
				var s string
				if s, err = isString(v); err == nil {
					m.time, err = data.ParseTime([]byte(s))
				}
			} else {
				var n int64
				if n, err = isInt(v); err == nil && (n < 0 || n > 1e10) {
					err = errors.New("ts")
				}
			}
		case "ts_ms":
			if millis, err = isInt(v); err == nil && (millis < 0 || millis > 1e13) {
				err = errors.New("ts_ms")
			}
		case "trade_id":
			m.tradeID, err = isString(v)
		case "yes_price_dollars":
			yes, err = twinPrice(v)
		case "no_price_dollars":
			no, err = twinPrice(v)
		case "is_block_trade":
			err = json.Unmarshal(v, &m.block)
			if string(v) == "null" {
				err = errors.New("null")
			}
		case "channel":
			m.channel, err = isString(v)
		case "msg":
			_, err = isString(v)
		case "event_type":
			m.event, err = isString(v)
		case "result":
			m.result, err = isString(v)
		case "code":
			m.code, err = isInt(v)
		case "close_ts", "sid":
			_, err = isInt(v)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	if m.time == 0 {
		m.time = data.Time(millis) * data.Time(data.Millisecond)
	}
	if m.present[".yes_price_dollars"] && m.present[".no_price_dollars"] && !m.present[".price_dollars"] {
		if yes+no != data.One {
			return errors.New("sum")
		}
		if m.present[".taker_side"] && m.present[".taker_outcome_side"] && taker != outcome {
			return errors.New("taker")
		}
		m.price, m.yesSide = yes, taker
	}
	return nil
}

func FuzzDecode_AgreesWithEncodingJSON(f *testing.F) {
	for _, s := range fixtures {
		f.Add([]byte(s))
	}
	var d Decoder
	var m Message
	f.Fuzz(func(t *testing.T, frame []byte) {
		err := d.Decode(frame, &m)
		want, twinErr := twinDecode(frame)
		if (err == nil) != (twinErr == nil) {
			t.Fatalf("scanner: %v; twin: %v", err, twinErr)
		}
		if err != nil {
			return
		}
		if messageType([]byte(want.typ)) != m.Type {
			t.Fatalf("type %q", want.typ)
		}
		same := string(m.Ticker) == want.ticker && m.Price == want.price && m.Qty == want.qty && string(m.TradeID) == want.tradeID &&
			m.Block == want.block && m.YesSide == want.yesSide && string(m.Event) == want.event && string(m.Result) == want.result && m.Code == want.code &&
			string(m.Channel) == want.channel && fmt.Sprint(m.Yes) == fmt.Sprint(want.yes) && fmt.Sprint(m.No) == fmt.Sprint(want.no)
		switch m.Type {
		case Snapshot, Delta, Trade: // elsewhere sid and time may come from two fields and are not used
			same = same && m.Seq == want.seq
			if !want.present[".sid"] {
				same = same && m.SID == want.sid
			}
			if m.Type != Snapshot {
				same = same && m.Time == want.time
			}
		}
		if !same {
			t.Fatalf("scanner read %+v; twin %+v", m, want)
		}
	})
}

func TestDecode_AgreesWithItsTwinOnRealMessages(t *testing.T) {
	frames, _ := readGold(t, "KXGOLD15M-26AUG101845-45")
	var d Decoder
	var m Message
	for i, f := range frames {
		if err := d.Decode(f, &m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if i%10 != 0 {
			continue
		}
		want, err := twinDecode(f)
		if err != nil {
			t.Fatalf("message %d: twin: %v", i, err)
		}
		if string(m.Ticker) != want.ticker || m.Price != want.price || m.Qty != want.qty || m.YesSide != want.yesSide || m.Seq != want.seq {
			t.Fatalf("message %d: %+v, twin %+v", i, m, want)
		}
	}
}

// jsonMessage is what a plain program would unmarshal a delta into: the reference of the speed ratio.
type jsonMessage struct {
	Type string `json:"type"`
	SID  int64  `json:"sid"`
	Seq  int64  `json:"seq"`
	Msg  struct {
		MarketTicker string      `json:"market_ticker"`
		MarketID     string      `json:"market_id"`
		PriceDollars string      `json:"price_dollars"`
		DeltaFP      string      `json:"delta_fp"`
		Side         string      `json:"side"`
		TS           string      `json:"ts"`
		TSMS         int64       `json:"ts_ms"`
		Yes          [][2]string `json:"yes_dollars_fp"`
		No           [][2]string `json:"no_dollars_fp"`
	} `json:"msg"`
}

func BenchmarkDecode(b *testing.B) {
	frame := []byte(fixtures["orderbook_delta"])
	b.Run("parser=scanner", func(b *testing.B) {
		var d Decoder
		var m Message
		b.ReportAllocs()
		b.SetBytes(int64(len(frame)))
		for b.Loop() {
			if err := d.Decode(frame, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parser=json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(frame)))
		for b.Loop() {
			var m jsonMessage
			if err := json.Unmarshal(frame, &m); err != nil {
				b.Fatal(err)
			}
			p, err := data.ParsePrice([]byte(m.Msg.PriceDollars))
			q, err2 := data.ParseDelta([]byte(m.Msg.DeltaFP))
			if err != nil || err2 != nil || p == 0 || q == math.MinInt64 {
				b.Fatal(err, err2)
			}
		}
	})
}
