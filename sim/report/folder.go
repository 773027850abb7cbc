package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"arbiter/data/tape"
)

// Version of a run folder's layout.
const Version = 1

// Manifest says what a run was made from. Everything but Commit, Created and Seconds follows from the inputs.
type Manifest struct {
	Version int      `json:"version"`
	Name    string   `json:"name"`
	Commit  string   `json:"commit"`
	Created string   `json:"created"`
	Seconds float64  `json:"seconds"`
	Seed    uint64   `json:"seed"`
	Config  string   `json:"config_sha256"`
	Tapes   []Input  `json:"tapes"`
	Pairs   string   `json:"pairs_sha256"`
	Digest  string   `json:"digest"`
	Status  string   `json:"status"` // complete or partial
	Notes   []string `json:"notes"`
}

// Input is one tape.
type Input struct {
	Path   string `json:"path"`
	SHA256 string `json:"manifest_sha256"`
}

// Write makes the run's folder at dir: beside it first, then renamed, so a run is whole or absent.
func (c *Collector) Write(dir string, m Manifest, config []byte, s *Summary) error {
	m.Version = Version
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("run %s: already exists", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("run %s: %w", dir, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".writing-")
	if err != nil {
		return fmt.Errorf("run %s: %w", dir, err)
	}
	err = c.writeAll(temp, m, config, s)
	if err == nil {
		err = os.Chmod(temp, 0o755)
	}
	if err == nil {
		err = os.Rename(temp, dir)
	}
	if err != nil {
		os.RemoveAll(temp)
		return fmt.Errorf("run %s: %w", dir, err)
	}
	return nil
}

func (c *Collector) writeAll(dir string, m Manifest, config []byte, s *Summary) error {
	for name, v := range map[string]any{"manifest.json": m, "summary.json": s} {
		b, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "config.resolved.yaml"), config, 0o644); err != nil {
		return err
	}
	var detail bytes.Buffer
	enc := json.NewEncoder(&detail)
	for _, ep := range c.Episodes {
		if err := enc.Encode(ep); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "detail.ndjson"), detail.Bytes(), 0o644); err != nil {
		return err
	}
	for name, t := range c.tables() {
		for ext, write := range map[string]func(io.Writer) error{".parquet": t.WriteParquet, ".csv": t.WriteCSV} {
			if err := writeFile(filepath.Join(dir, name+ext), write); err != nil {
				return fmt.Errorf("%s%s: %w", name, ext, err)
			}
		}
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if errors.Is(f.Close(), os.ErrClosed) { // arrow closes its sink
		return err
	}
	return err
}

func (c *Collector) tables() map[string]*tape.Table {
	opp := tape.NewTable(tape.Column{Name: "id", Type: tape.IntColumn}, tape.Column{Name: "strategy"}, tape.Column{Name: "why"}, tape.Column{Name: "pair"},
		tape.Column{Name: "start", Type: tape.TimeColumn}, tape.Column{Name: "end", Type: tape.TimeColumn}, tape.Column{Name: "edge", Type: tape.MoneyColumn},
		tape.Column{Name: "qty", Type: tape.QtyColumn}, tape.Column{Name: "tradable", Type: tape.BoolColumn}, tape.Column{Name: "attempts", Type: tape.IntColumn},
		tape.Column{Name: "filled", Type: tape.IntColumn}, tape.Column{Name: "coexisted", Type: tape.BoolColumn}, tape.Column{Name: "balanced", Type: tape.QtyColumn},
		tape.Column{Name: "residual", Type: tape.QtyColumn}, tape.Column{Name: "planned", Type: tape.MoneyColumn}, tape.Column{Name: "fees", Type: tape.MoneyColumn},
		tape.Column{Name: "slippage", Type: tape.MoneyColumn}, tape.Column{Name: "leg_loss", Type: tape.MoneyColumn}, tape.Column{Name: "net", Type: tape.MoneyColumn})
	for _, e := range c.Episodes {
		o := &e.Outcome
		opp.Append(e.ID, e.Strategy, e.Why, e.Pair, e.Start, e.End, e.Edge, e.Qty, e.Tradable, e.Attempts, e.Filled, e.Coexisted[0], o.Balanced, o.Residual,
			o.Planned, o.Fees, o.Slippage, o.LegLoss, o.Net)
	}
	orders := tape.NewTable(tape.Column{Name: "id", Type: tape.IntColumn}, tape.Column{Name: "episode", Type: tape.IntColumn}, tape.Column{Name: "purpose"},
		tape.Column{Name: "venue"}, tape.Column{Name: "market"}, tape.Column{Name: "side"}, tape.Column{Name: "limit", Type: tape.PriceColumn},
		tape.Column{Name: "qty", Type: tape.QtyColumn}, tape.Column{Name: "filled", Type: tape.QtyColumn}, tape.Column{Name: "fees", Type: tape.MoneyColumn},
		tape.Column{Name: "sent", Type: tape.TimeColumn}, tape.Column{Name: "ended", Type: tape.TimeColumn}, tape.Column{Name: "result"})
	fills := tape.NewTable(tape.Column{Name: "order", Type: tape.IntColumn}, tape.Column{Name: "market"}, tape.Column{Name: "side"},
		tape.Column{Name: "price", Type: tape.PriceColumn}, tape.Column{Name: "qty", Type: tape.QtyColumn}, tape.Column{Name: "fee", Type: tape.MoneyColumn},
		tape.Column{Name: "at", Type: tape.TimeColumn}, tape.Column{Name: "matched", Type: tape.TimeColumn})
	for _, o := range c.Orders {
		orders.Append(o.ID, o.Episode, o.Purpose, o.Venue, o.Market, o.Side, o.Limit, o.Qty, o.Filled, o.Fees, o.Sent, o.Ended, o.Result)
		for _, f := range o.Fills {
			fills.Append(f.Order, f.Market, f.Side, f.Price, f.Qty, f.Fee, f.At, f.Exch)
		}
	}
	equity := tape.NewTable(tape.Column{Name: "at", Type: tape.TimeColumn}, tape.Column{Name: "cash", Type: tape.MoneyColumn}, tape.Column{Name: "locked", Type: tape.MoneyColumn},
		tape.Column{Name: "fees", Type: tape.MoneyColumn}, tape.Column{Name: "realised", Type: tape.MoneyColumn})
	for _, p := range c.Equity {
		equity.Append(p.At, p.Cash, p.Locked, p.Fees, p.Realised)
	}
	return map[string]*tape.Table{"opportunities": opp, "orders": orders, "fills": fills, "equity": equity}
}

// Run is a finished run's folder as read back.
type Run struct {
	Dir      string   `json:"dir"`
	Manifest Manifest `json:"manifest"`
	Summary  Summary  `json:"summary"`
}

// Open reads a run's folder.
func Open(dir string) (*Run, error) {
	r := &Run{Dir: dir}
	for name, v := range map[string]any{"manifest.json": &r.Manifest, "summary.json": &r.Summary} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", dir, err)
		}
		if err := json.Unmarshal(b, v); err != nil {
			return nil, fmt.Errorf("run %s: %s: %w", dir, name, err)
		}
	}
	if r.Manifest.Version != Version {
		return nil, fmt.Errorf("run %s: version %d; this program reads version %d", dir, r.Manifest.Version, Version)
	}
	return r, nil
}

// List reads the runs below a folder, newest last.
func List(dir string) ([]*Run, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	var out []*Run
	for _, e := range entries {
		if !e.IsDir() || e.Name()[0] == '.' {
			continue
		}
		r, err := Open(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // not a run
		}
		out = append(out, r)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Manifest.Created < out[j].Manifest.Created })
	return out, nil
}

// Opportunity reads one episode of a run.
func (r *Run) Opportunity(id uint64) (*Episode, error) {
	f, err := os.Open(filepath.Join(r.Dir, "detail.ndjson"))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", r.Dir, err)
	}
	defer f.Close()
	dec := json.NewDecoder(bufio.NewReader(f))
	n := 0
	for dec.More() {
		var ep Episode
		if err := dec.Decode(&ep); err != nil {
			return nil, fmt.Errorf("run %s: detail.ndjson: %w", r.Dir, err)
		}
		n++
		if ep.ID == id {
			return &ep, nil
		}
	}
	return nil, fmt.Errorf("run %s: no opportunity %d; it has %d", r.Dir, id, n)
}
