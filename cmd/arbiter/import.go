package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"arbiter/data"
	"arbiter/data/archive"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
	"arbiter/data/tape"
)

func importCommand() *cobra.Command {
	var b strings.Builder
	b.WriteString("import reads public archives and raw captures into a tape and prints a health report for each file.\n\nFormats:\n")
	for _, f := range archive.Formats() {
		fmt.Fprintf(&b, "  %-18s %s\n", f.Name, f.About)
	}
	c := &cobra.Command{Use: "import --format FORMAT --out TAPE INPUT...", Short: "Import an archive or raw captures into a tape", Long: b.String(), Args: cobra.MinimumNArgs(1),
		Example: "  arbiter data import --format kalshi-ndjson --out tapes/gold CAPTURES/kalshi/gold15m\n" +
			"  arbiter data import --format pmxt-polymarket --markets-file gamma.json --out tapes/pm polymarket_orderbook_2026-05-14T14.parquet", RunE: runImport}
	f := c.Flags()
	f.String("format", "", "format of the inputs (see above)")
	f.String("out", "", "folder of the new tape")
	f.StringArray("market", nil, "only this ticker or condition id; may repeat")
	f.String("markets-file", "", "the venue's market records as its REST API gives them (JSON), for archives that hold none")
	f.Int("memory-limit-gib", 12, "memory of the child process that reads foreign Parquet")
	for _, name := range []string{"format", "out"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return c
}

const childMark = "ARBITER_IMPORT_CHILD"

func runImport(c *cobra.Command, args []string) error {
	name, _ := c.Flags().GetString("format")
	formats := archive.Formats()
	n := slices.IndexFunc(formats, func(f archive.Format) bool { return f.Name == name })
	if n < 0 {
		var names []string
		for _, f := range formats {
			names = append(names, f.Name)
		}
		return usageError{fmt.Errorf("unknown format %q: one of %s", name, strings.Join(names, ", "))}
	}
	limit, _ := c.Flags().GetInt("memory-limit-gib")
	if strings.HasPrefix(name, "pmxt") {
		if os.Getenv(childMark) == "" {
			return importInChild(c, limit)
		}
		if err := limitMemory(limit); err != nil {
			return err
		}
	}
	o := archive.Options{Inputs: args, Tape: tape.Options{Commit: commit}}
	o.Out, _ = c.Flags().GetString("out")
	o.Markets, _ = c.Flags().GetStringArray("market")
	quiet, _ := c.Flags().GetBool("quiet")
	o.Progress = func(name string) {
		if !quiet {
			fmt.Fprintf(c.ErrOrStderr(), "reading %s\n", name)
		}
	}
	if path, _ := c.Flags().GetString("markets-file"); path != "" {
		var err error
		if o.Listings, err = readListings(path); err != nil {
			return dataError{err}
		}
	}
	m, health, err := formats[n].Import(c.Context(), o)
	if c.Context().Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return dataError{err}
	}
	if asJSON(c) {
		return printJSON(c, map[string]any{"tape": m, "health": health})
	}
	printHealth(c, health)
	fmt.Fprintln(c.OutOrStdout())
	printTapes(c, []*tape.Manifest{m}, []string{o.Out})
	return nil
}

// importInChild runs this very command again with a limit on its memory: a damaged foreign Parquet file can make the
// reader ask for any amount. A Go program without memory ends with code 2, as usage errors do, so usage is checked
// before.
func importInChild(c *cobra.Command, gib int) error {
	if gib < 1 || gib > 1024 {
		return usageError{fmt.Errorf("--memory-limit-gib %d: between 1 and 1024", gib)}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(c.Context(), self, os.Args[1:]...)
	child.Env = append(os.Environ(), childMark+"=1", "GOTRACEBACK=none", fmt.Sprintf("GOMEMLIMIT=%dMiB", gib*1024*9/10))
	child.Stdout, child.Stderr = c.OutOrStdout(), c.ErrOrStderr()
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	err = child.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case c.Context().Err() != nil:
		return errInterrupted
	case errors.As(err, &exit) && exit.ExitCode() == exitData:
		return dataError{errors.New("the import ended with the error above")}
	}
	return dataError{fmt.Errorf("the reading process died (%w): the file is damaged, or needs more than --memory-limit-gib %d", err, gib)}
}

// limitMemory bounds what this process may ask for from now on. A Go program has reserved a good part of a gibibyte of
// addresses before main, which does not count.
func limitMemory(gib int) error {
	reserved := uint64(1) << 30
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil { // proc(5), Linux: its first field is the address space in pages
		if pages, err := strconv.ParseUint(strings.Fields(string(statm))[0], 10, 64); err == nil {
			reserved = pages * uint64(os.Getpagesize())
		}
	}
	n := reserved + uint64(gib)<<30
	return syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: n, Max: n})
}

// readListings reads market records of either venue: Gamma markets or events (an array or one object), or Kalshi's
// GET /events/{ticker} and GET /markets bodies.
func readListings(path string) ([]data.Listing, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var docs []json.RawMessage
	if json.Unmarshal(b, &docs) != nil {
		docs = []json.RawMessage{b}
	}
	var out []data.Listing
	for i, doc := range docs {
		ls, err := listingsOf(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", path, i+1, err)
		}
		out = append(out, ls...)
	}
	return out, nil
}

func listingsOf(doc json.RawMessage) ([]data.Listing, error) {
	var probe map[string]json.RawMessage
	if err := json.Unmarshal(doc, &probe); err != nil {
		return nil, err
	}
	has := func(k string) bool { _, ok := probe[k]; return ok }
	var out []data.Listing
	switch {
	case has("event"):
		recs, err := kalshi.ParseEvent(doc)
		for _, r := range recs {
			out = append(out, r.Listing)
		}
		return out, err
	case has("conditionId"):
		rec, err := polymarket.ParseMarket(doc)
		return []data.Listing{rec.Listing}, err
	case has("markets") && has("slug"):
		recs, err := polymarket.ParseEvent(doc)
		for _, r := range recs {
			out = append(out, r.Listing)
		}
		return out, err
	case has("markets"):
		recs, err := kalshi.ParseMarkets(doc)
		for _, r := range recs {
			out = append(out, r.Listing)
		}
		return out, err
	}
	return nil, errors.New("neither a Gamma nor a Kalshi market record")
}

func printHealth(c *cobra.Command, hs []*archive.Health) {
	t := plainTable(c)
	t.AppendHeader(table.Row{"file", "lines", "snapshots", "changes", "trades", "skips", "gaps", "crossed", "hashes", "mirrors", "delay p0 / p50 / p95 / p99"})
	of := func(p [2]int) string {
		if p[1] == 0 {
			return "-"
		}
		return fmt.Sprintf("%d/%d", p[0], p[1])
	}
	for _, h := range hs {
		delay := "-"
		if h.Delay != nil {
			delay = fmt.Sprintf("%d / %d / %d / %d ms", h.Delay["p0"], h.Delay["p50"], h.Delay["p95"], h.Delay["p99"])
		}
		name := h.File
		if len(name) > 52 {
			name = "…" + name[len(name)-51:]
		}
		t.AppendRow(table.Row{name, h.Lines, h.Snapshots, h.Changes, h.Trades, h.Skips, h.Gaps, h.Crossed, of(h.Hashes), of(h.Mirrors), delay})
	}
	var cs []table.ColumnConfig
	for n := 2; n <= 11; n++ {
		cs = append(cs, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(cs)
	t.Render()
	for _, h := range hs {
		for _, n := range h.Notes {
			fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", h.File, n)
		}
		if h.Batched*2 > h.Lines && h.Lines > 0 {
			fmt.Fprintf(c.OutOrStdout(), "%s: %d of %d rows share their neighbour's receipt stamp: batched\n", h.File, h.Batched, h.Lines)
		}
		if h.Misplaced > 0 {
			fmt.Fprintf(c.OutOrStdout(), "%s: %d rows lie outside the hour in the file's name\n", h.File, h.Misplaced)
		}
	}
}
