package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"arbiter/data"
	"arbiter/data/journal"
	"arbiter/data/tape"
)

// Store keeps tapes: a bucket. A tape is written once; its manifest comes last, so what can be seen is whole.
type Store interface {
	Has(ctx context.Context, tape string) (bool, error)
	Put(ctx context.Context, tape, dir string) error
}

// shipper turns closed segments into tapes and hands these to the store. What is missing is found by looking, so it
// catches up after a restart, and after the store was away.
type shipper struct {
	opt     *Options
	origin  string
	wake    chan struct{}
	mu      sync.Mutex // one pass at a time
	done    map[string]bool
	made    atomic.Int64
	waiting atomic.Int64
}

func newShipper(opt *Options, origin string) *shipper {
	return &shipper{opt: opt, origin: origin, wake: make(chan struct{}, 1), done: map[string]bool{}}
}

func (s *shipper) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shipper) progress() (made, waiting int64) { return s.made.Load(), s.waiting.Load() }

// sweep removes what a process that was killed left of tapes half written; the journal is locked, so nobody writes them.
func (s *shipper) sweep() {
	left, _ := filepath.Glob(filepath.Join(s.opt.Tapes, "."+s.opt.Name+"-*.writing-*")) // the pattern is sound
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			s.opt.Log.Warn("a tape half written by a process that died could not be removed", "error", err)
		}
	}
}

// run ships until ctx ends. What fails is tried again, at longer and longer intervals; tapes are made meanwhile.
func (s *shipper) run(ctx context.Context) {
	s.sweep()
	const often = 10 * time.Second
	pause := time.Second
	var again time.Time // when what failed is tried again
	for {
		due := time.Now().After(again)
		err := s.pass(ctx, false, due)
		switch {
		case err == nil && due:
			pause = time.Second
		case err == nil:
		case ctx.Err() == nil:
			s.opt.Log.Warn("tapes wait; tried again later", "waiting", s.waiting.Load(), "in", pause, "error", err)
			again, pause = time.Now().Add(pause), min(2*pause, time.Minute)
		}
		next := often
		if d := time.Until(again); d > 0 {
			next = min(often, d)
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-s.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// all ships everything, the last segment too: the recording has ended.
func (s *shipper) all(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return s.pass(ctx, true, true)
}

// pass makes the tapes that are missing, and stores them if store says so. The first failure of the store ends its part.
func (s *shipper) pass(ctx context.Context, last, store bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opt.Tapes == "" {
		return nil
	}
	segs, err := journal.Segments(s.opt.Journal)
	if err != nil {
		return err
	}
	if !last && len(segs) > 0 {
		segs = segs[:len(segs)-1] // it is being written
	}
	var errs []error
	waiting := int64(0)
	for _, seg := range segs {
		if s.done[seg.Path] || ctx.Err() != nil {
			continue
		}
		name, err := s.tape(seg)
		if err == nil && name != "" && s.opt.Store != nil {
			if !store {
				waiting++
				continue
			}
			if err = s.store(ctx, name); err != nil {
				store = false
			}
		}
		if err != nil {
			errs = append(errs, err)
			waiting++
			continue
		}
		s.done[seg.Path] = true
	}
	s.waiting.Store(waiting)
	return errors.Join(errs...)
}

// tapeName of a segment: it sorts by time.
func (s *shipper) tapeName(seg journal.Segment, began data.Time) string {
	stamp := strings.NewReplacer("-", "", ":", "").Replace(began.String()[:len("2026-05-14T14:00:00")])
	return fmt.Sprintf("%s-%sZ-%05d", s.opt.Name, stamp, seg.Number)
}

// tape makes a segment's tape unless it is there. It returns the tape's name, "" if the segment holds nothing for one.
func (s *shipper) tape(seg journal.Segment) (string, error) {
	var h journal.Header
	stop := errors.New("header read")
	if err := journal.Walk(seg, func(r *journal.Record) error { h = r.Header; return stop }); !errors.Is(err, stop) {
		return "", err
	}
	name := s.tapeName(seg, h.Began)
	dir := filepath.Join(s.opt.Tapes, name)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return name, err
	}
	_, err := tape.FromJournal(seg, dir, tape.Options{Commit: h.Commit, Origin: s.origin})
	if errors.Is(err, tape.ErrEmpty) {
		return "", nil
	}
	if err == nil {
		s.made.Add(1)
	}
	return name, err
}

func (s *shipper) store(ctx context.Context, name string) error {
	has, err := s.opt.Store.Has(ctx, name)
	if err != nil || has {
		return err
	}
	return s.opt.Store.Put(ctx, name, filepath.Join(s.opt.Tapes, name))
}
