package kalshi

import (
	"fmt"

	"arbiter/data"
)

// Precision is the part of Kalshi's fee rule that changed over time and differs by kind of account.
type Precision struct {
	Quantum data.Money // the trade fee rounds up to it: 0.01, 0.0001 or 0.000001 dollars
	Balance data.Money // the account's cash moves in multiples of it: 0.0001 for direct members, 0.01 otherwise
	Rebate  data.Money // overpaid rounding is given back in multiples of it
}

// The rules that were seen or published. WholeCents: real bills of January 2026. Direct: 2,280 real fills of July and
// August 2026. Micro: the newest copy of docs.kalshi.com/getting_started/fee_rounding; the day of the switch is not
// known, so it is chosen in the configuration and confirmed with a first live fill.
var (
	WholeCents = Precision{Quantum: 10_000, Balance: 0, Rebate: 0}
	Direct     = Precision{Quantum: 100, Balance: 100, Rebate: 10_000}
	Micro      = Precision{Quantum: 1, Balance: 100, Rebate: 100}
)

// General rates: taker 7 %, maker 1.75 % of C x P x (1-P), the maker rate only on series that charge makers
// (docs.kalshi.com, fee schedule, copies of 2026).
const (
	takerRate data.Rate = 70_000
	makerRate data.Rate = 17_500
)

// Schedule makes a market's fee schedule from its series' fee_type and fee_multiplier (multiplier in millionths).
func Schedule(feeType string, multiplier int64, p Precision, effective data.Time) (data.FeeSchedule, error) {
	s := data.FeeSchedule{Effective: effective, Exponent: 1, Quantum: p.Quantum, Balance: p.Balance, Rebate: p.Rebate,
		Rounding: data.FeeCeil, Name: "kalshi " + feeType}
	taker, maker := int64(takerRate)*multiplier, int64(0)
	switch feeType {
	case "quadratic":
	case "quadratic_with_maker_fees":
		maker = int64(makerRate) * multiplier
	default:
		return s, fmt.Errorf("kalshi: fee type %q is not known: give the market's schedule in the configuration", feeType)
	}
	if multiplier < 0 || multiplier > 10_000_000 || taker%1_000_000 != 0 || maker%1_000_000 != 0 {
		return s, fmt.Errorf("kalshi: fee multiplier %s does not give a whole rate", data.Qty(multiplier))
	}
	s.Taker, s.Maker = data.Rate(taker/1_000_000), data.Rate(maker/1_000_000)
	return s, s.Check()
}
