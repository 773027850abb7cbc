package kalshi

import (
	"strings"
	"testing"

	"arbiter/data"
)

func kinds(events []data.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, e.Kind.String())
	}
	return strings.Join(out, " ")
}

func seq(frame string, n string) string {
	i := strings.Index(frame, `"seq":`) + 6
	j := i + strings.IndexByte(frame[i:], ',')
	return frame[:i] + n + frame[j:]
}

func TestFeed_NoBidsBecomeYesAsks(t *testing.T) {
	f := NewFeed(Strict)
	f.Add("KXTEST-1", 0)
	ev, err := f.Frame([]byte(fixtures["orderbook_snapshot"]), 1, nil)
	if err != nil || kinds(ev) != "clear level level level" {
		t.Fatalf("%s, %v", kinds(ev), err)
	}
	b := f.Book("KXTEST-1")
	if got := b.Best(data.Sell); got.Price != 4500 || got.Qty != 3*data.Contract {
		t.Errorf("best ask %v, want 3 at 0.45 (a NO bid at 0.55)", got)
	}
}

// Strict: a skip loses the book until a snapshot; a repeated message is dropped; one repair a book.
func TestFeed_SequenceStrict(t *testing.T) {
	f := NewFeed(Strict)
	f.Add("KXTEST-1", 0)
	delta := fixtures["orderbook_delta"]
	for _, step := range []struct{ frame, want string }{
		{seq(fixtures["orderbook_snapshot"], "1"), "clear level level level"},
		{seq(delta, "2"), "delta"},
		{seq(delta, "2"), ""},    // the same message twice
		{seq(delta, "4"), "gap"}, // 3 is lost
		{seq(delta, "5"), ""},    // ignored until a snapshot
		{seq(fixtures["orderbook_snapshot"], "6"), "clear level level level"},
		{seq(delta, "5"), "gap"}, // back
	} {
		ev, err := f.Frame([]byte(step.frame), 1, nil)
		if err != nil || kinds(ev) != step.want {
			t.Fatalf("%.60s: %q, %v; want %q", step.frame, kinds(ev), err, step.want)
		}
	}
	if n := len(f.Repairs()); n != 2 {
		t.Errorf("%d repairs, want 2", n)
	}
}

// A delta below zero is a loss, not a negative level.
func TestFeed_NegativeLevelIsAGap(t *testing.T) {
	f := NewFeed(Increasing)
	f.Add("KXTEST-1", 0)
	frames := []string{seq(fixtures["orderbook_snapshot"], "1"), seq(strings.Replace(fixtures["orderbook_delta"], "-1.25", "-99", 1), "7")}
	var all []data.Event
	for _, fr := range frames {
		ev, err := f.Frame([]byte(fr), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ev...)
	}
	if !strings.HasSuffix(kinds(all), "gap") || f.Counts().Negative != 1 {
		t.Errorf("events %s", kinds(all))
	}
}

func TestFeed_LifecycleSettles(t *testing.T) {
	f := NewFeed(Strict)
	f.Add("KXTEST-1", 0)
	ev, err := f.Frame([]byte(fixtures["market_lifecycle"]), 1, nil)
	if err != nil || kinds(ev) != "status settle" || ev[1].Cash != data.Dollar {
		t.Errorf("%s, %v", kinds(ev), err)
	}
}
