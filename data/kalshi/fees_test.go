package kalshi

import (
	"encoding/csv"
	"fmt"
	"os"
	"testing"

	"arbiter/data"
	"arbiter/testdata/captures"
)

func mustSchedule(t testing.TB, feeType string, p Precision) *data.FeeSchedule {
	t.Helper()
	s, err := Schedule(feeType, 1_000_000, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestFees_RealFillsReproduceExactly(t *testing.T) {
	f, err := os.Open(captures.Path(t, "kalshi", "fills_with_fees.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	accs := map[string]*data.Money{}
	wrong := 0
	for i, row := range rows[1:] {
		get := func(name string) []byte { return []byte(row[col[name]]) }
		rate, err := data.ParseDecimal(get("rate"), 6)
		if err != nil {
			t.Fatal(err)
		}
		q, err := data.ParseQty(get("count_fp"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := data.ParsePrice(get("yes_price_dollars"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := data.ParseMoney(get("actual_fee_cost"))
		if err != nil {
			t.Fatal(err)
		}
		s := data.FeeSchedule{Exponent: 1, Quantum: Direct.Quantum, Balance: Direct.Balance, Rebate: Direct.Rebate,
			Taker: data.Rate(rate), Maker: data.Rate(rate)}
		side := data.Buy
		if string(get("action")) == "sell" {
			side = data.Sell
		}
		acc := accs[string(get("order8"))]
		if acc == nil {
			acc = new(data.Money)
			accs[string(get("order8"))] = acc
		}
		if got := s.Charge(acc, data.FeeBasis{Price: p, Qty: q, Side: side}).Net(); got != want {
			wrong++
			t.Errorf("row %d %v: fee %s, want %s", i+2, row, got, want)
		}
	}
	if n := len(rows) - 1; n != 1500 || wrong != 0 {
		t.Errorf("%d of %d fills differ; want 0 of 1500", wrong, n)
	}
}

// The table of 100-contract and one-contract fees, and the maker's, as published (third-party copies of the official
// table, 2026): cents, rounded up.
func TestFees_PublishedTable(t *testing.T) {
	s := mustSchedule(t, "quadratic_with_maker_fees", WholeCents)
	for _, c := range []struct {
		price           data.Price
		hundred, single data.Money
		maker           data.Money
	}{
		{500, 340_000, 10_000, 90_000}, {1000, 630_000, 10_000, 160_000}, {2500, 1_320_000, 20_000, 330_000},
		{5000, 1_750_000, 20_000, 440_000}, {7500, 1_320_000, 20_000, 330_000}, {9000, 630_000, 10_000, 160_000},
		{9500, 340_000, 10_000, 90_000},
	} {
		if got := s.TakerFee(c.price, 100*data.Contract, data.Buy); got != c.hundred {
			t.Errorf("100 at %s: %s, want %s", c.price, got, c.hundred)
		}
		if got := s.TakerFee(c.price, data.Contract, data.Buy); got != c.single {
			t.Errorf("1 at %s: %s, want %s", c.price, got, c.single)
		}
		got := s.Charge(nil, data.FeeBasis{Price: c.price, Qty: 100 * data.Contract, Side: data.Buy, Maker: true}).Net()
		if got != c.maker {
			t.Errorf("maker 100 at %s: %s, want %s", c.price, got, c.maker)
		}
	}
	// Real bills of January 2026: 114 at 9 cents cost 66 cents, 7 sold at 84 cents 7 cents.
	if got := s.TakerFee(900, 114*data.Contract, data.Buy); got != 660_000 {
		t.Errorf("114 at 0.09: %s, want 0.66", got)
	}
	if got := s.TakerFee(8400, 7*data.Contract, data.Sell); got != 70_000 {
		t.Errorf("7 at 0.84: %s, want 0.07", got)
	}
}

func TestFees_DerivedTable(t *testing.T) {
	f, err := os.Open(captures.Path(t, "vectors", "kalshi_fee_table.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	cents := mustSchedule(t, "quadratic_with_maker_fees", WholeCents)
	centi := mustSchedule(t, "quadratic_with_maker_fees", Precision{Quantum: 100})
	index := data.FeeSchedule{Taker: 35_000, Exponent: 1, Quantum: 10_000}
	for _, row := range rows[1:] {
		p, err := data.ParsePrice([]byte(row[0]))
		if err != nil {
			t.Fatal(err)
		}
		fee := func(s *data.FeeSchedule, contracts data.Qty, maker bool) data.Money {
			return s.Charge(nil, data.FeeBasis{Price: p, Qty: contracts * data.Contract, Side: data.Buy, Maker: maker}).Net()
		}
		got := []data.Money{fee(cents, 1, false), fee(cents, 100, false), fee(centi, 100, false), fee(cents, 100, true), fee(centi, 100, true), fee(&index, 100, false)}
		for i, g := range got {
			want, err := data.ParseMoney([]byte(row[i+1]))
			if err != nil {
				t.Fatal(err)
			}
			if g != want {
				t.Errorf("at %s, column %s: %s, want %s", p, rows[0][i+1], g, want)
			}
		}
	}
}

// Kalshi's worked examples of the rounding step (fee_rounding, older copy, cent precision). Their trade fees do not
// all follow from the published rate, so the trade fee is given and only rounding and rebate are under test: a rate is
// chosen whose trade fee is the example's.
func TestFees_WorkedExamplesOfTheAccumulator(t *testing.T) {
	for _, c := range []struct {
		name  string
		price data.Price
		qty   data.Qty
		trade data.Money
		nets  []data.Money
	}{
		{"a: 3 x 1 at 0.055", 550, data.Contract, 8_500, []data.Money{15_000, 5_000, 15_000}},
		{"b: 3 x 0.30 at 0.50", 5000, 300_000, 4_100, []data.Money{10_000, 0, 10_000}},
		{"c: 3 x 0.03 at 0.3301", 3301, 30_000, 500, []data.Money{10_097, 97, 97}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := data.FeeSchedule{Exponent: 1, Quantum: 100, Balance: 10_000, Rebate: 10_000}
			bare := data.FeeSchedule{Exponent: 1, Quantum: 100}
			for bare.Taker = 1; bare.TakerFee(c.price, c.qty, data.Buy) < c.trade; bare.Taker++ {
			}
			s.Taker = bare.Taker
			var acc data.Money
			for i, want := range c.nets {
				f := s.Charge(&acc, data.FeeBasis{Price: c.price, Qty: c.qty, Side: data.Buy})
				if f.Trade != c.trade || f.Net() != want {
					t.Errorf("fill %d: trade %s net %s, want %s and %s", i+1, f.Trade, f.Net(), c.trade, want)
				}
			}
		})
	}
	// The newest copy: the model fee 0.00363825 at micro precision.
	s := data.FeeSchedule{Taker: 70_000, Exponent: 1, Quantum: 1, Balance: 10_000}
	if f := s.Charge(nil, data.FeeBasis{Price: 550, Qty: data.Contract, Side: data.Buy}); f.Trade != 3_639 || f.Rounding != 1_361 {
		t.Errorf("newest example: trade %s rounding %s, want 0.003639 and 0.001361", f.Trade, f.Rounding)
	}
}

func TestSchedule_RefusesWhatItDoesNotKnow(t *testing.T) {
	if _, err := Schedule("flat", 1_000_000, Direct, 0); err == nil {
		t.Error("a flat fee was accepted")
	}
	if s, err := Schedule("quadratic", 500_000, Direct, 0); err != nil || s.Taker != 35_000 {
		t.Errorf("half rate: %v, %v", s.Taker, err)
	}
	if s, err := Schedule("quadratic", 0, Direct, 0); err != nil || s.Taker != 0 {
		t.Errorf("zero rate: %v, %v", s.Taker, err)
	}
}

func ExampleSchedule() {
	s, _ := Schedule("quadratic", 1_000_000, WholeCents, 0)
	fmt.Println(s.TakerFee(5000, 100*data.Contract, data.Buy))
	// Output: 1.75
}
