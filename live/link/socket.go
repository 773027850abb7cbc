package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// SocketOptions of one WebSocket.
type SocketOptions struct {
	URL       string
	Header    http.Header   // may hold signatures: never printed
	Ping      string        // text that is sent every PingEvery; "": the venue pings us
	PingEvery time.Duration // default 10 s
	Dead      time.Duration // nothing at all, not even a pong, for so long ends the connection; default 30 s
	ReadLimit int64         // bytes of one message; default 8 MiB
}

// Socket is a WebSocket with one reader and one writer.
type Socket struct {
	c    *websocket.Conn
	opt  SocketOptions
	out  chan []byte
	done chan struct{}
}

// ErrBacklog tells that commands pile up because the venue does not read.
var ErrBacklog = errors.New("the venue does not read our commands")

// DialSocket opens a WebSocket.
func DialSocket(ctx context.Context, opt SocketOptions) (*Socket, error) {
	if opt.PingEvery == 0 {
		opt.PingEvery = 10 * time.Second
	}
	if opt.Dead == 0 {
		opt.Dead = 30 * time.Second
	}
	if opt.ReadLimit == 0 {
		opt.ReadLimit = 8 << 20
	}
	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second, ReadBufferSize: 64 << 10, WriteBufferSize: 4 << 10, Proxy: http.ProxyFromEnvironment}
	c, resp, err := d.DialContext(ctx, opt.URL, opt.Header)
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("dial %s: %w", hostOf(opt.URL), refusal(resp.StatusCode, resp.Header.Get("Content-Type"), nil))
		}
		return nil, fmt.Errorf("dial %s: %w", hostOf(opt.URL), err)
	}
	c.SetReadLimit(opt.ReadLimit)
	return &Socket{c: c, opt: opt, out: make(chan []byte, 256), done: make(chan struct{})}, nil
}

// Run reads until the connection or ctx ends and hands every message to frame, which must not keep it. It owns both of
// the connection's goroutines and waits for them.
func (s *Socket) Run(ctx context.Context, frame func([]byte)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	written := make(chan struct{})
	go func() {
		defer close(written)
		if err := s.write(ctx); err != nil {
			cancel(err)
		}
		s.c.Close() // ends the reader
	}()
	err := s.read(frame)
	cause := context.Cause(ctx)
	cancel(nil)
	<-written
	close(s.done)
	if cause != nil {
		return cause
	}
	return err
}

func (s *Socket) read(frame func([]byte)) error {
	alive := func() { s.c.SetReadDeadline(time.Now().Add(s.opt.Dead)) }
	alive()
	pong := s.c.PingHandler()
	s.c.SetPingHandler(func(text string) error {
		alive()
		return pong(text)
	})
	buf := make([]byte, 0, 64<<10)
	for {
		_, r, err := s.c.NextReader()
		if err != nil {
			return err
		}
		alive()
		if buf, err = readAll(r, buf[:0]); err != nil {
			return err
		}
		frame(buf)
	}
}

// readAll is io.ReadAll into a buffer that is used again.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

func (s *Socket) write(ctx context.Context) error {
	tick := time.NewTicker(s.opt.PingEvery)
	defer tick.Stop()
	for {
		var msg []byte
		select {
		case <-ctx.Done():
			s.c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
			return nil
		case msg = <-s.out:
		case <-tick.C:
			if s.opt.Ping == "" {
				continue
			}
			msg = []byte(s.opt.Ping)
		}
		s.c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if err := s.c.WriteMessage(websocket.TextMessage, msg); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

// Send queues one text message. It does not wait.
func (s *Socket) Send(msg []byte) error {
	select {
	case <-s.done:
		return net.ErrClosed
	default:
	}
	select {
	case s.out <- msg:
		return nil
	default:
		return ErrBacklog
	}
}
