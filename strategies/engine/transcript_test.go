package engine_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"arbiter/data"
	"arbiter/strategies/engine"
	"arbiter/strategies/legging"
)

var update = flag.Bool("update", false, "rewrite the transcripts; explain the difference in the commit")

// Every file of testdata/legging is one session with a pair of markets: A at Polymarket whose YES is bought and B at
// Kalshi whose YES is sold. Blocks of commands stand above "----", what the engine did below it. The commands:
//
//	set KEY=VALUE...              the machine's configuration, before all else: imbalance, sequential, first, slip, tries, retry, deadline, timeout
//	book A|B BID ASK QTY          a snapshot of one level a side; QTY 0: no levels
//	gap A|B                       the book is lost
//	ack|reject N                  the outcome of order N
//	fill N QTY PRICE [FEE]        a provisional fill
//	confirm N QTY                 that much of it is final
//	void N QTY PRICE [FEE]        that much of it failed
//	cancel N                      the rest of order N will not fill
//	wait DURATION                 time passes; wakes that fall due are delivered
func TestLegging_Transcripts(t *testing.T) {
	files, err := filepath.Glob("testdata/legging/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := runTranscript(t, string(b))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(b) {
				t.Errorf("%s: got\n%s\nwant\n%s", path, got, b)
			}
		})
	}
}

// script is one transcript's session.
type script struct {
	*desk
	ids   [2]data.InstrumentID
	wakes []data.Command
	sent  []data.Command
	out   strings.Builder
	begin data.Time
}

// runTranscript runs the input of every block and returns the file as it should be. A block is a run of lines up to
// an empty one; text before the first command is kept.
func runTranscript(t *testing.T, text string) string {
	t.Helper()
	var s *script
	var file strings.Builder
	for _, block := range strings.Split(strings.TrimRight(text, "\n"), "\n\n") {
		input, _, _ := strings.Cut(block, "\n----")
		if file.Len() > 0 {
			file.WriteString("\n")
		}
		file.WriteString(input + "\n")
		if strings.HasPrefix(input, "#") && !strings.Contains(block, "----") {
			continue
		}
		file.WriteString("----\n")
		for _, line := range strings.Split(input, "\n") {
			f := strings.Fields(line)
			if len(f) == 0 || f[0] == "#" {
				continue
			}
			if s == nil {
				s = newScript(t, f)
				if f[0] == "set" {
					continue
				}
			}
			s.command(f)
		}
		file.WriteString(s.out.String())
		s.out.Reset()
	}
	return file.String()
}

func newScript(t *testing.T, f []string) *script {
	t.Helper()
	s := &script{}
	s.desk, s.ids = pairDesk(t, func(c *engine.Config) {
		if f[0] == "set" {
			for _, kv := range f[1:] {
				setLegging(t, &c.Legging, kv)
			}
		}
	})
	s.begin = s.now
	return s
}

func setLegging(t *testing.T, c *legging.Config, kv string) {
	t.Helper()
	key, value, _ := strings.Cut(kv, "=")
	var err error
	switch key {
	case "imbalance":
		c.Imbalance, err = legging.ParsePolicy(value)
	case "sequential":
		c.Sequential = value == "yes"
	case "first":
		c.First, err = data.ParseVenue(value)
	case "slip":
		c.Slip, err = data.ParsePrice([]byte(value))
	case "tries":
		c.Tries, err = strconv.Atoi(value)
	case "retry":
		c.Retry = seconds(t, value)
	case "deadline":
		c.Deadline = seconds(t, value)
	case "timeout":
		c.Timeout = seconds(t, value)
	default:
		t.Fatalf("unknown setting %q", kv)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func seconds(t *testing.T, s string) data.Duration {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSuffix(s, "s"))
	if err != nil {
		t.Fatalf("%q is not a number of seconds", s)
	}
	return data.Duration(n) * data.Second
}

func (s *script) command(f []string) {
	s.t.Helper()
	arg := func(i int) []byte {
		if i < len(f) {
			return []byte(f[i])
		}
		return []byte("0")
	}
	qty := func(i int) data.Qty { return must(data.ParseQty(arg(i))) }
	price := func(i int) data.Price { return must(data.ParsePrice(arg(i))) }
	market := func() data.InstrumentID { return s.ids[strings.Index("AB", f[1])] }
	order := func(kind data.Kind) data.Event {
		n := must(strconv.Atoi(f[1]))
		ev := data.Event{Kind: kind, Order: 1<<32 | data.OrderID(n), Last: true}
		for i := range s.sent {
			if s.sent[i].Order == ev.Order {
				ev.Inst, ev.Side = s.sent[i].Inst, s.sent[i].Side
			}
		}
		return ev
	}
	switch f[0] {
	case "book":
		if qty(4) == 0 {
			s.show(s.send(data.Event{Kind: data.Clear, Inst: market(), Last: true}))
			return
		}
		s.show(s.book(market(), price(2), price(3), qty(4)/data.Contract, s.now))
	case "gap":
		s.show(s.send(data.Event{Kind: data.Gap, Inst: market(), Last: true}))
	case "ack":
		s.show(s.send(order(data.Ack)))
	case "reject":
		ev := order(data.Reject)
		ev.Arg = uint32(data.RejectUnfilled)
		s.show(s.send(ev))
	case "cancel":
		s.show(s.send(order(data.Canceled)))
	case "fill", "void":
		ev := order(map[string]data.Kind{"fill": data.Fill, "void": data.Voided}[f[0]])
		ev.Qty, ev.Price, ev.Cash = qty(2), price(3), must(data.ParseMoney(arg(4)))
		s.show(s.send(ev))
	case "confirm":
		ev := order(data.Confirmed)
		ev.Qty = qty(2)
		s.show(s.send(ev))
	case "wait":
		s.wait(seconds(s.t, f[1]))
	default:
		s.t.Fatalf("unknown command %q", f[0])
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// wait lets time pass and delivers the wakes that fall due, in order.
func (s *script) wait(d data.Duration) {
	until := s.now.Add(d)
	for {
		next := -1
		for i := range s.wakes {
			if s.wakes[i].Due <= until && (next < 0 || s.wakes[i].Due < s.wakes[next].Due) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		w := s.wakes[next]
		s.wakes = slices.Delete(s.wakes, next, next+1)
		s.now = max(s.now, w.Due)
		s.show(s.send(data.Event{Kind: data.Wake, Order: w.Order, Inst: data.NoInstrument, Last: true}))
	}
	s.now = until
}

// show writes what one event caused.
func (s *script) show(cmds []data.Command) {
	at := func(d data.Duration) string { return fmt.Sprintf("%ds", d/data.Second) }
	for _, l := range s.log {
		switch l.Kind {
		case engine.Refused:
			fmt.Fprintf(&s.out, "refused: %s\n", l.Reason)
		case engine.Finished:
			o := l.Exec.Outcome()
			fmt.Fprintf(&s.out, "%s after %s: balanced %s, residual %s, planned %s, fees %s, leg loss %s, slippage %s, net %s\n", l.Exec.State,
				at(s.now.Sub(l.Exec.Started)), o.Balanced, o.Residual, o.Planned, o.Fees, o.LegLoss, o.Slippage, o.Net)
		}
	}
	s.log = s.log[:0]
	for _, c := range cmds {
		switch c.Kind {
		case data.Place:
			_, purpose := s.e.OrderOrigin(c.Order)
			fmt.Fprintf(&s.out, "%s: order %d %s %s %s at %s\n", purpose, uint32(c.Order), c.Side, s.e.Markets().All[c.Inst].Listing.Key.Native, c.Qty, c.Price)
			s.sent = append(s.sent, c)
		case data.Cancel:
			fmt.Fprintf(&s.out, "cancel order %d\n", uint32(c.Order))
		case data.WakeAt:
			fmt.Fprintf(&s.out, "wake at %s\n", at(c.Due.Sub(s.begin)))
			s.wakes = append(s.wakes, c)
		}
	}
	if !s.e.Account().Balanced() {
		s.t.Error("the account does not balance")
	}
}
