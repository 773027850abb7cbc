package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/data/pairs"
	"arbiter/live"
	"arbiter/sim"
	"arbiter/strategies/engine"
)

// banner says what a session does with its orders.
const banner = "PAPER: decisions on live feeds, fills are simulated; no order leaves this machine"

// liveFlags are the settings that have a flag of their own in live: record's, and what decisions need.
func liveFlags() []flagged {
	out := []flagged{{"strategy", "strategies"}}
	for _, f := range recordFlags {
		if f.name == "pairs" {
			f.setting = "pairs"
		}
		out = append(out, f)
	}
	return out
}

func liveCommand() *cobra.Command {
	c := &cobra.Command{Use: "live", Short: "Run strategies on live feeds with simulated fills (paper)", Args: cobra.NoArgs, RunE: runLive,
		Long: "live is record with decisions: the same code as in backtest decides on what comes in, and everything is journaled before it is acted on.\n" +
			"Orders are filled by the simulated venues of a backtest, against the live books. Without a choice of markets those of --pairs are followed.\n" +
			"`arbiter replay` runs the journal through the decision code again.",
		Example: "  arbiter live --pairs pairs.yaml\n" +
			"  arbiter live --venues-at 127.0.0.1:8800 --pairs pairs.yaml --for 2m   # what `arbiter serve --pairs-file pairs.yaml` serves"}
	configFlags(c)
	addFlags(c, liveFlags())
	return c
}

func replayCommand() *cobra.Command {
	return &cobra.Command{Use: "replay JOURNAL", Short: "Run a journal's sessions through the decision code again and compare every command", Args: cobra.ExactArgs(1),
		Example: "  arbiter replay journal",
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := journal.Recover(args[0]); err != nil {
				return dataError{err}
			}
			r, err := live.Replay(args[0], func(doc []byte, dict *data.Dictionary) (*engine.Engine, error) {
				s := newSettings()
				if err := s.load("the journal's configuration", doc); err != nil {
					return nil, err
				}
				if err := s.validate(); err != nil {
					return nil, err
				}
				return engine.New(s.engine, dict, newStrategies(s)...)
			})
			if err != nil {
				return dataError{err}
			}
			if asJSON(c) {
				err = printJSON(c, r)
			} else {
				fmt.Fprintf(c.OutOrStdout(), "%d sessions, %d events, %d commands, %d digests\n", r.Sessions, r.Events, r.Commands, r.Digests)
			}
			if r.Difference != "" {
				return errors.Join(err, fmt.Errorf("replay differs: %s", r.Difference))
			}
			return err
		}}
}

// tally is what a session has done, for its status lines.
type tally struct {
	mu        sync.Mutex
	Banner    string            `json:"mode"`
	Seen      int               `json:"opportunities_seen"`
	Attempted int               `json:"attempted"`
	Finished  int               `json:"finished"`
	Residuals int               `json:"ended_with_residual"`
	Net       data.Money        `json:"net"`
	Unhedged  data.Money        `json:"unhedged"`
	Realised  data.Money        `json:"realised"`
	Fees      data.Money        `json:"fees"`
	Running   int               `json:"plans_under_way"`
	Halted    string            `json:"halted,omitempty"` // since when and why
	Positions []held            `json:"positions"`
	Latency   []live.LatencyRow `json:"latency"`
	Pauses    live.Pauses       `json:"gc_pauses"`
	Refusals  map[string]int    `json:"refusals"`
	Digest    string            `json:"digest"`
	Recording live.Status       `json:"recording"`
	looked    data.Time         // when account and positions were last copied
	measured  data.Time         // and the latencies
}

// held is a position.
type held struct {
	Market string     `json:"market"`
	Title  string     `json:"title"`
	Qty    data.Qty   `json:"qty"` // YES contracts; below zero: NO contracts
	Cost   data.Money `json:"cost"`
}

// watch follows an engine's decisions.
func (t *tally) watch(ev *data.Event, s *live.Session, log *slog.Logger) {
	e := s.Engine()
	t.mu.Lock()
	defer t.mu.Unlock()
	if ev.Recv.Sub(t.looked) >= data.Second/2 {
		t.looked = ev.Recv
		t.look(s)
	}
	if ev.Recv.Sub(t.measured) >= 10*data.Second { // quantiles take a while
		t.measured = ev.Recv
		t.measure(s)
	}
	for i := range e.Decisions() {
		switch d := &e.Decisions()[i]; d.Kind {
		case engine.Seen:
			t.Seen++
		case engine.Refused:
			t.Refusals[d.Reason.String()]++
		case engine.Attempted:
			t.Attempted++
		case engine.Finished:
			t.Finished++
			o := d.Exec.Outcome()
			t.Net += o.Net
			if o.Residual > 0 {
				t.Residuals++
			}
			log.Info("execution finished", "net", o.Net.String(), "residual", o.Residual.String())
		}
	}
	t.Unhedged = e.UnhedgedNow()
}

// measure copies the latencies.
func (t *tally) measure(s *live.Session) { t.Latency, t.Pauses = s.Latency(), live.ReadPauses() }

// look copies the account.
func (t *tally) look(s *live.Session) {
	e := s.Engine()
	a := e.Account()
	t.Realised, t.Fees, t.Running, t.Positions = a.Realised, a.Fees, e.Running(), t.Positions[:0]
	for i, p := range a.Positions {
		if p.Qty != 0 {
			l := e.Markets().All[i].Listing
			t.Positions = append(t.Positions, held{l.Key.String(), l.Title, p.Qty, p.Cost})
		}
	}
}

// publish leaves the state for `status`, every second until stop is closed.
func (t *tally) publish(stop <-chan struct{}, dir string, r *live.Recorder, log *slog.Logger) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		t.mu.Lock()
		t.Recording = r.Status()
		t.Halted, _ = live.Halted(dir)
		doc, err := json.MarshalIndent(t, "", " ")
		t.mu.Unlock()
		if err == nil {
			err = live.WriteStatus(dir, doc)
		}
		if err != nil {
			log.Warn("the state could not be written for status", "error", err)
		}
	}
}

func (t *tally) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("PAPER %d seen, %d attempted, %d finished, net %s, unhedged %s", t.Seen, t.Attempted, t.Finished, t.Net, t.Unhedged)
}

func runLive(c *cobra.Command, _ []string) error {
	s, err := resolve(c, liveFlags())
	if err != nil {
		return err
	}
	if err := s.validate(); err != nil {
		return err
	}
	reg := &pairs.Registry{}
	if s.pairs != "" {
		if reg, err = pairs.Load(s.pairs); err != nil {
			return usageError{err}
		}
	}
	r := &s.record
	if len(r.markets)+len(r.kalshi.Events)+len(r.kalshi.Series)+len(r.polymarket.Events)+len(r.polymarket.Tags) == 0 {
		r.pairs = s.pairs
	}
	venues, choices, err := r.prepare(c)
	if err != nil {
		return err
	}
	opt := r.opt
	t := &tally{Banner: banner, Refusals: map[string]int{}}
	var session *live.Session
	sopt := live.SessionOptions{Document: s.yaml(false, false), Drain: 10 * time.Second, Opening: s.balances(),
		Pair: func(listings []data.Listing) []data.Pairing {
			ps, _ := reg.Resolve(listings)
			return ps
		},
		Orders: func(dict *data.Dictionary) (live.Orders, error) { return sim.NewPaper(s.world.Exchange, dict) },
		Engine: func(dict *data.Dictionary) (*engine.Engine, error) {
			return engine.New(s.engine, dict, newStrategies(s)...)
		},
		Watch: func(ev *data.Event, _ []data.Command) { t.watch(ev, session, opt.Log) },
	}
	if session, err = live.NewSession(opt, sopt, venues, choices); err != nil {
		return dataError{err}
	}
	fmt.Fprintln(c.ErrOrStderr(), banner)
	ctx, cancel := r.limited(c.Context())
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go t.publish(stop, opt.Journal, session.Recorder(), opt.Log)
	return watchRun(ctx, c, session.Run, session.Recorder(), r.listen, t.line, func() any {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.look(session)
		t.measure(session)
		d := session.Engine().Digest()
		t.Digest, t.Recording = hex.EncodeToString(d[:]), session.Recorder().Status()
		return t
	})
}

// operatorCommands are what an operator says to a session, by files in the journal's folder.
func operatorCommands() []*cobra.Command {
	folder := func(c *cobra.Command) string {
		dir, _ := c.Flags().GetString("journal")
		return dir
	}
	status := &cobra.Command{Use: "status", Short: "Show a live session: positions, plans under way, exposure, feeds", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		doc, age, err := live.ReadStatus(folder(c))
		if err != nil {
			return dataError{err}
		}
		if asJSON(c) {
			_, err := c.OutOrStdout().Write(append(doc, '\n'))
			return err
		}
		var t tally
		if err := json.Unmarshal(doc, &t); err != nil {
			return dataError{fmt.Errorf("status: %w", err)}
		}
		t.print(c, age)
		return nil
	}}
	halt := &cobra.Command{Use: "halt [REASON]", Short: "Let no session on the folder begin a plan, now and after restarts, until resume", Args: cobra.ArbitraryArgs,
		Example: "  arbiter halt --journal journal rules of KXGOLD changed", RunE: func(c *cobra.Command, args []string) error {
			if err := live.Halt(folder(c), strings.Join(args, " "), time.Now()); err != nil {
				return dataError{err}
			}
			fmt.Fprintln(c.OutOrStdout(), "halted; plans under way are brought to their end")
			return nil
		}}
	resume := &cobra.Command{Use: "resume", Short: "Lift a halt", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if err := live.Resume(folder(c)); err != nil {
			return dataError{err}
		}
		fmt.Fprintln(c.OutOrStdout(), "resumed")
		return nil
	}}
	out := []*cobra.Command{status, halt, resume}
	for _, c := range out {
		c.Flags().String("journal", newSettings().record.opt.Journal, "the session's journal")
	}
	return out
}

// print shows a session's state.
func (t *tally) print(c *cobra.Command, age time.Duration) {
	w := c.OutOrStdout()
	fmt.Fprintln(w, t.Banner)
	if age > 5*time.Second {
		fmt.Fprintf(w, "NOT RUNNING: this was %s ago\n", age.Round(time.Second))
	}
	if t.Halted != "" {
		fmt.Fprintf(w, "HALTED since %s\n", t.Halted)
	}
	fmt.Fprintf(w, "opportunities %d, attempted %d, finished %d (%d with a residual), under way %d\n", t.Seen, t.Attempted, t.Finished, t.Residuals, t.Running)
	fmt.Fprintf(w, "net of executions %s, realised %s, fees %s, unhedged %s\n", t.Net, t.Realised, t.Fees, t.Unhedged)
	fmt.Fprintln(w, t.Recording.Line())
	right := func(tb table.Writer, columns ...int) {
		var cs []table.ColumnConfig
		for _, n := range columns {
			cs = append(cs, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
		tb.SetColumnConfigs(append(cs, table.ColumnConfig{Number: 1, WidthMax: 40, WidthMaxEnforcer: text.Trim}))
	}
	if len(t.Latency) > 0 {
		rows := plainTable(c)
		rows.AppendHeader(table.Row{"latency", "of", "n", "p50", "p99", "p99.99", "longest"})
		for _, l := range t.Latency {
			d := func(ns int64) string { return time.Duration(ns).Round(100 * time.Nanosecond).String() }
			rows.AppendRow(table.Row{l.Venue, l.Of, l.N, d(l.P50), d(l.P99), d(l.P9999), d(l.Max)})
		}
		right(rows, 3, 4, 5, 6, 7)
		rows.Render()
		fmt.Fprintf(w, "garbage collector: %d pauses, the longest %s\n", t.Pauses.N, t.Pauses.Max)
	}
	if len(t.Positions) == 0 {
		return
	}
	positions := plainTable(c)
	positions.AppendHeader(table.Row{"market", "title", "contracts", "cost"})
	for _, p := range t.Positions {
		positions.AppendRow(table.Row{p.Market, p.Title, p.Qty, p.Cost})
	}
	right(positions, 3, 4)
	positions.Render()
}

// balances are the simulated cash at the start.
func (s *settings) balances() []data.Event {
	var out []data.Event
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		for shard, cash := range s.world.Exchange.Venues[v].Cash {
			if cash != 0 {
				out = append(out, data.Event{Kind: data.Balance, Arg: data.VenueArg(v, uint8(shard)), Cash: cash, Inst: data.NoInstrument, Last: true})
			}
		}
	}
	return out
}
