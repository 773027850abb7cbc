package kalshi

import (
	"encoding/json"
	"fmt"

	"arbiter/data"
)

// Record is what a market's REST record says, in our words.
type Record struct {
	Listing   data.Listing
	Status    data.MarketStatus
	Settled   bool
	Payout    data.Money // of one YES contract, where Settled
	SettledAt data.Time
}

// Series is the part of a series' record that fees need.
type Series struct {
	Ticker     string
	FeeType    string
	Multiplier int64 // millionths
}

type marketJSON struct {
	Ticker        *string          `json:"ticker"`
	EventTicker   *string          `json:"event_ticker"`
	Title         *string          `json:"title"`
	Status        *string          `json:"status"`
	Result        *string          `json:"result"`
	RulesPrimary  *string          `json:"rules_primary"`
	RulesSecond   *string          `json:"rules_secondary"`
	OpenTime      *string          `json:"open_time"`
	CloseTime     *string          `json:"close_time"`
	Expected      *string          `json:"expected_expiration_time"`
	PriceRanges   []priceRangeJSON `json:"price_ranges"`
	Settlement    *string          `json:"settlement_value_dollars"`
	SettlementTS  *string          `json:"settlement_ts"`
	ExchangeIndex *uint8           `json:"exchange_index"`
	YesSub        string           `json:"yes_sub_title"`
	NoSub         string           `json:"no_sub_title"`
	MarketType    *string          `json:"market_type"`
	Synthetic     bool             `json:"arbiter_synthetic"` // only the simulated venue's records have it
}

type priceRangeJSON struct{ Start, End, Step string }

type eventJSON struct {
	EventTicker *string      `json:"event_ticker"`
	Series      string       `json:"series_ticker"`
	Category    string       `json:"category"`
	Exclusive   *bool        `json:"mutually_exclusive"`
	Sources     []sourceJSON `json:"settlement_sources"`
	Markets     []marketJSON `json:"markets"`
}

type sourceJSON struct{ Name, URL string }

// ParseEvent reads the body of GET /events/{ticker} and returns its markets in the venue's order.
func ParseEvent(body []byte) ([]Record, error) {
	var r struct {
		Event   *eventJSON   `json:"event"`
		Markets []marketJSON `json:"markets"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("kalshi: event record: %w", err)
	}
	if r.Event == nil || r.Event.EventTicker == nil {
		return nil, fmt.Errorf("kalshi: event record: event.event_ticker: required field is missing: %w", ErrMessage)
	}
	markets := r.Markets
	if len(markets) == 0 {
		markets = r.Event.Markets
	}
	out := make([]Record, 0, len(markets))
	for i := range markets {
		rec, err := markets[i].record()
		if err != nil {
			return nil, fmt.Errorf("kalshi: event record %s: market %d: %w", *r.Event.EventTicker, i, err)
		}
		l := &rec.Listing
		l.Event, l.EventSize, l.Series, l.Category = *r.Event.EventTicker, len(markets), r.Event.Series, r.Event.Category
		if r.Event.Exclusive != nil && *r.Event.Exclusive {
			l.Partition = data.Exclusive // at most one YES; that one must come is not said
		}
		for j, s := range r.Event.Sources {
			if j > 0 {
				l.Source += "; "
			}
			l.Source += s.Name
		}
		out = append(out, rec)
	}
	return out, nil
}

// ParseMarkets reads the body of GET /markets. The records lack the event's fields: nothing is known to be exclusive.
func ParseMarkets(body []byte) ([]Record, error) {
	var r struct {
		Markets []marketJSON `json:"markets"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("kalshi: market records: %w", err)
	}
	out := make([]Record, 0, len(r.Markets))
	for i := range r.Markets {
		rec, err := r.Markets[i].record()
		if err != nil {
			return nil, fmt.Errorf("kalshi: market record %d: %w", i, err)
		}
		out = append(out, rec)
	}
	return out, nil
}

func (m *marketJSON) record() (Record, error) {
	var rec Record
	for _, f := range []struct {
		name string
		p    *string
	}{{"ticker", m.Ticker}, {"event_ticker", m.EventTicker}, {"title", m.Title}, {"status", m.Status}, {"rules_primary", m.RulesPrimary},
		{"open_time", m.OpenTime}, {"close_time", m.CloseTime}, {"market_type", m.MarketType}} {
		if f.p == nil {
			return rec, fmt.Errorf("%s: required field is missing: %w", f.name, ErrMessage)
		}
	}
	if *m.MarketType != "binary" {
		return rec, fmt.Errorf("%s: market_type %q: only binary markets are supported: %w", *m.Ticker, *m.MarketType, ErrMessage)
	}
	l := &rec.Listing
	*l = data.Listing{Key: data.MarketKey{Venue: data.Kalshi, Native: *m.Ticker}, Event: *m.EventTicker, EventSize: 1, Title: *m.Title,
		Rules: *m.RulesPrimary, Outcomes: [2]string{"Yes", "No"}, QtyMin: data.Contract / 100, QtyStep: data.Contract / 100, Synthetic: m.Synthetic}
	if m.YesSub != "" {
		l.Outcomes = [2]string{m.YesSub, m.NoSub}
	}
	if m.RulesSecond != nil && *m.RulesSecond != "" {
		l.Rules += "\n\n" + *m.RulesSecond
	}
	if m.ExchangeIndex != nil {
		l.Shard = *m.ExchangeIndex
	}
	var err error
	if l.Bands, err = bands(m.PriceRanges); err != nil {
		return rec, fmt.Errorf("%s: price_ranges: %w", *m.Ticker, err)
	}
	for _, t := range []struct {
		name string
		from *string
		to   *data.Time
	}{{"open_time", m.OpenTime, &l.Opens}, {"close_time", m.CloseTime, &l.Closes}, {"expected_expiration_time", m.Expected, &l.Expected},
		{"settlement_ts", m.SettlementTS, &rec.SettledAt}} {
		if t.from == nil || *t.from == "" {
			continue
		}
		if *t.to, err = data.ParseTime([]byte(*t.from)); err != nil {
			return rec, fmt.Errorf("%s: %s: %w", *m.Ticker, t.name, err)
		}
	}
	return rec, m.settlement(&rec)
}

func bands(ranges []priceRangeJSON) ([]data.Band, error) {
	var out []data.Band
	for _, r := range ranges {
		var b data.Band
		for _, f := range []struct {
			text string
			to   *data.Price
		}{{r.Start, &b.Start}, {r.End, &b.End}, {r.Step, &b.Step}} {
			p, err := data.ParsePrice([]byte(f.text))
			if err != nil {
				return nil, err
			}
			*f.to = p
		}
		out = append(out, b)
	}
	return out, data.CheckBands(out)
}

// settlement reads status and result. A settlement value that contradicts the result is refused.
func (m *marketJSON) settlement(rec *Record) error {
	switch *m.Status {
	case "active", "open":
		rec.Status = data.Open
	case "initialized", "inactive":
		rec.Status = data.Halted
	case "closed":
		rec.Status = data.Closed
	case "determined":
		rec.Status = data.Determined
	case "disputed", "amended":
		rec.Status = data.Disputed
	case "settled", "finalized":
		rec.Status = data.Settled
	default:
		return fmt.Errorf("%s: status %q is not known: %w", *m.Ticker, *m.Status, ErrMessage)
	}
	if m.Result == nil || *m.Result == "" {
		return nil
	}
	if m.Settlement != nil && *m.Settlement != "" {
		v, err := data.ParseMoney([]byte(*m.Settlement))
		if err != nil {
			return fmt.Errorf("%s: settlement_value_dollars: %w", *m.Ticker, err)
		}
		if v < 0 || v > data.Dollar {
			return fmt.Errorf("%s: settlement_value_dollars %s outside 0..1: %w", *m.Ticker, v, ErrMessage)
		}
		if plain, err := resultPayout(*m.Result); err == nil && plain != v {
			return fmt.Errorf("%s: result %q but settlement value %s: %w", *m.Ticker, *m.Result, v, ErrMessage)
		}
		rec.Payout, rec.Settled = v, true
		return nil
	}
	v, err := resultPayout(*m.Result)
	if err != nil {
		return fmt.Errorf("%s: no settlement value and %w", *m.Ticker, err)
	}
	rec.Payout, rec.Settled = v, true
	return nil
}

// ParseSeries reads the body of GET /series/{ticker}.
func ParseSeries(body []byte) (Series, error) {
	var r struct {
		Series struct {
			Ticker     *string      `json:"ticker"`
			FeeType    *string      `json:"fee_type"`
			Multiplier *json.Number `json:"fee_multiplier"`
		} `json:"series"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return Series{}, fmt.Errorf("kalshi: series record: %w", err)
	}
	s := r.Series
	if s.Ticker == nil || s.FeeType == nil || s.Multiplier == nil {
		return Series{}, fmt.Errorf("kalshi: series record: ticker, fee_type or fee_multiplier is missing: %w", ErrMessage)
	}
	m, err := data.ParseDecimal([]byte(*s.Multiplier), 6)
	if err != nil {
		return Series{}, fmt.Errorf("kalshi: series %s: fee_multiplier: %w", *s.Ticker, err)
	}
	return Series{Ticker: *s.Ticker, FeeType: *s.FeeType, Multiplier: m}, nil
}

// Orderbook is the body of GET /markets/{ticker}/orderbook in YES terms.
type Orderbook struct {
	Ticker     string
	Bids, Asks []data.Rung
}

type orderbookJSON struct {
	Book *struct {
		Yes *[][2]string `json:"yes_dollars"`
		No  *[][2]string `json:"no_dollars"`
	} `json:"orderbook_fp"`
	Ticker string `json:"ticker"`
}

// ParseOrderbook reads bids of both sides; NO bids become YES asks.
func ParseOrderbook(body []byte) (Orderbook, error) {
	var r orderbookJSON
	if err := json.Unmarshal(body, &r); err != nil {
		return Orderbook{}, fmt.Errorf("kalshi: order book: %w", err)
	}
	return r.book()
}

// ParseOrderbooks reads the body of GET /markets/orderbooks, a list of order books with their tickers (its path is in
// openapi 3.13; no response was captured), or of a single one with its ticker.
func ParseOrderbooks(body []byte) ([]Orderbook, error) {
	var r struct {
		orderbookJSON
		Books []orderbookJSON `json:"orderbooks"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("kalshi: order books: %w", err)
	}
	if r.Books == nil {
		r.Books = []orderbookJSON{r.orderbookJSON}
	}
	out := make([]Orderbook, 0, len(r.Books))
	for i := range r.Books {
		o, err := r.Books[i].book()
		if err != nil {
			return nil, err
		}
		if o.Ticker == "" {
			return nil, fmt.Errorf("kalshi: order books: ticker: required field is missing: %w", ErrMessage)
		}
		out = append(out, o)
	}
	return out, nil
}

func (r *orderbookJSON) book() (Orderbook, error) {
	if r.Book == nil {
		return Orderbook{}, fmt.Errorf("kalshi: order book: orderbook_fp: required field is missing: %w", ErrMessage)
	}
	o := Orderbook{Ticker: r.Ticker}
	for _, side := range []struct {
		name string
		from *[][2]string
		to   *[]data.Rung
		no   bool
	}{{"yes_dollars", r.Book.Yes, &o.Bids, false}, {"no_dollars", r.Book.No, &o.Asks, true}} {
		if side.from == nil {
			continue // an absent side is empty
		}
		for i, l := range *side.from {
			p, err := data.ParsePrice([]byte(l[0]))
			if err == nil && !p.Tradable() {
				err = fmt.Errorf("a price outside 0 to 1: %w", ErrMessage)
			}
			if err != nil {
				return o, fmt.Errorf("kalshi: order book: %s[%d]: %w", side.name, i, err)
			}
			q, err := data.ParseQty([]byte(l[1]))
			if err != nil {
				return o, fmt.Errorf("kalshi: order book: %s[%d]: %w", side.name, i, err)
			}
			if side.no {
				p = p.Complement()
			}
			*side.to = append(*side.to, data.Rung{Price: p, Qty: q})
		}
	}
	return o, nil
}
