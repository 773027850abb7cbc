// Package captures finds the real recordings that some tests read from outside the repository.
package captures

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// Path joins elem below the folder named by ARBITER_CAPTURES. Unset, the test is skipped and says so; set, a missing
// file fails the test.
func Path(t testing.TB, elem ...string) string {
	t.Helper()
	dir := os.Getenv("ARBITER_CAPTURES")
	if dir == "" {
		t.Skip("ARBITER_CAPTURES is not set: real captures are not tested")
	}
	p := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("ARBITER_CAPTURES is set, but: %v", err)
	}
	return p
}

// Lines reads the lines of every .gz file of a folder, in order of their names.
func Lines(t testing.TB, dir string) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no .gz files in %s: %v", dir, err)
	}
	var lines [][]byte
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(z)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for line := range bytes.Lines(all) {
			lines = append(lines, bytes.TrimSpace(line))
		}
	}
	return lines
}
