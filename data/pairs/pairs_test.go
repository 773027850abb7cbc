package pairs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arbiter/data"
)

var listings = []data.Listing{
	{Key: data.MarketKey{Venue: data.Polymarket, Native: "0x1"}, Title: "Rain", Rules: "Yes if it rains."},
	{Key: data.MarketKey{Venue: data.Kalshi, Native: "KXRAIN"}, Title: "Rain?", Rules: "Yes if rain falls."},
}

func registry(t *testing.T) *Registry {
	t.Helper()
	p := data.Pairing{ID: "rain", A: listings[0].Key, B: listings[1].Key, Branches: append(data.PlainBranches(false), data.Branch{Name: "cancelled", A: 500_000, B: 260_000})}
	e, err := Approve(p, listings, "tester", time.Unix(1_780_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return &Registry{Version: Version, Pairs: []Pair{e}}
}

func TestResolve_OnlyWhatIsApprovedAndUnchanged(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *Pair, ls []data.Listing)
		want   string
	}{
		{"approved", func(*Pair, []data.Listing) {}, ""},
		{"proposed", func(p *Pair, _ []data.Listing) { p.Status = "proposed" }, "not approved"},
		{"suspended", func(p *Pair, _ []data.Listing) { p.Status = "suspended" }, "not approved"},
		{"changed rules", func(_ *Pair, ls []data.Listing) { ls[1].Rules += " Or snow." }, "changed since"},
		{"not listed", func(p *Pair, _ []data.Listing) { p.B.Market = "KXOTHER" }, "not on the tape"},
	} {
		r := registry(t)
		ls := append([]data.Listing(nil), listings...)
		c.change(&r.Pairs[0], ls)
		got, refused := r.Resolve(ls)
		if c.want == "" {
			if len(got) != 1 || got[0].Par(data.LongA) != data.Dollar || got[0].Par(data.ShortA) != 760_000 {
				t.Errorf("%s: %+v, %v", c.name, got, refused)
			}
			continue
		}
		if len(got) != 0 || len(refused) != 1 || !strings.Contains(refused[0].Reason, c.want) {
			t.Errorf("%s: %+v, %v; want %q", c.name, got, refused, c.want)
		}
	}
}

func TestLoad_ErrorsNameTheLine(t *testing.T) {
	good, err := registry(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pairs.yaml")
	for _, c := range []struct{ name, from, to, want string }{
		{"good", "", "", ""},
		{"unknown key", "polarity:", "polarityy:", "polarityy"},
		{"bad polarity", "polarity: same", "polarity: maybe", "same or opposite"},
		{"unknown venue", "venue: kalshi", "venue: kalsh", "unknown venue"},
		{"approved by nobody", "by: tester", `by: ""`, "approved by nobody"},
		{"payoff above one", `"0.50"`, `"1.50"`, "outside 0..1"},
		{"other version", "version: 1", "version: 7", "version 7"},
	} {
		text := strings.Replace(string(good), c.from, c.to, 1)
		if c.from != "" && text == string(good) {
			t.Fatalf("%s: nothing replaced in\n%s", c.name, good)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func FuzzParse_NeverPanics(f *testing.F) {
	f.Add([]byte("version: 1\npairs:\n- id: x\n  a: {venue: kalshi, market: A}\n  b: {venue: polymarket, market: B}\n  polarity: same\n  status: proposed\n"))
	f.Add([]byte("version: 1\npairs: []\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		r.Resolve(listings)
		again, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(again); err != nil {
			t.Fatalf("what was accepted does not read back: %v\n%s", err, again)
		}
	})
}
