package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/pairs"
	"arbiter/data/tape"
	"arbiter/sim"
	"arbiter/sim/report"
	"arbiter/strategies/engine"
)

func backtestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backtest",
		Short: "Run strategies on recorded order books, with honest simulated execution",
		Long:  "backtest reads tapes, runs the decision engine on them and simulates the venues: fees, depth, latency, partial fills, settlement.\nThe summary goes to standard output; everything else into a folder below runs/.",
		Example: "  arbiter backtest --tape testdata/tapes/demo --pairs testdata/tapes/demo.pairs.yaml\n" +
			"  arbiter backtest --config arbiter.yaml --set sim.kalshi.order_latency=200ms --perturb\n" +
			"  arbiter backtest --tape tapes/gold --strategy parity --set \"fees.kalshi=quadratic 1 direct\"",
		Args: cobra.NoArgs,
		RunE: runBacktest,
	}
	configFlags(c)
	f := c.Flags()
	f.StringArray("tape", nil, "tape to read; may repeat")
	f.StringArray("strategy", nil, "strategy: cross, parity or basket; may repeat")
	f.StringArray("market", nil, "only this market, venue:id; may repeat")
	f.String("pairs", "", "registry of approved pairs")
	f.String("runs", "", "folder for results")
	f.String("name", "", "name of the run")
	f.String("from", "", "start, RFC 3339 or a UTC day")
	f.String("to", "", "end, not included")
	f.String("timeline", "", "receive or exchange")
	f.Bool("perturb", false, "also run one cent worse, and one message later")
	f.Bool("no-save", false, "do not write a run folder")
	return c
}

// prepared is what every variant of one backtest shares.
type prepared struct {
	set      *tape.Set
	sel      tape.Selection
	pairings []data.Pairing
	refused  []pairs.Refused
	pairsSHA string
}

func prepare(s *settings) (*prepared, error) {
	if len(s.tapes) == 0 {
		return nil, usageError{errors.New("no tape named: use --tape or the setting tapes")}
	}
	p := &prepared{sel: tape.Selection{From: s.from, To: s.to, Venues: s.venues, Instruments: s.markets}}
	var err error
	if p.set, err = tape.Open(s.tapes...); err != nil {
		return nil, dataError{err}
	}
	if s.pairs == "" {
		return p, nil
	}
	b, err := os.ReadFile(s.pairs)
	if err != nil {
		return nil, usageError{fmt.Errorf("pairs: %w", err)}
	}
	p.pairsSHA = sum(b)
	reg, err := pairs.Load(s.pairs)
	if err != nil {
		return nil, usageError{err}
	}
	p.pairings, p.refused = reg.Resolve(p.set.Listings())
	if slices.Contains(s.strategies, "cross") && len(p.pairings) == 0 {
		return nil, usageError{fmt.Errorf("pairs %s: no pair may be traded on these tapes:%s", s.pairs, reasons(p.refused))}
	}
	return p, nil
}

func reasons(refused []pairs.Refused) string {
	var b strings.Builder
	for _, r := range refused {
		fmt.Fprintf(&b, "\n  %s: %s", r.ID, r.Reason)
	}
	return b.String()
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// simulate runs one world to its end, or to Ctrl-C.
func simulate(ctx context.Context, s *settings, p *prepared, world sim.Config, tick func(read, total int64)) (*report.Collector, *report.Summary, error) {
	rd, err := p.set.Read(p.sel)
	if err != nil {
		return nil, nil, dataError{err}
	}
	defer rd.Close()
	w, err := sim.NewBacktest(world, rd, p.pairings)
	if err != nil {
		return nil, nil, usageError{err}
	}
	e, err := engine.New(s.engine, rd.Dictionary(), newStrategies(s)...)
	if err != nil {
		return nil, nil, usageError{err}
	}
	col := report.NewCollector(e, s.strategies, world.Feed)
	n := 0
	err = engine.Run(stoppable{w, ctx, &n}, e, func(ev *data.Event, cmds []data.Command) {
		col.Watch(ev, cmds)
		if n%8192 == 0 && tick != nil {
			tick(rd.Read, rd.Total)
		}
	})
	if !errors.Is(err, io.EOF) && !errors.Is(err, errInterrupted) {
		return nil, nil, err
	}
	if !e.Account().Balanced() {
		panic("backtest: the account does not balance")
	}
	col.Finish()
	sm := col.Summary()
	sm.Partial = errors.Is(err, errInterrupted)
	return col, sm, nil
}

// stoppable ends the session when the context does: between two events, with what was done.
type stoppable struct {
	engine.World
	ctx context.Context
	n   *int
}

func (s stoppable) Next(ev *data.Event) error {
	if *s.n++; *s.n%1024 == 0 && s.ctx.Err() != nil {
		return errInterrupted
	}
	return s.World.Next(ev)
}

func runBacktest(c *cobra.Command, _ []string) error {
	s, err := resolve(c, backtestFlags)
	if err != nil {
		return err
	}
	if err := s.validate(); err != nil {
		return err
	}
	p, err := prepare(s)
	if err != nil {
		return err
	}
	began := time.Now()
	total := int64(0)
	for _, m := range p.set.Manifests {
		for i := range m.Sources {
			for _, g := range m.Sources[i].Segments {
				total += g.Rows
			}
		}
	}
	b := startBar(c, "backtest", total)
	col, sm, err := simulate(c.Context(), s, p, s.world, func(n, _ int64) { b.set(n) })
	b.stop(total)
	if err != nil {
		return err
	}
	if err := perturb(c, s, p, sm); err != nil {
		return err
	}
	s.annotate(p, sm)
	dir := ""
	if skip, _ := c.Flags().GetBool("no-save"); !skip {
		if dir, err = s.save(col, p, sm, time.Since(began)); err != nil {
			return err
		}
	}
	if asJSON(c) {
		if err := printJSON(c, map[string]any{"run": dir, "summary": sm}); err != nil {
			return err
		}
	} else {
		sm.Print(c.OutOrStdout())
		if dir != "" {
			fmt.Fprintf(c.OutOrStdout(), "run %s\n", dir)
		}
	}
	if sm.Partial {
		return errInterrupted
	}
	return nil
}

// perturb runs the sanity rows: one cent worse, one message later.
func perturb(c *cobra.Command, s *settings, p *prepared, sm *report.Summary) error {
	if on, _ := c.Flags().GetBool("perturb"); !on || sm.Partial {
		return nil
	}
	worse, late := s.world, s.world
	worse.Exchange.Worse = 100
	late.Late = true
	for _, v := range []struct {
		name  string
		world sim.Config
	}{{"every fill one cent worse", worse}, {"every order one message later", late}} {
		_, got, err := simulate(c.Context(), s, p, v.world, nil)
		if err != nil {
			return err
		}
		sm.Perturbed = append(sm.Perturbed, report.Perturbation{Name: v.name, Attempted: got.Funnel.Attempted, Filled: got.Funnel.Filled, Net: got.Money.Net,
			LegLosses: got.Money.LegLosses, Realised: got.Money.Realised})
	}
	return nil
}

// annotate adds what the run rests on.
func (s *settings) annotate(p *prepared, sm *report.Summary) {
	w := &s.world
	add := func(format string, args ...any) {
		sm.Assumptions = append(sm.Assumptions, fmt.Sprintf(format, args...))
	}
	add("orders meet the book in %s time; latency to matching: polymarket %s, kalshi %s; back: %s and %s", w.Timeline,
		showLatency(w.Exchange.Venues[data.Polymarket].Order), showLatency(w.Exchange.Venues[data.Kalshi].Order),
		showLatency(w.Exchange.Venues[data.Polymarket].Response), showLatency(w.Exchange.Venues[data.Kalshi].Response))
	add("our orders move nothing but what they take; a level stays taken until the recording shows more there")
	add("immediate orders only; no queue position, no rebates, no on-chain failure of matched trades")
	add("legs %s; an imbalance is repaired by %s within %s", s.find("legging.order").show(), s.engine.Legging.Imbalance, s.engine.Legging.Slip)
	add("no transfers of cash between venues or Kalshi shards")
	for _, m := range p.set.Manifests {
		for _, n := range m.Notes {
			if !slices.Contains(sm.Warnings, n) {
				sm.Warnings = append(sm.Warnings, n)
			}
		}
		for i := range m.Sources {
			sm.Synthetic = sm.Synthetic || m.Sources[i].Synthetic
		}
	}
	for _, v := range p.set.Unpriced() {
		if t := s.fees[v.String()]; t != "" {
			sm.Warnings = append(sm.Warnings, fmt.Sprintf("fees assumed: the recording names none for %s; the configuration's %q is used", v, t))
		} else {
			sm.Warnings = append(sm.Warnings, fmt.Sprintf("fees unknown: the recording names none for %s and fees.%s is not set: nothing can be traded there", v, v))
		}
	}
	for _, r := range p.refused {
		sm.Warnings = append(sm.Warnings, fmt.Sprintf("pair %s was not traded: %s", r.ID, r.Reason))
	}
}

func (s *settings) save(col *report.Collector, p *prepared, sm *report.Summary, took time.Duration) (string, error) {
	config := s.yaml(true, false)
	m := report.Manifest{Name: s.name, Commit: commit, Created: time.Now().UTC().Format(time.RFC3339Nano), Seconds: took.Seconds(), Seed: s.seed,
		Config: sum(config), Pairs: p.pairsSHA, Digest: sm.Digest, Status: "complete", Notes: sm.Warnings}
	if sm.Partial {
		m.Status = "partial"
	}
	for i, t := range p.set.Manifests {
		m.Tapes = append(m.Tapes, report.Input{Path: s.tapes[i], SHA256: t.SHA256})
	}
	stamp := time.Now().UTC().Format("20060102-150405.000")
	dir := filepath.Join(s.runs, fmt.Sprintf("%s-%s-%s", strings.ReplaceAll(stamp, ".", ""), s.name, sm.Digest[:8]))
	return dir, col.Write(dir, m, config, sm)
}
