package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/pairs"
	"arbiter/data/tape"
	"arbiter/sim/market"
)

func dataCommand() *cobra.Command {
	c := &cobra.Command{Use: "data", Short: "Look into tapes, verify, import and generate them"}
	ls := &cobra.Command{Use: "ls TAPE...", Short: "What is on tapes: sources, spans, instruments, gaps", Args: cobra.MinimumNArgs(1), RunE: listTapes}
	verify := &cobra.Command{Use: "verify TAPE...", Short: "Read everything and check every hash, order and book", Args: cobra.MinimumNArgs(1), RunE: verifyTapes}
	stats := &cobra.Command{Use: "stats TAPE...", Short: "Counts, coverage, gaps, crossed and one-sided time, top of book", Args: cobra.MinimumNArgs(1), RunE: statTapes}
	synth := &cobra.Command{Use: "synth OUT", Short: "Generate a synthetic two-venue tape and its pair registry (OUT.pairs.yaml)", Args: cobra.ExactArgs(1),
		Example: "  arbiter data synth tapes/synth --pairs 8 --length 2h --seed 7", RunE: synthTape}
	d := market.Defaults()
	synth.Flags().Uint64("seed", d.Seed, "seed")
	synth.Flags().Int("pairs", d.Pairs, "markets that trade on both venues")
	synth.Flags().Int("single", d.Single, "further markets on each venue alone")
	synth.Flags().Int("rate", d.Rate, "changes a market and second")
	synth.Flags().String("length", "10m", "length")
	synth.Flags().String("start", d.Start.String(), "start, RFC 3339")
	c.AddCommand(ls, verify, stats, synth, importCommand(), redecodeCommand())
	return c
}

func synthTape(c *cobra.Command, args []string) error {
	cfg := market.Defaults()
	cfg.Seed, _ = c.Flags().GetUint64("seed")
	cfg.Pairs, _ = c.Flags().GetInt("pairs")
	cfg.Single, _ = c.Flags().GetInt("single")
	cfg.Rate, _ = c.Flags().GetInt("rate")
	length, _ := c.Flags().GetString("length")
	start, _ := c.Flags().GetString("start")
	var err error
	if cfg.Length, err = parseDuration(length); err != nil {
		return usageError{fmt.Errorf("--length: %w", err)}
	}
	if cfg.Start, err = data.ParseTime([]byte(start)); err != nil {
		return usageError{fmt.Errorf("--start: %w", err)}
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	b := startBar(c, "generating", int64(cfg.Length/data.Millisecond))
	cfg.Progress = func(done, _ data.Duration) { b.set(int64(done / data.Millisecond)) }
	m, pairings, err := market.Write(cfg, args[0], tape.Options{Commit: commit})
	b.stop(int64(cfg.Length / data.Millisecond))
	if err != nil {
		return err
	}
	set, err := tape.Open(args[0])
	if err != nil {
		return err
	}
	if err := writeRegistry(args[0]+".pairs.yaml", pairings, set.Listings(), cfg.Start); err != nil {
		return err
	}
	if asJSON(c) {
		return printJSON(c, m)
	}
	printTapes(c, []*tape.Manifest{m}, args)
	return nil
}

// writeRegistry approves generated pairs.
func writeRegistry(path string, pairings []data.Pairing, listings []data.Listing, at data.Time) error {
	reg := pairs.Registry{Version: pairs.Version}
	for _, p := range pairings {
		e, err := pairs.Approve(p, listings, "generator: synthetic markets", time.Unix(0, int64(at)))
		if err != nil {
			return err
		}
		reg.Pairs = append(reg.Pairs, e)
	}
	text, err := reg.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func listTapes(c *cobra.Command, args []string) error {
	set, err := tape.Open(args...)
	if err != nil {
		return dataError{err}
	}
	if asJSON(c) {
		return printJSON(c, set.Manifests)
	}
	printTapes(c, set.Manifests, args)
	return nil
}

func printTapes(c *cobra.Command, manifests []*tape.Manifest, names []string) {
	for i, m := range manifests {
		fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", names[i], m.Origin)
		for _, n := range m.Notes {
			fmt.Fprintf(c.OutOrStdout(), "  note: %s\n", n)
		}
		for j := range m.Sources {
			printSource(c, &m.Sources[j])
		}
	}
}

func printSource(c *cobra.Command, s *tape.Source) {
	var rows, bytes int64
	for _, g := range s.Segments {
		rows += g.Rows
		bytes += g.Bytes
	}
	marks := ""
	for _, m := range []struct {
		on   bool
		text string
	}{{s.Synthetic, "synthetic"}, {s.Unverified, "gaps unverifiable"}, {s.RecvCoarse, "receive stamps coarse"}} {
		if m.on {
			marks += " · " + m.text
		}
	}
	per := ""
	if rows > 0 {
		per = fmt.Sprintf(", %.2f bytes a row", float64(bytes)/float64(rows))
	}
	fmt.Fprintf(c.OutOrStdout(), "  source %s: %d rows in %d segments, %d bytes%s%s\n", s.Key(), rows, len(s.Segments), bytes, per, marks)
	t := plainTable(c)
	t.AppendHeader(table.Row{"  market", "first", "last", "snapshots", "changes", "trades", "gaps", "result"})
	for _, in := range s.Instruments {
		result := "-"
		if in.Settled {
			result = in.Payout.String()
		}
		t.AppendRow(table.Row{"  " + in.Key.String(), in.First, in.Last, in.Snapshots, in.Deltas, in.Trades, in.Gaps, result})
	}
	var cs []table.ColumnConfig
	for n := 4; n <= 8; n++ {
		cs = append(cs, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(cs)
	t.Render()
}

// marketStats follows one market through a tape.
type marketStats struct {
	Market    data.MarketKey `json:"market"`
	Events    int64          `json:"events"`
	Snapshots int64          `json:"snapshots"`
	Changes   int64          `json:"changes"`
	Trades    int64          `json:"trades"`
	Gaps      int64          `json:"gaps"`
	Crossed   int64          `json:"crossed_messages"`
	Negative  int64          `json:"negative_levels"`
	Valid     data.Duration  `json:"valid_ns"`
	OneSided  data.Duration  `json:"one_sided_ns"`
	CrossedNS data.Duration  `json:"crossed_ns"`
	Longest   data.Duration  `json:"longest_silence_ns"`
	First     data.Time      `json:"first"`
	Last      data.Time      `json:"last"`
	Bid       data.Rung      `json:"bid"` // when the book was last valid and two-sided
	Ask       data.Rung      `json:"ask"`
	book      data.Book
	valid     bool
	partial   bool // inside a snapshot
	since     data.Time
}

func (m *marketStats) pass(now data.Time) {
	if m.since != 0 && m.valid {
		d := now.Sub(m.since)
		m.Valid += d
		m.Longest = max(m.Longest, d)
		switch bid, ask := m.book.Best(data.Buy), m.book.Best(data.Sell); {
		case m.book.Crossed():
			m.CrossedNS += d
		case bid.Qty == 0 || ask.Qty == 0:
			m.OneSided += d
		}
	}
	m.since = now
}

func (m *marketStats) fold(ev *data.Event) {
	m.Events++
	if m.First == 0 {
		m.First = ev.Recv
	}
	m.Last = ev.Recv
	switch ev.Kind {
	case data.Clear, data.Level, data.Delta, data.Gap:
		m.pass(ev.Recv)
	}
	switch ev.Kind {
	case data.Clear:
		m.Snapshots++
		m.book.Clear()
		m.valid, m.partial = true, true
	case data.Level:
		m.book.Set(ev.Side, ev.Price, ev.Qty)
	case data.Delta:
		if !m.book.Add(ev.Side, ev.Price, ev.Qty) {
			m.Negative++
			m.valid = false
		}
	case data.Gap:
		m.Gaps++
		m.book.Clear()
		m.valid = false
	case data.Trade:
		m.Trades++
		return
	default:
		return
	}
	if !ev.Last {
		return
	}
	if !m.partial && ev.Kind != data.Gap {
		m.Changes++
	}
	m.partial = false
	bid, ask := m.book.Best(data.Buy), m.book.Best(data.Sell)
	if m.book.Crossed() {
		m.Crossed++
	}
	if bid.Qty != 0 && ask.Qty != 0 && m.valid {
		m.Bid, m.Ask = bid, ask
	}
}

func scan(args []string, c *cobra.Command) ([]*marketStats, *tape.Set, error) {
	set, err := tape.Open(args...)
	if err != nil {
		return nil, nil, dataError{err}
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		return nil, nil, dataError{err}
	}
	defer rd.Close()
	b := startBar(c, "reading", rd.Total)
	defer func() { b.stop(rd.Read) }()
	var out []*marketStats
	var ev data.Event
	for {
		err := rd.Next(&ev)
		if errors.Is(err, io.EOF) {
			return out, set, nil
		}
		if err != nil {
			return nil, nil, dataError{err}
		}
		if c.Context().Err() != nil {
			return nil, nil, errInterrupted
		}
		if ev.Seq%65536 == 0 {
			b.set(rd.Read)
		}
		if ev.Inst == data.NoInstrument {
			continue
		}
		for int(ev.Inst) >= len(out) {
			out = append(out, &marketStats{Market: rd.Dictionary().Listings[len(out)].Key})
		}
		out[ev.Inst].fold(&ev)
	}
}

func verifyTapes(c *cobra.Command, args []string) error {
	ms, set, err := scan(args, c)
	if err != nil {
		return err
	}
	var events, negative, crossed int64
	for _, m := range ms {
		events += m.Events
		negative += m.Negative
		crossed += m.Crossed
	}
	if asJSON(c) {
		return printJSON(c, map[string]any{"ok": negative == 0, "tapes": len(set.Manifests), "events": events, "markets": len(ms), "negative_levels": negative, "crossed_messages": crossed})
	}
	fmt.Fprintf(c.OutOrStdout(), "ok: %d events of %d markets; every hash matches, order holds; %d negative levels, %d messages left a book locked or crossed\n", events, len(ms), negative, crossed)
	if negative > 0 {
		return dataError{fmt.Errorf("%d changes took a level below zero: %w", negative, tape.ErrTape)}
	}
	return nil
}

func statTapes(c *cobra.Command, args []string) error {
	ms, _, err := scan(args, c)
	if err != nil {
		return err
	}
	if asJSON(c) {
		return printJSON(c, ms)
	}
	t := plainTable(c)
	t.AppendHeader(table.Row{"market", "span", "changes", "trades", "gaps", "valid", "one-sided", "crossed", "longest silence", "last bid", "last ask"})
	for _, m := range ms {
		span := m.Last.Sub(m.First)
		share := func(d data.Duration) string {
			if span <= 0 {
				return "-"
			}
			return fmt.Sprintf("%.1f %%", 100*float64(d)/float64(span))
		}
		rung := func(r data.Rung) string {
			if r.Qty == 0 {
				return "-"
			}
			return fmt.Sprintf("%s × %s", r.Price, r.Qty)
		}
		t.AppendRow(table.Row{shortKey(m.Market), span, m.Changes, m.Trades, m.Gaps, share(m.Valid), share(m.OneSided), share(m.CrossedNS), m.Longest, rung(m.Bid), rung(m.Ask)})
	}
	var cs []table.ColumnConfig
	for n := 2; n <= 11; n++ {
		cs = append(cs, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(cs)
	t.Render()
	return nil
}

func shortKey(k data.MarketKey) string {
	if s := k.String(); len(s) <= 44 {
		return s
	}
	return k.String()[:40] + "…"
}
