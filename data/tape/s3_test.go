package tape

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// bucket is a stand-in for S3: PUT with If-None-Match and a checksum, HEAD, path style.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	order   []string
	down    bool
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, has := b.objects[r.URL.Path]
	sum := func(body []byte) string {
		s := sha256.Sum256(body)
		return base64.StdEncoding.EncodeToString(s[:])
	}
	switch {
	case b.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "):
		w.WriteHeader(http.StatusForbidden)
	case r.Method == http.MethodHead && has:
		w.Header().Set("X-Amz-Checksum-Sha256", sum(old))
		w.Header().Set("Content-Length", strconv.Itoa(len(old)))
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPut && has && r.Header.Get("If-None-Match") == "*":
		w.WriteHeader(http.StatusPreconditionFailed)
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Amz-Checksum-Sha256") != sum(body) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		b.objects[r.URL.Path] = body
		b.order = append(b.order, r.URL.Path)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func openBucket(t *testing.T, b *bucket) *S3Store {
	t.Helper()
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	for k, v := range map[string]string{"AWS_ENDPOINT_URL_S3": srv.URL, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(k, v)
	}
	s, err := OpenS3(context.Background(), "s3://tapes/prod")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3_WritesOnceAndTheManifestLast(t *testing.T) {
	ctx := context.Background()
	b := &bucket{objects: map[string][]byte{}}
	s := openBucket(t, b)
	dir := t.TempDir()
	for name, text := range map[string]string{manifestName: "{}", "a.parquet": "aaaa", "z.parquet": "zzzz"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if has, err := s.Has(ctx, "t1"); has || err != nil {
		t.Fatalf("an empty bucket has the tape: %v, %v", has, err)
	}
	if err := s.Put(ctx, "t1", dir); err != nil {
		t.Fatal(err)
	}
	if n := len(b.order); n != 3 || b.order[n-1] != "/tapes/prod/t1/"+manifestName || string(b.objects["/tapes/prod/t1/a.parquet"]) != "aaaa" {
		t.Fatalf("stored %v", b.order)
	}
	if has, err := s.Has(ctx, "t1"); !has || err != nil {
		t.Fatalf("the tape is not there: %v, %v", has, err)
	}
	if err := s.Put(ctx, "t1", dir); err != nil { // a pass before was stopped: the same again is no error
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.parquet"), []byte("bbbb"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "t1", dir); err == nil || !strings.Contains(err.Error(), "s3://tapes/prod/t1/a.parquet: another object is there") {
		t.Errorf("another object of the same name: %v", err)
	}
	if string(b.objects["/tapes/prod/t1/a.parquet"]) != "aaaa" {
		t.Error("the object was overwritten")
	}
	b.down = true
	if _, err := s.Has(ctx, "t1"); err == nil || !strings.Contains(err.Error(), "s3://tapes") {
		t.Errorf("a store that is away: %v", err)
	}
}

func TestS3_AddressIsChecked(t *testing.T) {
	for _, a := range []string{"", "tapes", "s3://", "https://tapes/x"} {
		if _, err := OpenS3(context.Background(), a); err == nil || !strings.Contains(err.Error(), "write s3://bucket/prefix") {
			t.Errorf("%q: %v", a, err)
		}
	}
}
