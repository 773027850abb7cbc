package data

import (
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

func rng(t testing.TB) *rand.Rand {
	t.Logf("-seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, 7))
}

func TestEvent_Is64BytesWithoutPointers(t *testing.T) {
	if got := unsafe.Sizeof(Event{}); got != 64 {
		t.Errorf("Event is %d bytes, want 64", got)
	}
}

func TestParseDecimal(t *testing.T) {
	for _, c := range []struct {
		text  string
		scale int
		want  int64
		ok    bool
	}{
		{"0.5300", 4, 5300, true}, {"0.53", 4, 5300, true}, {".48", 4, 4800, true}, {"1", 4, 10000, true}, {"0", 4, 0, true},
		{"0.53000000", 4, 5300, true}, {"19500402.66", 6, 19500402660000, true}, {"0.0001", 4, 1, true},
		{"0.00001", 4, 0, false}, {"5.", 4, 0, false}, {"", 4, 0, false}, {".", 4, 0, false}, {"-1", 4, 0, false}, {"+1", 4, 0, false},
		{"1e2", 4, 0, false}, {" 1", 4, 0, false}, {"01", 4, 0, false}, {"00.1", 4, 0, false}, {"1.2.3", 4, 0, false},
		{"123456789012345678901234567890", 6, 0, false}, {"0x10", 4, 0, false}, {"1_0", 4, 0, false}, {"NaN", 4, 0, false},
	} {
		got, err := ParseDecimal([]byte(c.text), c.scale)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("ParseDecimal(%q, %d) = %d, %v; want %d, ok %v", c.text, c.scale, got, err, c.want, c.ok)
		}
	}
}

func TestParsePrice_RefusesMoreThanOneDollar(t *testing.T) {
	if _, err := ParsePrice([]byte("1.0001")); err == nil {
		t.Error("1.0001 was taken as a price")
	}
}

func TestDecimal_RoundTripsAtEveryScale(t *testing.T) {
	r := rng(t)
	for range 20000 {
		v := r.Int64N(int64(QtyMax)) >> r.UintN(50)
		for scale := 0; scale <= 6; scale++ {
			text := AppendDecimal(nil, v, scale, r.IntN(scale+1))
			got, err := ParseDecimal(text, scale)
			if err != nil || got != v {
				t.Fatalf("%d at scale %d became %q, then %d, %v", v, scale, text, got, err)
			}
		}
	}
	for v, want := range map[int64]string{0: "0", 5300: "0.53", 10000: "1", 1: "0.0001", 12300: "1.23", -5300: "-0.53"} {
		if got := string(AppendDecimal(nil, v, 4, 0)); got != want {
			t.Errorf("AppendDecimal(%d) = %q, want %q", v, got, want)
		}
	}
	if got := string(AppendDecimal(nil, 5300, 4, 4)); got != "0.5300" {
		t.Errorf("with four decimals: %q", got)
	}
	if got := Money(1_500_000).String(); got != "1.50" {
		t.Errorf("Money = %q, want 1.50", got)
	}
}

func TestNotional_MatchesBigRationals(t *testing.T) {
	r := rng(t)
	for range 20000 {
		p, q := Price(r.IntN(int(One)+1)), Qty(r.Int64N(int64(QtyMax)+1)>>r.UintN(50))
		x := new(big.Int).Mul(big.NewInt(int64(p)), big.NewInt(int64(q)))
		floor, rest := new(big.Int).QuoRem(x, big.NewInt(int64(One)), new(big.Int))
		up := floor.Int64()
		if rest.Sign() != 0 {
			up++
		}
		if got := NotionalDown(p, q); int64(got) != floor.Int64() {
			t.Fatalf("NotionalDown(%s, %s) = %d, want %d", p, q, got, floor)
		}
		if got := NotionalUp(p, q); int64(got) != up {
			t.Fatalf("NotionalUp(%s, %s) = %d, want %d", p, q, got, up)
		}
	}
}

func TestBounds_PanicBeyondTheWrittenLimit(t *testing.T) {
	for name, f := range map[string]func(){
		"quantity": func() { NotionalDown(5000, QtyMax+1) },
		"price":    func() { NotionalDown(One+1, 1) },
		"payoff":   func() { PayoffDown(Dollar, -1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func TestTime_MatchesTheStandardLibrary(t *testing.T) {
	r := rng(t)
	for range 20000 {
		n := r.Int64N(int64(6e18))
		want := time.Unix(0, n).UTC()
		text := want.Format(time.RFC3339Nano)
		got, err := ParseTime([]byte(text))
		if err != nil || int64(got) != n {
			t.Fatalf("ParseTime(%q) = %d, %v; want %d", text, got, err, n)
		}
		back, err := time.Parse(time.RFC3339Nano, got.String())
		if n != 0 && (err != nil || back.UnixNano() != n) {
			t.Fatalf("%d.String() = %q", n, got)
		}
	}
	for _, c := range []string{"", "2026-08-10", "2026-02-30T00:00:00Z", "2026-08-10T24:00:00Z", "2026-08-10T00:00:00", "2026-08-10T00:00:00.Z", "2026-08-10T00:00:00.1234567891Z"} {
		if _, err := ParseTime([]byte(c)); err == nil {
			t.Errorf("%q was taken as a time", c)
		}
	}
	if got, _ := ParseTime([]byte("2026-08-10T00:00:00-04:00")); got.String() != "2026-08-10T04:00:00.000Z" {
		t.Errorf("offset: %s", got)
	}
}

func TestPairing_ParIsTheWorstBranch(t *testing.T) {
	plain := Pairing{Branches: PlainBranches(false)}
	opposite := Pairing{Opposite: true, Branches: PlainBranches(true)}
	// Kalshi settles a cancelled event at 0.26, Polymarket at 0.50 (facts of 2026: last price against 50/50).
	bad := Pairing{Branches: append(PlainBranches(false), Branch{"cancelled", 260_000, 500_000})}
	for _, c := range []struct {
		name string
		p    Pairing
		d    Direction
		want Money
	}{
		{"plain long", plain, LongA, Dollar}, {"plain short", plain, ShortA, Dollar},
		{"opposite long", opposite, LongA, Dollar}, {"opposite short", opposite, ShortA, Dollar},
		{"cancelled hurts long A", bad, LongA, 760_000}, {"cancelled helps short A", bad, ShortA, Dollar},
		{"no branches, no par", Pairing{}, LongA, 0},
	} {
		if got := c.p.Par(c.d); got != c.want {
			t.Errorf("%s: par %s, want %s", c.name, got, c.want)
		}
	}
}

func TestOnTick_FollowsBands(t *testing.T) {
	tapered := []Band{{0, 1000, 10}, {1000, 9000, 100}, {9000, One, 10}}
	if err := CheckBands(tapered); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[Price]bool{0: false, 10: true, 15: false, 990: true, 1000: true, 1010: false, 5300: true, 9000: true, 9010: true, 9995: false, One: false} {
		if got := OnTick(tapered, p); got != want {
			t.Errorf("OnTick(%s) = %v, want %v", p, got, want)
		}
	}
	for _, bad := range [][]Band{nil, {{0, 5000, 0}}, {{0, 5000, 100}, {4000, One, 100}}, {{0, One, 300}}} {
		if CheckBands(bad) == nil {
			t.Errorf("bands %v were accepted", bad)
		}
	}
}

func ExampleParsePrice() {
	p, _ := ParsePrice([]byte("0.5300"))
	fmt.Println(p, p.Complement(), int32(p))
	// Output: 0.53 0.47 5300
}
