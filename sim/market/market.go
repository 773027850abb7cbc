// Package market generates correlated two-venue markets from a seed, so that a cross-venue tape of any size can be
// made. What it makes is called synthetic wherever it is shown.
//
// Fitted to real captures (eight fifteen-minute gold markets of Kalshi, 5 to 12 August 2026; 332,656 deltas, 10,176
// trades, 6,636 seconds), by quantiles: sizes of added and removed orders, distance of changes from the best price,
// levels a side (median 30), spread (median one tick), trades' sizes, one trade to 33 deltas, delay from the venue's
// stamp to receipt (median 8 ms, 95th percentile 875 ms, negative in a tenth). Distances are cut off at 45 ticks, delays
// at their 95th percentile: the longest ones (up to 3.2 s) come in bursts of less than half a second.
//
// Assumed, because the captures cannot tell: that a delay stays for five seconds on average, that Polymarket's books and
// delays look like Kalshi's (33 changes were captured), how far and how often the two venues disagree, the lag between
// them, the rate of news and its size.
// So an edge found here says nothing about the world; it exercises the program.
//
// Everything is integers: the same seed gives the same tape on every processor.
package market

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
	"arbiter/data/tape"
)

// Config of a generated world.
type Config struct {
	Seed     uint64
	Pairs    int           // markets that trade on both venues
	Single   int           // further markets on each venue alone
	Start    data.Time     // whole seconds
	Length   data.Duration // markets close at 19/20 of it and settle soon after
	Rate     int           // changes a market and second, on average
	NewsGap  data.Duration // mean time between jumps of a pair's fair price
	Lag      [data.VenueCount]data.Duration
	Progress func(done, total data.Duration) // may be nil
}

// Defaults make ten minutes of four pairs.
func Defaults() Config {
	c := Config{Seed: 1, Pairs: 4, Single: 1, Start: 1_780_000_000 * data.Time(data.Second), Length: 10 * data.Minute, Rate: 4, NewsGap: 20 * data.Second}
	c.Lag[data.Polymarket], c.Lag[data.Kalshi] = 400*data.Millisecond, 900*data.Millisecond
	return c
}

// Validate refuses what would not end or not fit.
func (c *Config) Validate() error {
	if c.Pairs < 0 || c.Single < 0 || c.Pairs+c.Single < 1 || c.Pairs+c.Single > 100_000 {
		return fmt.Errorf("synth: pairs and single markets: at least one, at most 100000")
	}
	if c.Rate < 1 || c.Rate > 10_000 || c.NewsGap <= 0 || c.Length < data.Second || c.Length > 1000*data.Day || c.Start <= 0 || c.Start%data.Time(data.Second) != 0 {
		return fmt.Errorf("synth: rate 1..10000 changes a second, positive news gap, length of at least a second, start on a whole second")
	}
	return nil
}

// Quantiles at 0, 5, 10, 25, 50, 75, 90, 95, 99 and 100 percent; see the package comment for what they were fitted to.
var (
	points    = [10]int64{0, 50, 100, 250, 500, 750, 900, 950, 990, 1000}
	sizes     = [10]int64{10, 10, 10, 1000, 2200, 5000, 10_000, 40_000, 200_000, 1_400_000} // hundredths of a contract
	distances = [10]int64{0, 0, 0, 1, 3, 7, 15, 38, 45, 45}                                 // ticks from the best
	trades    = [10]int64{10, 10, 10, 262, 1000, 2820, 5000, 9496, 26_199, 200_000}         // hundredths
	levels    = [10]int64{5, 10, 14, 20, 30, 39, 46, 50, 53, 58}                            // a side
	delays    = [10]int64{-45, -23, -22, -14, 8, 14, 24, 875, 875, 875}                     // ms
	waits     = [10]int64{0, 51, 105, 288, 693, 1386, 2303, 2996, 4605, 9210}               // exponential, per mille of the mean
)

func draw(r *rand.Rand, q *[10]int64) int64 {
	u := r.Int64N(1001)
	i := 1
	for u > points[i] {
		i++
	}
	return q[i-1] + (q[i]-q[i-1])*(u-points[i-1])/(points[i]-points[i-1])
}

// fair is the price that both venues of a pair follow, each after its lag.
type fair struct {
	r       *rand.Rand
	price   data.Price
	next    data.Time
	history []moved
}

type moved struct {
	at    data.Time
	price data.Price
}

func (f *fair) until(t data.Time, gap data.Duration) {
	for f.next <= t {
		step := data.Price(f.r.IntN(3)-1) * 100
		if f.r.IntN(8) == 0 {
			step = data.Price(f.r.IntN(25)-12) * 100
		}
		f.price = min(max(f.price+step, 300), 9700)
		f.history = append(f.history, moved{f.next, f.price})
		f.next = f.next.Add(max(data.Millisecond, gap/8*data.Duration(draw(f.r, &waits))/1000))
	}
	if n := len(f.history); n > 64 {
		f.history = append(f.history[:0], f.history[n-32:]...)
	}
}

func (f *fair) at(t data.Time) data.Price {
	p := f.history[0].price
	for _, m := range f.history {
		if m.at > t {
			break
		}
		p = m.price
	}
	return p
}

// venueMarket is one market of one venue.
type venueMarket struct {
	venue    data.Venue
	inst     data.InstrumentID // within its venue's source
	list     data.Listing
	opposite bool
	tick     data.Price
	fair     *fair
	r        *rand.Rand
	book     data.Book
	next     data.Time
	recv     *data.Time // of the venue's connection: never decreases
	order    int
}

type agenda []*venueMarket

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].next != a[j].next {
		return a[i].next < a[j].next
	}
	return a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push is for package heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(*venueMarket)) }

// Pop is for package heap.
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}

// Note is what every tape made here says of itself.
const Note = "synthetic: generated from a seed; prices, disagreement and delays are a model, not a recording"

// Write generates a world into a new tape and returns its pairs.
func Write(cfg Config, dir string, opt tape.Options) (*tape.Manifest, []data.Pairing, error) {
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	opt.Origin = fmt.Sprintf("synthetic: seed %d, %d pairs, %d single markets a venue, %s", cfg.Seed, cfg.Pairs, cfg.Single, cfg.Length)
	opt.Notes = append(opt.Notes, Note)
	w, err := tape.Create(dir, opt)
	if err != nil {
		return nil, nil, err
	}
	defer w.Abort()
	g := &generator{cfg: cfg}
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		exch := data.Millisecond
		if v == data.Kalshi {
			exch = data.Microsecond
		}
		s, err := w.Source(tape.SourceOptions{Venue: v, Recorder: "synth", Connection: "0", Synthetic: true, RecvUnit: data.Millisecond, ExchUnit: exch})
		if err != nil {
			return nil, nil, err
		}
		g.out[v] = s
	}
	if err := g.run(); err != nil {
		return nil, nil, fmt.Errorf("synth: %w", err)
	}
	m, err := w.Close()
	return m, g.pairings, err
}

type generator struct {
	cfg      Config
	out      [data.VenueCount]*tape.SourceWriter
	recv     [data.VenueCount]data.Time
	lags     [data.VenueCount]lag
	markets  agenda
	pairings []data.Pairing
	buf      []data.Event
}

func (g *generator) run() error {
	if err := g.listAll(); err != nil {
		return err
	}
	cfg := &g.cfg
	closes := cfg.Start.Add(cfg.Length / 20 * 19)
	all := append(agenda(nil), g.markets...)
	heap.Init(&g.markets)
	told := cfg.Start
	for len(g.markets) > 0 {
		m := g.markets[0]
		if m.next >= closes {
			heap.Pop(&g.markets)
			continue
		}
		if cfg.Progress != nil && m.next.Sub(told) > cfg.Length/200 {
			told = m.next
			cfg.Progress(told.Sub(cfg.Start), cfg.Length)
		}
		if err := g.change(m); err != nil {
			return err
		}
		mean := data.Second / data.Duration(cfg.Rate)
		m.next = m.next.Add(max(data.Millisecond, mean*data.Duration(draw(m.r, &waits))/1000/data.Millisecond*data.Millisecond))
		heap.Fix(&g.markets, 0)
	}
	for _, m := range all {
		m.fair.until(closes, cfg.NewsGap)
	}
	return g.settleAll(all, closes)
}

func (g *generator) listAll() error {
	cfg := &g.cfg
	poly, err := polymarket.Schedule(70_000, 1, 200_000, 0)
	if err != nil {
		return err
	}
	kal, err := kalshi.Schedule("quadratic", 1_000_000, kalshi.Direct, 0)
	if err != nil {
		return err
	}
	var fees [data.VenueCount]uint32
	if fees[data.Polymarket], err = g.out[data.Polymarket].Fees(poly); err != nil {
		return err
	}
	if fees[data.Kalshi], err = g.out[data.Kalshi].Fees(kal); err != nil {
		return err
	}
	for _, v := range [2]data.Venue{data.Polymarket, data.Kalshi} {
		g.recv[v], g.lags[v].r = cfg.Start, rand.New(rand.NewPCG(cfg.Seed, 0x1A6<<32|uint64(v)))
	}
	for i := range cfg.Pairs + cfg.Single {
		r := rand.New(rand.NewPCG(cfg.Seed, uint64(i)))
		f := &fair{r: r, price: data.Price(10+r.IntN(81)) * 100, next: cfg.Start}
		f.until(cfg.Start, cfg.NewsGap)
		opposite := i < cfg.Pairs && i%4 == 3
		a, err := g.list(data.Polymarket, i, f, false, fees[data.Polymarket])
		if err != nil {
			return err
		}
		if i >= cfg.Pairs { // alone on each venue: each follows a price of its own
			f = &fair{r: rand.New(rand.NewPCG(cfg.Seed, uint64(i)|1<<40)), price: data.Price(10+r.IntN(81)) * 100, next: cfg.Start}
			f.until(cfg.Start, cfg.NewsGap)
		}
		b, err := g.list(data.Kalshi, i, f, opposite, fees[data.Kalshi])
		if err != nil {
			return err
		}
		if i < cfg.Pairs {
			g.pairings = append(g.pairings, data.Pairing{ID: fmt.Sprintf("synth-%03d", i), A: a.list.Key, B: b.list.Key, Opposite: opposite, Branches: data.PlainBranches(opposite)})
		}
	}
	return nil
}

func (g *generator) list(v data.Venue, i int, f *fair, opposite bool, fees uint32) (*venueMarket, error) {
	cfg := &g.cfg
	closes := cfg.Start.Add(cfg.Length / 20 * 19)
	m := &venueMarket{venue: v, tick: 100, fair: f, opposite: opposite, r: rand.New(rand.NewPCG(cfg.Seed^uint64(v)<<56, uint64(i))), recv: &g.recv[v], order: len(g.markets)}
	word := "is"
	if opposite {
		word = "is not"
	}
	m.list = data.Listing{Key: data.MarketKey{Venue: v, Native: fmt.Sprintf("SYNTH-%03d", i)}, Outcomes: [2]string{"Yes", "No"}, Event: fmt.Sprintf("SYNTH-%03d", i), EventSize: 1,
		Series: "SYNTH", Category: "Synthetic", Title: fmt.Sprintf("Synthetic fact %d", i),
		Rules: fmt.Sprintf("Resolves to Yes if synthetic fact %d %s true when trading closes.", i, word), Source: "none: generated",
		Opens: cfg.Start, Closes: closes, Expected: closes.Add(data.Minute), QtyMin: data.Contract / 100, QtyStep: data.Contract / 100, Synthetic: true}
	if v == data.Polymarket { // its records name no series and no expected result
		m.list.Series, m.list.Expected = "", 0
		m.list.Key.Native = fmt.Sprintf("0x%064x", i+1)
		m.list.Tokens = [2]string{fmt.Sprintf("1%076d", 2*i), fmt.Sprintf("1%076d", 2*i+1)}
		m.list.QtyMin, m.list.CashStep, m.list.CashMin = 5*data.Contract, data.Cent, data.Dollar
		if i%3 == 2 {
			m.tick = 10
		}
	}
	m.list.Bands = data.UniformBands(m.tick)
	m.next = cfg.Start.Add(data.Second + data.Duration(m.r.IntN(1000))*data.Millisecond)
	id, err := g.out[v].Listing(m.list)
	if err != nil {
		return nil, err
	}
	m.inst = id
	g.markets = append(g.markets, m)
	for _, e := range []data.Event{{Kind: data.Listed, Arg: uint32(id)}, {Kind: data.Fees, Arg: fees}, {Kind: data.Status, Arg: data.VenueArg(v, uint8(data.Open))}} {
		e.Inst, e.Recv, e.Last = id, *m.recv, true
		if err := g.out[v].Write(e); err != nil {
			return nil, err
		}
	}
	return m, g.snapshot(m)
}

// target is where the venue's middle should be: the fair price as the venue knows it.
func (g *generator) target(m *venueMarket, t data.Time) data.Price {
	m.fair.until(t, g.cfg.NewsGap)
	p := m.fair.at(t.Add(-g.cfg.Lag[m.venue]))
	if m.opposite {
		p = p.Complement()
	}
	return p
}

func (m *venueMarket) clip(p data.Price) data.Price {
	p -= p % m.tick
	return min(max(p, m.tick), data.One-m.tick)
}

func (g *generator) snapshot(m *venueMarket) error {
	mid := g.target(m, g.cfg.Start)
	g.buf = append(g.buf[:0], data.Event{Kind: data.Clear})
	for _, s := range [2]data.Side{data.Buy, data.Sell} {
		from := len(g.buf)
		for i := range draw(m.r, &levels) {
			d := data.Price(i)*100 + m.tick
			p := mid - d
			if s == data.Sell {
				p = mid + d
			}
			if !p.Tradable() || p != m.clip(p) {
				continue
			}
			q := data.Qty(draw(m.r, &sizes)) * data.Contract / 100
			m.book.Set(s, p, q)
			g.buf = append(g.buf, data.Event{Kind: data.Level, Side: s, Price: p, Qty: q})
		}
		slices.Reverse(g.buf[from:]) // both venues send the best price last
	}
	return g.emit(m, g.cfg.Start)
}

// lag is how long a venue's messages take. It stays for a while: messages come in order, so were each delayed by itself,
// all would wait for the slowest.
type lag struct {
	r     *rand.Rand
	now   data.Duration
	until data.Time
}

// lagStays is how long a venue's delay stays on average.
const lagStays = 5 * data.Second

func (l *lag) at(t data.Time) data.Duration {
	for l.until <= t {
		l.now = data.Duration(draw(l.r, &delays)) * data.Millisecond
		l.until = max(l.until, t).Add(max(data.Millisecond, lagStays*data.Duration(draw(l.r, &waits))/1000))
	}
	return l.now
}

// emit stamps and writes the buffered message.
func (g *generator) emit(m *venueMarket, at data.Time) error {
	recv := at.Add(g.lags[m.venue].at(at))
	recv -= recv % data.Time(data.Millisecond)
	*m.recv = max(*m.recv, recv)
	for i := range g.buf {
		e := &g.buf[i]
		e.Inst, e.Recv, e.Exch, e.Last = m.inst, *m.recv, at, i == len(g.buf)-1
		if m.venue == data.Kalshi && g.buf[0].Kind == data.Clear {
			e.Exch = 0 // its snapshots have no stamp
		}
	}
	return g.out[m.venue].Write(g.buf...)
}

// change is one message: a step of the best prices towards the target, a trade, or a change in depth.
func (g *generator) change(m *venueMarket) error {
	mid := g.target(m, m.next)
	bid, ask := m.book.Best(data.Buy), m.book.Best(data.Sell)
	switch {
	case bid.Qty != 0 && bid.Price >= mid:
		return g.set(m, data.Buy, bid.Price, 0)
	case ask.Qty != 0 && ask.Price <= mid:
		return g.set(m, data.Sell, ask.Price, 0)
	case m.r.IntN(33) == 0:
		return g.trade(m)
	}
	s := data.Side(1 + m.r.IntN(2))
	best := bid
	if s == data.Sell {
		best = ask
	}
	d := data.Price(draw(m.r, &distances)) * m.tick
	if gap := gapTo(s, best, mid); best.Qty == 0 || gap > 3*m.tick { // the side fell behind: fill in near the target
		best.Price = mid
		d = m.tick + data.Price(m.r.IntN(2))*m.tick
	}
	p := best.Price - d
	if s == data.Sell {
		p = best.Price + d
	}
	p = m.clip(p)
	if (s == data.Buy && p >= mid) || (s == data.Sell && p <= mid) {
		return nil
	}
	was := m.book.Qty(s, p)
	q := data.Qty(draw(m.r, &sizes)) * data.Contract / 100
	if was > 0 && m.r.IntN(2) == 0 {
		q = max(0, was-q)
	} else {
		q += was
	}
	if q == was || q > data.QtyMax/2 {
		return nil
	}
	return g.set(m, s, p, q)
}

func gapTo(s data.Side, best data.Rung, mid data.Price) data.Price {
	if s == data.Buy {
		return mid - best.Price
	}
	return best.Price - mid
}

// set changes a level: Kalshi tells the difference, Polymarket the new total.
func (g *generator) set(m *venueMarket, s data.Side, p data.Price, q data.Qty) error {
	e := data.Event{Kind: data.Level, Side: s, Price: p, Qty: q}
	if m.venue == data.Kalshi {
		e.Kind, e.Qty = data.Delta, q-m.book.Qty(s, p)
	}
	m.book.Set(s, p, q)
	g.buf = append(g.buf[:0], e)
	return g.emit(m, m.next)
}

// trade takes from the best price: the print comes first, then the change, both of one instant.
func (g *generator) trade(m *venueMarket) error {
	s := data.Side(1 + m.r.IntN(2))
	r := m.book.Best(s.Opposite())
	if r.Qty == 0 {
		return nil
	}
	q := min(r.Qty, data.Qty(draw(m.r, &trades))*data.Contract/100)
	g.buf = append(g.buf[:0], data.Event{Kind: data.Trade, Side: s, Price: r.Price, Qty: q, Order: data.OrderID(m.r.Uint64())})
	if err := g.emit(m, m.next); err != nil {
		return err
	}
	return g.set(m, s.Opposite(), r.Price, r.Qty-q)
}

// settleAll ends every market: Kalshi deactivates it at its close; the result comes half a minute later there, a minute
// later on Polymarket, with the status in the same message.
func (g *generator) settleAll(all agenda, closes data.Time) error {
	after := [data.VenueCount]data.Duration{data.Polymarket: data.Minute, data.Kalshi: 30 * data.Second}
	for _, m := range all {
		if m.venue != data.Kalshi {
			continue
		}
		*m.recv = max(*m.recv, closes)
		e := data.Event{Kind: data.Status, Inst: m.inst, Recv: *m.recv, Exch: closes, Arg: data.VenueArg(m.venue, uint8(data.Halted)), Last: true}
		if err := g.out[m.venue].Write(e); err != nil {
			return err
		}
	}
	for _, m := range all {
		at := closes.Add(min(after[m.venue], g.cfg.Length/20))
		*m.recv = max(*m.recv, at)
		e := data.Event{Kind: data.Status, Inst: m.inst, Recv: *m.recv, Exch: at, Arg: data.VenueArg(m.venue, uint8(data.Determined)), Last: true}
		if err := g.out[m.venue].Write(e); err != nil {
			return err
		}
		e.Kind, e.Arg = data.Settle, 0
		if yes := m.fair.price >= data.One/2; yes != m.opposite {
			e.Cash = data.Dollar
		}
		if err := g.out[m.venue].Write(e); err != nil {
			return err
		}
	}
	return nil
}
