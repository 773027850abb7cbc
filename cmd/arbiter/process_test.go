package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

var (
	seed    = flag.Uint64("seed", 1, "seed of the random tests")
	damages = flag.Int("damages", 30, "how many damaged files are imported")
)

// TestMain lets the test binary be the program itself, so that tests can run it as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("ARBITER_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is the program as a process with the arguments and more environment.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(append(os.Environ(), "ARBITER_TEST_MAIN=1"), env...)
	return c
}

const demo = "../../testdata/tapes/demo"

func TestBacktest_TwoProcessesGiveTheGoldenDigest(t *testing.T) {
	golden, err := os.ReadFile("../../testdata/golden/demo.digest")
	if err != nil {
		t.Fatal(err)
	}
	for _, procs := range []string{"1", "8"} {
		out, err := program(t, []string{"GOMAXPROCS=" + procs}, "backtest", "--tape", demo, "--pairs", demo+".pairs.yaml", "--no-save", "--json", "--quiet").Output()
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Summary struct{ Digest string } }
		if err := json.Unmarshal(out, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Summary.Digest != strings.TrimSpace(string(golden)) {
			t.Errorf("GOMAXPROCS=%s: digest %s, golden %s", procs, doc.Summary.Digest, golden)
		}
	}
}

// Ctrl-C keeps what was done: exit code 130 and a run folder that says partial. The configuration is a pipe, so the
// signal comes when the program is known to wait for it.
func TestBacktest_InterruptKeepsAPartialRun(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "config.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c := program(t, nil, "backtest", "--config", pipe, "--tape", demo, "--strategy", "parity", "--runs", filepath.Join(dir, "runs"), "--json", "--quiet")
	stdout, stderr := &bytes.Buffer{}, &bytes.Buffer{}
	c.Stdout, c.Stderr = stdout, stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // blocks until the program reads
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("name: stopped\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != exitInterrupt {
		t.Fatalf("%v, want exit code %d: %s", err, exitInterrupt, stderr)
	}
	var doc struct {
		Run     string
		Summary struct{ Partial bool }
	}
	if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	manifest, err := os.ReadFile(filepath.Join(doc.Run, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !doc.Summary.Partial || !bytes.Contains(manifest, []byte(`"partial"`)) {
		t.Errorf("partial %v, manifest %s", doc.Summary.Partial, manifest)
	}
}

// pmxtFile writes an hour of the archive's schema whose rows all are the same book message.
func pmxtFile(t *testing.T, path string, rows int, bids []byte) {
	t.Helper()
	text, price, amount := arrow.BinaryTypes.String, &arrow.Decimal128Type{Precision: 9, Scale: 4}, &arrow.Decimal128Type{Precision: 18, Scale: 6}
	stamp := &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}
	schema, err := pqarrow.ToParquet(arrow.NewSchema([]arrow.Field{
		{Name: "timestamp_received", Type: stamp}, {Name: "timestamp", Type: stamp}, {Name: "market", Type: &arrow.FixedSizeBinaryType{ByteWidth: 66}},
		{Name: "event_type", Type: text}, {Name: "asset_id", Type: text}, {Name: "bids", Type: text}, {Name: "asks", Type: text},
		{Name: "price", Type: price, Nullable: true}, {Name: "size", Type: amount, Nullable: true}, {Name: "side", Type: text, Nullable: true},
		{Name: "best_bid", Type: price, Nullable: true}, {Name: "best_ask", Type: price, Nullable: true},
		{Name: "fee_rate_bps", Type: arrow.PrimitiveTypes.Uint16, Nullable: true}, {Name: "transaction_hash", Type: text, Nullable: true},
		{Name: "old_tick_size", Type: price, Nullable: true}, {Name: "new_tick_size", Type: price, Nullable: true},
	}, nil), parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := file.NewParquetWriter(f, schema.Root(), file.WithWriterProps(parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy))))
	g := w.AppendRowGroup()
	texts := map[string]string{"event_type": "book", "asset_id": "11", "asks": `[["0.45","7"]]`, "bids": string(bids)}
	null := make([]int16, rows)
	for i := range schema.NumColumns() {
		col, err := g.NextColumn()
		if err != nil {
			t.Fatal(err)
		}
		switch col := col.(type) {
		case *file.Int64ColumnChunkWriter:
			stamps := slices.Repeat([]int64{1_778_767_200_000}, rows)
			if schema.Column(i).MaxDefinitionLevel() == 0 {
				_, err = col.WriteBatch(stamps, nil, nil)
			} else {
				_, err = col.WriteBatch(nil, null, nil)
			}
		case *file.FixedLenByteArrayColumnChunkWriter:
			if schema.Column(i).Name() == "market" {
				_, err = col.WriteBatch(slices.Repeat([]parquet.FixedLenByteArray{[]byte(demoCondition)}, rows), nil, nil)
			} else {
				_, err = col.WriteBatch(nil, null, nil)
			}
		case *file.ByteArrayColumnChunkWriter:
			if v, ok := texts[schema.Column(i).Name()]; ok {
				_, err = col.WriteBatch(slices.Repeat([]parquet.ByteArray{[]byte(v)}, rows), nil, nil)
			} else {
				_, err = col.WriteBatch(nil, null, nil)
			}
		case *file.Int32ColumnChunkWriter:
			_, err = col.WriteBatch(nil, null, nil)
		default:
			t.Fatalf("column %s: %T", schema.Column(i).Name(), col)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

var demoCondition = "0x" + strings.Repeat("ab", 32)

// plainBinary builds the program without the race detector, whose own address space exceeds any limit on memory.
func plainBinary(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "arbiter")
	c := exec.Command("go", "build", "-o", bin, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// Foreign Parquet is read by a process whose memory is bounded: a small file that unpacks to 1.6 GB kills only that
// process, and the error names the remedy. Damaged files end with an error too, and never with the parent's death.
func TestImport_ForeignParquetCannotHarm(t *testing.T) {
	bin, dir := plainBinary(t), t.TempDir()
	records := filepath.Join(dir, "gamma.json")
	gamma := fmt.Sprintf(`{"id":"1","conditionId":%q,"question":"Q","slug":"q","description":"rules","outcomes":"[\"Yes\",\"No\"]","clobTokenIds":"[\"11\",\"22\"]",`+
		`"orderPriceMinTickSize":0.01,"orderMinSize":5,"negRisk":false,"active":true,"closed":false,"acceptingOrders":true,"feesEnabled":false}`, demoCondition)
	if err := os.WriteFile(records, []byte(gamma), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "polymarket_orderbook_2026-05-14T14.parquet")
	n := 0
	check := func(name string, ok func(code int, out string) bool) {
		t.Helper()
		n++
		c := exec.Command(bin, "data", "import", "--format", "pmxt-polymarket", "--memory-limit-gib", "1", "--quiet", "--markets-file", records,
			"--out", filepath.Join(dir, fmt.Sprintf("tape%d", n)), path)
		out, _ := c.CombinedOutput()
		if !ok(c.ProcessState.ExitCode(), string(out)) {
			t.Fatalf("%s: exit code %d: %.2000s", name, c.ProcessState.ExitCode(), out)
		}
	}
	pmxtFile(t, path, 16384, append([]byte(`[["0.40","10"]`), append(bytes.Repeat([]byte(" "), 100_000), ']')...))
	check("bomb", func(code int, out string) bool {
		return code == exitData && strings.Contains(out, "the reading process died") && strings.Contains(out, "--memory-limit-gib 1")
	})
	pmxtFile(t, path, 50, []byte(`[["0.40","10"]]`))
	check("sound", func(code int, out string) bool { return code == 0 })
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(*seed, 0))
	for i := range *damages {
		b := slices.Clone(sound)
		switch i % 3 {
		case 0:
			b = b[:rng.IntN(len(b))]
		case 1:
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		case 2: // in the footer, where sizes and offsets stand
			for range 4 {
				b[len(b)-1-rng.IntN(len(b)/3)] = byte(rng.IntN(256))
			}
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("damage %d of seed %d", i, *seed), func(code int, out string) bool { return code == 0 || code == exitData })
	}
}
