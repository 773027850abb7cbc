package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/tape"
	"arbiter/sim/fakevenue"
	"arbiter/sim/market"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "Serve a tape as simulated Polymarket and Kalshi on loopback, with faults if wanted", Args: cobra.NoArgs, RunE: runServe,
		Long: "serve speaks both venues' REST and WebSocket formats. Without --tape it generates synthetic markets that begin now.\nFaults: " +
			strings.Join(fakevenue.FaultNames(), ", ") + ".",
		Example: "  arbiter serve --listen 127.0.0.1:8800\n  arbiter serve --tape tapes/gold --speed 10 --fault drop=0.001 --fault freeze=30s"}
	f := c.Flags()
	f.String("listen", "127.0.0.1:8800", "address; keep it on loopback")
	f.String("tape", "", "tape to serve")
	f.Float64("speed", 1, "tape seconds a second; 0: as fast as it can be read")
	f.Int("await", 1, "subscriptions to markets before the tape runs")
	f.Bool("no-hashes", false, "Polymarket's books carry no hash: for load, hashes cost more than all else")
	f.StringArray("fault", nil, "name or name=value; may repeat")
	f.Uint64("seed", 1, "of the markets and the faults")
	f.Int("pairs", 4, "generated markets on both venues")
	f.Int("rate", 4, "generated changes a market and second")
	f.String("pairs-file", "", "write the registry of the generated pairs here")
	f.String("length", "1h", "length of the generated tape")
	return c
}

func runServe(c *cobra.Command, _ []string) error {
	f := c.Flags()
	opt := fakevenue.Options{Now: true}
	opt.Address, _ = f.GetString("listen")
	opt.Speed, _ = f.GetFloat64("speed")
	opt.Await, _ = f.GetInt("await")
	opt.Seed, _ = f.GetUint64("seed")
	opt.NoHashes, _ = f.GetBool("no-hashes")
	if opt.Speed < 1 && opt.Speed != 0 {
		return usageError{fmt.Errorf("--speed: %g: 1 or more, or 0: the venues' clocks cannot run slower than ours", opt.Speed)}
	}
	faults, _ := f.GetStringArray("fault")
	for _, t := range faults {
		if err := opt.Faults.Set(t); err != nil {
			return usageError{fmt.Errorf("--fault: %w", err)}
		}
	}
	dir, _ := f.GetString("tape")
	if dir == "" {
		temp, err := os.MkdirTemp("", "arbiter-serve-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = filepath.Join(temp, "tape")
		if err := generate(c, dir, opt.Seed); err != nil {
			return err
		}
	}
	set, err := tape.Open(dir)
	if err != nil {
		return dataError{err}
	}
	if first, _ := set.Span(); first != 0 {
		now := data.Time(time.Now().UnixNano())
		opt.Shift = now.Sub(first) / data.Second * data.Second
	}
	rd, err := set.Read(tape.Selection{})
	if err != nil {
		return dataError{err}
	}
	defer rd.Close()
	s, err := fakevenue.New(rd, opt)
	if err != nil {
		return usageError{err}
	}
	defer s.Close()
	fmt.Fprintf(c.ErrOrStderr(), "serving %d markets on %s; record with: arbiter record --venues-at %s ...\n", len(set.Listings()), s.Host(), s.Host())
	err = s.Play(c.Context())
	if err == nil { // the tape is over: what it left stays there to be asked for
		<-c.Context().Done()
	} else if !errors.Is(err, context.Canceled) {
		return err
	}
	n := s.Served()
	if asJSON(c) {
		return printJSON(c, n)
	}
	fmt.Fprintf(c.OutOrStdout(), "served %d messages in %d frames; faults %v\n", n.Messages, n.Frames, n.Faults)
	return nil
}

func generate(c *cobra.Command, dir string, seed uint64) error {
	cfg := market.Defaults()
	cfg.Seed = seed
	cfg.Pairs, _ = c.Flags().GetInt("pairs")
	cfg.Rate, _ = c.Flags().GetInt("rate")
	cfg.Start = data.Time(time.Now().Unix()) * data.Time(data.Second)
	length, _ := c.Flags().GetString("length")
	var err error
	if cfg.Length, err = parseDuration(length); err != nil {
		return usageError{fmt.Errorf("--length: %w", err)}
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	_, pairings, err := market.Write(cfg, dir, tape.Options{Commit: commit})
	path, _ := c.Flags().GetString("pairs-file")
	if err != nil || path == "" {
		return err
	}
	set, err := tape.Open(dir)
	if err != nil {
		return err
	}
	return writeRegistry(path, pairings, set.Listings(), cfg.Start)
}
