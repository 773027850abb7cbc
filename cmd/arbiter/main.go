// Command arbiter records, backtests and trades arbitrage on prediction markets. This package is wiring: one file a
// command, flags, files and environment are read here and nowhere else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"arbiter/data/tape"
)

// Exit codes, documented in the README.
const (
	exitFailure   = 1
	exitUsage     = 2
	exitData      = 3
	exitInterrupt = 130
)

// usageError is a mistake in flags or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// dataError is a tape or an input file that cannot be used.
type dataError struct{ error }

func (e dataError) Unwrap() error { return e.error }

var errInterrupted = errors.New("interrupted")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // a second Ctrl-C ends the program at once
		<-ctx.Done()
		stop()
	}()
	os.Exit(executeTo(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func executeTo(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(root.ErrOrStderr(), "arbiter:", err)
	var u usageError
	var d dataError
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupt
	case errors.As(err, &u):
		return exitUsage
	case errors.As(err, &d), errors.Is(err, tape.ErrTape):
		return exitData
	}
	return exitFailure
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "arbiter",
		Short:         "Backtesting, recording and trading of arbitrage on Polymarket and Kalshi",
		Long:          "arbiter runs arbitrage strategies on recorded order books of Polymarket and Kalshi: exact fees, depth, latency and leg risk;\nthe same recording gives the same result, bit for bit.",
		Example:       "  arbiter backtest --config arbiter.yaml\n  arbiter data import --format kalshi-ndjson --out tapes/gold CAPTURES\n  arbiter data ls tapes/gold",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().Bool("json", false, "print one JSON document instead of tables")
	root.PersistentFlags().BoolP("quiet", "q", false, "no progress on standard error")
	root.AddCommand(backtestCommand(), recordCommand(), liveCommand(), replayCommand(), serveCommand(), dataCommand(), runsCommand(), configCommand(), versionCommand())
	root.AddCommand(operatorCommands()...)
	return root
}
