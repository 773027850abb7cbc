package engine

import "arbiter/data"

// shardMax bounds Kalshi's exchange_index; Polymarket uses shard 0.
const shardMax = 8

// Position is what is held of one market. Cost is what its contracts cost, fees apart.
type Position struct {
	Qty  data.Qty // YES terms; negative: NO contracts
	Cost data.Money
}

// Account is the money. A1: cash + cost of positions + fees - realised = deposits, after every event, to the last
// micro-dollar.
type Account struct {
	Cash      [data.VenueCount][shardMax]data.Money
	Reserved  [data.VenueCount][shardMax]data.Money // by orders in flight
	Positions []Position
	Deposits  data.Money
	Fees      data.Money
	Realised  data.Money // before fees
	VenueCost [data.VenueCount]data.Money
	day       int64
	dayStart  data.Money // Realised - Fees at the start of the day
}

// Free is what may still be spent at a venue's shard.
func (a *Account) Free(v data.Venue, shard uint8) data.Money {
	return a.Cash[v][shard] - a.Reserved[v][shard]
}

// balance books a deposit (or a withdrawal) that brings a shard's cash to amount.
func (a *Account) balance(v data.Venue, shard uint8, amount data.Money) {
	a.Deposits += amount - a.Cash[v][shard]
	a.Cash[v][shard] = amount
}

// fill books a fill and returns its cash flow before fees. What closes a position receives its value, what opens one
// pays; both round once, against us. The two parts of a fill that crosses zero are what Kalshi's netting does; at
// Polymarket they would be two orders.
func (a *Account) fill(v data.Venue, shard uint8, inst data.InstrumentID, s data.Side, p data.Price, q data.Qty, fee data.Money) data.Money {
	pos := &a.Positions[inst]
	worth := s.Worth(p)
	held := pos.Qty
	if s == data.Buy {
		held = -held
	}
	closing := min(q, max(held, 0))
	var flow data.Money
	if closing > 0 {
		got := data.NotionalDown(worth.Complement(), closing)
		cost := data.Share(pos.Cost, closing, held)
		pos.Cost -= cost
		a.VenueCost[v] -= cost
		a.Realised += got - cost
		flow += got
	}
	if opening := q - closing; opening > 0 {
		paid := data.NotionalUp(worth, opening)
		pos.Cost += paid
		a.VenueCost[v] += paid
		flow -= paid
	}
	if s == data.Buy {
		pos.Qty += q
	} else {
		pos.Qty -= q
	}
	a.Cash[v][shard] += flow - fee
	a.Fees += fee
	return flow
}

// settle pays a position out at yes per YES contract.
func (a *Account) settle(v data.Venue, shard uint8, inst data.InstrumentID, yes data.Money) {
	pos := &a.Positions[inst]
	var got data.Money
	if pos.Qty >= 0 {
		got = data.PayoffDown(yes, pos.Qty)
	} else {
		got = data.PayoffDown(data.Dollar-yes, -pos.Qty)
	}
	a.Realised += got - pos.Cost
	a.VenueCost[v] -= pos.Cost
	a.Cash[v][shard] += got
	*pos = Position{}
}

// adopt books a position that was found at start-up: its cost counts as deposited.
func (a *Account) adopt(v data.Venue, inst data.InstrumentID, q data.Qty, cost data.Money) {
	a.Positions[inst].Qty += q
	a.Positions[inst].Cost += cost
	a.VenueCost[v] += cost
	a.Deposits += cost
}

// roll starts a new day's loss at 00:00 UTC.
func (a *Account) roll(now data.Time) {
	if d := now.UTCDay(); d != a.day {
		a.day, a.dayStart = d, a.Realised-a.Fees
	}
}

// dayResult is realised less fees since 00:00 UTC.
func (a *Account) dayResult() data.Money { return a.Realised - a.Fees - a.dayStart }

// Balanced is law A1.
func (a *Account) Balanced() bool {
	sum := a.Fees - a.Realised
	for v := range a.Cash {
		for s := range a.Cash[v] {
			sum += a.Cash[v][s]
		}
	}
	for i := range a.Positions {
		sum += a.Positions[i].Cost
	}
	return sum == a.Deposits
}
