package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrBusy is wrapped when the venue asks for patience (429) or fails (5xx): the same request may succeed later.
var ErrBusy = errors.New("the venue is busy or out of order")

// ErrBlocked is wrapped when a page of the venue's front answers instead of the venue: geography, or the address.
var ErrBlocked = errors.New("refused by the venue's front with an HTML page (geography or address), not by its API")

// ErrNotFound is wrapped when the venue does not know what was asked for.
var ErrNotFound = errors.New("not known to the venue")

// ErrAuth is wrapped when the venue does not accept our key.
var ErrAuth = errors.New("the venue does not accept the key: check its id, the private key and this machine's clock")

// bodyMax bounds a response.
const bodyMax = 8 << 20

// ClientOptions of a REST client.
type ClientOptions struct {
	Base    string  // scheme, host and the path before all resources
	Rate    float64 // requests a second
	Burst   int
	Reserve float64                               // share of Rate that only urgent requests may use; default 0.3
	Sign    func(h http.Header, method, p string) // adds headers; p is the path without the query; may be nil
	Tries   int                                   // default 4
	Backoff time.Duration                         // before the second try, doubling; default 500 ms
}

// Client calls a venue's REST API within its limits. Ordinary requests leave a reserve for urgent ones (repairs).
type Client struct {
	opt      ClientOptions
	http     *http.Client
	all      *rate.Limiter
	ordinary *rate.Limiter
	mu       sync.Mutex
	until    time.Time // the venue said: not before
	why      string
}

// NewClient makes a client.
func NewClient(opt ClientOptions) *Client {
	if opt.Reserve == 0 {
		opt.Reserve = 0.3
	}
	if opt.Tries == 0 {
		opt.Tries = 4
	}
	if opt.Backoff == 0 {
		opt.Backoff = 500 * time.Millisecond
	}
	opt.Base = strings.TrimSuffix(opt.Base, "/")
	return &Client{opt: opt, http: &http.Client{Timeout: 15 * time.Second}, all: rate.NewLimiter(rate.Limit(opt.Rate), opt.Burst),
		ordinary: rate.NewLimiter(rate.Limit(opt.Rate*(1-opt.Reserve)), max(1, int(float64(opt.Burst)*(1-opt.Reserve))))}
}

type urgentKey struct{}

// Urgent marks requests that may use the reserve.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// Host of the base address.
func (c *Client) Host() string { return hostOf(c.opt.Base) }

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Host
	}
	return "?"
}

// Backlog is what the client waits for, "" if nothing.
func (c *Client) Backlog() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return c.why
	}
	return ""
}

// Get fetches a resource.
func (c *Client) Get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, query, nil)
}

// Post sends a body; only for resources that change nothing.
func (c *Client) Post(ctx context.Context, path string, body []byte) ([]byte, error) {
	return c.do(ctx, http.MethodPost, path, nil, body)
}

// do tries until the venue answers, its refusal is final, or the tries are used up.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	wait := c.opt.Backoff
	for try := 1; ; try++ {
		b, after, err := c.once(ctx, method, path, query, body)
		if err == nil {
			return b, nil
		}
		if after < 0 || try >= c.opt.Tries || ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s%s: %w", method, c.Host(), path, err)
		}
		if after == 0 {
			after = wait/2 + rand.N(wait)
			wait *= 2
		} else {
			c.pause(after, err)
		}
		if err := Sleep(ctx, after); err != nil {
			return nil, fmt.Errorf("%s %s%s: %w", method, c.Host(), path, err)
		}
	}
}

func (c *Client) pause(d time.Duration, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.why = time.Now().Add(d), why.Error()
}

// Sleep waits, or returns the error of a context that ended before.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once makes one request. after says when to try again: 0 by backoff, below 0 never.
func (c *Client) once(ctx context.Context, method, path string, query url.Values, body []byte) (b []byte, after time.Duration, err error) {
	c.mu.Lock()
	until := c.until
	c.mu.Unlock()
	if err := Sleep(ctx, time.Until(until)); err != nil {
		return nil, -1, err
	}
	if ctx.Value(urgentKey{}) == nil {
		if err := c.ordinary.Wait(ctx); err != nil {
			return nil, -1, err
		}
	}
	if err := c.all.Wait(ctx); err != nil {
		return nil, -1, err
	}
	address := c.opt.Base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, -1, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.opt.Sign != nil {
		c.opt.Sign(req.Header, method, req.URL.Path)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which may be long
		}
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(io.LimitReader(resp.Body, bodyMax+1))
	if err != nil {
		return nil, 0, err
	}
	if len(b) > bodyMax {
		return nil, -1, fmt.Errorf("a body of more than %d bytes", bodyMax)
	}
	if resp.StatusCode == http.StatusOK {
		return b, 0, nil
	}
	err = refusal(resp.StatusCode, resp.Header.Get("Content-Type"), b)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		after = time.Second + rand.N(time.Second)
		if s, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && s >= 0 && s < 3600 {
			after = time.Duration(s)*time.Second + rand.N(250*time.Millisecond)
		}
		return nil, after, err
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooEarly:
		return nil, 0, err
	}
	return nil, -1, err
}

// refusal puts a status into words.
func refusal(status int, contentType string, body []byte) error {
	html := strings.Contains(contentType, "text/html") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
	switch {
	case html && (status == http.StatusForbidden || status == http.StatusServiceUnavailable):
		return fmt.Errorf("status %d: %w", status, ErrBlocked)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("status %d: %w", status, ErrAuth)
	case status == http.StatusNotFound:
		return fmt.Errorf("status %d: %w", status, ErrNotFound)
	case status == http.StatusTooManyRequests || status >= 500:
		return fmt.Errorf("status %d %s: %w", status, http.StatusText(status), ErrBusy)
	}
	text := strings.TrimSpace(string(body))
	if html || len(text) > 200 {
		text = ""
	}
	return fmt.Errorf("status %d %s %s", status, http.StatusText(status), text)
}
