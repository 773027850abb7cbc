package report

import (
	"fmt"
	"sort"

	"gonum.org/v1/gonum/stat"

	"arbiter/data"
	"arbiter/strategies/engine"
)

// Summary is a run in numbers. Money is in dollars with six decimals when printed as text, in micro-dollars in JSON.
type Summary struct {
	Digest      string         `json:"digest"`
	Checkpoint  string         `json:"checkpoint"`
	Partial     bool           `json:"partial"` // stopped before the recording's end
	Synthetic   bool           `json:"synthetic"`
	First       data.Time      `json:"first"`
	Last        data.Time      `json:"last"`
	Events      uint64         `json:"events"`
	Markets     int            `json:"markets"`
	Pairs       int            `json:"pairs"`
	Funnel      Funnel         `json:"funnel"`
	Durations   Durations      `json:"durations_ms"`
	Phantom     []Phantom      `json:"phantom"`
	Money       Money          `json:"money"`
	Open        []OpenPosition `json:"open_positions"`
	ByPair      []PairRow      `json:"by_pair"`
	Refusals    []Count        `json:"refusals"`
	Perturbed   []Perturbation `json:"perturbed"`
	Gaps        int            `json:"gaps"`
	GapsBy      []Count        `json:"gaps_by_market"`
	Stuck       int            `json:"stuck"`
	Assumptions []string       `json:"assumptions"`
	Warnings    []string       `json:"warnings"`
}

// Funnel counts distinct episodes, not ticks.
type Funnel struct {
	Seen      int `json:"seen"`
	Tradable  int `json:"tradable"`
	Attempted int `json:"attempted"`
	Filled    int `json:"filled"` // every leg, alike
	Attempts  int `json:"attempts"`
}

// Durations of episodes in milliseconds.
type Durations struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Mean float64 `json:"mean"`
}

// Phantom is the share of two-market episodes, seen in receive time, that never coexisted in exchange time under a
// shift of Kalshi's stamps.
type Phantom struct {
	OffsetMS int64   `json:"offset_ms"`
	Episodes int     `json:"episodes"`
	Phantom  int     `json:"phantom"`
	Share    float64 `json:"share"`
}

// Money of the finished executions, at par: Gross - Fees - Slippage - LegLosses = Net.
type Money struct {
	Gross      data.Money `json:"gross"`
	Fees       data.Money `json:"fees"`
	Slippage   data.Money `json:"slippage"`
	LegLosses  data.Money `json:"leg_losses"`
	Net        data.Money `json:"net"`
	Deposits   data.Money `json:"deposits"`
	Cash       data.Money `json:"cash"`
	Realised   data.Money `json:"realised"` // settled or closed, after fees
	Locked     data.Money `json:"locked"`   // cost of what is open at the end
	Marked     data.Money `json:"marked"`   // what it would bring at the books' end, after fees; never counted as profit
	LockedMax  data.Money `json:"locked_max"`
	LockedDays float64    `json:"locked_dollar_days"`
	Return     float64    `json:"return_on_locked_yearly"` // Realised over locked dollar-days, times 365
}

// OpenPosition is what is held at the end.
type OpenPosition struct {
	Market string     `json:"market"`
	Qty    data.Qty   `json:"qty"`
	Cost   data.Money `json:"cost"`
	Mark   data.Money `json:"mark"`
	Whole  bool       `json:"whole"` // the book could take all of it
}

// PairRow is one pair's or market's share.
type PairRow struct {
	Pair      string     `json:"pair"`
	Seen      int        `json:"seen"`
	Tradable  int        `json:"tradable"`
	Attempted int        `json:"attempted"`
	Filled    int        `json:"filled"`
	Best      data.Money `json:"best_edge"`
	Net       data.Money `json:"net"`
	LegLosses data.Money `json:"leg_losses"`
	Phantom   int        `json:"phantom"`
}

// Count is a named number.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Perturbation is the same run in a slightly worse world.
type Perturbation struct {
	Name      string     `json:"name"`
	Attempted int        `json:"attempted"`
	Filled    int        `json:"filled"`
	Net       data.Money `json:"net"`
	LegLosses data.Money `json:"leg_losses"`
	Realised  data.Money `json:"realised"`
}

// Summary reckons the run up. Call Finish first.
func (c *Collector) Summary() *Summary {
	d := c.e.Digest()
	seq, hash := c.e.Checkpoint()
	s := &Summary{Digest: fmt.Sprintf("%x", d), Checkpoint: fmt.Sprintf("%d:%016x", seq, hash), First: c.First, Last: c.Last, Events: c.Events,
		Markets: len(c.e.Markets().All), Pairs: len(c.e.Markets().Pairs), Gaps: c.Gaps}
	rows := map[string]*PairRow{}
	var lives []float64
	for _, ep := range c.Episodes {
		r := rows[ep.Pair]
		if r == nil {
			r = &PairRow{Pair: ep.Pair}
			rows[ep.Pair] = r
		}
		s.add(ep, r)
		lives = append(lives, float64(ep.End.Sub(ep.Start))/float64(data.Millisecond))
	}
	for _, r := range rows {
		s.ByPair = append(s.ByPair, *r)
	}
	sort.Slice(s.ByPair, func(i, j int) bool { return s.ByPair[i].Pair < s.ByPair[j].Pair })
	s.durations(lives)
	s.phantoms(c.Episodes)
	c.money(s)
	for r := engine.Refusal(1); r < engine.RefusalCount; r++ {
		if c.Refusals[r] > 0 {
			s.Refusals = append(s.Refusals, Count{r.String(), c.Refusals[r]})
		}
	}
	for k, n := range c.Gapped {
		s.GapsBy = append(s.GapsBy, Count{k.String(), n})
	}
	sort.Slice(s.GapsBy, func(i, j int) bool { return s.GapsBy[i].Name < s.GapsBy[j].Name })
	c.warnings(s)
	return s
}

func (s *Summary) add(ep *Episode, r *PairRow) {
	s.Funnel.Seen++
	r.Seen++
	r.Best = max(r.Best, ep.Edge)
	if ep.Tradable {
		s.Funnel.Tradable++
		r.Tradable++
	}
	if ep.Attempts > 0 {
		s.Funnel.Attempted++
		r.Attempted++
	}
	s.Funnel.Attempts += ep.Attempts
	if ep.Filled > 0 {
		s.Funnel.Filled++
		r.Filled++
	}
	if ep.Two && !ep.Coexisted[0] {
		r.Phantom++
	}
	o := &ep.Outcome
	r.Net += o.Net
	r.LegLosses += o.LegLoss
	m := &s.Money
	m.Net += o.Net
	m.Fees += o.Fees
	m.LegLosses += o.LegLoss
	m.Slippage += o.Slippage
	m.Gross += o.Planned + o.Fees
	if o.Residual > 0 {
		s.Stuck++
	}
}

func (s *Summary) durations(ms []float64) {
	if len(ms) == 0 {
		return
	}
	sort.Float64s(ms)
	q := func(p float64) float64 { return stat.Quantile(p, stat.Empirical, ms, nil) }
	s.Durations = Durations{P50: q(0.5), P90: q(0.9), P99: q(0.99), Mean: stat.Mean(ms, nil)}
}

func (s *Summary) phantoms(eps []*Episode) {
	for i, off := range offsets {
		p := Phantom{OffsetMS: int64(off / data.Millisecond)}
		for _, ep := range eps {
			if !ep.Two {
				continue
			}
			p.Episodes++
			if !ep.Coexisted[i] {
				p.Phantom++
			}
		}
		if p.Episodes > 0 {
			p.Share = float64(p.Phantom) / float64(p.Episodes)
		}
		s.Phantom = append(s.Phantom, p)
	}
	sort.SliceStable(s.Phantom, func(i, j int) bool { return s.Phantom[i].OffsetMS < s.Phantom[j].OffsetMS })
}

func (c *Collector) money(s *Summary) {
	a := c.e.Account()
	m := &s.Money
	m.Deposits, m.Realised = a.Deposits, a.Realised-a.Fees
	for v := range a.Cash {
		m.Locked += a.VenueCost[v]
		for i := range a.Cash[v] {
			m.Cash += a.Cash[v][i]
		}
	}
	for id := range a.Positions {
		p := &a.Positions[id]
		if p.Qty == 0 {
			continue
		}
		o := OpenPosition{Market: c.name(data.InstrumentID(id)), Qty: p.Qty, Cost: p.Cost}
		o.Mark, o.Whole = c.mark(data.InstrumentID(id), p.Qty)
		m.Marked += o.Mark
		s.Open = append(s.Open, o)
	}
	m.LockedMax, m.LockedDays = c.lockedMax, c.lockedDays
	if c.lockedDays > 0 {
		m.Return = float64(m.Realised) / float64(data.Dollar) / c.lockedDays * 365
	}
}

// mark is what a position would bring at once: the book's depth, less fees.
func (c *Collector) mark(id data.InstrumentID, q data.Qty) (data.Money, bool) {
	m := &c.e.Markets().All[id]
	side, order := data.Buy, data.Sell
	if q < 0 {
		side, order, q = data.Sell, data.Buy, -q
	}
	fees := m.Fees.At(c.Last)
	var sum data.Money
	for r := m.Book.Best(side); q > 0 && r.Qty != 0; r = m.Book.Next(side, r.Price) {
		take := min(q, r.Qty)
		sum += data.NotionalDown(side.Worth(r.Price), take) // closing brings what the other side would pay
		if fees != nil {
			sum -= fees.TakerFee(r.Price, take, order)
		}
		q -= take
	}
	return sum, q == 0
}

func (c *Collector) warnings(s *Summary) {
	if s.Gaps > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the recording has %d gaps: books were invalid until they were rebuilt", s.Gaps))
	}
	if s.Stuck > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d opportunities left an unhedged rest", s.Stuck))
	}
	if len(s.Open) > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d positions are open at the end; they are marked, not counted as profit", len(s.Open)))
	}
	if s.Funnel.Attempted > 0 && s.Funnel.Attempted < 30 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("only %d opportunities were attempted: too few for any conclusion", s.Funnel.Attempted))
	}
	if n := len(c.Episodes); n == 0 {
		s.Warnings = append(s.Warnings, "no opportunity was seen")
	}
}
