package polymarket

import (
	"fmt"

	"arbiter/data"
)

// Schedule makes a market's fee schedule from its feeSchedule record: takers pay rate x (p(1-p))^exponent x size,
// five decimals, nothing below 0.00001 (docs.polymarket.com, fees, copies of 2026-07; the rounding mode is in no
// source and taken as half up). Makers pay nothing; the pool rebate is not counted.
//
// The currency since the exchange of 2026-04-28 is collateral on top, as the official client sizes it; the document of
// that day still says shares on buys. A first small fill decides.
func Schedule(rate data.Rate, exponent int64, rebate data.Rate, effective data.Time) (data.FeeSchedule, error) {
	s := data.FeeSchedule{Effective: effective, Taker: rate, Exponent: uint8(exponent), Quantum: 10, Minimum: 10, Rounding: data.FeeHalfUp,
		Currency: data.FeeInCollateral, Share: rebate, Name: "polymarket " + data.Qty(rate).String()}
	if exponent != 1 && exponent != 2 {
		return s, fmt.Errorf("polymarket: fee exponent %d: only 1 and 2 are known", exponent)
	}
	return s, s.Check()
}

// An order takes two decimals of size; a fill-and-kill or fill-or-kill order's size x price must be whole cents, and a
// marketable buy is worth at least a dollar (official client's rounding table, 2026-07; venue error texts).
const (
	qtyStep  = data.Contract / 100
	cashStep = data.Cent
	cashMin  = data.Dollar
)

// Sizes sets the venue's size rules on a listing; the market's own minimum is its orderMinSize.
func Sizes(l *data.Listing) { l.QtyStep, l.CashStep, l.CashMin = qtyStep, cashStep, cashMin }
