package polymarket

import (
	"strings"
	"testing"

	"arbiter/data"
)

func newTestFeed() *Feed {
	f := NewFeed(Options{})
	f.Add(Market{Inst: 0, Key: market1, Tokens: [2]string{yesToken, noToken}, MinSize: 5 * data.Contract, Tick: 100})
	return f
}

func feed(t *testing.T, f *Feed, frames ...string) []data.Event {
	t.Helper()
	var out []data.Event
	var err error
	for i, fr := range frames {
		if out, err = f.Frame([]byte(fr), data.Time(1000+i), out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func kinds(events []data.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, e.Kind.String())
	}
	return strings.Join(out, " ")
}

// The mirror entry is the same liquidity: it is checked, never added.
func TestFeed_MirrorIsNeverAdded(t *testing.T) {
	f := newTestFeed()
	ev := feed(t, f, fixtures["book"], fixtures["price_change"])
	if got := kinds(ev); got != "clear level level level level level" {
		t.Fatalf("events: %s", got)
	}
	b := f.Book(yesToken)
	if q := b.Qty(data.Buy, 4200); q != 12*data.Contract {
		t.Errorf("bid at 0.42 is %s, want 12", q)
	}
	c := f.Counts()
	if c.MirrorChecked != 1 || c.MirrorMatched != 1 || c.TopMatched != c.TopChecked {
		t.Errorf("counts %+v", c)
	}
}

// Scenario n: several fills share a transaction hash; each has an identity of its own.
func TestFeed_ScenarioN_TradesOfOneTransactionDiffer(t *testing.T) {
	f := newTestFeed()
	trade := fixtures["last_trade_price"]
	ev := feed(t, f, trade, trade, strings.Replace(trade, yesToken, noToken, 1))
	if len(ev) != 3 {
		t.Fatalf("%d trades", len(ev))
	}
	seen := map[data.OrderID]bool{}
	for _, e := range ev {
		if seen[e.Order] {
			t.Errorf("two fills share the identity %d", e.Order)
		}
		seen[e.Order] = true
	}
	if ev[2].Side != data.Sell || ev[2].Price != 5500 {
		t.Errorf("a NO trade bought at 0.45 is YES sold at 0.55, got %s at %s", ev[2].Side, ev[2].Price)
	}
}

// A tick change is an epoch: the book is dropped until a fresh one comes, and one repair is asked for.
func TestFeed_TickChangeIsAnEpoch(t *testing.T) {
	f := newTestFeed()
	ev := feed(t, f, fixtures["book"], fixtures["tick_size_change"], fixtures["price_change"])
	if got := kinds(ev); !strings.HasSuffix(got, "tick gap") {
		t.Fatalf("events: %s", got)
	}
	if f.Book(yesToken) != nil || len(f.Repairs()) != 1 {
		t.Error("the book is still valid, or no repair was asked for")
	}
	// The REST book is older than the change that came meanwhile: the change is applied on top.
	rest := strings.Replace(fixtures["rest book"], `"bids":[]`, `"bids":[{"price":"0.4","size":"1"}]`, 1)
	feed(t, f, rest)
	if b := f.Book(yesToken); b == nil || b.Qty(data.Buy, 4200) != 12*data.Contract || b.Qty(data.Buy, 4000) != data.Contract {
		t.Error("buffered changes were not applied to the REST snapshot")
	}
}

func TestFeed_OldRestBookDoesNotReplaceANewerOne(t *testing.T) {
	f := newTestFeed()
	feed(t, f, fixtures["book"], fixtures["price_change"])
	if ev := feed(t, f, fixtures["rest book"]); len(ev) != 0 || f.Counts().Stale != 1 {
		t.Errorf("an older REST book gave %s", kinds(ev))
	}
}

// A malformed message invalidates the book: what it said is lost.
func TestFeed_MalformedMessageIsAGap(t *testing.T) {
	f := newTestFeed()
	feed(t, f, fixtures["book"])
	ev, err := f.Frame([]byte(strings.Replace(fixtures["price_change"], `"size":"12"`, `"size":"x"`, 1)), 5000, nil)
	if err == nil || kinds(ev) != "gap" || f.Book(yesToken) != nil {
		t.Errorf("events %s, error %v", kinds(ev), err)
	}
}

// Best prices that stay wrong give the book up; a passing disagreement does not.
func TestFeed_TopThatStaysWrongIsAGap(t *testing.T) {
	f := newTestFeed()
	feed(t, f, fixtures["book"])
	wrong := strings.Replace(fixtures["price_change"], `"best_bid":"0.55","best_ask":"0.58"`, `"best_bid":"0.50","best_ask":"0.51"`, 1)
	for i := range topPatience {
		ev := feed(t, f, wrong)
		if gap := strings.Contains(kinds(ev), "gap"); gap != (i == topPatience-1) {
			t.Fatalf("message %d: %s", i, kinds(ev))
		}
	}
}

func TestFeed_ResolvedSettles(t *testing.T) {
	f := newTestFeed()
	ev := feed(t, f, fixtures["market_resolved"])
	if kinds(ev) != "status settle" || ev[1].Cash != 0 {
		t.Errorf("NO won: %s, YES pays %s", kinds(ev), ev[1].Cash)
	}
}
