package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
	"arbiter/sim"
	"arbiter/sim/exchange"
	"arbiter/strategies/basket"
	"arbiter/strategies/cross"
	"arbiter/strategies/engine"
	"arbiter/strategies/legging"
	"arbiter/strategies/parity"
)

// settings is everything that a backtest and a recording can be told.
type settings struct {
	name       string
	tapes      []string
	pairs      string
	runs       string
	from, to   data.Time
	venues     []data.Venue
	markets    []data.MarketKey
	strategies []string
	seed       uint64
	world      sim.Config
	engine     engine.Config
	cross      cross.Config
	parity     parity.Config
	basket     basket.Config
	fees       map[string]string // assumed, by venue
	record     recording
	fields     []field
}

// field is one setting: its place in the file, its meaning and its text form.
type field struct {
	path   string
	doc    string
	list   bool
	parse  func(text string) error // of a list: of one element, after reset
	reset  func()
	show   func() string
	origin string
}

func newSettings() *settings {
	s := &settings{name: "backtest", runs: "runs", strategies: []string{"cross"}, seed: 1, world: sim.Defaults(), engine: engine.Defaults(), cross: cross.Defaults(),
		parity: parity.Defaults(), basket: basket.Defaults(), fees: map[string]string{}, record: defaultRecording()}
	s.declare()
	for i := range s.fields {
		s.fields[i].origin = "default"
	}
	return s
}

func (s *settings) add(f field) { s.fields = append(s.fields, f) }

func (s *settings) text(path, doc string, to *string) {
	s.add(field{path: path, doc: doc, parse: func(t string) error { *to = t; return nil }, show: func() string { return quote(*to) }})
}

func quote(t string) string {
	if t == "" || strings.ContainsAny(t, ":#{}[],&*?|<>=!%@`\"'\n") || strings.TrimSpace(t) != t {
		return strconv.Quote(t)
	}
	return t
}

func number[T data.Price | data.Qty | data.Money](s *settings, path, doc string, to *T, parse func([]byte) (T, error)) {
	s.add(field{path: path, doc: doc, parse: func(t string) error {
		v, err := parse([]byte(t))
		if err == nil {
			*to = v
		}
		return err
	}, show: func() string { return fmt.Sprint(*to) }})
}

func (s *settings) price(path, doc string, to *data.Price) {
	number(s, path, doc+" (dollars)", to, data.ParsePrice)
}
func (s *settings) qty(path, doc string, to *data.Qty) {
	number(s, path, doc+" (contracts)", to, data.ParseQty)
}
func (s *settings) money(path, doc string, to *data.Money) {
	number(s, path, doc+" (dollars)", to, data.ParseMoney)
}

func (s *settings) duration(path, doc string, to *data.Duration) {
	s.add(field{path: path, doc: doc, parse: func(t string) error {
		v, err := parseDuration(t)
		if err == nil {
			*to = v
		}
		return err
	}, show: func() string { return showDuration(*to) }})
}

func (s *settings) integer(path, doc string, low, high int64, set func(int64), get func() int64) {
	s.add(field{path: path, doc: doc, parse: func(t string) error {
		v, err := strconv.ParseInt(t, 10, 64)
		if err != nil || v < low || v > high {
			return fmt.Errorf("%q is not an integer from %d to %d", t, low, high)
		}
		set(v)
		return nil
	}, show: func() string { return strconv.FormatInt(get(), 10) }})
}

func list[T any](s *settings, path, doc string, to *[]T, parse func(string) (T, error), show func(T) string) {
	s.add(field{path: path, doc: doc, list: true, reset: func() { *to = nil }, parse: func(t string) error {
		v, err := parse(t)
		if err == nil {
			*to = append(*to, v)
		}
		return err
	}, show: func() string {
		var out []string
		for _, v := range *to {
			out = append(out, quote(show(v)))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}})
}

func same(t string) (string, error) { return t, nil }
func itself(t string) string        { return t }

// parseKey reads "venue:native id".
func parseKey(t string) (data.MarketKey, error) {
	v, native, ok := strings.Cut(t, ":")
	if !ok || native == "" {
		return data.MarketKey{}, fmt.Errorf("%q: write a market as venue:id, for instance kalshi:KXGOLD15M-26AUG102000-00", t)
	}
	venue, err := data.ParseVenue(v)
	return data.MarketKey{Venue: venue, Native: native}, err
}

var units = []struct {
	suffix string
	unit   data.Duration
}{{"ms", data.Millisecond}, {"us", data.Microsecond}, {"ns", 1}, {"s", data.Second}, {"m", data.Minute}, {"h", data.Hour}, {"d", data.Day}}

// parseDuration reads one number with a unit: 50ms, 1.5s, 2h, -50ms.
func parseDuration(t string) (data.Duration, error) {
	body, neg := strings.CutPrefix(t, "-")
	if body == "0" {
		return 0, nil
	}
	for _, u := range units {
		n, ok := strings.CutSuffix(body, u.suffix)
		if !ok {
			continue
		}
		v, err := data.ParseDecimal([]byte(n), 3)
		if err != nil || v > 1_000_000_000_000 || (v*int64(u.unit))%1000 != 0 {
			break
		}
		d := data.Duration(v) * u.unit / 1000
		if neg {
			d = -d
		}
		return d, nil
	}
	return 0, fmt.Errorf("%q is not a duration such as 50ms, 1.5s, 10m, 2h or 3d", t)
}

func showDuration(d data.Duration) string {
	if d == 0 {
		return "0s"
	}
	for _, u := range []int{6, 5, 4, 3, 0, 1} { // from days down to microseconds
		if d%units[u].unit == 0 {
			return strconv.FormatInt(int64(d/units[u].unit), 10) + units[u].suffix
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}

// parseLatency reads a constant ("50ms") or quantiles ("50%:20ms 99%:300ms 100%:1s").
func parseLatency(t string) (exchange.Latency, error) {
	if !strings.Contains(t, "%") {
		d, err := parseDuration(t)
		return exchange.Constant(d), err
	}
	var out exchange.Latency
	for _, part := range strings.Fields(t) {
		p, d, ok := strings.Cut(part, "%:")
		v, err := data.ParseDecimal([]byte(p), 1)
		if !ok || err != nil {
			return nil, fmt.Errorf("%q: write quantiles as 50%%:20ms 99%%:300ms 100%%:1s", t)
		}
		delay, err := parseDuration(d)
		if err != nil {
			return nil, err
		}
		out = append(out, exchange.Quantile{PerMille: int(v), Delay: delay})
	}
	return out, out.Validate(t)
}

func showLatency(l exchange.Latency) string {
	if len(l) == 1 {
		return showDuration(l[0].Delay)
	}
	var out []string
	for _, q := range l {
		out = append(out, string(data.AppendDecimal(nil, int64(q.PerMille), 1, 0))+"%:"+showDuration(q.Delay))
	}
	return strings.Join(out, " ")
}

func (s *settings) latency(path, doc string, to *exchange.Latency) {
	s.add(field{path: path, doc: doc, parse: func(t string) error {
		l, err := parseLatency(t)
		if err == nil {
			*to = l
		}
		return err
	}, show: func() string { return quote(showLatency(*to)) }})
}

func (s *settings) moment(path, doc string, to *data.Time) {
	s.add(field{path: path, doc: doc, parse: func(t string) error {
		if t == "" {
			*to = 0
			return nil
		}
		if len(t) == len("2026-08-10") {
			t += "T00:00:00Z"
		}
		v, err := data.ParseTime([]byte(t))
		if err == nil {
			*to = v
		}
		return err
	}, show: func() string {
		if *to == 0 {
			return `""`
		}
		return quote(to.String())
	}})
}

// declare lists every setting once: file, environment, flags, `config init` and `config show` all use this list.
func (s *settings) declare() {
	s.text("name", "name of the run; part of its folder", &s.name)
	list(s, "tapes", "folders of the tapes to read", &s.tapes, same, itself)
	s.text("pairs", "registry of approved pairs; cross needs it", &s.pairs)
	s.text("runs", "folder for results", &s.runs)
	s.moment("from", "start, RFC 3339 or a UTC day; empty: the tapes' start", &s.from)
	s.moment("to", "end, not included", &s.to)
	list(s, "venues", "polymarket, kalshi; empty: both", &s.venues, data.ParseVenue, data.Venue.String)
	list(s, "markets", "venue:id; empty: all", &s.markets, parseKey, data.MarketKey.String)
	list(s, "strategies", "cross, parity, basket", &s.strategies, func(t string) (string, error) {
		if !slices.Contains(strategyNames, t) {
			return "", fmt.Errorf("unknown strategy %q: one of %s", t, strings.Join(strategyNames, ", "))
		}
		return t, nil
	}, itself)
	s.integer("seed", "of the simulated latencies", 0, 1<<62, func(v int64) { s.seed = uint64(v) }, func() int64 { return int64(s.seed) })
	w := &s.world
	s.add(field{path: "sim.timeline", doc: "receive: an order meets the book as received when it arrives; exchange: the book of its arrival in exchange time",
		parse: func(t string) (err error) { w.Timeline, err = sim.ParseTimeline(t); return err }, show: func() string { return w.Timeline.String() }})
	s.duration("sim.window", "how far exchange time may lie before receive time", &w.Window)
	s.duration("sim.drain", "how long orders in flight are answered after the tape's end", &w.Drain)
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		vc, p := &w.Exchange.Venues[v], "sim."+v.String()+"."
		s.latency(p+"order_latency", "decision to matching: 50ms, or quantiles 50%:20ms 99%:300ms 100%:1s", &vc.Order)
		s.latency(p+"response_latency", "matching to answer", &vc.Response)
		s.duration(p+"confirm", "answer to finality of a fill", &vc.Confirm)
		s.duration(p+"feed_latency", "for messages without a stamp", &w.Feed[v])
		s.duration(p+"clock_offset", "the venue's clock minus ours", &w.Offset[v])
		s.money(p+"cash", "free cash at the start (Kalshi: shard 0)", &vc.Cash[0])
	}
	for shard := 1; shard < 8; shard++ {
		s.money(fmt.Sprintf("sim.kalshi.cash_shard_%d", shard), "free cash at that Kalshi shard", &w.Exchange.Venues[data.Kalshi].Cash[shard])
	}
	s.fee("polymarket", "where the recording names no schedule: a rate such as 0.07; empty: do not trade there")
	s.fee("kalshi", "where the recording names no schedule: \"quadratic 1 direct\" (fee type, multiplier, whole-cents|direct|micro); empty: do not trade there")
	r := &s.engine.Risk
	s.qty("risk.order_qty_max", "largest order", &r.OrderQtyMax)
	s.money("risk.order_notional_max", "largest cost of an order", &r.OrderNotionalMax)
	s.qty("risk.position_qty_max", "largest position in one market", &r.PositionQtyMax)
	s.money("risk.pair_notional_max", "largest cost of positions in one plan's markets", &r.PairNotionalMax)
	s.money("risk.venue_notional_max", "largest cost of positions and orders at one venue", &r.VenueNotionalMax)
	s.money("risk.unhedged_max", "reserved for the worst leg of everything in flight", &r.UnhedgedMax)
	s.money("risk.daily_loss_max", "realised less fees since 00:00 UTC", &r.DailyLossMax)
	s.price("risk.collar", "a limit may be this far beyond the best price", &r.Collar)
	s.price("risk.price_min", "lowest limit", &r.PriceMin)
	s.price("risk.price_max", "highest limit", &r.PriceMax)
	s.money("risk.edge_min", "least edge of a plan that was made smaller", &r.EdgeMin)
	s.duration("risk.stale_max", "oldest newest message of a venue", &r.StaleMax)
	s.duration("risk.market_stale_max", "oldest newest message of a market", &r.MarketStaleMax)
	s.duration("risk.skew_max", "largest difference of the two feeds' delays", &r.SkewMax)
	l := &s.engine.Legging
	s.add(field{path: "legging.order", doc: "simultaneous, or sequential-polymarket-first, sequential-kalshi-first", parse: func(t string) error {
		for v, name := range legOrders {
			if name == t {
				l.Sequential, l.First = v != 0, v
				return nil
			}
		}
		return fmt.Errorf("unknown leg order %q", t)
	}, show: func() string {
		if !l.Sequential {
			return legOrders[0]
		}
		return legOrders[l.First]
	}})
	s.add(field{path: "legging.imbalance", doc: "dump, chase or hold", parse: func(t string) (err error) { l.Imbalance, err = legging.ParsePolicy(t); return err }, show: func() string { return l.Imbalance.String() }})
	s.price("legging.slip", "how far a hedge may go beyond the best price (dump) or the plan's limit (chase)", &l.Slip)
	s.integer("legging.tries", "hedge attempts", 1, 100, func(v int64) { l.Tries = int(v) }, func() int64 { return int64(l.Tries) })
	s.duration("legging.retry", "pause before an attempt that found no depth", &l.Retry)
	s.duration("legging.deadline", "of the whole repair", &l.Deadline)
	s.duration("legging.timeout", "of one order", &l.Timeout)
	s.duration("engine.cooldown", "before the same opportunity is tried again", &s.engine.Cooldown)
	s.integer("engine.checkpoint", "events between two state hashes", 1, 1<<40, func(v int64) { s.engine.Checkpoint = uint64(v) }, func() int64 { return int64(s.engine.Checkpoint) })
	c := &s.cross
	s.qty("cross.qty_max", "largest plan", &c.QtyMax)
	s.money("cross.edge_min", "least edge of a plan, at least a cent", &c.EdgeMin)
	s.money("cross.edge_unit", "least edge a contract", &c.EdgeUnit)
	s.integer("cross.extra_roundings", "a leg, beyond one fill a level, counted against the edge", 0, 1000, func(v int64) { c.Extra = int(v) }, func() int64 { return int64(c.Extra) })
	s.add(field{path: "cross.lockup", doc: "yearly return that locked capital could earn, counted when closing early (0.04)", parse: func(t string) error {
		v, err := data.ParseDecimal([]byte(t), 6)
		c.Lockup = data.Rate(v)
		return err
	}, show: func() string { return string(data.AppendDecimal(nil, int64(c.Lockup), 6, 0)) }})
	s.duration("cross.recheck", "look again after this long even if nothing changes; 0s: no", &c.Recheck)
	s.qty("parity.qty_max", "largest plan", &s.parity.QtyMax)
	s.money("parity.edge_min", "least edge of a plan, at least a cent", &s.parity.EdgeMin)
	s.qty("basket.qty_max", "largest plan", &s.basket.QtyMax)
	s.money("basket.edge_min", "least edge of a plan, at least a cent", &s.basket.EdgeMin)
	s.integer("basket.extra_roundings", "a leg, beyond one fill a level", 0, 1000, func(v int64) { s.basket.Extra = int(v) }, func() int64 { return int64(s.basket.Extra) })
	s.declareRecord()
}

var legOrders = map[data.Venue]string{0: "simultaneous", data.Polymarket: "sequential-polymarket-first", data.Kalshi: "sequential-kalshi-first"}

func (s *settings) fee(venue, doc string) {
	s.add(field{path: "fees." + venue, doc: doc, parse: func(t string) error {
		if t != "" {
			if _, err := parseFees(venue, t); err != nil {
				return err
			}
		}
		s.fees[venue] = t
		return nil
	}, show: func() string { return quote(s.fees[venue]) }})
}

// parseFees reads an assumed schedule; it is in force from the first nanosecond and marked as assumed.
func parseFees(venue, t string) (*data.FeeSchedule, error) {
	var out data.FeeSchedule
	var err error
	if venue == "polymarket" {
		var v int64
		if v, err = data.ParseDecimal([]byte(t), 6); err == nil {
			out, err = polymarket.Schedule(data.Rate(v), 1, 0, 0)
		}
	} else {
		words := strings.Fields(t)
		precision, ok := map[string]kalshi.Precision{"whole-cents": kalshi.WholeCents, "direct": kalshi.Direct, "micro": kalshi.Micro}[last(words)]
		if len(words) != 3 || !ok {
			return nil, fmt.Errorf("%q: write fee type, multiplier and precision, for instance \"quadratic 1 direct\"", t)
		}
		var m int64
		if m, err = data.ParseDecimal([]byte(words[1]), 6); err == nil {
			out, err = kalshi.Schedule(words[0], m, precision, 0)
		}
	}
	out.Assumed = true
	return &out, err
}

func last(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

func (s *settings) find(path string) *field {
	for i := range s.fields {
		if s.fields[i].path == path {
			return &s.fields[i]
		}
	}
	return nil
}

func (f *field) set(values []string, origin string) error {
	if f.reset != nil {
		f.reset()
	}
	for _, v := range values {
		if err := f.parse(v); err != nil {
			return err
		}
	}
	f.origin = origin
	return nil
}

// loadFile reads a YAML file over the defaults and returns every error at once, each with line and column.
func (s *settings) loadFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return usageError{fmt.Errorf("configuration: %w; `arbiter config init` writes one", err)}
	}
	if err := s.load(path, b); err != nil {
		return usageError{err}
	}
	return nil
}

func (s *settings) load(path string, b []byte) (err error) {
	defer func() { // the YAML library panics on some malformed texts
		if p := recover(); p != nil {
			err = fmt.Errorf("configuration %s: malformed YAML: %v", path, p)
		}
	}()
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	var errs []error
	seen := map[string]bool{}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		s.walk(path, "", doc.Body, seen, &errs)
	}
	return errors.Join(errs...)
}

func (s *settings) walk(file, at string, n ast.Node, seen map[string]bool, errs *[]error) {
	bad := func(n ast.Node, format string, args ...any) {
		pos := n.GetToken().Position
		*errs = append(*errs, fmt.Errorf("%s:%d:%d: %s", file, pos.Line, pos.Column, fmt.Sprintf(format, args...)))
	}
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode, *ast.CommentGroupNode:
		return
	default:
		bad(n, "%s must be a section of keys", orFile(at))
		return
	}
	for _, p := range pairs {
		key := p.Key.String()
		if t := p.Key.GetToken(); t != nil {
			key = t.Value
		}
		path := strings.TrimPrefix(at+"."+key, ".")
		if seen[path] {
			bad(p.Key, "%s appears twice", path)
			continue
		}
		seen[path] = true
		if f := s.find(path); f != nil {
			s.assign(file, f, p, bad)
			continue
		}
		if s.section(path) {
			s.walk(file, path, p.Value, seen, errs)
			continue
		}
		bad(p.Key, "unknown key %s%s", path, s.suggest(path))
	}
}

func orFile(at string) string {
	if at == "" {
		return "the file"
	}
	return at
}

func (s *settings) assign(file string, f *field, p *ast.MappingValueNode, bad func(ast.Node, string, ...any)) {
	values, err := scalars(p.Value, f.list)
	if err == nil {
		err = f.set(values, "file "+file)
	}
	if err != nil {
		bad(p.Value, "%s: %v", f.path, err)
	}
}

// scalars takes the text of a scalar as it stands in the file: numbers never pass through a float.
func scalars(n ast.Node, list bool) ([]string, error) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		if !list {
			return nil, errors.New("a list where one value belongs")
		}
		var out []string
		for _, v := range n.Values {
			t, err := scalars(v, false)
			if err != nil {
				return nil, err
			}
			out = append(out, t...)
		}
		return out, nil
	case *ast.NullNode:
		if list {
			return nil, nil
		}
		return []string{""}, nil
	case *ast.StringNode:
		return []string{n.Value}, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return []string{n.GetToken().Value}, nil
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode:
		return nil, errors.New("tags and anchors are not supported")
	}
	return nil, errors.New("one value belongs here")
}

func (s *settings) section(path string) bool {
	return slices.ContainsFunc(s.fields, func(f field) bool { return strings.HasPrefix(f.path, path+".") })
}

func (s *settings) suggest(path string) string {
	best, at := 4, ""
	for _, f := range s.fields {
		if d := distance(path, f.path); d < best {
			best, at = d, f.path
		}
	}
	if at == "" {
		return "; `arbiter config init` shows every key"
	}
	return "; did you mean " + at + "?"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			c := prev
			if a[i] != b[j] {
				c++
			}
			prev = row[j+1]
			row[j+1] = min(c, row[j]+1, prev+1)
		}
	}
	return row[len(b)]
}

// loadEnv reads ARBITER_SIM_TIMELINE for sim.timeline, and so on; lists are separated by commas.
func (s *settings) loadEnv(env []string) error {
	names := map[string]*field{}
	for i := range s.fields {
		names["ARBITER_"+strings.ToUpper(strings.ReplaceAll(s.fields[i].path, ".", "_"))] = &s.fields[i]
	}
	var errs []error
	sort.Strings(env)
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		f := names[name]
		if f == nil {
			continue
		}
		if err := f.set(f.split(value), "environment "+name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	return nil
}

func (f *field) split(value string) []string {
	if !f.list {
		return []string{value}
	}
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// loadSets reads --set path=value.
func (s *settings) loadSets(sets []string) error {
	for _, kv := range sets {
		path, value, ok := strings.Cut(kv, "=")
		f := s.find(path)
		if !ok || f == nil {
			return usageError{fmt.Errorf("--set %s: write path=value%s", kv, s.suggest(path))}
		}
		if err := f.set(f.split(value), "flag --set"); err != nil {
			return usageError{fmt.Errorf("--set %s: %w", kv, err)}
		}
	}
	return nil
}

// validate checks what no single field can say, and completes what depends on several.
func (s *settings) validate() error {
	s.world.Exchange.Seed = s.seed
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		s.engine.Assumed[v], s.world.Exchange.Venues[v].Assumed = nil, nil
		if t := s.fees[v.String()]; t != "" {
			f, err := parseFees(v.String(), t)
			if err != nil {
				return usageError{err}
			}
			s.engine.Assumed[v], s.world.Exchange.Venues[v].Assumed = f, f
		}
	}
	errs := []error{s.world.Validate(), s.engine.Validate(), s.cross.Validate(), s.parity.Validate(), s.basket.Validate()}
	if s.from != 0 && s.to != 0 && s.from >= s.to {
		errs = append(errs, fmt.Errorf("from %s is not before to %s", s.from, s.to))
	}
	if len(s.strategies) == 0 {
		errs = append(errs, errors.New("strategies: none named"))
	}
	if slices.Contains(s.strategies, "cross") && s.pairs == "" {
		errs = append(errs, errors.New("strategy cross needs a registry of approved pairs: set pairs"))
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{fmt.Errorf("configuration: %w", err)}
	}
	return nil
}

// yaml writes every setting with its documentation; with origins, where each came from.
func (s *settings) yaml(docs, origins bool) []byte {
	var b bytes.Buffer
	var open []string
	for _, f := range s.fields {
		parts := strings.Split(f.path, ".")
		n := 0
		for n < len(open) && n < len(parts)-1 && open[n] == parts[n] {
			n++
		}
		open = open[:n]
		for ; n < len(parts)-1; n++ {
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", n), parts[n])
			open = append(open, parts[n])
		}
		pad := strings.Repeat("  ", len(open))
		if docs {
			fmt.Fprintf(&b, "%s# %s\n", pad, f.doc)
		}
		fmt.Fprintf(&b, "%s%s: %s", pad, parts[len(parts)-1], f.show())
		if origins {
			fmt.Fprintf(&b, "  # %s", f.origin)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// flagged is a setting with a flag of its own.
type flagged struct{ name, setting string }

// backtestFlags are the settings that have a flag of their own in backtest.
var backtestFlags = []flagged{{"tape", "tapes"}, {"pairs", "pairs"}, {"runs", "runs"}, {"name", "name"}, {"from", "from"}, {"to", "to"}, {"strategy", "strategies"},
	{"market", "markets"}, {"timeline", "sim.timeline"}}

// resolve loads file, environment and flags, in this order of rising rank. flags names the settings of single flags.
func resolve(c *cobra.Command, flags []flagged) (*settings, error) {
	s := newSettings()
	path, _ := c.Flags().GetString("config")
	if path != "" {
		if err := s.loadFile(path); err != nil {
			return nil, err
		}
	}
	if err := s.loadEnv(os.Environ()); err != nil {
		return nil, err
	}
	for _, x := range flags {
		fl := c.Flags().Lookup(x.name)
		if fl == nil || !fl.Changed {
			continue
		}
		f := s.find(x.setting)
		values := []string{fl.Value.String()}
		if f.list {
			values, _ = c.Flags().GetStringArray(x.name)
		}
		if err := f.set(values, "flag --"+x.name); err != nil {
			return nil, usageError{fmt.Errorf("--%s: %w", x.name, err)}
		}
	}
	sets, _ := c.Flags().GetStringArray("set")
	return s, s.loadSets(sets)
}

func configFlags(c *cobra.Command) {
	c.Flags().StringP("config", "c", "", "configuration file (YAML)")
	c.Flags().StringArray("set", nil, "one setting, path=value; may repeat")
}

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Write, check and show the configuration"}
	initialise := &cobra.Command{Use: "init [FILE]", Short: "Write every setting with its default and its meaning (standard output without FILE)", Args: cobra.MaximumNArgs(1),
		Example: "  arbiter config init arbiter.yaml", RunE: func(c *cobra.Command, args []string) error {
			text := newSettings().yaml(true, false)
			if len(args) == 0 {
				_, err := c.OutOrStdout().Write(text)
				return err
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return usageError{fmt.Errorf("config init: %w", err)}
			}
			_, err = f.Write(text)
			return errors.Join(err, f.Close())
		}}
	check := &cobra.Command{Use: "check", Short: "Report every mistake at once, with line and column", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		s, err := resolve(c, nil)
		if err == nil {
			err = s.validate()
		}
		if err != nil {
			return err
		}
		if asJSON(c) {
			return printJSON(c, map[string]bool{"ok": true})
		}
		fmt.Fprintln(c.OutOrStdout(), "ok")
		return nil
	}}
	show := &cobra.Command{Use: "show", Short: "Show every setting and where it came from: default, file, environment or flag", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		s, err := resolve(c, nil)
		if err != nil {
			return err
		}
		if asJSON(c) {
			type shown struct{ Value, Origin string }
			out := map[string]shown{}
			for _, f := range s.fields {
				out[f.path] = shown{f.show(), f.origin}
			}
			return printJSON(c, out)
		}
		_, err = c.OutOrStdout().Write(s.yaml(false, true))
		return err
	}}
	configFlags(check)
	configFlags(show)
	c.AddCommand(initialise, check, show)
	return c
}
