package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/data/pairs"
	"arbiter/data/tape"
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
	Banner    string         `json:"mode"`
	Seen      int            `json:"opportunities_seen"`
	Attempted int            `json:"attempted"`
	Finished  int            `json:"finished"`
	Residuals int            `json:"ended_with_residual"`
	Net       data.Money     `json:"net"`
	Unhedged  data.Money     `json:"unhedged"`
	Refusals  map[string]int `json:"refusals"`
	Digest    string         `json:"digest"`
	Recording live.Status    `json:"recording"`
}

// watch follows an engine's decisions.
func (t *tally) watch(e *engine.Engine, log *slog.Logger) {
	t.mu.Lock()
	defer t.mu.Unlock()
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

func (t *tally) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("PAPER %d seen, %d attempted, %d finished, net %s, unhedged %s", t.Seen, t.Attempted, t.Finished, t.Net, t.Unhedged)
}

func runLive(c *cobra.Command, _ []string) error {
	flags := map[string]string{}
	for _, fl := range liveFlags() {
		flags[fl.name] = fl.setting
	}
	s, err := resolve(c, flags)
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
	venues, choices, err := r.venues()
	if err != nil {
		return err
	}
	opt := r.opt
	opt.Commit = commit
	opt.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	if r.store != "" {
		if opt.Store, err = tape.OpenS3(c.Context(), r.store); err != nil {
			return usageError{err}
		}
	}
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
		Watch: func(*data.Event, []data.Command) { t.watch(session.Engine(), opt.Log) },
	}
	if session, err = live.NewSession(opt, sopt, venues, choices); err != nil {
		return dataError{err}
	}
	fmt.Fprintln(c.ErrOrStderr(), banner)
	ctx := c.Context()
	if r.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.length))
		defer cancel()
	}
	return watchRun(ctx, c, session.Run, session.Recorder(), r.listen, t.line, func() any {
		d := session.Engine().Digest()
		t.Digest, t.Recording = hex.EncodeToString(d[:]), session.Recorder().Status()
		return t
	})
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
