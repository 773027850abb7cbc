package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arbiter/data"
)

func TestConfig_EveryErrorAtOnceWithLineAndSuggestion(t *testing.T) {
	text := `name: x
sim:
  timelin: receive
  kalshi:
    order_latency: fast
risk:
  order_qty_max: 1.0000001
strategies: [crosss]
`
	err := newSettings().load("a.yaml", []byte(text))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"a.yaml:3:3: unknown key sim.timelin; did you mean sim.timeline?", "a.yaml:5:20: sim.kalshi.order_latency", "a.yaml:7:18: risk.order_qty_max", `unknown strategy "crosss"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestConfig_WhatInitWritesReadsBackUnchanged(t *testing.T) {
	want := newSettings().yaml(true, false)
	s := newSettings()
	if err := s.load("init", want); err != nil {
		t.Fatal(err)
	}
	if got := s.yaml(true, false); string(got) != string(want) {
		t.Errorf("read back as\n%s", got)
	}
}

func TestConfig_ContradictionsAreNamed(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"risk.order_qty_max=30000", "exceeds position_qty_max"},
		{"pairs=", "registry of approved pairs"},
		{"cross.edge_min=0.001", "below a cent"},
		{"legging.tries=0", "integer from 1 to 100"},
		{"sim.kalshi.order_latency=50%:2s 100%:1s", "must rise"},
		{"risk.daily_loss_max=0", "not \"none\""},
		{"fees.kalshi=flat 1 direct", "fee type"},
		{"nope=1", "write path=value"},
	} {
		s := newSettings()
		s.pairs = "x.yaml"
		err := s.loadSets([]string{c.set})
		if err == nil {
			err = s.validate()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.set, err, c.want)
		}
	}
}

func TestConfig_EnvironmentAndFlagsStandAboveTheFile(t *testing.T) {
	s := newSettings()
	if err := s.load("f", []byte("name: file\nsim: {window: 1s}\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.loadEnv([]string{"ARBITER_NAME=env", "ARBITER_TAPES=a,b", "OTHER=1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.loadSets([]string{"sim.window=2s"}); err != nil {
		t.Fatal(err)
	}
	if s.name != "env" || len(s.tapes) != 2 || s.world.Window != 2*data.Second {
		t.Errorf("name %q, tapes %v, window %s", s.name, s.tapes, s.world.Window)
	}
	if o := s.find("name").origin; o != "environment ARBITER_NAME" {
		t.Errorf("origin %q", o)
	}
}

func TestDuration_RoundTrips(t *testing.T) {
	for _, text := range []string{"0s", "1ns", "1500us", "50ms", "-50ms", "2s", "90s", "3m", "2h", "5d", "1001ns"} {
		d, err := parseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseDuration(showDuration(d))
		if err != nil || again != d {
			t.Errorf("%s is shown as %s: %v", text, showDuration(d), err)
		}
	}
	for _, bad := range []string{"", "5", "fast", "1.0001ms1", "ms", "1e3s"} {
		if _, err := parseDuration(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzConfig_NeverPanics(f *testing.F) {
	f.Add([]byte("name: x\nsim: {timeline: exchange}\nstrategies: [cross]\n"))
	f.Add(newSettings().yaml(true, false))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSettings()
		if s.load("fuzz", b) != nil {
			return
		}
		_ = s.validate()
		again := newSettings()
		if err := again.load("again", s.yaml(false, false)); err != nil {
			t.Fatalf("what was accepted does not read back: %v\n%s", err, s.yaml(false, false))
		}
	})
}

// arbiter runs the program in this process.
func arbiter(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	var out [2]*os.File
	for i, name := range []string{"out", "err"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[i] = f
	}
	code = executeTo(t.Context(), args, out[0], out[1])
	var text [2]string
	for i, f := range out {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		text[i] = string(b)
	}
	return code, text[0], text[1]
}

const (
	demoTape  = "../../testdata/tapes/demo"
	demoPairs = "../../testdata/tapes/demo.pairs.yaml"
)

// Every kind of bad input: the message names the thing and the remedy, the exit code says what kind it is.
func TestCommands_BadInput(t *testing.T) {
	dir := t.TempDir()
	reg, err := os.ReadFile(demoPairs)
	if err != nil {
		t.Fatal(err)
	}
	unapproved := filepath.Join(dir, "unapproved.yaml")
	if err := os.WriteFile(unapproved, []byte(strings.ReplaceAll(string(reg), "status: approved", "status: proposed")), 0o644); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	if err := os.CopyFS(damaged, os.DirFS(demoTape)); err != nil {
		t.Fatal(err)
	}
	seg := filepath.Join(damaged, "kalshi-01-00000.parquet")
	b, err := os.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(seg, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no tape", []string{"backtest", "--strategy", "parity"}, exitUsage, "no tape named"},
		{"missing tape", []string{"backtest", "--tape", "nowhere", "--strategy", "parity"}, exitData, "no such folder"},
		{"damaged tape", []string{"backtest", "--tape", damaged, "--strategy", "parity", "--no-save"}, exitData, "kalshi-01-00000.parquet"},
		{"damaged tape, verify", []string{"data", "verify", damaged}, exitData, "do not match the manifest's hash"},
		{"unknown instrument", []string{"backtest", "--tape", demoTape, "--strategy", "parity", "--market", "kalshi:NOPE"}, exitData, "unknown instrument kalshi:NOPE"},
		{"empty range", []string{"backtest", "--tape", demoTape, "--strategy", "parity", "--from", "2027-01-01", "--to", "2027-01-01"}, exitUsage, "is not before"},
		{"nothing in range", []string{"backtest", "--tape", demoTape, "--strategy", "parity", "--to", "2020-01-01"}, exitData, "nothing selected"},
		{"unapproved pair", []string{"backtest", "--tape", demoTape, "--pairs", unapproved}, exitUsage, "not approved: its status is proposed"},
		{"no registry", []string{"backtest", "--tape", demoTape}, exitUsage, "registry of approved pairs"},
		{"unknown strategy", []string{"backtest", "--tape", demoTape, "--strategy", "magic"}, exitUsage, "unknown strategy"},
		{"unknown flag", []string{"backtest", "--nope"}, exitUsage, "unknown flag"},
		{"no configuration file", []string{"backtest", "--config", "none.yaml"}, exitUsage, "config init"},
		{"unknown format", []string{"data", "import", "--format", "x", "--out", filepath.Join(dir, "o"), "in"}, exitUsage, "kalshi-ndjson"},
		{"no run", []string{"runs", "show", "--runs", dir}, exitData, "no runs in"},
	} {
		code, _, stderr := arbiter(t, append(c.args, "--quiet")...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, %q; want exit %d and %q", c.name, code, stderr, c.code, c.want)
		}
	}
}

// The bundled demo, its run folder, and why an opportunity was taken.
func TestCommands_BacktestAndRuns(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	code, out, stderr := arbiter(t, "backtest", "--tape", demoTape, "--pairs", demoPairs, "--runs", runs, "--quiet", "--perturb")
	if code != 0 || !strings.Contains(out, "SYNTHETIC DATA") || !strings.Contains(out, "Phantom share") || !strings.Contains(out, "one cent worse") {
		t.Fatalf("exit %d\n%s\n%s", code, out, stderr)
	}
	entries, err := os.ReadDir(runs)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d run folders, %v", len(entries), err)
	}
	for _, name := range []string{"manifest.json", "summary.json", "config.resolved.yaml", "detail.ndjson", "opportunities.parquet", "opportunities.csv",
		"orders.parquet", "orders.csv", "fills.parquet", "fills.csv", "equity.parquet", "equity.csv"} {
		if st, err := os.Stat(filepath.Join(runs, entries[0].Name(), name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if code, out, _ := arbiter(t, "runs", "show", "--runs", runs, "--opportunity", "1"); code != 0 || !strings.Contains(out, "Book of") || !strings.Contains(out, "Orders and fills") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if code, out, _ := arbiter(t, "runs", "list", "--runs", runs); code != 0 || !strings.Contains(out, "complete") {
		t.Errorf("exit %d\n%s", code, out)
	}
	code, out, _ = arbiter(t, "data", "stats", demoTape, "--json", "--quiet")
	if code != 0 || !strings.Contains(out, `"crossed_messages": 0`) {
		t.Errorf("stats: exit %d\n%.400s", code, out)
	}
}

// A recording with a hole: the import counts it, the list shows it, and every run on it says so.
func TestCommands_TapeWithGapsSaysSo(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "tape")
	for name, text := range map[string]string{
		"metadata/KXT-1.json": `{"event":{"event_ticker":"KXT-1"},"markets":[{"ticker":"KXT-1-A","event_ticker":"KXT-1","title":"T","status":"active","rules_primary":"R","open_time":"2026-08-10T23:00:00Z","close_time":"2026-08-10T23:49:00Z","market_type":"binary","price_ranges":[{"start":"0.0000","end":"1.0000","step":"0.0100"}]}]}`,
		"events/KXT-1-A/day.ndjson": `{"recv_ms":1786405577251,"event":{"type":"orderbook_snapshot","sid":1,"seq":5,"msg":{"market_ticker":"KXT-1-A","yes_dollars_fp":[["0.4000","10.00"]]}}}
{"recv_ms":1786405577260,"event":{"type":"orderbook_delta","sid":1,"seq":9,"msg":{"market_ticker":"KXT-1-A","price_dollars":"0.4000","delta_fp":"-11.00","side":"yes","ts_ms":1786405577241}}}
`,
	} {
		p := filepath.Join(in, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, stderr := arbiter(t, "data", "import", "-q", "--format", "kalshi-ndjson", "--out", out, in); code != 0 {
		t.Fatalf("import: exit %d, %s", code, stderr)
	}
	code, stdout, stderr := arbiter(t, "backtest", "-q", "--no-save", "--tape", out, "--strategy", "parity")
	if code != 0 || !strings.Contains(stdout, "the recording has 1 gaps") || !strings.Contains(stdout, "fees unknown") {
		t.Errorf("exit %d, %s\n%s", code, stderr, stdout)
	}
}
