package stream

import (
	"encoding/json"
	"fmt"
	"slices"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
)

// facts is what either venue's market record says.
type facts struct {
	listing   data.Listing
	fees      *data.FeeSchedule
	feesIndex int // in the dictionary, or -1
	status    data.MarketStatus
	settled   bool
	payout    data.Money
	settledAt data.Time
}

// record takes the venue's market records: it lists markets that are wanted and follows what changes in them.
func (s *Stream) record(in *data.Input, name string, body []byte, out []data.Event) ([]data.Event, error) {
	if name == data.RestSeries {
		return s.seriesRecord(in, body, out)
	}
	var all []facts
	switch {
	case in.Venue == data.Kalshi && name == data.RestEvent:
		recs, err := kalshi.ParseEvent(body)
		if err != nil {
			return out, err
		}
		for _, r := range recs {
			f := facts{listing: r.Listing, feesIndex: -1, status: r.Status, settled: r.Settled, payout: r.Payout, settledAt: r.SettledAt}
			if n, ok := s.series[r.Listing.Series]; ok {
				f.feesIndex = int(n)
			}
			all = append(all, f)
		}
	case in.Venue == data.Polymarket:
		recs, err := gamma(name, body)
		if err != nil {
			return out, err
		}
		for _, r := range recs {
			all = append(all, facts{listing: r.Listing, fees: r.Fees, feesIndex: -1, status: r.Status, settled: r.Settled, payout: r.Payout})
		}
	default:
		return out, fmt.Errorf("stream: %s has no REST resource %s", in.Venue, name)
	}
	for i := range all {
		out = s.follow(&all[i], in.Recv, out)
	}
	return out, nil
}

func gamma(name string, body []byte) ([]polymarket.Record, error) {
	if name == data.RestEvent {
		return polymarket.ParseEvent(body)
	}
	r, err := polymarket.ParseMarket(body)
	return []polymarket.Record{r}, err
}

// follow lists a wanted market at its first record and turns later ones into what changed.
func (s *Stream) follow(f *facts, recv data.Time, out []data.Event) []data.Event {
	k := f.listing.Key
	if !s.wanted[k] {
		return out
	}
	id, ok := s.ids[k]
	if !ok {
		id = data.InstrumentID(len(s.markets))
		s.ids[k] = id
		s.dict.Listings = append(s.dict.Listings, f.listing)
		m := market{key: k, heard: recv}
		if len(f.listing.Bands) == 1 {
			m.tick = f.listing.Bands[0].Step
		}
		s.markets = append(s.markets, m)
		out = append(out, data.Event{Kind: data.Listed, Inst: id, Recv: recv, Arg: uint32(id), Last: true})
	} else if s.dict.Listings[id].Rules != f.listing.Rules {
		s.counts.RulesChanged++
	}
	m := &s.markets[id]
	if m.dropped { // wanted again
		m.dropped, m.heard = false, recv
	}
	switch {
	case f.feesIndex >= 0:
		out = s.setFees(id, uint32(f.feesIndex), recv, out)
	case f.fees != nil:
		out = s.setFees(id, s.schedule(*f.fees, m.fees), recv, out)
	}
	out = s.setStatus(id, f.status, recv, 0, out)
	if f.settled {
		out = s.settle(id, f.payout, recv, f.settledAt, out)
	}
	return out
}

// schedule is the index of a fee schedule in the dictionary, added if neither the market nor the newest entries have it.
func (s *Stream) schedule(f data.FeeSchedule, have []uint32) uint32 {
	if n := len(have); n > 0 && s.dict.Fees[have[n-1]] == f {
		return have[n-1]
	}
	for i := len(s.dict.Fees) - 1; i >= 0 && i >= len(s.dict.Fees)-64; i-- {
		if s.dict.Fees[i] == f {
			return uint32(i)
		}
	}
	s.dict.Fees = append(s.dict.Fees, f)
	return uint32(len(s.dict.Fees) - 1)
}

func (s *Stream) setFees(id data.InstrumentID, n uint32, recv data.Time, out []data.Event) []data.Event {
	m := &s.markets[id]
	if slices.Contains(m.fees, n) {
		return out
	}
	m.fees = append(m.fees, n)
	return append(out, data.Event{Kind: data.Fees, Inst: id, Recv: recv, Arg: n, Last: true})
}

// seriesRecord takes a Kalshi series: its fee rule holds for all its markets, those already listed too.
func (s *Stream) seriesRecord(in *data.Input, body []byte, out []data.Event) ([]data.Event, error) {
	r, err := kalshi.ParseSeries(body)
	if err != nil {
		return out, err
	}
	known, had := s.series[r.Ticker]
	effective := data.Time(0)
	if had {
		effective = s.dict.Fees[known].Effective
	}
	f, err := kalshi.Schedule(r.FeeType, r.Multiplier, s.opt.Fees, effective)
	if err != nil {
		return out, err
	}
	if had && s.dict.Fees[known] == f {
		return out, nil
	}
	if had {
		f.Effective = in.Recv // it was seen to change; since when is not said
	}
	n := s.schedule(f, nil)
	s.series[r.Ticker] = n
	for id := range s.markets {
		if m := &s.markets[id]; m.key.Venue == data.Kalshi && !m.settled && s.dict.Listings[id].Series == r.Ticker {
			out = s.setFees(data.InstrumentID(id), n, in.Recv, out)
		}
	}
	return out, nil
}

// setStatus tells a market's status if it is new. A result does not go back to trading: REST may be behind the stream.
func (s *Stream) setStatus(id data.InstrumentID, st data.MarketStatus, recv, exch data.Time, out []data.Event) []data.Event {
	m := &s.markets[id]
	over := m.status == data.Determined || m.status == data.Settled || m.settled
	if st == data.StatusUnknown || st == m.status || over && (st == data.Open || st == data.Halted || st == data.Closed) || m.status == data.Settled {
		return out
	}
	m.status = st
	return append(out, data.Event{Kind: data.Status, Inst: id, Recv: recv, Exch: exch, Arg: data.VenueArg(m.key.Venue, uint8(st)), Last: true})
}

func (s *Stream) settle(id data.InstrumentID, pay data.Money, recv, exch data.Time, out []data.Event) []data.Event {
	m := &s.markets[id]
	if m.settled {
		return out
	}
	m.settled, m.payout = true, pay
	return append(out, data.Event{Kind: data.Settle, Inst: id, Recv: recv, Exch: exch, Cash: pay, Last: true})
}

// exchange takes Kalshi's GET /exchange/status.
func (s *Stream) exchange(in *data.Input, body []byte, out []data.Event) ([]data.Event, error) {
	var r struct {
		Exchange *bool `json:"exchange_active"`
		Trading  *bool `json:"trading_active"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return out, fmt.Errorf("kalshi: exchange status: %w", err)
	}
	if r.Exchange == nil || r.Trading == nil {
		return out, fmt.Errorf("kalshi: exchange status: exchange_active or trading_active is missing: %w", kalshi.ErrMessage)
	}
	st := data.Open
	if !*r.Exchange || !*r.Trading {
		st = data.Halted
	}
	if st == s.status[in.Venue] {
		return out, nil
	}
	s.status[in.Venue] = st
	return append(out, data.Event{Kind: data.Status, Inst: data.NoInstrument, Recv: in.Recv, Arg: data.VenueArg(in.Venue, uint8(st)), Last: true}), nil
}

// Keyframe appends all that is known of the markets that are followed, as of recv: what a new segment needs to stand
// alone. The events carry seq.
func (s *Stream) Keyframe(seq uint64, recv data.Time, out []data.Event) []data.Event {
	n := len(out)
	for i := range s.markets {
		m := &s.markets[i]
		if m.dropped {
			continue
		}
		at := data.Event{Inst: data.InstrumentID(i), Recv: recv}
		put := func(kind data.Kind, arg uint32, price data.Price, cash data.Money) {
			e := at
			e.Kind, e.Arg, e.Price, e.Cash, e.Last = kind, arg, price, cash, true
			out = append(out, e)
		}
		put(data.Listed, uint32(i), 0, 0)
		for _, f := range m.fees {
			put(data.Fees, f, 0, 0)
		}
		if b := s.dict.Listings[i].Bands; m.tick != 0 && (len(b) != 1 || b[0].Step != m.tick) {
			put(data.TickSize, 0, m.tick, 0)
		}
		if m.status != data.StatusUnknown {
			put(data.Status, data.VenueArg(m.key.Venue, uint8(m.status)), 0, 0)
		}
		if m.settled {
			put(data.Settle, 0, 0, m.payout)
		}
		if b := s.Book(at.Inst); b != nil {
			out = appendBook(out, b, at)
		}
	}
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		if s.status[v] != data.StatusUnknown {
			out = append(out, data.Event{Kind: data.Status, Inst: data.NoInstrument, Recv: recv, Arg: data.VenueArg(v, uint8(s.status[v])), Last: true})
		}
	}
	for i := n; i < len(out); i++ {
		out[i].Seq = seq
	}
	return out
}
