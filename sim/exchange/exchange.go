// Package exchange is the simulated venue: it matches immediate orders against the recorded book as it stands when the
// order arrives, charges exact fees, keeps its own ledger of cash and contracts, and settles by the market's result.
// It is a state machine fed by events; its only randomness is seeded latency, drawn by order id.
//
// Where it is wrong:
//   - Our orders move nothing but the levels that they take: other traders do not react. Start with small sizes.
//   - What we took stays taken until the recording shows more at that price than before; a smaller quantity there
//     keeps it taken. Who took the difference cannot be known.
//   - Resting orders are refused: queue positions come later, beside match in this package.
//   - A gap in the recording is an empty book: nothing fills there, although the venue went on trading.
//   - Fills are final after a constant delay; on-chain failure of a matched trade is not drawn yet.
package exchange

import (
	"fmt"
	"math/bits"

	"arbiter/data"
)

// Quantile is one point of a latency distribution: PerMille of the draws are at most Delay.
type Quantile struct {
	PerMille int
	Delay    data.Duration
}

// Latency is a delay: the straight lines between its quantiles. One quantile is a constant.
type Latency []Quantile

// Constant is a latency that never varies.
func Constant(d data.Duration) Latency { return Latency{{1000, d}} }

// Validate wants quantiles in order and non-negative delays.
func (l Latency) Validate(name string) error {
	if len(l) == 0 {
		return fmt.Errorf("latency %s: no quantiles", name)
	}
	for i, q := range l {
		if q.PerMille < 0 || q.PerMille > 1000 || q.Delay < 0 || (i > 0 && (q.PerMille <= l[i-1].PerMille || q.Delay < l[i-1].Delay)) {
			return fmt.Errorf("latency %s: quantiles must rise, from 0 to 1000 per mille, delays not negative", name)
		}
	}
	if l[len(l)-1].PerMille != 1000 {
		return fmt.Errorf("latency %s: the last quantile must be 1000 per mille, the longest delay", name)
	}
	return nil
}

// draw takes a delay at u, uniform in 0..2^32-1.
func (l Latency) draw(u uint32) data.Duration {
	x := int64(u) * 1000 // per mille at scale 2^32
	before := Quantile{0, l[0].Delay}
	for _, q := range l {
		if at := int64(q.PerMille) << 32; x <= at {
			span := at - int64(before.PerMille)<<32
			if span == 0 {
				return q.Delay
			}
			into := x - int64(before.PerMille)<<32
			hi, lo := bits.Mul64(uint64(q.Delay-before.Delay), uint64(into))
			d, _ := bits.Div64(hi, lo, uint64(span)) // into <= span: the quotient fits
			return before.Delay + data.Duration(d)
		}
		before = q
	}
	return l[len(l)-1].Delay
}

// VenueConfig is one venue's side of the simulation.
type VenueConfig struct {
	Order    Latency       // from the decision to the venue's matching
	Response Latency       // from matching to our reading the answer
	Confirm  data.Duration // from the answer to finality
	Cash     [8]data.Money // by shard
	Assumed  *data.FeeSchedule
}

// Config of the simulated venues.
type Config struct {
	Seed   uint64
	Worse  data.Price // every fill is this much worse than the book says; for the sanity row
	Venues [data.VenueCount]VenueConfig
}

// Validate refuses an incomplete model.
func (c *Config) Validate() error {
	if c.Worse < 0 || c.Worse >= data.One {
		return fmt.Errorf("exchange: worse prices by %s: out of range", c.Worse)
	}
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		vc := &c.Venues[v]
		if err := vc.Order.Validate(v.String() + " order"); err != nil {
			return err
		}
		if err := vc.Response.Validate(v.String() + " response"); err != nil {
			return err
		}
		if vc.Confirm < 0 {
			return fmt.Errorf("latency %s confirm: negative", v)
		}
		for _, m := range vc.Cash {
			if m < 0 || m > data.MoneyMax {
				return fmt.Errorf("cash at %s: out of range", v)
			}
		}
	}
	return nil
}

// Exchange holds the venues' books and our ledger there.
type Exchange struct {
	cfg     Config
	dict    *data.Dictionary
	markets []market
	cash    [data.VenueCount][8]data.Money
	taken   map[levelKey]taken
	venue   [data.VenueCount]data.MarketStatus
}

type market struct {
	list    *data.Listing
	book    data.Book
	status  data.MarketStatus
	fees    data.FeeTable
	bands   []data.Band
	settled bool
	qty     data.Qty
}

type levelKey struct {
	inst  data.InstrumentID
	side  data.Side
	price data.Price
}

// taken is what we consumed of a level, and what the recording showed there then.
type taken struct{ qty, shown data.Qty }

// New makes the venues. dict is the session's dictionary.
func New(cfg Config, dict *data.Dictionary) (*Exchange, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	x := &Exchange{cfg: cfg, dict: dict, taken: map[levelKey]taken{}}
	for v := range cfg.Venues {
		x.cash[v] = cfg.Venues[v].Cash
	}
	return x, nil
}

// Apply folds a world event in, at the venue's own pace.
func (x *Exchange) Apply(ev *data.Event) {
	switch ev.Kind {
	case data.Listed:
		l := &x.dict.Listings[ev.Arg]
		x.markets = append(x.markets, market{list: l, bands: l.Bands})
		if s := x.cfg.Venues[l.Key.Venue].Assumed; s != nil {
			x.markets[ev.Inst].fees.Add(*s)
		}
		return
	case data.Status:
		if ev.Inst == data.NoInstrument {
			x.venue[ev.Venue()] = data.MarketStatus(ev.Arg & 0xff)
			return
		}
	}
	if ev.Inst == data.NoInstrument {
		if ev.Kind == data.Gap {
			for i := range x.markets {
				if x.markets[i].list.Key.Venue == ev.Venue() {
					x.markets[i].book.Clear()
				}
			}
		}
		return
	}
	m := &x.markets[ev.Inst]
	switch ev.Kind {
	case data.Level:
		if m.book.Set(ev.Side, ev.Price, ev.Qty) {
			x.refresh(ev, ev.Qty)
		}
	case data.Delta:
		if m.book.Add(ev.Side, ev.Price, ev.Qty) {
			x.refresh(ev, m.book.Qty(ev.Side, ev.Price))
		}
	case data.Clear, data.Gap:
		m.book.Clear()
	case data.TickSize:
		m.bands = data.UniformBands(ev.Price)
	case data.Status:
		m.status = data.MarketStatus(ev.Arg & 0xff)
	case data.Fees:
		m.fees.Add(x.dict.Fees[ev.Arg])
	case data.Settle:
		x.settle(m, ev.Cash)
	}
}

// refresh compares a level with what we took of it: more than was shown is fresh liquidity, less is not.
func (x *Exchange) refresh(ev *data.Event, shown data.Qty) {
	if len(x.taken) == 0 {
		return
	}
	k := levelKey{ev.Inst, ev.Side, ev.Price}
	t, ok := x.taken[k]
	if !ok {
		return
	}
	if shown > t.shown {
		delete(x.taken, k)
		return
	}
	t.shown, t.qty = shown, min(t.qty, shown)
	x.taken[k] = t
}

func (x *Exchange) settle(m *market, yes data.Money) {
	if m.settled {
		return
	}
	m.settled = true
	v, s := m.list.Key.Venue, m.list.Shard%8
	if m.qty >= 0 {
		x.cash[v][s] += data.PayoffDown(yes, m.qty)
	} else {
		x.cash[v][s] += data.PayoffDown(data.Dollar-yes, -m.qty)
	}
	m.qty = 0
}

// Cash is our balance at a venue's shard.
func (x *Exchange) Cash(v data.Venue, shard uint8) data.Money { return x.cash[v][shard] }

// Position is our contracts in a market.
func (x *Exchange) Position(id data.InstrumentID) data.Qty { return x.markets[id].qty }

// Arrival is when an order sent at now reaches the venue.
func (x *Exchange) Arrival(cmd *data.Command, now data.Time) data.Time {
	return now.Add(x.cfg.Venues[x.VenueOf(cmd)].Order.draw(x.uniform(cmd, 1)))
}

// VenueOf is the venue that a command goes to.
func (x *Exchange) VenueOf(cmd *data.Command) data.Venue { return x.markets[cmd.Inst].list.Key.Venue }

// uniform is a seeded draw that depends on the order alone, so that nothing else can shift it (splitmix64).
func (x *Exchange) uniform(cmd *data.Command, salt uint64) uint32 {
	z := x.cfg.Seed + uint64(cmd.Order)*0x9E3779B97F4A7C15 + salt*0xD1B54A32D192ED03
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return uint32((z ^ z>>31) >> 32)
}

// Match executes an order that arrives at a time and appends what will be read of it, each with Recv set to when. The
// outcome ends with a Canceled (whose Qty is the unfilled rest) or is a single Reject.
func (x *Exchange) Match(cmd *data.Command, at data.Time, out []data.Event) []data.Event {
	m := &x.markets[cmd.Inst]
	v := m.list.Key.Venue
	vc := &x.cfg.Venues[v]
	answer := at.Add(vc.Response.draw(x.uniform(cmd, 2)))
	base := data.Event{Order: cmd.Order, Inst: cmd.Inst, Recv: answer, Exch: at, Last: true}
	if r := x.admissible(m, cmd, at); r != 0 {
		base.Kind, base.Arg = data.Reject, uint32(r)
		return append(out, base)
	}
	ack := base
	ack.Kind = data.Ack
	out = append(out, ack)
	first := len(out)
	left := cmd.Qty
	fees := m.fees.At(at)
	var acc data.Money
	side := cmd.Side.Opposite()
	for r := m.book.Best(side); left > 0 && r.Qty != 0; r = m.book.Next(side, r.Price) {
		price := x.worse(cmd.Side, r.Price)
		if !price.Tradable() || cmd.Side.Beyond(price, cmd.Price) {
			break
		}
		k := levelKey{cmd.Inst, side, r.Price}
		t := x.taken[k]
		take := min(left, r.Qty-t.qty)
		if take <= 0 {
			continue
		}
		fee := fees.Charge(&acc, data.FeeBasis{Price: price, Qty: take, Side: cmd.Side}).Net()
		x.taken[k] = taken{t.qty + take, r.Qty}
		x.book(m, cmd.Side, price, take, fee)
		left -= take
		f := base
		f.Kind, f.Side, f.Price, f.Qty, f.Cash, f.Last = data.Fill, cmd.Side, price, take, fee, false
		out = append(out, f)
	}
	fills := len(out)
	if fills > first {
		out[fills-1].Last = true
	}
	end := base
	end.Kind, end.Qty = data.Canceled, left
	out = append(out, end)
	for i := first; i < fills; i++ {
		c := out[i]
		c.Kind, c.Recv, c.Cash, c.Last = data.Confirmed, answer.Add(vc.Confirm), 0, true
		out = append(out, c)
	}
	return out
}

// worse is the price that a fill at p costs in a world worse by Config.Worse.
func (x *Exchange) worse(s data.Side, p data.Price) data.Price {
	if s == data.Buy {
		return p + x.cfg.Worse
	}
	return p - x.cfg.Worse
}

// admissible is the venue's own checks, in its order.
func (x *Exchange) admissible(m *market, cmd *data.Command, at data.Time) data.RejectReason {
	v := m.list.Key.Venue
	venue := x.venue[v]
	switch {
	case cmd.TIF != data.ImmediateOrCancel && cmd.TIF != data.FillOrKill:
		return data.RejectQty
	case venue != data.StatusUnknown && venue != data.Open, m.status != data.Open, m.settled, m.list.Closes != 0 && at >= m.list.Closes, m.fees.At(at) == nil:
		return data.RejectClosed
	case !data.OnTick(m.bands, cmd.Price):
		return data.RejectPrice
	}
	held := m.qty
	if cmd.Side == data.Buy {
		held = -held
	}
	closing := min(cmd.Qty, max(held, 0))
	if lot := m.list.Lot(cmd.Price); cmd.Qty <= 0 || cmd.Qty%lot != 0 || cmd.Qty < m.list.Least(cmd.Side, cmd.Price, closing == cmd.Qty) {
		return data.RejectQty
	}
	need := data.NotionalUp(cmd.Side.Worth(cmd.Price), cmd.Qty-closing)
	if x.cash[v][m.list.Shard%8] < need {
		return data.RejectCash
	}
	if cmd.TIF == data.FillOrKill && x.depth(cmd) < cmd.Qty {
		return data.RejectUnfilled
	}
	return 0
}

// depth is what an order could take within its limit.
func (x *Exchange) depth(cmd *data.Command) data.Qty {
	b, side := &x.markets[cmd.Inst].book, cmd.Side.Opposite()
	var sum data.Qty
	for r := b.Best(side); r.Qty != 0 && sum < cmd.Qty && !cmd.Side.Beyond(x.worse(cmd.Side, r.Price), cmd.Price); r = b.Next(side, r.Price) {
		sum += max(0, r.Qty-x.taken[levelKey{cmd.Inst, side, r.Price}].qty)
	}
	return sum
}

// book keeps our ledger at the venue: what closes receives its worth, what opens pays.
func (x *Exchange) book(m *market, s data.Side, p data.Price, q data.Qty, fee data.Money) {
	cash := &x.cash[m.list.Key.Venue][m.list.Shard%8]
	worth, held := s.Worth(p), -m.qty
	if s == data.Sell {
		held = m.qty
	}
	closing := min(q, max(held, 0))
	*cash += data.NotionalDown(worth.Complement(), closing) - data.NotionalUp(worth, q-closing) - fee
	if s == data.Buy {
		m.qty += q
	} else {
		m.qty -= q
	}
}
