package link

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// socketServer is a WebSocket server that does what a test wants.
func socketServer(t *testing.T, serve func(c *websocket.Conn)) string {
	t.Helper()
	up := websocket.Upgrader{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		serve(c)
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func TestSocket_NothingAtAllEndsTheConnection(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	url := socketServer(t, func(*websocket.Conn) { <-stop })
	s, err := DialSocket(context.Background(), SocketOptions{URL: url, Dead: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background(), func([]byte) {}); err == nil {
		t.Error("it ended without an error")
	}
}

// Kalshi pings with frames, which are answered and are a sign of life; Polymarket wants the text PING.
func TestSocket_KeepAlive(t *testing.T) {
	var pongs, pings atomic.Int32
	url := socketServer(t, func(c *websocket.Conn) {
		c.SetPongHandler(func(string) error { pongs.Add(1); return nil })
		go func() {
			for range 20 {
				time.Sleep(30 * time.Millisecond)
				c.WriteControl(websocket.PingMessage, []byte("heartbeat"), time.Now().Add(time.Second))
			}
			c.WriteMessage(websocket.TextMessage, []byte("last"))
		}()
		for {
			_, msg, err := c.ReadMessage()
			if err != nil {
				return
			}
			if string(msg) == "PING" {
				pings.Add(1)
			}
		}
	})
	s, err := DialSocket(context.Background(), SocketOptions{URL: url, Ping: "PING", PingEvery: 50 * time.Millisecond, Dead: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	got := ""
	err = s.Run(ctx, func(b []byte) { got = string(b); cancel() })
	if got != "last" || !errors.Is(err, context.Canceled) || pings.Load() < 3 || pongs.Load() < 3 {
		t.Errorf("%q, %v, %d pings, %d pongs", got, err, pings.Load(), pongs.Load())
	}
}

func TestSocket_AMessageBeyondTheLimitEndsTheConnection(t *testing.T) {
	url := socketServer(t, func(c *websocket.Conn) {
		c.WriteMessage(websocket.TextMessage, make([]byte, 5000))
		c.ReadMessage()
	})
	s, err := DialSocket(context.Background(), SocketOptions{URL: url, ReadLimit: 4000})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background(), func([]byte) { t.Error("it was handed on") }); !errors.Is(err, websocket.ErrReadLimit) {
		t.Errorf("ended with %v", err)
	}
}

// Ordinary requests leave a reserve, which urgent ones may use at once.
func TestClient_KeepsAReserve(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) }))
	defer srv.Close()
	c := NewClient(ClientOptions{Base: srv.URL, Rate: 0.01, Burst: 10, Reserve: 0.3})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	ordinary, urgent := 0, 0
	for ordinary < 20 {
		if _, err := c.Get(ctx, "/x", nil); err != nil {
			break
		}
		ordinary++
	}
	ctx, cancel = context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	for urgent < 20 {
		if _, err := c.Get(Urgent(ctx), "/x", nil); err != nil {
			break
		}
		urgent++
	}
	if ordinary != 7 || urgent != 3 {
		t.Errorf("%d ordinary and %d urgent requests of a burst of 10 with a reserve of 0.3", ordinary, urgent)
	}
}

// 429 names its pause; a refusal that is final is not tried again; a key never shows.
func TestClient_TriesAgainOnlyWhatMaySucceed(t *testing.T) {
	for _, c := range []struct {
		status  int
		header  map[string]string
		body    string
		asked   int32
		want    error
		atLeast time.Duration
	}{
		{http.StatusTooManyRequests, map[string]string{"Retry-After": "1"}, "", 2, nil, 900 * time.Millisecond},
		{http.StatusServiceUnavailable, nil, "", 2, nil, 0},
		{http.StatusForbidden, map[string]string{"Content-Type": "text/html"}, "<html>", 1, ErrBlocked, 0},
		{http.StatusUnauthorized, nil, "", 1, ErrAuth, 0},
		{http.StatusNotFound, nil, "", 1, ErrNotFound, 0},
	} {
		var asked atomic.Int32
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) > 1 {
				w.Write([]byte("{}"))
				return
			}
			for k, v := range c.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(c.status)
			w.Write([]byte(c.body))
		}))
		client := NewClient(ClientOptions{Base: srv.URL, Rate: 1000, Burst: 100, Backoff: 10 * time.Millisecond, Sign: func(h http.Header, _, _ string) { h.Set("Secret", "hush") }})
		began := time.Now()
		_, err := client.Get(context.Background(), "/x", nil)
		if !errors.Is(err, c.want) || asked.Load() != c.asked || time.Since(began) < c.atLeast {
			t.Errorf("status %d: %v after %d requests and %s", c.status, err, asked.Load(), time.Since(began))
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("status %d: a secret in %v", c.status, err)
		}
		srv.Close()
	}
}
