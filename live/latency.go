package live

import (
	"runtime/debug"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"arbiter/data"
)

// latency is how long a session takes, by venue: from the read of a message off its socket to the end of the step that
// decides on it, and from there to a command's hand-over, which includes its way into the journal.
type latency struct {
	decide, act [data.VenueCount]*hdrhistogram.Histogram
}

// latencyMax is the longest that is told apart; longer counts as it.
const latencyMax = int64(time.Minute)

func newLatency() latency {
	var l latency
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		l.decide[v], l.act[v] = hdrhistogram.New(1, latencyMax, 3), hdrhistogram.New(1, latencyMax, 3)
	}
	return l
}

func note(h *hdrhistogram.Histogram, d data.Duration) {
	if h.RecordValue(min(max(int64(d), 1), latencyMax)) != nil {
		return // out of range, which it cannot be
	}
}

// LatencyRow is a distribution, in nanoseconds.
type LatencyRow struct {
	Venue string `json:"venue"`
	Of    string `json:"of"` // "read to decision", "decision to hand-over"
	N     int64  `json:"n"`
	P50   int64  `json:"p50_ns"`
	P99   int64  `json:"p99_ns"`
	P9999 int64  `json:"p99_99_ns"`
	Max   int64  `json:"max_ns"`
}

// Latency of the session so far. It may be read in SessionOptions.Watch only.
func (s *Session) Latency() []LatencyRow {
	var out []LatencyRow
	for v := data.Polymarket; v <= data.Kalshi; v++ {
		for _, x := range []struct {
			of string
			h  *hdrhistogram.Histogram
		}{{"read to decision", s.latency.decide[v]}, {"decision to hand-over", s.latency.act[v]}} {
			if n := x.h.TotalCount(); n > 0 {
				out = append(out, LatencyRow{v.String(), x.of, n, x.h.ValueAtQuantile(50), x.h.ValueAtQuantile(99), x.h.ValueAtQuantile(99.99), x.h.Max()})
			}
		}
	}
	return out
}

// Pauses are the garbage collector's, of the whole process: what the longest latencies are compared with.
type Pauses struct {
	N   int64         `json:"n"`
	Max time.Duration `json:"max_ns"` // of the newest 256
}

// ReadPauses reads them.
func ReadPauses() Pauses {
	var st debug.GCStats
	debug.ReadGCStats(&st)
	p := Pauses{N: st.NumGC}
	for _, d := range st.Pause {
		p.Max = max(p.Max, d)
	}
	return p
}
