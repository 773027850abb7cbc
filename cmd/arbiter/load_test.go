package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"arbiter/sim/fakevenue"
)

var (
	loadRate    = flag.Int("load-rate", 3000, "messages a second of the load test")
	loadSeconds = flag.Int("load-seconds", 4, "how long it lasts")
	loadSpeed   = flag.Int("load-speed", 1, "how many such seconds are served in one: a burst")
)

// Venues in a process of their own, as fast as is asked for: every message that was sent is written or declared lost.
func TestRecord_LoadFromAnotherProcess(t *testing.T) {
	const markets = 102
	dir := t.TempDir()
	host, address := freePort(t), freePort(t)
	stdout := &bytes.Buffer{}
	serve := program(t, nil, "serve", "--listen", host, "--json", "--no-hashes", "--pairs", strconv.Itoa(markets/2-1), "--rate", strconv.Itoa(max(1, *loadRate*6/5/markets)),
		"--length", strconv.Itoa(*loadSeconds)+"s", "--speed", strconv.Itoa(*loadSpeed), "--await", strconv.Itoa(markets))
	serve.Stdout, serve.Stderr = stdout, t.Output()
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer serve.Process.Kill()
	up := time.Now()
	for {
		conn, err := net.Dial("tcp", host)
		if err == nil {
			conn.Close()
			break
		}
		if time.Sleep(50 * time.Millisecond); time.Since(up) > 5*time.Minute {
			t.Fatal(err)
		}
	}
	v := &venueProcess{host: host, env: []string{envKalshiID + "=load", envKalshiKey + "=" + testPEM(t)}}
	c := v.record(t, dir, "--listen", address, "--json")
	out := &bytes.Buffer{}
	c.Stdout = out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	began, last, rate, still := time.Now(), 0.0, 0.0, 0
	for still < 20 && time.Since(began) < 10*time.Minute {
		time.Sleep(100 * time.Millisecond)
		m := metrics(address)
		frames := m["frames_total"] + m["frames_lost_total"]
		rate = max(rate, m["messages_per_second"])
		if still++; frames != last || frames == 0 {
			still, last = 0, frames
		}
	}
	for _, page := range []string{"healthz", "readyz"} {
		resp, err := http.Get("http://" + address + "/" + page)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("/%s: status %d while everything is recorded", page, resp.StatusCode)
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := serve.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Fatal(err)
	}
	var served fakevenue.Served
	var recorded struct {
		Counts struct {
			Frames int64 `json:"frames"`
			Gaps   int64 `json:"gaps"`
		} `json:"counts"`
		Lost int64 `json:"frames_lost"`
		Peak int64 `json:"queue_bytes_peak"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &served); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &recorded); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d frames sent; %d written and %d declared lost; up to %.0f a second, queue up to %d KiB; processor time of the recorder %s, %s a message", served.Frames, recorded.Counts.Frames,
		recorded.Lost, rate, recorded.Peak>>10, (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Round(time.Millisecond),
		((c.ProcessState.UserTime() + c.ProcessState.SystemTime()) / time.Duration(max(1, recorded.Counts.Frames))).Round(10*time.Nanosecond))
	if got := recorded.Counts.Frames + recorded.Lost; got != served.Frames || got < int64(*loadRate**loadSeconds/2) {
		t.Errorf("%d frames received or declared lost, %d were sent", got, served.Frames)
	}
	if tapes, _ := filepath.Glob(filepath.Join(dir, "tapes", "*")); len(tapes) == 0 {
		t.Error("no tape")
	}
}
