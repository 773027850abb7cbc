package fakevenue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"arbiter/data"
)

// Faults are what goes wrong, each by itself. Shares are of frames to a client, or of REST requests.
type Faults struct {
	Drop       float64       // a frame is lost; its number is used up
	Gap        float64       // five frames in a row are lost
	Duplicate  float64       // a frame comes twice
	Reorder    float64       // a frame comes after the next one
	Truncate   float64       // a frame is cut in half
	Malform    float64       // a required field has another name
	Disconnect float64       // the connection is cut behind a frame
	Freeze     time.Duration // a connection goes silent so long after it was opened; pongs go on
	FreezeOne  time.Duration // the first subscribed market of a connection does, until it is subscribed anew
	Late       time.Duration // snapshots come so long after they are asked for; changes flow meanwhile
	DeltaFirst bool          // a change comes before a subscription's snapshot
	Coalesce   bool          // acknowledgement and snapshots come in one segment
	Slow       int           // bytes a second that a connection carries; 0: no limit
	TickEvery  int           // every so many messages the tick of their Polymarket market changes, and back
	Unresolved bool          // results are not announced on the streams
	Skew       time.Duration // the venues' clocks are ahead by it
	TooMany    float64       // REST answers 429
	Broken     float64       // REST answers 503
	HTML       float64       // REST answers 403 with a page, once the tape runs
	BadHash    bool          // Polymarket's hashes are wrong
}

// names of the faults on the command line, with what their value is.
var faultNames = []struct {
	name string
	set  func(f *Faults, v string) error
}{
	{"drop", share(func(f *Faults) *float64 { return &f.Drop })},
	{"gap", share(func(f *Faults) *float64 { return &f.Gap })},
	{"duplicate", share(func(f *Faults) *float64 { return &f.Duplicate })},
	{"reorder", share(func(f *Faults) *float64 { return &f.Reorder })},
	{"truncate", share(func(f *Faults) *float64 { return &f.Truncate })},
	{"malform", share(func(f *Faults) *float64 { return &f.Malform })},
	{"disconnect", share(func(f *Faults) *float64 { return &f.Disconnect })},
	{"freeze", span(func(f *Faults) *time.Duration { return &f.Freeze })},
	{"freeze-market", span(func(f *Faults) *time.Duration { return &f.FreezeOne })},
	{"late-snapshot", span(func(f *Faults) *time.Duration { return &f.Late })},
	{"delta-first", flag(func(f *Faults) *bool { return &f.DeltaFirst })},
	{"same-segment", flag(func(f *Faults) *bool { return &f.Coalesce })},
	{"slow", count(func(f *Faults) *int { return &f.Slow })},
	{"tick-change", count(func(f *Faults) *int { return &f.TickEvery })},
	{"unresolved", flag(func(f *Faults) *bool { return &f.Unresolved })},
	{"clock-skew", span(func(f *Faults) *time.Duration { return &f.Skew })},
	{"429", share(func(f *Faults) *float64 { return &f.TooMany })},
	{"5xx", share(func(f *Faults) *float64 { return &f.Broken })},
	{"html-403", share(func(f *Faults) *float64 { return &f.HTML })},
	{"bad-hash", flag(func(f *Faults) *bool { return &f.BadHash })},
}

func share(p func(*Faults) *float64) func(*Faults, string) error {
	return func(f *Faults, v string) error {
		x, err := strconv.ParseFloat(v, 64)
		if err != nil || x < 0 || x > 1 {
			return fmt.Errorf("%q is no share from 0 to 1", v)
		}
		*p(f) = x
		return nil
	}
}

func span(p func(*Faults) *time.Duration) func(*Faults, string) error {
	return func(f *Faults, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("%q is no duration such as 2s", v)
		}
		*p(f) = d
		return nil
	}
}

func count(p func(*Faults) *int) func(*Faults, string) error {
	return func(f *Faults, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no positive number", v)
		}
		*p(f) = n
		return nil
	}
}

func flag(p func(*Faults) *bool) func(*Faults, string) error {
	return func(f *Faults, v string) error {
		if v != "" {
			return fmt.Errorf("it takes no value")
		}
		*p(f) = true
		return nil
	}
}

// FaultNames lists the faults.
func FaultNames() []string {
	var out []string
	for _, n := range faultNames {
		out = append(out, n.name)
	}
	return out
}

// Set adds one fault: name, or name=value.
func (f *Faults) Set(text string) error {
	name, value, _ := strings.Cut(text, "=")
	i := slices.IndexFunc(faultNames, func(n struct {
		name string
		set  func(f *Faults, v string) error
	}) bool {
		return n.name == name
	})
	if i < 0 {
		return fmt.Errorf("fault %q: one of %s", name, strings.Join(FaultNames(), ", "))
	}
	if err := faultNames[i].set(f, value); err != nil {
		return fmt.Errorf("fault %s: %w", name, err)
	}
	return nil
}

// hit draws for a share and counts.
func (s *Server) hit(name string, share float64) bool {
	if share == 0 || s.rng.Float64() >= share {
		return false
	}
	s.served.Faults[name]++
	return true
}

// send queues a frame for a client, or does to it what the faults say. The server's lock is held.
func (c *client) send(m *market, frame []byte) {
	f, s := &c.s.opt.Faults, c.s
	switch {
	case c.frozen(m):
		return
	case c.skip > 0:
		c.skip--
		return
	case s.hit("drop", f.Drop):
		return
	case s.hit("gap", f.Gap):
		c.skip = 4
		return
	case s.hit("truncate", f.Truncate):
		frame = frame[:len(frame)/2]
	case s.hit("malform", f.Malform):
		frame = malform(frame)
	}
	if c.held != nil {
		held := c.held
		c.held = nil
		c.queue(frame)
		c.queue(held)
		return
	}
	if s.hit("reorder", f.Reorder) {
		c.held = frame
		return
	}
	c.queue(frame)
	if s.hit("duplicate", f.Duplicate) {
		c.queue(frame)
	}
	if s.hit("disconnect", f.Disconnect) {
		c.end()
	}
}

// frozen says that nothing of a market is sent, nor numbered: the connection is silent, or the market is.
func (c *client) frozen(m *market) bool {
	f, since := &c.s.opt.Faults, time.Since(c.opened)
	if (f.Freeze == 0 || since < f.Freeze) && (f.FreezeOne == 0 || since < f.FreezeOne || m == nil || m != c.first) {
		return false
	}
	c.s.served.Faults["freeze"]++
	return true
}

// malform renames a field that every message needs.
func malform(frame []byte) []byte {
	text := string(frame)
	for _, field := range []string{`"price"`, `"price_dollars"`, `"yes_price_dollars"`, `"bids"`, `"market_ticker"`, `"timestamp"`} {
		if strings.Contains(text, field) {
			return []byte(strings.Replace(text, field, `"renamed"`, 1))
		}
	}
	return frame
}

// changeTick shows a tick change and, with the next one, its end. The venue resends the book.
func (s *Server) changeTick(m *market) {
	if s.opt.Faults.TickEvery == 0 || m.list.Key.Venue != data.Polymarket || s.served.Messages%int64(s.opt.Faults.TickEvery) != 0 {
		return
	}
	s.served.Faults["tick-change"]++
	old := m.tick
	if m.tick = 10; old == 10 {
		m.tick = m.list.Bands[0].Step
	}
	s.tickChange(m, old)
	for _, c := range s.clients {
		if c.carries(m) {
			s.books(c, m)
		}
	}
}
