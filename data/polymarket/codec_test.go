package polymarket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"arbiter/data"
	"arbiter/testdata/captures"
)

const (
	yesToken = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
	noToken  = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
	market1  = "0xdd22472e552920b8438158ea7238bfadfa4f736aa4cee91a6b86c39ead110917"
)

// Fixtures in the documented shape, one a message type; written for these tests.
var fixtures = map[string]string{
	"book":             `{"market":"` + market1 + `","asset_id":"` + yesToken + `","timestamp":"1777366470133","hash":"ab","bids":[{"price":"0.4","size":"10"},{"price":"0.41","size":"2.5"}],"asks":[{"price":"0.6","size":"7"},{"price":"0.45","size":"3"}],"tick_size":"0.01","event_type":"book","last_trade_price":"0.42"}`,
	"price_change":     `{"market":"` + market1 + `","price_changes":[{"asset_id":"` + yesToken + `","price":"0.42","size":"12","side":"BUY","hash":"aa","best_bid":"0.42","best_ask":"0.45"},{"asset_id":"` + noToken + `","price":"0.58","size":"12","side":"SELL","hash":"bb","best_bid":"0.55","best_ask":"0.58"}],"timestamp":"1777366470200","event_type":"price_change"}`,
	"last_trade_price": `{"market":"` + market1 + `","asset_id":"` + yesToken + `","price":"0.45","size":"1.5","fee_rate_bps":"0","side":"BUY","timestamp":"1777366470300","event_type":"last_trade_price","transaction_hash":"0xabc"}`,
	"tick_size_change": `{"event_type":"tick_size_change","market":"` + market1 + `","asset_id":"` + yesToken + `","old_tick_size":"0.01","new_tick_size":"0.001","timestamp":"1777366470400"}`,
	"best_bid_ask":     `{"event_type":"best_bid_ask","market":"` + market1 + `","asset_id":"` + yesToken + `","best_bid":"0.42","best_ask":"0.45","spread":"0.03","timestamp":"1777366470500"}`,
	"new_market":       `{"event_type":"new_market","id":"1","question":"Will it \"rain\"?","market":"` + market1 + `","slug":"rain","description":"Rules é","assets_ids":["` + yesToken + `","` + noToken + `"],"outcomes":["Yes","No"],"event_message":{"id":"2"},"timestamp":"1777366470600"}`,
	"market_resolved":  `{"event_type":"market_resolved","id":"1","market":"` + market1 + `","assets_ids":["` + yesToken + `","` + noToken + `"],"winning_asset_id":"` + noToken + `","winning_outcome":"No","timestamp":"1777366470700"}`,
	"rest book":        `{"market":"` + market1 + `","asset_id":"` + yesToken + `","timestamp":"1777366470133","hash":"ab","bids":[],"asks":[{"price":"0.6","size":"7"}],"min_order_size":"5","tick_size":"0.01","neg_risk":false,"last_trade_price":""}`,
	"unknown":          `{"event_type":"something_new","x":[{"y":1.5e3}]}`,
}

func decodeAll(frame []byte) ([]Message, error) {
	var d Decoder
	d.Reset(frame)
	var out []Message
	for {
		var m Message
		ok, err := d.Next(&m)
		if err != nil || !ok {
			return out, err
		}
		out = append(out, m)
	}
}

func TestDecode_Fixtures(t *testing.T) {
	for name, f := range fixtures {
		if ms, err := decodeAll([]byte(f)); err != nil || len(ms) != 1 {
			t.Errorf("%s: %d messages, %v", name, len(ms), err)
		}
	}
	array := "[" + fixtures["book"] + ", " + fixtures["price_change"] + "]"
	ms, err := decodeAll([]byte(array))
	if err != nil || len(ms) != 2 || ms[1].Type != PriceChange || len(ms[1].Changes) != 2 {
		t.Fatalf("array: %+v, %v", ms, err)
	}
	if c := ms[1].Changes[1]; string(c.Asset) != noToken || c.Price != 5800 || c.Side != data.Sell || c.Size != 12*data.Contract {
		t.Errorf("second change: %+v", c)
	}
	if ms, err := decodeAll([]byte("PONG")); err != nil || len(ms) != 1 || ms[0].Type != Pong {
		t.Errorf("PONG: %v, %v", ms, err)
	}
	if ms, err := decodeAll([]byte("[]")); err != nil || len(ms) != 0 {
		t.Errorf("empty array: %v, %v", ms, err)
	}
	ms, _ = decodeAll([]byte(fixtures["new_market"]))
	if string(ms[0].Question) != `Will it "rain"?` || string(ms[0].Text) != "Rules é" || string(ms[0].Assets[1]) != noToken {
		t.Errorf("new_market: %+v", ms[0])
	}
}

func TestDecode_MissingOrRetypedFieldIsAnErrorThatNamesIt(t *testing.T) {
	for name, fields := range map[string][]string{
		"book":             {"market", "asset_id", "timestamp", "bids", "asks"},
		"price_change":     {"event_type", "market", "timestamp", "price_changes", "price_changes.asset_id", "price_changes.price", "price_changes.size", "price_changes.side"},
		"last_trade_price": {"event_type", "market", "asset_id", "timestamp", "price", "size", "side"},
		"tick_size_change": {"event_type", "market", "asset_id", "timestamp", "old_tick_size", "new_tick_size"},
		"best_bid_ask":     {"event_type", "market", "asset_id", "timestamp", "best_bid", "best_ask"},
		"new_market":       {"event_type", "market", "timestamp", "assets_ids", "outcomes", "question"},
		"market_resolved":  {"event_type", "market", "timestamp", "assets_ids", "winning_asset_id"},
		"rest book":        {"market", "asset_id", "timestamp", "bids", "asks"},
	} {
		for _, path := range fields {
			for _, how := range []string{"deleted", "retyped"} {
				var tree map[string]any
				if err := json.Unmarshal([]byte(fixtures[name]), &tree); err != nil {
					t.Fatal(err)
				}
				node, key := tree, path
				if rest, ok := strings.CutPrefix(path, "price_changes."); ok {
					node, key = tree["price_changes"].([]any)[1].(map[string]any), rest
				}
				if how == "deleted" {
					delete(node, key)
				} else {
					node[key] = true
				}
				text, err := json.Marshal(tree)
				if err != nil {
					t.Fatal(err)
				}
				_, err = decodeAll(text)
				if err == nil {
					t.Errorf("%s with %s %s was accepted", name, path, how)
				} else if how == "deleted" && !strings.Contains(err.Error(), key) && !strings.Contains(err.Error(), "event_type") {
					t.Errorf("%s without %s: the error does not name it: %v", name, path, err)
				}
			}
		}
	}
}

func TestBookHash_VectorsReproduce(t *testing.T) {
	raw, err := os.ReadFile(captures.Path(t, "vectors", "polymarket_book_hash.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(raw) {
		var v struct{ Kind, Hash, Preimage string }
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		ms, err := decodeAll([]byte(v.Preimage)) // the preimage is itself a book without its hash
		if err != nil {
			t.Fatal(err)
		}
		m := &ms[0]
		h := HashInput{Market: m.Market, Asset: m.Asset, Timestamp: m.Timestamp, Bids: m.Bids, Asks: m.Asks, MinSize: m.MinSize, Tick: m.TickNew, NegRisk: m.NegRisk, LastTrade: m.LastTrade}
		if got := string(h.AppendPreimage(nil)); got != v.Preimage {
			t.Errorf("%s: preimage\n%s\nwant\n%s", v.Kind, got, v.Preimage)
		}
		if got, _ := h.AppendHash(nil, nil); string(got) != v.Hash {
			t.Errorf("%s: hash %s, want %s", v.Kind, got, v.Hash)
		}
		n++
	}
	if n != 40 {
		t.Errorf("%d vectors, want 40", n)
	}
}

// The official client's own vectors (py-clob-client tests, v0.34.4 and later).
func TestBookHash_OfficialVectors(t *testing.T) {
	hundred := 100 * data.Contract
	h := HashInput{Market: []byte("0xaabbcc"), Asset: []byte("100"), Timestamp: 123456789, Bids: []data.Rung{{Price: 3000, Qty: hundred}, {Price: 4000, Qty: hundred}},
		Asks: []data.Rung{{Price: 6000, Qty: hundred}, {Price: 7000, Qty: hundred}}, MinSize: hundred, Tick: 100, LastTrade: []byte("0.5")}
	if got, _ := h.AppendHash(nil, nil); string(got) != "0458ea5755c9f73d64a14636fa5c36ed460ec394" {
		t.Errorf("full book: %s", got)
	}
	h.Timestamp, h.Bids, h.Asks = -1, nil, nil
	if got, _ := h.AppendHash(nil, nil); string(got) != "74c6a7c81c1d572f1c877b7d3e25b80c336d8a6e" {
		t.Errorf("empty book: %s", got)
	}
}

func TestDecode_RealExampleMessages(t *testing.T) {
	dir := captures.Path(t, "polymarket", "messages")
	for name, want := range map[string]MessageType{
		"ws_market_book.json": BookSnapshot, "ws_market_book_msg.json": BookSnapshot, "ws_market_price_change.json": PriceChange,
		"ws_market_price_change_msg.json": PriceChange, "ws_market_last_trade_price.json": LastTradePrice, "ws_market_last_trade_msg.json": LastTradePrice,
		"ws_market_best_bid_ask_msg.json": BestBidAsk, "ws_market_new_market_msg.json": NewMarket, "ws_market_resolved_msg.json": MarketResolved,
		"ws_market_tick_size_msg.json": TickSizeChange, "clob_book_response.json": BookRest,
	} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		ms, err := decodeAll(raw)
		if err != nil || len(ms) == 0 || ms[0].Type != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"gamma_market.json", "gamma_market_sports_market_money_line.json", "gamma_market_closed_binary_accepting_true.json"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := ParseMarket(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(rec.Listing.Tokens[0]) < 70 || rec.Listing.Key.Native == "" {
			t.Errorf("%s: %+v", name, rec.Listing)
		}
	}
}

// Scenario m: the strict winner rule. Closed with prices 1 and 0 is settled, even while orders are accepted; 0/0 and
// fractions are not.
func TestParseMarket_StrictWinnerRule(t *testing.T) {
	dir := captures.Path(t, "polymarket", "messages")
	for name, settled := range map[string]bool{"gamma_market_closed_binary_accepting_false.json": true, "gamma_market_closed_binary_accepting_true.json": true,
		"gamma_market_closed_zero_zero_legacy.json": false, "gamma_market.json": false} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := ParseMarket(raw)
		if err != nil {
			if !settled {
				continue // a legacy record may lack what an order book needs: it is refused, not settled
			}
			t.Fatalf("%s: %v", name, err)
		}
		if rec.Settled != settled {
			t.Errorf("%s: settled %v, want %v", name, rec.Settled, settled)
		}
	}
}

// The strict encoding/json twin. It shares no code with the scanner.
func object(raw []byte, known string) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("not an object: %v", err)
	}
	o := map[string]json.RawMessage{}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		if key := k.(string); strings.Contains(known, " "+key+" ") {
			if _, dup := o[key]; dup {
				return nil, errors.New("duplicate")
			}
			o[key] = v
		}
	}
	_, err := dec.Token()
	return o, err
}

func text(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errors.New("not a string")
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

func depth(b []byte) int {
	deepest, d, inString := 0, 0, false
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

func twin(frame []byte) ([]string, error) {
	if string(frame) == "PONG" {
		return []string{"pong"}, nil
	}
	if !json.Valid(frame) || !utf8.Valid(frame) || depth(frame) > 64 {
		return nil, errors.New("not JSON")
	}
	frame = bytes.TrimLeft(frame, " \t\r\n")
	if frame[0] != '[' {
		s, err := twinOne(frame)
		return []string{s}, err
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(frame, &rows); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows {
		s, err := twinOne(r)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

const known = " event_type market asset_id timestamp hash bids asks price_changes price size side tick_size old_tick_size new_tick_size best_bid best_ask min_order_size neg_risk last_trade_price transaction_hash winning_asset_id assets_ids outcomes question description "

func twinOne(raw []byte) (string, error) {
	o, err := object(raw, known)
	if err != nil {
		return "", err
	}
	m := Message{}
	if _, both := o["tick_size"]; both && o["new_tick_size"] != nil {
		m.TickNew = -1 // the scanner keeps whichever came last; such a message does not exist
	}
	for k, v := range o {
		var s string
		switch k {
		case "bids", "asks", "price_changes", "assets_ids", "outcomes", "neg_risk":
		default:
			if s, err = text(v); err != nil {
				return "", fmt.Errorf("%s: %w", k, err)
			}
		}
		switch k {
		case "timestamp":
			var ok bool
			if m.Timestamp, ok = twinInt(s); !ok || m.Timestamp < 0 || m.Timestamp > 1e15 {
				err = errors.New("timestamp")
			}
		case "price":
			m.Price, err = data.ParsePrice([]byte(s))
		case "tick_size", "new_tick_size":
			var p data.Price
			p, err = data.ParsePrice([]byte(s))
			if m.TickNew >= 0 {
				m.TickNew = p
			}
		case "old_tick_size":
			_, err = data.ParsePrice([]byte(s))
		case "best_bid", "best_ask":
			if s != "" {
				_, err = data.ParsePrice([]byte(s))
			}
		case "size", "min_order_size":
			_, err = data.ParseQty([]byte(s))
		case "side":
			if s != "BUY" && s != "SELL" {
				err = errors.New("side")
			}
		case "neg_risk":
			if string(v) != "true" && string(v) != "false" {
				err = errors.New("neg_risk")
			}
		case "bids":
			m.Bids, err = twinLevels(v)
		case "asks":
			m.Asks, err = twinLevels(v)
		case "assets_ids", "outcomes":
			var rows []json.RawMessage
			if v[0] != '[' || json.Unmarshal(v, &rows) != nil || len(rows) != 2 {
				return "", errors.New(k)
			}
			for i, r := range rows {
				s, err := text(r)
				if err != nil {
					return "", err
				}
				if k == "assets_ids" {
					m.Assets[i] = []byte(s)
				}
			}
		case "price_changes":
			m.Changes, err = twinChanges(v)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", k, err)
		}
	}
	typ, hasTyp := "", false
	if v, ok := o["event_type"]; ok {
		typ, _ = text(v)
		hasTyp = true
	}
	need := map[string]string{"book": "market asset_id timestamp bids asks", "price_change": "market timestamp price_changes",
		"tick_size_change": "market asset_id timestamp old_tick_size new_tick_size", "last_trade_price": "market asset_id timestamp price size side",
		"best_bid_ask": "market asset_id timestamp best_bid best_ask", "new_market": "market timestamp assets_ids outcomes question",
		"market_resolved": "market timestamp assets_ids winning_asset_id"}[typ]
	if !hasTyp {
		typ, need = "rest", "market asset_id timestamp bids asks"
	}
	for _, n := range strings.Fields(need) {
		if _, ok := o[n]; !ok {
			return "", fmt.Errorf("%s missing", n)
		}
	}
	if typ == "book" || typ == "rest" || typ == "last_trade_price" {
		for _, r := range append(append([]data.Rung{}, m.Bids...), m.Asks...) {
			if !r.Price.Tradable() {
				return "", errors.New("price")
			}
		}
		if typ == "last_trade_price" && !m.Price.Tradable() {
			return "", errors.New("price")
		}
	}
	if typ == "tick_size_change" && m.TickNew == 0 {
		return "", errors.New("tick")
	}
	asset := ""
	if v, ok := o["asset_id"]; ok {
		asset, _ = text(v)
	}
	return render(asset, m.Timestamp, m.Price, m.TickNew, m.Bids, m.Asks, m.Changes, m.Assets), nil
}

func twinInt(s string) (int64, bool) {
	t := strings.TrimPrefix(s, "-")
	if t == "" || len(t) > 18 || strings.Trim(t, "0123456789") != "" {
		return 0, false
	}
	var v int64
	_, err := fmt.Sscanf(s, "%d", &v)
	return v, err == nil
}

func twinLevels(raw json.RawMessage) ([]data.Rung, error) {
	var rows []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &rows) != nil {
		return nil, errors.New("levels")
	}
	var out []data.Rung
	for _, r := range rows {
		o, err := object(r, " price size ")
		if err != nil || len(o) != 2 {
			return nil, errors.New("level")
		}
		p, err := text(o["price"])
		if err != nil {
			return nil, err
		}
		q, err := text(o["size"])
		if err != nil {
			return nil, err
		}
		var rung data.Rung
		if rung.Price, err = data.ParsePrice([]byte(p)); err != nil {
			return nil, err
		}
		if rung.Qty, err = data.ParseQty([]byte(q)); err != nil {
			return nil, err
		}
		out = append(out, rung)
	}
	return out, nil
}

func twinChanges(raw json.RawMessage) ([]Change, error) {
	var rows []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &rows) != nil {
		return nil, errors.New("changes")
	}
	var out []Change
	for _, r := range rows {
		o, err := object(r, " asset_id price size side hash best_bid best_ask ")
		if err != nil {
			return nil, err
		}
		var c Change
		for k, v := range o {
			s, err := text(v)
			if err != nil {
				return nil, err
			}
			switch k {
			case "asset_id":
				c.Asset = []byte(s)
			case "price":
				c.Price, err = data.ParsePrice([]byte(s))
			case "size":
				c.Size, err = data.ParseQty([]byte(s))
			case "side":
				switch s {
				case "BUY":
					c.Side = data.Buy
				case "SELL":
					c.Side = data.Sell
				default:
					err = errors.New("side")
				}
			case "best_bid", "best_ask":
				if s != "" {
					_, err = data.ParsePrice([]byte(s))
				}
			}
			if err != nil {
				return nil, err
			}
		}
		for _, n := range []string{"asset_id", "price", "size", "side"} {
			if _, ok := o[n]; !ok {
				return nil, errors.New("missing " + n)
			}
		}
		if !c.Price.Tradable() {
			return nil, errors.New("price")
		}
		out = append(out, c)
	}
	return out, nil
}

func render(asset string, ts int64, price, tick data.Price, bids, asks []data.Rung, changes []Change, assets [2][]byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %d %d %d %v %v %q|", asset, ts, price, tick, bids, asks, assets)
	for _, c := range changes {
		fmt.Fprintf(&b, "%q %d %d %d,", c.Asset, c.Price, c.Size, c.Side)
	}
	return b.String()
}

func FuzzDecode_AgreesWithEncodingJSON(f *testing.F) {
	for _, s := range fixtures {
		f.Add([]byte(s))
	}
	f.Add([]byte("[" + fixtures["book"] + "," + fixtures["price_change"] + "]"))
	f.Add([]byte("PONG"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		ms, err := decodeAll(frame)
		want, twinErr := twin(frame)
		if (err == nil) != (twinErr == nil) {
			t.Fatalf("scanner: %v; twin: %v", err, twinErr)
		}
		if err != nil {
			return
		}
		if len(ms) != len(want) {
			t.Fatalf("%d messages, twin %d", len(ms), len(want))
		}
		for i, m := range ms {
			if m.Type == Pong || strings.Contains(want[i], " -1 ") {
				continue
			}
			if got := render(string(m.Asset), m.Timestamp, m.Price, m.TickNew, m.Bids, m.Asks, m.Changes, m.Assets); got != want[i] {
				t.Fatalf("scanner %s\ntwin    %s", got, want[i])
			}
		}
	})
}

func TestDecode_SteadyStateAllocatesNothing(t *testing.T) {
	var d Decoder
	var m Message
	for _, name := range []string{"price_change", "book", "last_trade_price"} {
		f := []byte(fixtures[name])
		if n := testing.AllocsPerRun(1000, func() {
			d.Reset(f)
			if ok, err := d.Next(&m); !ok || err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

type jsonChange struct {
	AssetID string `json:"asset_id"`
	Price   string `json:"price"`
	Size    string `json:"size"`
	Side    string `json:"side"`
	Hash    string `json:"hash"`
	BestBid string `json:"best_bid"`
	BestAsk string `json:"best_ask"`
}

type jsonMessage struct {
	Market       string       `json:"market"`
	PriceChanges []jsonChange `json:"price_changes"`
	Timestamp    string       `json:"timestamp"`
	EventType    string       `json:"event_type"`
}

func BenchmarkDecode(b *testing.B) {
	frame := []byte(fixtures["price_change"])
	b.Run("parser=scanner", func(b *testing.B) {
		var d Decoder
		var m Message
		b.ReportAllocs()
		b.SetBytes(int64(len(frame)))
		for b.Loop() {
			d.Reset(frame)
			if ok, err := d.Next(&m); !ok || err != nil {
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
			for i := range m.PriceChanges {
				if _, err := data.ParsePrice([]byte(m.PriceChanges[i].Price)); err != nil {
					b.Fatal(err)
				}
				if _, err := data.ParseQty([]byte(m.PriceChanges[i].Size)); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
