package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// bar shows long work on standard error: a bar with rate and time left on a terminal, a line every 30 seconds
// elsewhere, nothing when quiet.
type bar struct {
	w     progress.Writer
	t     *progress.Tracker
	out   io.Writer
	name  string
	total int64
	last  time.Time
	quiet bool
	done  chan struct{}
}

func startBar(c *cobra.Command, name string, total int64) *bar {
	b := &bar{name: name, total: total, out: c.ErrOrStderr(), last: time.Now()}
	b.quiet, _ = c.Flags().GetBool("quiet")
	if b.quiet || b.out != os.Stderr || !term.IsTerminal(int(os.Stderr.Fd())) {
		return b
	}
	b.w = progress.NewWriter()
	b.w.SetOutputWriter(os.Stderr)
	b.w.SetTrackerLength(30)
	b.w.SetUpdateFrequency(100 * time.Millisecond)
	b.w.SetStyle(progress.StyleBlocks)
	b.w.Style().Visibility.Speed = true
	b.w.Style().Visibility.ETA = true
	b.t = &progress.Tracker{Message: name, Total: total}
	b.w.AppendTracker(b.t)
	b.done = make(chan struct{})
	go func() {
		b.w.Render()
		close(b.done)
	}()
	return b
}

func (b *bar) set(n int64) {
	if b.t != nil {
		b.t.SetValue(n)
		return
	}
	if !b.quiet && time.Since(b.last) > 30*time.Second {
		b.last = time.Now()
		fmt.Fprintf(b.out, "%s: %d of %d (%.0f %%)\n", b.name, n, b.total, 100*float64(n)/float64(max(b.total, 1)))
	}
}

func (b *bar) stop(n int64) {
	if b.t == nil {
		return
	}
	b.t.SetValue(n)
	b.t.MarkAsDone()
	b.w.Stop()
	<-b.done
}
