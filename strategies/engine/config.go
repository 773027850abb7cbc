package engine

import (
	"errors"
	"fmt"

	"arbiter/data"
	"arbiter/strategies/legging"
)

// Config of the engine. Every limit is per session; 0 never means "no limit".
type Config struct {
	Epoch    uint32 // of the session: order ids begin with it
	Risk     Risk
	Legging  legging.Config
	Cooldown data.Duration // after an execution, before the same opportunity is tried again
	// Checkpoint is the number of events between two state hashes.
	Checkpoint uint64
	// Assumed are fee schedules for markets whose recording names none, by venue. What rests on them is marked.
	Assumed [data.VenueCount]*data.FeeSchedule
	Memory  int // words of memory of each strategy
}

// Risk is the pre-trade limits.
type Risk struct {
	OrderQtyMax      data.Qty
	OrderNotionalMax data.Money
	PositionQtyMax   data.Qty   // of one market
	PairNotionalMax  data.Money // cost of all positions in a plan's markets
	VenueNotionalMax data.Money // cost of all positions and orders at one venue
	UnhedgedMax      data.Money // reserved at admission for the worst leg, summed over plans
	DailyLossMax     data.Money // realised less fees since 00:00 UTC
	Collar           data.Price // an order's limit may be this far beyond the best price
	PriceMin         data.Price // limits outside PriceMin..PriceMax are refused
	PriceMax         data.Price
	EdgeMin          data.Money    // of a plan that was made smaller
	StaleMax         data.Duration // age of the newest message of a venue
	MarketStaleMax   data.Duration // age of the newest message of a market
	SkewMax          data.Duration // difference of the venues' feed delays
}

// Defaults suit a small account.
func Defaults() Config {
	return Config{
		Epoch: 1, Legging: legging.Defaults(), Cooldown: data.Second, Checkpoint: 65536, Memory: 64,
		Risk: Risk{
			OrderQtyMax: 5000 * data.Contract, OrderNotionalMax: 2_000 * data.Dollar, PositionQtyMax: 20_000 * data.Contract,
			PairNotionalMax: 5_000 * data.Dollar, VenueNotionalMax: 20_000 * data.Dollar, UnhedgedMax: 2_000 * data.Dollar,
			DailyLossMax: 500 * data.Dollar, Collar: 1000, PriceMin: 1, PriceMax: data.One - 1, EdgeMin: data.Cent,
			StaleMax: 10 * data.Second, MarketStaleMax: data.Hour, SkewMax: 2 * data.Second,
		},
	}
}

// Validate returns every contradiction at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	r := &c.Risk
	for _, m := range []struct {
		name string
		v    data.Money
	}{{"order_notional_max", r.OrderNotionalMax}, {"pair_notional_max", r.PairNotionalMax}, {"venue_notional_max", r.VenueNotionalMax},
		{"unhedged_max", r.UnhedgedMax}, {"daily_loss_max", r.DailyLossMax}, {"edge_min", r.EdgeMin}} {
		if m.v <= 0 || m.v > data.MoneyMax {
			bad("risk: %s %s must be positive: a limit of zero is not \"none\"", m.name, m.v)
		}
	}
	if r.OrderQtyMax <= 0 || r.OrderQtyMax > data.QtyMax || r.PositionQtyMax <= 0 || r.PositionQtyMax > data.QtyMax {
		bad("risk: order_qty_max and position_qty_max must be positive and at most %s", data.QtyMax)
	}
	if r.OrderQtyMax > r.PositionQtyMax {
		bad("risk: order_qty_max %s exceeds position_qty_max %s: no such order could be admitted", r.OrderQtyMax, r.PositionQtyMax)
	}
	if r.OrderNotionalMax > r.VenueNotionalMax {
		bad("risk: order_notional_max %s exceeds venue_notional_max %s: no such order could be admitted", r.OrderNotionalMax, r.VenueNotionalMax)
	}
	if !r.PriceMin.Tradable() || !r.PriceMax.Tradable() || r.PriceMin > r.PriceMax || r.Collar < 0 {
		bad("risk: price_min %s and price_max %s must lie in order between 0 and 1, collar must not be negative", r.PriceMin, r.PriceMax)
	}
	if r.StaleMax <= 0 || r.MarketStaleMax <= 0 || r.SkewMax <= 0 || c.Cooldown < 0 {
		bad("risk: stale_max, market_stale_max and skew_max must be positive, cooldown not negative")
	}
	if c.Checkpoint == 0 || c.Memory < 0 || c.Memory > 1<<16 {
		bad("engine: checkpoint must be positive, memory 0 to 65536 words")
	}
	if err := c.Legging.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
