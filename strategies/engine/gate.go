package engine

import (
	"arbiter/data"
	"arbiter/strategies"
)

// gate sizes a plan down to what every limit allows, or refuses it with the reason that binds.
func (e *Engine) gate(v *strategies.View, p *strategies.Plan) Refusal {
	if r := e.conditions(v, p); r != Admitted {
		return r
	}
	want := p.Qty()
	q, r := want, Admitted
	limit := func(most data.Qty, why Refusal) {
		if most < q {
			q, r = most, why
		}
	}
	var pairCost, worstSum data.Money
	var spend [data.VenueCount][shardMax]data.Money // per contract, worst case
	var venueSpend [data.VenueCount]data.Money
	for i := range p.N {
		l := &p.Legs[i]
		m := &e.m.All[l.Inst]
		key := m.Listing.Key
		limit(e.cfg.Risk.OrderQtyMax, OrderSize)
		position := e.acct.Positions[l.Inst].Qty
		if l.Side == data.Sell {
			position = -position
		}
		limit(e.cfg.Risk.PositionQtyMax-position, PositionSize)
		pairCost += e.acct.Positions[l.Inst].Cost
		if l.Reduce {
			limit(max(-position, 0), NothingToClose)
			continue
		}
		each := data.NotionalUp(l.Side.Worth(l.Price), data.Contract)
		limit(data.QtyFor(e.cfg.Risk.OrderNotionalMax, each), OrderNotional)
		worstSum += each
		venueSpend[key.Venue] += each
		spend[key.Venue][m.Listing.Shard%shardMax] += each + feeEach(v.Fees(l.Inst))
	}
	if worstSum > 0 {
		limit(data.QtyFor(e.cfg.Risk.PairNotionalMax-pairCost, worstSum), PairNotional)
	}
	if each := naked(p, data.Contract); each > 0 {
		limit(data.QtyFor(e.cfg.Risk.UnhedgedMax-e.unhedged, each), Unhedged)
	}
	for ven := range spend {
		if venueSpend[ven] > 0 {
			used := e.acct.VenueCost[ven]
			for s := range spend[ven] {
				used += e.acct.Reserved[ven][s]
			}
			limit(data.QtyFor(e.cfg.Risk.VenueNotionalMax-used, venueSpend[ven]), VenueNotional)
		}
		for s, each := range spend[ven] {
			if each > 0 {
				free := e.acct.Free(data.Venue(ven), uint8(s)) - slackCash
				limit(data.QtyFor(free, each), BuyingPower)
			}
		}
	}
	if q == want {
		return e.minimum(v, p, q, BelowMinimum)
	}
	q = max(q, 0) / max(p.Lot, 1) * max(p.Lot, 1)
	if q == 0 {
		return r
	}
	if why := e.minimum(v, p, q, r); why != Admitted {
		return why
	}
	edge, ok := v.Price(p, q, 0)
	if !ok || edge < e.cfg.Risk.EdgeMin {
		return EdgeTooSmall
	}
	p.Edge = edge
	for i := range p.N {
		p.Legs[i].Qty = q
	}
	return Admitted
}

// slackCash is kept free at every shard for the roundings of a plan's fees.
const slackCash = 50 * data.Cent

// feeEach bounds the fee of one contract at any price.
func feeEach(f *data.FeeSchedule) data.Money {
	return data.Money(int64(f.Taker)/4) + 1 // rate x p(1-p) <= rate / 4
}

// exposed is what one contract of a leg leaves unhedged when the others do not follow: the contract that it buys, or the
// one that it was to close.
func exposed(l *strategies.Leg) data.Price {
	w := l.Side.Worth(l.Price)
	if l.Reduce {
		return w.Complement()
	}
	return w
}

// naked is the most that q contracts of a plan can leave unhedged: every leg but the cheapest filled, or one leg closed
// and every other kept.
func naked(p *strategies.Plan, q data.Qty) data.Money {
	var sum, least data.Money
	for i := range p.N {
		each := data.NotionalUp(exposed(&p.Legs[i]), q)
		sum += each
		if i == 0 || each < least {
			least = each
		}
	}
	if p.N == 1 && !p.Legs[0].Reduce {
		return sum
	}
	return sum - least
}

// conditions checks what does not depend on size.
func (e *Engine) conditions(v *strategies.View, p *strategies.Plan) Refusal {
	r := &e.cfg.Risk
	if e.halted {
		return HaltedByOperator
	}
	e.acct.roll(e.m.Now)
	if e.acct.dayResult() <= -r.DailyLossMax {
		return DailyLoss
	}
	if len(e.orders)+2*p.N > ordersMax || len(e.execs) == executionsMax && e.free() < 0 {
		return TooManyOrders
	}
	var lag [2]data.Duration
	lags := 0
	for i := range p.N {
		l := &p.Legs[i]
		m := &e.m.All[l.Inst]
		ven := &e.venue[m.Listing.Key.Venue]
		fees := v.Fees(l.Inst)
		switch {
		case ven.status != data.StatusUnknown && ven.status != data.Open:
			return VenueNotOpen
		case m.Status != data.Open || m.Settled || !m.Valid:
			return MarketNotOpen
		case m.Listing.Closes != 0 && e.m.Now >= m.Listing.Closes:
			return MarketNotOpen
		case e.m.Now.Sub(ven.recv) > r.StaleMax:
			return StaleVenue
		case e.m.Now.Sub(m.Recv) > r.MarketStaleMax:
			return StaleMarket
		case fees == nil:
			return FeesUnknown
		case fees.Currency != data.FeeInCollateral:
			return FeesInShares
		case !data.OnTick(m.Bands, l.Price):
			return PriceOffTick
		case l.Price < r.PriceMin || l.Price > r.PriceMax:
			return PriceCollar
		case e.beyondCollar(m, l):
			return PriceCollar
		case e.busy(l.Inst):
			return MarketBusy
		}
		if m.Exch != 0 && lags < 2 {
			lag[lags] = m.Recv.Sub(m.Exch) + ven.offset
			lags++
		}
	}
	if d := lag[0] - lag[1]; lags == 2 && (d > r.SkewMax || -d > r.SkewMax) {
		return VenueSkew
	}
	return Admitted
}

func (e *Engine) beyondCollar(m *strategies.Market, l *strategies.Leg) bool {
	best := m.Book.Best(l.Side.Opposite())
	if best.Qty == 0 {
		return true
	}
	if l.Side == data.Buy {
		return l.Price > best.Price+e.cfg.Risk.Collar
	}
	return l.Price < best.Price-e.cfg.Risk.Collar
}

// busy says that another execution has an order in flight in a market: its effect on the book is not known yet.
func (e *Engine) busy(id data.InstrumentID) bool {
	for i := range e.orders {
		if e.orders[i].inst == id && !e.orders[i].ended {
			return true
		}
	}
	return false
}

func (e *Engine) minimum(v *strategies.View, p *strategies.Plan, q data.Qty, why Refusal) Refusal {
	for i := range p.N {
		l := &p.Legs[i]
		if q < v.Listing(l.Inst).Least(l.Side, l.Price, l.Reduce) {
			if why == Admitted {
				why = BelowMinimum
			}
			return why
		}
	}
	return Admitted
}
