package live

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"arbiter/data"
)

// The operator's hand is a file in the journal's folder: it works with every server down, survives restarts, and needs
// nothing but the folder.
const (
	haltName   = "HALT"
	statusName = "STATUS.json"
)

// lookEvery is how often a session looks for the operator's file.
const lookEvery = 50 * time.Millisecond

// Halt latches a halt: no session on this folder begins a plan until Resume.
func Halt(dir, reason string, now time.Time) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("halt: %w", err)
	}
	return replaceFile(filepath.Join(dir, haltName), fmt.Appendf(nil, "%s %s\n", now.UTC().Format(time.RFC3339), reason))
}

// Resume lifts the halt.
func Resume(dir string) error {
	if err := os.Remove(filepath.Join(dir, haltName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// Halted says whether a halt is latched, since when and why. What cannot be read counts as a halt.
func Halted(dir string) (why string, halted bool) {
	b, err := os.ReadFile(filepath.Join(dir, haltName))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", false
	case err != nil:
		return err.Error(), true
	}
	return strings.TrimSpace(string(b)), true
}

// replaceFile writes a file so that a reader sees the old or the new one, whole.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// WriteStatus leaves a document for `status` to read.
func WriteStatus(dir string, doc []byte) error {
	return replaceFile(filepath.Join(dir, statusName), doc)
}

// ReadStatus reads it, and how old it is.
func ReadStatus(dir string) ([]byte, time.Duration, error) {
	path := filepath.Join(dir, statusName)
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("status: %w: no session has run on this folder", err)
	}
	b, err := os.ReadFile(path)
	return b, time.Since(info.ModTime()), err
}

// operator turns the halt file's coming and going into controls, until stop is closed. was is what the session began
// with.
func (s *Session) operator(stop <-chan struct{}, was bool) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		why, halted := Halted(s.r.opt.Journal)
		if halted == was {
			continue
		}
		was = halted
		if halted {
			s.r.opt.Log.Warn("halted by the operator", "since", why)
			s.Control(data.Halt)
		} else {
			s.r.opt.Log.Warn("resumed by the operator")
			s.Control(data.Resume)
		}
	}
}
