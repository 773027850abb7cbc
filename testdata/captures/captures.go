// Package captures finds the real recordings that some tests read from outside the repository.
package captures

import (
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
