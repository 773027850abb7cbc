// Package fakevenue serves a tape over the venues' own wire formats on loopback: Polymarket's Gamma, CLOB and market
// channel, Kalshi's REST and WebSocket, with faults by name and seed. Recording and trading can be tried with no
// account, and tested against what was served.
//
// Where it is wrong: it knows the public side only; books appear when the tape has them, so a subscription before a
// market's first book is answered by it later, where a venue would send what it has; Kalshi's closing of a market
// shows in REST alone; latency is the loopback's.
package fakevenue

import (
	"bufio"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"arbiter/data"
	"arbiter/data/kalshi"
	"arbiter/data/polymarket"
)

// Source is the truth that is served: a tape's reader.
type Source interface {
	Next(ev *data.Event) error
	Dictionary() *data.Dictionary
}

// Options of a Server.
type Options struct {
	Address  string           // to listen on; "127.0.0.1:0" takes a free port
	Speed    float64          // tape seconds a second; 0: as fast as it can be read
	Await    int              // subscriptions to markets before the tape runs
	Shift    data.Duration    // added to every stamp, so that an old tape is of now
	Now      bool             // Shift is reckoned anew when the tape begins to run
	Faults   Faults           // none by default
	Seed     uint64           // of the faults
	Key      *rsa.PublicKey   // that Kalshi's handshake must be signed with; nil: any signature is taken
	Lockstep func(sent int64) // called after each message of the source, with the frames sent until then; nil: none
	NoHashes bool             // Polymarket books carry no hash: computing it costs more than all else, which matters under load
	Outbox   int              // frames that may wait for a client before it is cut off; default 65536
}

// Server is both simulated venues on one port.
type Server struct {
	opt     Options
	src     Source
	dict    *data.Dictionary
	ln      net.Listener
	http    *http.Server
	started chan struct{}
	done    chan struct{} // closed when the tape has been served
	wg      sync.WaitGroup

	mu         sync.Mutex
	rng        *rand.Rand
	markets    map[data.MarketKey]*market
	order      []*market
	insts      []*market
	tokens     map[string]token
	clients    []*client
	subscribed int
	served     Served
	next       []data.Event // the message that Play begins with
	nextErr    error
	clock      data.Time // of the source
}

// Served counts what went out.
type Served struct {
	Messages int64            `json:"messages"` // of the tape
	Frames   int64            `json:"frames"`   // to clients
	Repeated int64            `json:"repeated"` // snapshots asked for while one that was asked for is still to come
	Faults   map[string]int64 `json:"faults"`
}

// token is a Polymarket asset.
type token struct {
	m  *market
	no bool
}

// market is the truth about one market.
type market struct {
	list    *data.Listing
	fees    *data.FeeSchedule
	book    data.Book
	has     bool // there is a book
	status  data.MarketStatus
	settled bool
	payout  data.Money
	tick    data.Price
	stamp   data.Time
	last    [2][]byte // last_trade_price by token
}

// New listens and serves what the tape says at its beginning. It goes on once Await markets are subscribed.
func New(src Source, opt Options) (*Server, error) {
	if opt.Outbox == 0 {
		opt.Outbox = 1 << 16
	}
	if opt.Address == "" {
		opt.Address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", opt.Address)
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	s := &Server{opt: opt, src: src, dict: src.Dictionary(), ln: ln, started: make(chan struct{}), done: make(chan struct{}),
		rng: rand.New(rand.NewPCG(opt.Seed, 0xFA)), markets: map[data.MarketKey]*market{}, tokens: map[string]token{}, served: Served{Faults: map[string]int64{}}}
	if opt.Await == 0 {
		close(s.started)
	}
	s.opening()
	mux := http.NewServeMux()
	s.routes(mux)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		s.http.Serve(batchListener{ln}) // ends with Close
	}()
	return s, nil
}

// Addresses of the two venues.
type Addresses struct{ Gamma, CLOB, Stream, KalshiREST, KalshiStream string }

// Host is where the server listens.
func (s *Server) Host() string { return s.ln.Addr().String() }

// Addresses that clients need.
func (s *Server) Addresses() Addresses { return AddressesAt(s.Host()) }

// AddressesAt are the addresses of a server at host:port.
func AddressesAt(host string) Addresses {
	return Addresses{"http://" + host + "/gamma", "http://" + host + "/clob", "ws://" + host + "/ws/market", "http://" + host + "/trade-api/v2", "ws://" + host + "/trade-api/ws/v2"}
}

// Done is closed when the tape has been served.
func (s *Server) Done() <-chan struct{} { return s.done }

// Served so far.
func (s *Server) Served() Served {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.served
	out.Faults = maps.Clone(out.Faults)
	return out
}

// running says that the tape runs: who was awaited is there.
func (s *Server) running() bool {
	select {
	case <-s.started:
		return true
	default:
		return false
	}
}

// Close ends the server and waits for its goroutines.
func (s *Server) Close() {
	s.http.Close()
	s.mu.Lock()
	for _, c := range s.clients {
		c.end()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Play serves the tape to its end, or until ctx ends.
func (s *Server) Play(ctx context.Context) error {
	next, err := s.next, s.nextErr
	select {
	case <-s.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	began := time.Now()
	var zero data.Time
	if err == nil {
		zero = next[0].Recv
		if s.opt.Now {
			s.mu.Lock()
			s.opt.Shift = data.Time(began.UnixNano()).Sub(zero)
			s.mu.Unlock()
		}
	}
	for n := 0; err == nil; n++ {
		if s.opt.Speed > 0 {
			due := began.Add(time.Duration(float64(next[0].Recv.Sub(zero)) / s.opt.Speed))
			if d := time.Until(due); d > time.Millisecond {
				t := time.NewTimer(d)
				select {
				case <-t.C:
				case <-ctx.Done():
					t.Stop()
					return ctx.Err()
				}
			}
		} else if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s.serve(next)
		if s.opt.Lockstep != nil {
			s.mu.Lock()
			sent := s.served.Frames
			s.mu.Unlock()
			s.opt.Lockstep(sent)
		}
		next, err = s.message(next)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	close(s.done)
	return nil
}

// opening serves what the tape says at its beginning, up to the first change or second book of a market: it is there
// before anybody asks.
func (s *Server) opening() {
	for s.next, s.nextErr = s.message(nil); s.nextErr == nil; s.next, s.nextErr = s.message(s.next) {
		switch e := &s.next[0]; {
		case e.Kind == data.Delta, e.Kind == data.Trade, e.Kind == data.Level, e.Kind == data.TickSize, e.Kind == data.Settle,
			e.Kind == data.Clear && s.insts[e.Inst].has:
			return
		default:
			s.serve(s.next)
		}
	}
}

// message reads up to the next Last.
func (s *Server) message(buf []data.Event) ([]data.Event, error) {
	buf = buf[:0]
	for {
		var ev data.Event
		if err := s.src.Next(&ev); err != nil {
			return nil, err
		}
		buf = append(buf, ev)
		if ev.Last {
			return buf, nil
		}
	}
}

// serve folds one message into the truth and sends what the venue would send.
func (s *Server) serve(evs []data.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served.Messages++
	e := &evs[0]
	s.clock = e.Recv.Add(s.opt.Shift)
	if e.Kind == data.Listed {
		s.list(e)
		return
	}
	if e.Inst == data.NoInstrument {
		return
	}
	m := s.insts[e.Inst]
	if e.Exch != 0 {
		m.stamp = e.Exch.Add(s.opt.Shift)
	}
	switch e.Kind {
	case data.Fees:
		f := s.dict.Fees[e.Arg]
		m.fees = &f
	case data.Status:
		s.setStatus(m, e)
	case data.Settle:
		m.settled, m.payout, m.status = true, e.Cash, data.Determined
		s.resolve(m)
	case data.Gap:
		m.has = false
		m.book.Clear()
	case data.TickSize:
		old := m.tick
		m.tick = e.Price
		s.tickChange(m, old)
	case data.Trade:
		s.trade(m, e)
	case data.Clear:
		m.book.Clear()
		m.has = true
		for i := range evs {
			if evs[i].Kind == data.Level {
				m.book.Set(evs[i].Side, evs[i].Price, evs[i].Qty)
			}
		}
		s.snapshots(m, evs)
	case data.Level, data.Delta:
		s.changes(m, evs)
	}
}

func (s *Server) list(e *data.Event) {
	l := s.dict.Listings[e.Arg]
	shifted := l
	for _, t := range []*data.Time{&shifted.Opens, &shifted.Closes, &shifted.Expected} {
		if *t != 0 {
			*t = t.Add(s.opt.Shift)
		}
	}
	m := &market{list: &shifted, status: data.Open}
	if len(l.Bands) == 1 {
		m.tick = l.Bands[0].Step
	}
	s.markets[l.Key] = m
	s.order = append(s.order, m)
	for int(e.Inst) >= len(s.insts) {
		s.insts = append(s.insts, nil)
	}
	s.insts[e.Inst] = m
	if l.Key.Venue == data.Polymarket {
		s.tokens[l.Tokens[0]], s.tokens[l.Tokens[1]] = token{m, false}, token{m, true}
	}
}

func (s *Server) setStatus(m *market, e *data.Event) {
	m.status = data.MarketStatus(e.Arg & 0xff)
	if m.list.Key.Venue != data.Kalshi {
		return
	}
	name := map[data.MarketStatus]string{data.Open: "activated", data.Halted: "deactivated", data.Settled: "settled"}[m.status]
	if name != "" { // determined comes with its result; a closed market shows in REST
		s.lifecycle(m, name, "")
	}
}

// resolve tells a result, unless that is the fault to be shown.
func (s *Server) resolve(m *market) {
	if s.opt.Faults.Unresolved {
		s.served.Faults["unresolved"]++
		return
	}
	if m.list.Key.Venue == data.Polymarket {
		win := m.list.Tokens[0]
		if m.payout == 0 {
			win = m.list.Tokens[1]
		}
		msg := polymarket.Message{Type: polymarket.MarketResolved, Market: []byte(m.list.Key.Native), Timestamp: s.millis(m),
			Assets: [2][]byte{[]byte(m.list.Tokens[0]), []byte(m.list.Tokens[1])}, Winner: []byte(win)}
		s.toAssets(m, polymarket.AppendMessage(nil, &msg))
		return
	}
	result := "yes"
	if m.payout == 0 {
		result = "no"
	}
	s.lifecycle(m, "determined", result)
}

func (s *Server) lifecycle(m *market, event, result string) {
	msg := kalshi.Message{Type: kalshi.Lifecycle, Ticker: []byte(m.list.Key.Native), Event: []byte(event), Result: []byte(result), Time: s.skewed(m.stamp)}
	for _, c := range s.clients {
		if c.venue == data.Kalshi && c.life != 0 {
			msg.SID = c.life
			c.send(m, kalshi.AppendMessage(nil, &msg))
		}
	}
}

// skewed is a stamp as a venue whose clock is wrong would give it.
func (s *Server) skewed(t data.Time) data.Time {
	if t == 0 {
		return 0
	}
	return t.Add(data.Duration(s.opt.Faults.Skew))
}

func (s *Server) millis(m *market) int64 {
	return int64(s.skewed(m.stamp)) / int64(data.Millisecond)
}

// batchListener's connections can hold writes back until they are flushed, as a busy venue's do.
type batchListener struct{ net.Listener }

// Accept wraps the connection.
func (l batchListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &batchConn{Conn: c}, nil
}

type batchConn struct {
	net.Conn
	mu sync.Mutex    // the reader answers a close while the writer flushes
	w  *bufio.Writer // nil: unbuffered, as HTTP needs it
}

// Write goes through the buffer once there is one.
func (c *batchConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w == nil {
		return c.Conn.Write(b)
	}
	return c.w.Write(b)
}

func (c *batchConn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w == nil {
		return nil
	}
	return c.w.Flush()
}
