package fakevenue

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
)

// routes are both venues' public resources.
func (s *Server) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /gamma/events/keyset", s.rest(s.gammaEvents))
	mux.HandleFunc("GET /gamma/markets/keyset", s.rest(s.gammaMarkets))
	mux.HandleFunc("GET /clob/book", s.rest(s.clobBook))
	mux.HandleFunc("POST /clob/books", s.rest(s.clobBooks))
	mux.HandleFunc("GET /ws/market", func(w http.ResponseWriter, r *http.Request) { s.accept(w, r, data.Polymarket, s.polymarketCommand) })
	mux.HandleFunc("GET /trade-api/v2/exchange/status", s.rest(func(*http.Request) (any, int) {
		return map[string]bool{"exchange_active": true, "trading_active": true}, http.StatusOK
	}))
	mux.HandleFunc("GET /trade-api/v2/series/{series}", s.rest(s.kalshiSeries))
	mux.HandleFunc("GET /trade-api/v2/events", s.rest(s.kalshiEvents))
	mux.HandleFunc("GET /trade-api/v2/events/{event}", s.rest(s.kalshiEvent))
	mux.HandleFunc("GET /trade-api/v2/markets/{ticker}", s.rest(s.kalshiMarket))
	mux.HandleFunc("GET /trade-api/v2/markets/orderbooks", s.rest(s.kalshiBooks))
	mux.HandleFunc("GET /trade-api/ws/v2", func(w http.ResponseWriter, r *http.Request) {
		if !s.signed(r) {
			reply(w, map[string]any{"error": map[string]string{"code": "authentication_error"}}, http.StatusUnauthorized)
			return
		}
		s.accept(w, r, data.Kalshi, s.kalshiCommand)
	})
}

// signed checks the three headers of a Kalshi request.
func (s *Server) signed(r *http.Request) bool {
	stamp, key := r.Header.Get("KALSHI-ACCESS-TIMESTAMP"), r.Header.Get("KALSHI-ACCESS-KEY")
	sig, err := base64.StdEncoding.DecodeString(r.Header.Get("KALSHI-ACCESS-SIGNATURE"))
	if stamp == "" || key == "" || err != nil || len(sig) == 0 {
		return false
	}
	if s.opt.Key == nil {
		return true
	}
	sum := sha256.Sum256([]byte(stamp + r.Method + r.URL.Path))
	return rsa.VerifyPSS(s.opt.Key, crypto.SHA256, sum[:], sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
}

// rest answers with JSON, or with what a fault wants.
func (s *Server) rest(f func(r *http.Request) (any, int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		switch {
		case s.hit("429", s.opt.Faults.TooMany):
			s.mu.Unlock()
			reply(w, map[string]string{"error": "too many requests"}, http.StatusTooManyRequests)
			return
		case s.hit("5xx", s.opt.Faults.Broken):
			s.mu.Unlock()
			reply(w, map[string]string{"error": "unavailable"}, http.StatusServiceUnavailable)
			return
		case s.running() && s.hit("html-403", s.opt.Faults.HTML):
			s.mu.Unlock()
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte("<html><title>Attention Required!</title></html>"))
			return
		}
		v, status := f(r)
		s.mu.Unlock()
		if raw, ok := v.([]byte); ok {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			w.Write(raw)
			return
		}
		reply(w, v, status)
	}
}

func reply(w http.ResponseWriter, v any, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

type object map[string]any

func number(v int64, scale int) json.Number {
	return json.Number(data.AppendDecimal(nil, v, scale, 0))
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings of ours
	}
	return string(b)
}

// gammaMarket is one Gamma market record.
func (m *market) gammaMarket() object {
	l := m.list
	o := object{"conditionId": l.Key.Native, "question": l.Title, "description": l.Rules, "resolutionSource": l.Source, "outcomes": text(l.Outcomes), "clobTokenIds": text(l.Tokens),
		"orderPriceMinTickSize": number(int64(m.tick), 4), "orderMinSize": number(int64(l.QtyMin), 6), "negRisk": l.NegRisk, "active": true, "closed": m.status == data.Closed || m.settled,
		"acceptingOrders": m.status == data.Open, "feesEnabled": false, "volumeNum": 1000, "arbiterSynthetic": l.Synthetic}
	if l.Opens != 0 {
		o["startDate"] = l.Opens.String()
	}
	if l.Closes != 0 {
		o["endDate"] = l.Closes.String()
	}
	if f := m.fees; f != nil && f.Taker != 0 {
		o["feesEnabled"] = true
		o["feeSchedule"] = object{"rate": number(int64(f.Taker), 6), "exponent": int(f.Exponent), "takerOnly": true, "rebateRate": number(int64(f.Share), 6)}
	} else if f == nil {
		delete(o, "feesEnabled")
	}
	if m.settled {
		o["outcomePrices"] = `["0","1"]`
		if m.payout == data.Dollar {
			o["outcomePrices"] = `["1","0"]`
		}
	}
	return o
}

// gammaEvent is the record of an event with all its markets; closed says whether all of them are.
func (s *Server) gammaEvent(slug string) (o object, closed bool) {
	var markets []object
	var first *data.Listing
	closed = true
	for _, m := range s.order {
		if m.list.Key.Venue == data.Polymarket && m.list.Event == slug {
			if first == nil {
				first = m.list
			}
			markets = append(markets, m.gammaMarket())
			closed = closed && (m.settled || m.status == data.Closed)
		}
	}
	if first == nil {
		return nil, false
	}
	return object{"id": slug, "slug": slug, "negRisk": first.Partition == data.Exhaustive, "negRiskAugmented": false, "tags": []object{{"label": first.Category}}, "markets": markets}, closed
}

// page is a keyset page: the cursor is the number of what was given before.
func page(r *http.Request, name string, all []object) any {
	from := 0
	if c := r.URL.Query().Get("after_cursor"); c != "" {
		if err := json.Unmarshal([]byte(c), &from); err != nil || from < 0 || from > len(all) {
			from = len(all)
		}
	}
	to, next := min(from+100, len(all)), ""
	if to < len(all) {
		next = text(to)
	}
	return object{name: all[from:to], "next_cursor": next}
}

func (s *Server) gammaEvents(r *http.Request) (any, int) {
	q := r.URL.Query()
	wantClosed := q.Get("closed") == "true"
	done := map[string]bool{}
	all := []object{}
	for _, m := range s.order {
		l := m.list
		if l.Key.Venue != data.Polymarket || done[l.Event] || (q.Get("slug") != "" && q.Get("slug") != l.Event) || (q.Get("tag_slug") != "" && !strings.EqualFold(q.Get("tag_slug"), l.Category)) {
			continue
		}
		done[l.Event] = true
		if o, closed := s.gammaEvent(l.Event); closed == wantClosed {
			all = append(all, o)
		}
	}
	return page(r, "events", all), http.StatusOK
}

func (s *Server) gammaMarkets(r *http.Request) (any, int) {
	q := r.URL.Query()
	all := []object{}
	for _, m := range s.order {
		closed := m.settled || m.status == data.Closed
		if m.list.Key.Venue != data.Polymarket || closed != (q.Get("closed") == "true") || (q.Has("condition_ids") && q.Get("condition_ids") != m.list.Key.Native) {
			continue
		}
		o := m.gammaMarket()
		o["events"] = []object{{"id": m.list.Event, "slug": m.list.Event}}
		all = append(all, o)
	}
	return page(r, "markets", all), http.StatusOK
}

func (s *Server) clobBook(r *http.Request) (any, int) {
	t, ok := s.tokens[r.URL.Query().Get("token_id")]
	if !ok || !t.m.has {
		return object{"error": "No orderbook exists for the requested token id"}, http.StatusNotFound
	}
	return s.book(nil, t.m, t.no, nil, polymarket.BookRest), http.StatusOK
}

func (s *Server) clobBooks(r *http.Request) (any, int) {
	var ask []struct {
		Token string `json:"token_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || len(ask) > 500 {
		return object{"error": "Payload exceeds the limit"}, http.StatusBadRequest
	}
	out := []byte{'['}
	for _, a := range ask {
		if t, ok := s.tokens[a.Token]; ok && t.m.has {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = s.book(out, t.m, t.no, nil, polymarket.BookRest)
		}
	}
	return append(out, ']'), http.StatusOK
}

// kalshiRecord is one market of an event's record.
func (m *market) kalshiRecord() object {
	l := m.list
	primary, secondary, _ := strings.Cut(l.Rules, "\n\n")
	var ranges []object
	for _, b := range l.Bands {
		four := func(p data.Price) string { return string(data.AppendDecimal(nil, int64(p), 4, 4)) }
		ranges = append(ranges, object{"start": four(b.Start), "end": four(b.End), "step": four(b.Step)})
	}
	o := object{"ticker": l.Key.Native, "event_ticker": l.Event, "title": l.Title, "market_type": "binary", "rules_primary": primary, "rules_secondary": secondary,
		"open_time": l.Opens.String(), "close_time": l.Closes.String(), "price_ranges": ranges, "yes_sub_title": l.Outcomes[0], "no_sub_title": l.Outcomes[1], "volume_fp": "1000.00",
		"exchange_index": l.Shard, "result": "", "status": map[data.MarketStatus]string{data.Open: "active", data.Halted: "inactive", data.Closed: "closed",
			data.Determined: "determined", data.Settled: "settled"}[m.status], "arbiter_synthetic": l.Synthetic}
	if l.Expected != 0 {
		o["expected_expiration_time"] = l.Expected.String()
	}
	if m.settled {
		o["settlement_value_dollars"] = string(data.AppendDecimal(nil, int64(m.payout), 6, 4))
		o["settlement_ts"] = m.stamp.String()
		o["result"] = "scalar"
		if m.payout == 0 {
			o["result"] = "no"
		}
		if m.payout == data.Dollar {
			o["result"] = "yes"
		}
	}
	return o
}

// kalshiEventRecord is an event with its markets nested; open says whether one of them is.
func (s *Server) kalshiEventRecord(ticker string) (o object, open bool) {
	var markets []object
	var first *data.Listing
	for _, m := range s.order {
		if m.list.Key.Venue == data.Kalshi && m.list.Event == ticker {
			if first == nil {
				first = m.list
			}
			markets = append(markets, m.kalshiRecord())
			open = open || (!m.settled && m.status != data.Closed)
		}
	}
	if first == nil {
		return nil, false
	}
	sources := []object{}
	if first.Source != "" {
		for _, name := range strings.Split(first.Source, "; ") {
			sources = append(sources, object{"name": name, "url": ""})
		}
	}
	return object{"event_ticker": ticker, "series_ticker": first.Series, "category": first.Category, "mutually_exclusive": first.Partition == data.Exclusive,
		"settlement_sources": sources, "markets": markets}, open
}

func notFound() (any, int) {
	return object{"error": object{"code": "not_found", "message": "not found"}}, http.StatusNotFound
}

func (s *Server) kalshiEvent(r *http.Request) (any, int) {
	o, _ := s.kalshiEventRecord(r.PathValue("event"))
	if o == nil {
		return notFound()
	}
	return object{"event": o}, http.StatusOK
}

func (s *Server) kalshiEvents(r *http.Request) (any, int) {
	q := r.URL.Query()
	done := map[string]bool{}
	events := []object{}
	for _, m := range s.order {
		l := m.list
		if l.Key.Venue != data.Kalshi || done[l.Event] || (q.Get("series_ticker") != "" && q.Get("series_ticker") != l.Series) {
			continue
		}
		done[l.Event] = true
		if o, open := s.kalshiEventRecord(l.Event); open || q.Get("status") != "open" {
			events = append(events, o)
		}
	}
	return object{"events": events, "cursor": ""}, http.StatusOK
}

func (s *Server) kalshiMarket(r *http.Request) (any, int) {
	m := s.markets[data.MarketKey{Venue: data.Kalshi, Native: r.PathValue("ticker")}]
	if m == nil {
		return notFound()
	}
	return object{"market": m.kalshiRecord()}, http.StatusOK
}

// kalshiSeries gives the fee rule that the tape's schedule came from.
func (s *Server) kalshiSeries(r *http.Request) (any, int) {
	for _, m := range s.order {
		if m.list.Key.Venue != data.Kalshi || m.list.Series != r.PathValue("series") {
			continue
		}
		kind, multiplier := "unknown", int64(0) // the tape names no fees
		if f := m.fees; f != nil {
			kind = "quadratic"
			multiplier = int64(f.Taker) * 1_000_000 / 70_000
			if f.Maker != 0 {
				kind = "quadratic_with_maker_fees"
			}
		}
		return object{"series": object{"ticker": m.list.Series, "fee_type": kind, "fee_multiplier": number(multiplier, 6)}}, http.StatusOK
	}
	return notFound()
}

func (s *Server) kalshiBooks(r *http.Request) (any, int) {
	books := []json.RawMessage{}
	for _, t := range r.URL.Query()["tickers"] {
		m := s.markets[data.MarketKey{Venue: data.Kalshi, Native: t}]
		if m == nil || !m.has {
			continue
		}
		bids, asks := m.ladders(nil)
		b := []byte(`{"ticker":` + text(t) + `,"orderbook_fp":{"yes_dollars":`)
		b = kalshi.AppendLevels(b, bids)
		b = kalshi.AppendLevels(append(b, `,"no_dollars":`...), complement(asks))
		books = append(books, append(b, `}}`...))
	}
	return object{"orderbooks": books}, http.StatusOK
}
