package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"arbiter/sim/fakevenue"
)

// Names of the environment variables with Kalshi's key. The key itself is in no file of ours, flag or log.
const (
	envKalshiID  = "ARBITER_KALSHI_KEY_ID"
	envKalshiKey = "ARBITER_KALSHI_PRIVATE_KEY" // PEM, or the path of a file with it
)

// recording is what `record` can be told.
type recording struct {
	opt                live.Options
	polymarket, kalshi link.Choice
	markets            []data.MarketKey
	pairs              string
	volumeMin          data.Qty
	limit              int
	store              string
	listen             string
	venuesAt           string
	length             data.Duration
}

func defaultRecording() recording {
	return recording{opt: live.Defaults(), limit: 2000}
}

// declareRecord lists the settings of a recording.
func (s *settings) declareRecord() {
	r := &s.record
	o := &r.opt
	list(s, "record.markets", "markets, venue:id", &r.markets, parseKey, data.MarketKey.String)
	list(s, "record.kalshi_series", "Kalshi: the open events of these series", &r.kalshi.Series, same, itself)
	list(s, "record.kalshi_events", "Kalshi: event tickers", &r.kalshi.Events, same, itself)
	list(s, "record.polymarket_tags", "Polymarket: the open events of these tags", &r.polymarket.Tags, same, itself)
	list(s, "record.polymarket_events", "Polymarket: event slugs", &r.polymarket.Events, same, itself)
	s.text("record.pairs", "the markets of this pair registry", &r.pairs)
	s.qty("record.volume_min", "least volume of markets that a search finds", &r.volumeMin)
	s.integer("record.limit", "most markets a venue; more is an error", 1, 1_000_000, func(v int64) { r.limit = int(v) }, func() int64 { return int64(r.limit) })
	s.text("record.name", "of the recorder: part of every tape's source, stable over restarts", &o.Name)
	s.text("record.journal", "folder of the journal", &o.Journal)
	s.text("record.tapes", "folder for tapes; empty: none are made", &o.Tapes)
	s.text("record.store", "also keep tapes at s3://bucket/prefix", &r.store)
	s.text("record.listen", "serve /healthz, /readyz and /metrics on this address", &r.listen)
	s.text("record.venues_at", "host:port of simulated venues (arbiter serve) instead of the real ones", &r.venuesAt)
	s.duration("record.for", "stop after so long; 0s: at Ctrl-C", &r.length)
	every := func(path, doc string, to *time.Duration) { s.duration("record."+path, doc, (*data.Duration)(to)) }
	every("flush_every", "loss window of a power cut", &o.FlushEvery)
	every("segment_every", "a tape is made so often, or when segment_mib are written", &o.SegmentEvery)
	s.integer("record.segment_mib", "MiB of a segment at which a tape is made", 1, 1<<20, func(v int64) { o.SegmentBytes = v << 20 }, func() int64 { return o.SegmentBytes >> 20 })
	every("refresh_every", "market records are fetched so often", &o.RefreshEvery)
	every("rotate_every", "connections are changed so often", &o.RotateEvery)
	every("overlap", "of the old connection and the new one, at most: it ends when the new one has every book", &o.Overlap)
	every("poll_every", "books are polled so often where there is no stream", &o.PollEvery)
	every("backoff", "before a connection is opened again, doubling", &o.Backoff)
	every("backoff_max", "longest such pause", &o.BackoffMax)
	s.integer("record.queue_mib", "MiB of messages that may wait; more are lost, and declared", 1, 1<<16, func(v int64) { o.QueueBytes = int(v) << 20 }, func() int64 { return int64(o.QueueBytes >> 20) })
	s.integer("record.disk_min_mib", "MiB that stay free on the journal's disk; below, the recording stops", 0, 1<<30, func(v int64) { o.DiskMin = uint64(v) << 20 }, func() int64 { return int64(o.DiskMin >> 20) })
	s.duration("record.quiet", "a market that says nothing for so long is compared with REST", &o.Stream.Quiet)
	s.duration("record.silent", "so is a connection", &o.Stream.Silent)
	s.duration("record.behind", "a connection whose messages came so much faster before is given up", &o.Stream.Behind)
	s.duration("record.patience", "before something outstanding is asked for again", &o.Stream.Patience)
	s.duration("record.hash_every", "a Polymarket book's hash is computed at most so often a market", &o.Stream.HashEvery)
}

// recordFlags are the settings that have a flag of their own in record.
var recordFlags = []flagged{
	{"market", "record.markets"}, {"kalshi-series", "record.kalshi_series"}, {"kalshi-event", "record.kalshi_events"}, {"polymarket-tag", "record.polymarket_tags"},
	{"polymarket-event", "record.polymarket_events"}, {"pairs", "record.pairs"}, {"volume-min", "record.volume_min"}, {"limit", "record.limit"}, {"name", "record.name"},
	{"journal", "record.journal"}, {"tapes", "record.tapes"}, {"store", "record.store"}, {"listen", "record.listen"}, {"venues-at", "record.venues_at"}, {"for", "record.for"},
	{"flush", "record.flush_every"}, {"segment", "record.segment_every"}, {"refresh", "record.refresh_every"}, {"rotate", "record.rotate_every"}, {"disk-min", "record.disk_min_mib"},
}

func recordCommand() *cobra.Command {
	c := &cobra.Command{Use: "record", Short: "Record both venues' feeds to a journal and tapes", Args: cobra.NoArgs, RunE: runRecord,
		Long: "record follows the chosen markets: every frame goes verbatim into a journal, decoded events beside it; closed segments become tapes.\n" +
			"Every hole is a gap event. Without a Kalshi key (" + envKalshiID + ", " + envKalshiKey + ") Kalshi's books are polled, and the tape says so.\n" +
			"Every setting below record in `arbiter config init` may stand in the file; the usual ones have flags.",
		Example: "  arbiter record --kalshi-series KXGOLD15M --polymarket-tag crypto --volume-min 1000\n" +
			"  arbiter record --config arbiter.yaml --pairs pairs.yaml --store s3://bucket/prefix\n" +
			"  arbiter record --venues-at 127.0.0.1:8800 --kalshi-series SYNTH --polymarket-tag synthetic   # what `arbiter serve` serves"}
	configFlags(c)
	addFlags(c, recordFlags)
	return c
}

// addFlags gives settings flags with the table's defaults and meanings.
func addFlags(c *cobra.Command, flags []flagged) {
	s := newSettings()
	for _, fl := range flags {
		f := s.find(fl.setting)
		if f.list {
			c.Flags().StringArray(fl.name, nil, f.doc+"; may repeat")
			continue
		}
		text := f.show()
		if text == `""` {
			text = ""
		}
		c.Flags().String(fl.name, text, f.doc)
	}
}

func runRecord(c *cobra.Command, _ []string) error {
	s, err := resolve(c, recordFlags)
	if err != nil {
		return err
	}
	r := &s.record
	venues, choices, err := r.prepare(c)
	if err != nil {
		return err
	}
	rec, err := live.NewRecorder(r.opt, venues, choices)
	if err != nil {
		return dataError{err}
	}
	ctx, cancel := r.limited(c.Context())
	defer cancel()
	return watchRun(ctx, c, rec.Run, rec, r.listen, nil, func() any { return rec.Status() })
}

// prepare completes and checks the options, and makes the clients of the venues at which something is chosen.
func (r *recording) prepare(c *cobra.Command) ([]link.Venue, []link.Choice, error) {
	r.opt.Commit = commit
	r.opt.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	venues, choices, err := r.venues()
	if err != nil {
		return nil, nil, err
	}
	if r.store != "" {
		if r.opt.Store, err = tape.OpenS3(c.Context(), r.store); err != nil {
			return nil, nil, usageError{err}
		}
	}
	if err := r.opt.Validate(); err != nil {
		return nil, nil, usageError{err}
	}
	return venues, choices, nil
}

// limited ends with ctx, or after the length that was asked for.
func (r *recording) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.length > 0 {
		return context.WithTimeout(ctx, time.Duration(r.length))
	}
	return context.WithCancel(ctx)
}

// watchRun runs a recording or a session with its status lines and pages, and prints how it stands at the end. line, if
// not nil, is said before the recorder's.
func watchRun(ctx context.Context, c *cobra.Command, run func(context.Context) error, r *live.Recorder, address string, line func() string, final func() any) error {
	if address != "" {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return usageError{fmt.Errorf("--listen: %w", err)}
		}
		s := &http.Server{Handler: r.Handler(), ReadHeaderTimeout: 5 * time.Second}
		defer s.Close()
		go s.Serve(ln)
	}
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	quiet, _ := c.Flags().GetBool("quiet")
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	say := func(w io.Writer) {
		if line != nil {
			fmt.Fprintln(w, line())
		}
		s := r.Status()
		fmt.Fprintln(w, s.Line())
	}
	for {
		select {
		case err := <-done:
			if asJSON(c) {
				return errors.Join(printJSON(c, final()), ended(err))
			}
			say(c.OutOrStdout())
			return ended(err)
		case <-tick.C:
			if !quiet {
				say(c.ErrOrStderr())
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

// venues are the clients of the venues at which something is chosen.
func (r *recording) venues() ([]link.Venue, []link.Choice, error) {
	poly, kal := r.polymarket, r.kalshi
	poly.Limit, kal.Limit, poly.VolumeMin, kal.VolumeMin = r.limit, r.limit, r.volumeMin, r.volumeMin
	markets := r.markets
	if r.pairs != "" {
		reg, err := pairs.Load(r.pairs)
		if err != nil {
			return nil, nil, usageError{err}
		}
		for i := range reg.Pairs {
			for _, side := range []pairs.Side{reg.Pairs[i].A, reg.Pairs[i].B} {
				k, err := parseKey(side.Venue + ":" + side.Market)
				if err != nil {
					return nil, nil, usageError{fmt.Errorf("pairs %s: %w", r.pairs, err)}
				}
				markets = append(markets, k)
			}
		}
	}
	for _, k := range markets {
		if k.Venue == data.Polymarket {
			poly.Markets = append(poly.Markets, k.Native)
		} else {
			kal.Markets = append(kal.Markets, k.Native)
		}
	}
	if poly.Empty() && kal.Empty() {
		return nil, nil, usageError{errors.New("no market chosen: use --market, --kalshi-series, --polymarket-tag or --pairs")}
	}
	po, ko := polymarket.Defaults(), kalshi.Defaults()
	if host := r.venuesAt; host != "" {
		a := fakevenue.AddressesAt(host)
		po.Gamma, po.CLOB, po.Stream, ko.REST, ko.Stream = a.Gamma, a.CLOB, a.Stream, a.KalshiREST, a.KalshiStream
	}
	var err error
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
