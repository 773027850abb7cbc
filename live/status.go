package live

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"arbiter/data"
	"arbiter/data/stream"
)

// Status is how a recording goes, as of the last second.
type Status struct {
	At      data.Time     `json:"at"`
	Rate    float64       `json:"messages_per_second"`
	Counts  stream.Counts `json:"counts"`
	Venues  []VenueStatus `json:"venues"`
	Queue   int           `json:"queue_bytes"`
	Peak    int           `json:"queue_bytes_peak"`
	Lost    int64         `json:"frames_lost"`
	Journal int64         `json:"journal_bytes"` // of the open segment
	Segment int           `json:"segment"`
	Events  uint64        `json:"events"`
	Flushed uint64        `json:"events_flushed"`
	Tapes   int64         `json:"tapes"`
	Waiting int64         `json:"tapes_waiting"` // closed segments that are no tape yet, or not in the store
	Drift   time.Duration `json:"clock_drift"`   // the wall clock was set so far ahead of the session's
	Ready   bool          `json:"ready"`
}

// VenueStatus is one venue's part.
type VenueStatus struct {
	Venue       string        `json:"venue"`
	Connections int           `json:"connections"`
	Markets     int           `json:"markets"`
	OutOfSync   int           `json:"out_of_sync"` // followed markets without a valid book
	Lag         time.Duration `json:"lag"`         // mean of receive less exchange time in the last second
	LagMax      time.Duration `json:"lag_max"`
	Backlog     string        `json:"backlog,omitempty"`
}

// Status as of the last second.
func (r *Recorder) Status() Status {
	r.statusMu.Lock()
	defer r.statusMu.Unlock()
	return r.status
}

// report sums the last second up. A recording is ready once every followed market had a book.
func (r *Recorder) report(took time.Duration) {
	p := r.journal.Position()
	s := Status{At: r.queue.now(), Counts: r.stream.Counts(), Journal: p.Written, Segment: p.Segment, Events: p.Seq, Flushed: p.SeqSynced}
	s.Queue, s.Peak, s.Lost, s.Drift = r.queue.depth()
	s.Tapes, s.Waiting = r.ship.progress()
	ready := true
	for _, k := range r.keepers {
		v := k.venue.Venue()
		vs := VenueStatus{Venue: v.String(), Connections: int(k.open.Load()), Backlog: k.venue.Backlog()}
		vs.Markets, vs.OutOfSync = r.stream.Followed(v)
		if l := &r.lags[v]; l.n > 0 {
			vs.Lag, vs.LagMax = time.Duration(l.sum/l.n), time.Duration(l.max)
			*l = lag{}
		}
		ready = ready && vs.Markets > 0 && vs.OutOfSync == 0
		s.Venues = append(s.Venues, vs)
	}
	r.statusMu.Lock()
	defer r.statusMu.Unlock()
	s.Rate = float64(s.Counts.Frames-r.status.Counts.Frames) / took.Seconds()
	if ready {
		r.ready.Store(true)
	}
	s.Ready = r.ready.Load()
	r.status = s
}

// Line is the status in one line.
func (s *Status) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.0f msg/s", s.Rate)
	for _, v := range s.Venues {
		fmt.Fprintf(&b, " | %s %d conn %d/%d books lag %s", v.Venue, v.Connections, v.Markets-v.OutOfSync, v.Markets, data.Duration(v.Lag))
		if v.Backlog != "" {
			fmt.Fprintf(&b, " (%s)", v.Backlog)
		}
	}
	fmt.Fprintf(&b, " | %d events, %d gaps, %d lost | queue %d KiB | journal %d: %.1f MiB | %d tapes", s.Events, s.Counts.Gaps, s.Lost, s.Queue>>10, s.Segment,
		float64(s.Journal)/(1<<20), s.Tapes)
	if s.Waiting > 0 {
		fmt.Fprintf(&b, ", %d waiting", s.Waiting)
	}
	if s.Drift > time.Second || s.Drift < -time.Second {
		fmt.Fprintf(&b, " | the wall clock was set by %s", s.Drift.Round(time.Millisecond))
	}
	return b.String()
}

// Handler serves /healthz (the process runs), /readyz (every followed market had a book) and /metrics (Prometheus).
func (r *Recorder) Handler() http.Handler {
	reg := prometheus.NewRegistry()
	gauge := func(name, help string, f func(s *Status) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "arbiter", Subsystem: "record", Name: name, Help: help}, func() float64 {
			s := r.Status()
			return f(&s)
		}))
	}
	counter := func(name, help string, f func(s *Status) float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "arbiter", Subsystem: "record", Name: name, Help: help}, func() float64 {
			s := r.Status()
			return f(&s)
		}))
	}
	counter("frames_total", "WebSocket messages received and queued.", func(s *Status) float64 { return float64(s.Counts.Frames) })
	counter("frames_lost_total", "WebSocket messages that did not fit into the queue; each is declared by a gap.", func(s *Status) float64 { return float64(s.Lost) })
	counter("events_total", "Events in the journal.", func(s *Status) float64 { return float64(s.Events) })
	counter("gaps_total", "Holes in books.", func(s *Status) float64 { return float64(s.Counts.Gaps) })
	counter("malformed_total", "Inputs that could not be decoded; kept in the journal.", func(s *Status) float64 { return float64(s.Counts.Malformed) })
	counter("probes_total", "REST books compared with ours.", func(s *Status) float64 { return float64(s.Counts.Probes) })
	counter("probes_differed_total", "REST books that differed.", func(s *Status) float64 { return float64(s.Counts.ProbesDiffered) })
	counter("tapes_total", "Tapes made.", func(s *Status) float64 { return float64(s.Tapes) })
	gauge("messages_per_second", "WebSocket messages in the last second.", func(s *Status) float64 { return s.Rate })
	gauge("queue_bytes", "Bytes between the sockets and the sequencer.", func(s *Status) float64 { return float64(s.Queue) })
	gauge("queue_bytes_peak", "The most that ever waited.", func(s *Status) float64 { return float64(s.Peak) })
	gauge("journal_bytes", "Bytes of the open segment.", func(s *Status) float64 { return float64(s.Journal) })
	gauge("events_unflushed", "Events that a power cut would take.", func(s *Status) float64 { return float64(s.Events - s.Flushed) })
	gauge("tapes_waiting", "Closed segments that are no tape yet, or not in the store.", func(s *Status) float64 { return float64(s.Waiting) })
	gauge("clock_drift_seconds", "How far the wall clock was set ahead of the session's clock.", func(s *Status) float64 { return s.Drift.Seconds() })
	for i, k := range r.keepers {
		venue := prometheus.Labels{"venue": k.venue.Venue().String()}
		each := func(name, help string, f func(v *VenueStatus) float64) {
			reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "arbiter", Subsystem: "record", Name: name, Help: help, ConstLabels: venue}, func() float64 {
				if s := r.Status(); i < len(s.Venues) {
					return f(&s.Venues[i])
				}
				return 0
			}))
		}
		each("connections", "Open connections.", func(v *VenueStatus) float64 { return float64(v.Connections) })
		each("markets", "Followed markets.", func(v *VenueStatus) float64 { return float64(v.Markets) })
		each("markets_out_of_sync", "Followed markets without a valid book.", func(v *VenueStatus) float64 { return float64(v.OutOfSync) })
		each("lag_seconds", "Mean of receive less exchange time in the last second.", func(v *VenueStatus) float64 { return v.Lag.Seconds() })
		each("lag_max_seconds", "Greatest receive less exchange time in the last second.", func(v *VenueStatus) float64 { return v.LagMax.Seconds() })
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := r.Status()
		if !s.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, s.Line())
	})
	return mux
}
