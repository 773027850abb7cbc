package polymarket

import (
	"encoding/json"
	"fmt"

	"arbiter/data"
)

// Record is what a Gamma market record says, in our words.
type Record struct {
	Listing data.Listing
	Fees    *data.FeeSchedule // nil: the record names no schedule
	Status  data.MarketStatus
	Settled bool
	Payout  data.Money // of one YES contract, where Settled
}

type gammaMarket struct {
	ConditionID  *string      `json:"conditionId"`
	Question     *string      `json:"question"`
	Description  *string      `json:"description"`
	Outcomes     *string      `json:"outcomes"`      // JSON inside a string
	Prices       *string      `json:"outcomePrices"` // JSON inside a string
	Tokens       *string      `json:"clobTokenIds"`  // JSON inside a string
	Tick         *json.Number `json:"orderPriceMinTickSize"`
	MinSize      *json.Number `json:"orderMinSize"`
	StartDate    string       `json:"startDate"`
	EndDate      string       `json:"endDate"`
	Active       bool         `json:"active"`
	Closed       *bool        `json:"closed"`
	Accepting    bool         `json:"acceptingOrders"`
	Source       string       `json:"resolutionSource"`
	NegRisk      bool         `json:"negRisk"`
	NegRiskID    string       `json:"negRiskMarketID"`
	NegRiskOther bool         `json:"negRiskOther"`
	FeesEnabled  *bool        `json:"feesEnabled"`
	FeeType      *string      `json:"feeType"`
	FeeSchedule  *struct {
		Rate     *json.Number `json:"rate"`
		Exponent *json.Number `json:"exponent"`
		Rebate   *json.Number `json:"rebateRate"`
	} `json:"feeSchedule"`
	Synthetic bool         `json:"arbiterSynthetic"` // only the simulated venue's records have it
	Events    []gammaEvent `json:"events"`
}

type gammaEvent struct {
	ID        string        `json:"id"`
	Slug      string        `json:"slug"`
	NegRisk   bool          `json:"enableNegRisk"`
	NegRisk2  bool          `json:"negRisk"`
	Augmented bool          `json:"negRiskAugmented"`
	Markets   []gammaMarket `json:"markets"`
	Tags      []struct {
		Label string `json:"label"`
	} `json:"tags"`
}

// ParseMarket reads one Gamma market record. Its own list of events holds no markets, so nothing is known of the size
// of its event: only ParseEvent can prove a partition.
func ParseMarket(body []byte) (Record, error) {
	var m gammaMarket
	if err := json.Unmarshal(body, &m); err != nil {
		return Record{}, fmt.Errorf("polymarket: market record: %w", err)
	}
	rec, err := m.record()
	if err != nil {
		return rec, fmt.Errorf("polymarket: market record: %w", err)
	}
	if len(m.Events) == 1 {
		rec.Listing.Event, rec.Listing.EventSize = m.Events[0].Slug, 0
	}
	return rec, nil
}

// ParseEvent reads one Gamma event record with its markets. A negative-risk event that is not augmented has exactly
// one YES among all its markets; an augmented one has placeholders and a changing "Other", so nothing is proven.
func ParseEvent(body []byte) ([]Record, error) {
	var e gammaEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("polymarket: event record: %w", err)
	}
	if e.ID == "" {
		return nil, fmt.Errorf("polymarket: event record: id: required field is missing: %w", ErrMessage)
	}
	partition := data.Unproven
	if (e.NegRisk || e.NegRisk2) && !e.Augmented {
		partition = data.Exhaustive
	}
	category := ""
	if len(e.Tags) > 0 {
		category = e.Tags[0].Label
	}
	var out []Record
	for i := range e.Markets {
		rec, err := e.Markets[i].record()
		if err != nil {
			return nil, fmt.Errorf("polymarket: event record %s: market %d: %w", e.ID, i, err)
		}
		if e.Markets[i].NegRiskOther || !e.Markets[i].NegRisk {
			partition = data.Unproven
		}
		out = append(out, rec)
	}
	for i := range out {
		l := &out[i].Listing
		l.Event, l.EventSize, l.Partition, l.Category = e.Slug, len(out), partition, category
	}
	return out, nil
}

func (m *gammaMarket) record() (Record, error) {
	var rec Record
	missing := func(field string) (Record, error) {
		return rec, fmt.Errorf("%s: required field is missing: %w", field, ErrMessage)
	}
	switch {
	case m.ConditionID == nil:
		return missing("conditionId")
	case m.Question == nil:
		return missing("question")
	case m.Outcomes == nil:
		return missing("outcomes")
	case m.Tokens == nil:
		return missing("clobTokenIds")
	case m.Tick == nil:
		return missing("orderPriceMinTickSize")
	case m.MinSize == nil:
		return missing("orderMinSize")
	case m.Closed == nil:
		return missing("closed")
	}
	l := &rec.Listing
	*l = data.Listing{Key: data.MarketKey{Venue: data.Polymarket, Native: *m.ConditionID}, Title: *m.Question, Source: m.Source,
		NegRisk: m.NegRisk, Event: m.NegRiskID, EventSize: 1, Synthetic: m.Synthetic}
	Sizes(l)
	if m.Description != nil {
		l.Rules = *m.Description
	}
	if err := couple("outcomes", *m.Outcomes, &l.Outcomes); err != nil {
		return rec, err
	}
	if err := couple("clobTokenIds", *m.Tokens, &l.Tokens); err != nil {
		return rec, err
	}
	tick, err := data.ParsePrice([]byte(*m.Tick))
	if err != nil {
		return rec, fmt.Errorf("orderPriceMinTickSize: %w", err)
	}
	if tick <= 0 || data.One%tick != 0 {
		return rec, fmt.Errorf("orderPriceMinTickSize %s does not divide a dollar: %w", tick, ErrMessage)
	}
	l.Bands = data.UniformBands(tick)
	if l.QtyMin, err = data.ParseQty([]byte(*m.MinSize)); err != nil {
		return rec, fmt.Errorf("orderMinSize: %w", err)
	}
	for _, t := range []struct {
		name, text string
		to         *data.Time
	}{{"startDate", m.StartDate, &l.Opens}, {"endDate", m.EndDate, &l.Closes}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = data.ParseTime([]byte(t.text)); err != nil {
			return rec, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if err := m.fees(&rec); err != nil {
		return rec, err
	}
	return rec, m.settlement(&rec)
}

func couple(field, text string, to *[2]string) error {
	var v []string
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	if len(v) != 2 {
		return fmt.Errorf("%s: %d entries: only binary markets are supported: %w", field, len(v), ErrMessage)
	}
	to[0], to[1] = v[0], v[1]
	return nil
}

// fees reads feeSchedule. A market is free of fees only if feesEnabled says so.
func (m *gammaMarket) fees(rec *Record) error {
	if m.FeesEnabled != nil && !*m.FeesEnabled {
		s, err := Schedule(0, 1, 0, 0)
		rec.Fees = &s
		return err
	}
	f := m.FeeSchedule
	if f == nil || f.Rate == nil || f.Exponent == nil {
		return nil
	}
	var v [3]int64
	for i, t := range []*json.Number{f.Rate, f.Exponent, f.Rebate} {
		if t == nil {
			continue
		}
		scale := 6
		if i == 1 {
			scale = 0
		}
		var err error
		if v[i], err = data.ParseDecimal([]byte(*t), scale); err != nil {
			return fmt.Errorf("feeSchedule: %w", err)
		}
	}
	s, err := Schedule(data.Rate(v[0]), v[1], data.Rate(v[2]), 0)
	if err != nil {
		return fmt.Errorf("feeSchedule: %w", err)
	}
	rec.Fees = &s
	return nil
}

// settlement applies the strict winner rule: closed, and prices exactly one and zero. 0/0 and 0.58/0.42 are no result;
// acceptingOrders does not matter.
func (m *gammaMarket) settlement(rec *Record) error {
	rec.Status = data.Halted
	if m.Active && m.Accepting {
		rec.Status = data.Open
	}
	if !*m.Closed {
		return nil
	}
	rec.Status = data.Closed
	if m.Prices == nil {
		return nil
	}
	var p [2]string
	if err := couple("outcomePrices", *m.Prices, &p); err != nil {
		return err
	}
	switch {
	case p[0] == "1" && p[1] == "0":
		rec.Settled, rec.Payout, rec.Status = true, data.Dollar, data.Settled
	case p[0] == "0" && p[1] == "1":
		rec.Settled, rec.Payout, rec.Status = true, 0, data.Settled
	}
	return nil
}
