package data

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveBook is the deliberately dumb twin: a map a side and a sort a question.
type naiveBook [2]map[Price]Qty

func newNaiveBook() naiveBook { return naiveBook{{}, {}} }

func (n naiveBook) set(s Side, p Price, q Qty) {
	if q == 0 {
		delete(n[s-1], p)
	} else {
		n[s-1][p] = q
	}
}

func (n naiveBook) levels(s Side) []Rung {
	var rs []Rung
	for p, q := range n[s-1] {
		rs = append(rs, Rung{p, q})
	}
	slices.SortFunc(rs, func(a, b Rung) int {
		if s == Buy {
			return int(b.Price - a.Price)
		}
		return int(a.Price - b.Price)
	})
	return rs
}

func compareBooks(t *testing.T, step int, b *Book, n naiveBook) {
	t.Helper()
	for _, s := range []Side{Buy, Sell} {
		want := n.levels(s)
		if b.Len(s) != len(want) {
			t.Fatalf("step %d: %s side has %d levels, want %d", step, s, b.Len(s), len(want))
		}
		p := Price(0)
		for i := range want {
			got := b.Next(s, p)
			if got != want[i] {
				t.Fatalf("step %d: %s level %d is %v, want %v", step, s, i, got, want[i])
			}
			if b.Qty(s, got.Price) != got.Qty {
				t.Fatalf("step %d: Qty(%s) disagrees", step, got.Price)
			}
			p = got.Price
		}
		if got := b.Next(s, p); len(want) > 0 && got.Qty != 0 {
			t.Fatalf("step %d: %s has a level %v behind the last", step, s, got)
		}
		if len(want) == 0 && b.Best(s).Qty != 0 {
			t.Fatalf("step %d: empty %s side has a best", step, s)
		}
	}
}

func TestBook_AgreesWithItsNaiveTwin(t *testing.T) {
	r := rng(t)
	for _, unit := range []Price{1, 5, 10, 25, 50, 100, 1000} {
		for run := range 6 {
			var b Book
			n := newNaiveBook()
			span := 1 + r.IntN(int(One/unit)-1)
			for step := range 1500 {
				s := Side(1 + r.IntN(2))
				u := unit
				if run%2 == 1 && step > 700 { // the tick becomes finer in mid-life
					u = GCD(unit, 5)
				}
				p := u * Price(1+r.IntN(span*int(unit/u)))
				switch x := r.IntN(100); {
				case x < 1:
					b.Clear()
					n = newNaiveBook()
				case x < 40:
					q := Qty(r.Int64N(1000)) * Contract
					if !b.Set(s, p, q) {
						t.Fatalf("Set(%s, %s) refused", p, q)
					}
					n.set(s, p, q)
				case x < 60:
					b.Set(s, p, 0)
					n.set(s, p, 0)
				case x < 70: // eat the best
					if best := b.Best(s); best.Qty != 0 {
						b.Set(s, best.Price, 0)
						n.set(s, best.Price, 0)
					}
				default:
					d := Qty(r.Int64N(2000)-1000) * Contract
					was := n[s-1][p]
					if ok := b.Add(s, p, d); ok != (was+d >= 0) {
						t.Fatalf("Add(%s, %s) on %s = %v", p, d, was, ok)
					} else if ok {
						n.set(s, p, was+d)
					}
				}
				if step%7 == 0 || step < 100 {
					compareBooks(t, step, &b, n)
				}
			}
			compareBooks(t, -1, &b, n)
		}
	}
}

func TestBook_RefusesWhatIsOutOfBounds(t *testing.T) {
	var b Book
	for _, c := range []struct {
		p Price
		q Qty
	}{{0, 1}, {One, 1}, {-1, 1}, {One + 1, 1}, {5000, -1}, {5000, QtyMax + 1}} {
		if b.Set(Buy, c.p, c.q) {
			t.Errorf("Set(%d, %d) was accepted", c.p, c.q)
		}
	}
	b.Set(Buy, 5000, 10)
	if b.Add(Buy, 5000, -11) || b.Qty(Buy, 5000) != 10 {
		t.Error("a level went below zero, or the refusal changed it")
	}
}

func TestBook_SteadyStateAllocatesNothing(t *testing.T) {
	var b Book
	r := rand.New(rand.NewPCG(1, 1))
	step := func() { b.Set(Side(1+r.IntN(2)), Price(1+r.IntN(9999)), Qty(r.IntN(3))*Contract) }
	for range 100_000 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations a set, want 0", n)
	}
}

func BenchmarkBook_Set(b *testing.B) {
	for _, c := range []struct {
		name string
		tick Price
	}{{"cents", 100}, {"tenths", 10}, {"10001ticks", 1}} {
		moves := bookMoves(c.tick)
		b.Run(c.name+"/dense", func(b *testing.B) {
			var k Book
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m := &moves[i%len(moves)]
				k.Set(m.s, m.p, m.q)
				i++
			}
		})
		b.Run(c.name+"/naive", func(b *testing.B) {
			n := newNaiveBook()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m := &moves[i%len(moves)]
				n.set(m.s, m.p, m.q)
				i++
			}
		})
	}
}

type move struct {
	s Side
	p Price
	q Qty
}

func bookMoves(tick Price) []move {
	r := rand.New(rand.NewPCG(3, 3))
	ms := make([]move, 1<<14)
	for i := range ms {
		d := Price(r.ExpFloat64()*8) * tick
		m := move{s: Side(1 + r.IntN(2)), q: Qty(r.IntN(4)) * Contract}
		m.p = 5000 - d - tick
		if m.s == Sell {
			m.p = 5000 + d
		}
		m.p = min(max(m.p, tick), One-tick)
		ms[i] = m
	}
	return ms
}
