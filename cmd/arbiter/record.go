package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/pairs"
	"arbiter/data/tape"
	"arbiter/live"
	"arbiter/live/kalshi"
	"arbiter/live/link"
	"arbiter/live/polymarket"
)

// Names of the environment variables with Kalshi's key. The key itself is in no file of ours, flag or log.
const (
	envKalshiID  = "ARBITER_KALSHI_KEY_ID"
	envKalshiKey = "ARBITER_KALSHI_PRIVATE_KEY" // PEM, or the path of a file with it
)

func recordCommand() *cobra.Command {
	c := &cobra.Command{Use: "record", Short: "Record both venues' feeds to a journal and tapes", Args: cobra.NoArgs, RunE: runRecord,
		Long: "record follows the chosen markets: every frame goes verbatim into a journal, decoded events beside it; closed segments become tapes.\n" +
			"Every hole is a gap event. Without a Kalshi key (" + envKalshiID + ", " + envKalshiKey + ") Kalshi's books are polled, and the tape says so.",
		Example: "  arbiter record --kalshi-series KXGOLD15M --polymarket-tag crypto --volume-min 1000\n" +
			"  arbiter record --pairs pairs.yaml --tapes tapes --store s3://bucket/prefix\n" +
			"  arbiter record --from 127.0.0.1:8800 --kalshi-series SYNTH --polymarket-tag synthetic   # what `arbiter serve` serves"}
	d := live.Defaults()
	f := c.Flags()
	f.StringArray("market", nil, "market, venue:id; may repeat")
	f.StringArray("kalshi-series", nil, "open events of a series; may repeat")
	f.StringArray("kalshi-event", nil, "event ticker; may repeat")
	f.StringArray("polymarket-tag", nil, "open events of a tag; may repeat")
	f.StringArray("polymarket-event", nil, "event slug; may repeat")
	f.String("pairs", "", "markets of a pair registry")
	f.String("volume-min", "0", "least volume of markets that a search finds (contracts)")
	f.Int("limit", 2000, "most markets a venue; more is an error")
	f.String("name", d.Name, "name of the recorder: part of every tape's source, stable over restarts")
	f.String("journal", d.Journal, "folder of the journal")
	f.String("tapes", d.Tapes, "folder for tapes")
	f.String("store", "", "also keep tapes at s3://bucket/prefix")
	f.Duration("flush", d.FlushEvery, "loss window of a power cut")
	f.Duration("segment", d.SegmentEvery, "a tape is made so often")
	f.Duration("refresh", d.RefreshEvery, "market records are fetched so often")
	f.Duration("rotate", d.RotateEvery, "connections are changed so often, with an overlap")
	f.Uint64("disk-min", d.DiskMin>>20, "MiB that stay free on the journal's disk; below, the recording stops")
	f.Duration("for", 0, "stop after so long; 0: at Ctrl-C")
	f.String("listen", "", "serve /healthz, /readyz and /metrics on this address")
	f.String("from", "", "host:port of `arbiter serve` instead of the venues")
	return c
}

func runRecord(c *cobra.Command, _ []string) error {
	f := c.Flags()
	opt := live.Defaults()
	opt.Commit = commit
	opt.Name, _ = f.GetString("name")
	opt.Journal, _ = f.GetString("journal")
	opt.Tapes, _ = f.GetString("tapes")
	opt.FlushEvery, _ = f.GetDuration("flush")
	opt.SegmentEvery, _ = f.GetDuration("segment")
	opt.RefreshEvery, _ = f.GetDuration("refresh")
	opt.RotateEvery, _ = f.GetDuration("rotate")
	mib, _ := f.GetUint64("disk-min")
	opt.DiskMin = mib << 20
	opt.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	venues, choices, err := recordVenues(c)
	if err != nil {
		return err
	}
	if address, _ := f.GetString("store"); address != "" {
		if opt.Store, err = tape.OpenS3(c.Context(), address); err != nil {
			return usageError{err}
		}
	}
	if err := opt.Validate(); err != nil {
		return usageError{err}
	}
	r, err := live.NewRecorder(opt, venues, choices)
	if err != nil {
		return dataError{err}
	}
	ctx := c.Context()
	if d, _ := f.GetDuration("for"); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	return watchRecorder(ctx, c, r)
}

// watchRecorder runs a recorder with its status line and its pages.
func watchRecorder(ctx context.Context, c *cobra.Command, r *live.Recorder) error {
	if address, _ := c.Flags().GetString("listen"); address != "" {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return usageError{fmt.Errorf("--listen: %w", err)}
		}
		s := &http.Server{Handler: r.Handler(), ReadHeaderTimeout: 5 * time.Second}
		defer s.Close()
		go s.Serve(ln)
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	quiet, _ := c.Flags().GetBool("quiet")
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			s := r.Status()
			if asJSON(c) {
				return errors.Join(printJSON(c, s), ended(err))
			}
			fmt.Fprintln(c.OutOrStdout(), s.Line())
			return ended(err)
		case <-tick.C:
			if s := r.Status(); !quiet {
				fmt.Fprintln(c.ErrOrStderr(), s.Line())
			}
		}
	}
}

// ended is how a recording that was stopped ended: well.
func ended(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// recordVenues reads which markets are wanted, and where from.
func recordVenues(c *cobra.Command) ([]link.Venue, []link.Choice, error) {
	f := c.Flags()
	var poly, kal link.Choice
	poly.Tags, _ = f.GetStringArray("polymarket-tag")
	poly.Events, _ = f.GetStringArray("polymarket-event")
	kal.Series, _ = f.GetStringArray("kalshi-series")
	kal.Events, _ = f.GetStringArray("kalshi-event")
	limit, _ := f.GetInt("limit")
	volume, _ := f.GetString("volume-min")
	least, err := data.ParseQty([]byte(volume))
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("--volume-min: %w", err)}
	}
	poly.Limit, kal.Limit, poly.VolumeMin, kal.VolumeMin = limit, limit, least, least
	add := func(k data.MarketKey) {
		if k.Venue == data.Polymarket {
			poly.Markets = append(poly.Markets, k.Native)
		} else {
			kal.Markets = append(kal.Markets, k.Native)
		}
	}
	markets, _ := f.GetStringArray("market")
	for _, t := range markets {
		k, err := parseKey(t)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--market: %w", err)}
		}
		add(k)
	}
	if path, _ := f.GetString("pairs"); path != "" {
		reg, err := pairs.Load(path)
		if err != nil {
			return nil, nil, usageError{err}
		}
		for i := range reg.Pairs {
			for _, side := range []pairs.Side{reg.Pairs[i].A, reg.Pairs[i].B} {
				k, err := parseKey(side.Venue + ":" + side.Market)
				if err != nil {
					return nil, nil, usageError{fmt.Errorf("pairs %s: %w", path, err)}
				}
				add(k)
			}
		}
	}
	if poly.Empty() && kal.Empty() {
		return nil, nil, usageError{errors.New("no market chosen: use --market, --kalshi-series, --polymarket-tag or --pairs")}
	}
	po, ko := polymarket.Defaults(), kalshi.Defaults()
	if host, _ := f.GetString("from"); host != "" {
		po.Gamma, po.CLOB, po.Stream = "http://"+host+"/gamma", "http://"+host+"/clob", "ws://"+host+"/ws/market"
		ko.REST, ko.Stream = "http://"+host+"/trade-api/v2", "ws://"+host+"/trade-api/ws/v2"
	}
	if ko.Key, err = kalshiKey(os.Getenv(envKalshiID), os.Getenv(envKalshiKey)); err != nil {
		return nil, nil, usageError{err}
	}
	var venues []link.Venue
	var choices []link.Choice
	if !poly.Empty() {
		venues, choices = append(venues, polymarket.New(po)), append(choices, poly)
	}
	if !kal.Empty() {
		venues, choices = append(venues, kalshi.New(ko)), append(choices, kal)
	}
	return venues, choices, nil
}

// kalshiKey reads the key from the environment: the PEM text itself, or the path of a file with it. Both empty: none.
func kalshiKey(id, text string) (*kalshi.Key, error) {
	if id == "" && text == "" {
		return nil, nil
	}
	if text == "" {
		return nil, fmt.Errorf("%s is set and %s is not", envKalshiID, envKalshiKey)
	}
	if text[0] != '-' {
		b, err := os.ReadFile(text)
		if err != nil {
			return nil, fmt.Errorf("%s names a file that cannot be read", envKalshiKey) // the text may be a key, so it is not shown
		}
		text = string(b)
	}
	return kalshi.ParseKey(id, []byte(text))
}
