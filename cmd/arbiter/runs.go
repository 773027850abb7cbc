package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"arbiter/sim/report"
)

func runsCommand() *cobra.Command {
	c := &cobra.Command{Use: "runs", Short: "List and show finished runs"}
	c.PersistentFlags().String("runs", "runs", "folder of the runs")
	ls := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the runs, newest last", Args: cobra.NoArgs, RunE: listRuns}
	show := &cobra.Command{Use: "show [RUN]", Short: "Show a run again (the newest without RUN), or one opportunity of it: why, or why not", Args: cobra.MaximumNArgs(1),
		Example: "  arbiter runs show\n  arbiter runs show --opportunity 3\n  arbiter runs show runs/20261121-101500000-backtest-ab12cd34 --json", RunE: showRun}
	show.Flags().Uint64("opportunity", 0, "number of an opportunity")
	c.AddCommand(ls, show)
	return c
}

func plainTable(c *cobra.Command) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(c.OutOrStdout())
	t.SetStyle(table.StyleLight)
	t.Style().Options.DrawBorder = false
	t.Style().Options.SeparateColumns = false
	t.Style().Format.Header = text.FormatDefault
	return t
}

func listRuns(c *cobra.Command, _ []string) error {
	dir, _ := c.Flags().GetString("runs")
	runs, err := report.List(dir)
	if err != nil {
		return err
	}
	if asJSON(c) {
		return printJSON(c, runs)
	}
	if len(runs) == 0 {
		fmt.Fprintf(c.OutOrStdout(), "no runs in %s\n", dir)
		return nil
	}
	t := plainTable(c)
	t.AppendHeader(table.Row{"run", "status", "seen", "attempted", "filled", "net", "digest"})
	for _, r := range runs {
		f := r.Summary.Funnel
		t.AppendRow(table.Row{filepath.Base(r.Dir), r.Manifest.Status, f.Seen, f.Attempted, f.Filled, report.Dollars(r.Summary.Money.Net), r.Manifest.Digest[:8]})
	}
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, Align: text.AlignRight}, {Number: 4, Align: text.AlignRight}, {Number: 5, Align: text.AlignRight}, {Number: 6, Align: text.AlignRight}})
	t.Render()
	return nil
}

func showRun(c *cobra.Command, args []string) error {
	dir, _ := c.Flags().GetString("runs")
	var r *report.Run
	var err error
	if len(args) == 1 {
		path := args[0]
		if _, serr := os.Stat(path); serr != nil {
			path = filepath.Join(dir, args[0])
		}
		r, err = report.Open(path)
	} else {
		var all []*report.Run
		if all, err = report.List(dir); err == nil && len(all) == 0 {
			err = fmt.Errorf("no runs in %s: `arbiter backtest` makes one", dir)
		}
		if err == nil {
			r = all[len(all)-1]
		}
	}
	if err != nil {
		return dataError{err}
	}
	n, _ := c.Flags().GetUint64("opportunity")
	if n == 0 {
		if asJSON(c) {
			return printJSON(c, r)
		}
		fmt.Fprintf(c.OutOrStdout(), "run %s · commit %s · %s\n", r.Dir, r.Manifest.Commit, r.Manifest.Status)
		r.Summary.Print(c.OutOrStdout())
		return nil
	}
	ep, err := r.Opportunity(n)
	if err != nil {
		return usageError{err}
	}
	if asJSON(c) {
		return printJSON(c, ep)
	}
	ep.Explain(c.OutOrStdout())
	return nil
}
