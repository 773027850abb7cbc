package tape

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"arbiter/data"
)

// Format and Version name the layout that this code writes; Version rises when a reader of the old one would be wrong.
const (
	Format       = "arbiter-tape"
	Version      = 1
	manifestName = "manifest.json"
)

// ErrTape is wrapped by every refusal of a tape as damaged, foreign or of another version.
var ErrTape = errors.New("tape refused")

// Manifest describes a tape. It is written last, so a folder without one is not a tape.
type Manifest struct {
	Format   string   `json:"format"`
	Version  int      `json:"version"`
	Commit   string   `json:"commit"` // of the program that wrote it; not part of any digest
	Origin   string   `json:"origin"` // what it was made from, in words
	Notes    []string `json:"notes"`  // what this tape cannot support; every run on it repeats them
	Sources  []Source `json:"sources"`
	SHA256   string   `json:"sha256"` // of this file with this field empty
	location string
}

// Source is one stream of messages: a venue, a recorder and a connection. Its Key orders ties between sources.
type Source struct {
	Venue       string       `json:"venue"`
	Recorder    string       `json:"recorder"`
	Connection  string       `json:"connection"`
	Session     string       `json:"session,omitempty"` // of a recording that is cut into tapes
	Part        int          `json:"part,omitempty"`    // of that session, without a gap
	Synthetic   bool         `json:"synthetic"`
	Unverified  bool         `json:"gaps_unverifiable"` // the venue's sequence could not be checked
	RecvCoarse  bool         `json:"recv_coarse"`       // receive stamps cannot support a claim about latency
	RecvUnit    string       `json:"recv_unit"`
	ExchUnit    string       `json:"exch_unit"`
	Dictionary  File         `json:"dictionary"`
	Segments    []Segment    `json:"segments"`
	Instruments []Instrument `json:"instruments"`
}

// Key is the source's stable name, unique in a session.
func (s *Source) Key() string { return s.Venue + "/" + s.Recorder + "/" + s.Connection }

// File is a file and its content's hash.
type File struct {
	Name   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Segment is one Parquet file.
type Segment struct {
	Name      string    `json:"file"`
	Bytes     int64     `json:"bytes"`
	Rows      int64     `json:"rows"`
	Keyframe  int64     `json:"keyframe_rows"`
	FirstRecv data.Time `json:"first_recv"`
	LastRecv  data.Time `json:"last_recv"`
	FirstSeq  uint64    `json:"first_seq"`
	LastSeq   uint64    `json:"last_seq"`
	Inst      []uint32  `json:"instruments"` // local ids with rows here
	Venue     bool      `json:"venue_events"`
	Groups    []Part    `json:"row_groups"`
	Footer    Part      `json:"footer"`
}

// Part is a hashed stretch of a file.
type Part struct {
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
	Rows   int64  `json:"rows,omitempty"`
	SHA256 string `json:"sha256"`
}

// Instrument is what a source holds of one market.
type Instrument struct {
	Key       data.MarketKey `json:"key"`
	Listing   uint32         `json:"listing"` // the record in the source's dictionary
	Listed    data.Time      `json:"listed"`
	First     data.Time      `json:"first"`
	Last      data.Time      `json:"last"`
	Rows      int64          `json:"rows"`
	Snapshots int64          `json:"snapshots"`
	Deltas    int64          `json:"deltas"` // messages that change levels
	Trades    int64          `json:"trades"`
	Gaps      int64          `json:"gaps"`
	Settled   bool           `json:"settled"`
	Payout    data.Money     `json:"payout"`
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (m *Manifest) seal() ([]byte, error) {
	m.SHA256 = ""
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	m.SHA256 = hashOf(b)
	return json.MarshalIndent(m, "", " ")
}

// ReadManifest reads and checks the manifest of the tape in dir.
func ReadManifest(dir string) (*Manifest, error) {
	path := filepath.Join(dir, manifestName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("tape %s: no such folder: %w", dir, ErrTape)
		}
		return nil, fmt.Errorf("tape %s: no %s in it: not a tape, or one whose writing was cut off (see `arbiter data import`): %w", dir, manifestName, ErrTape)
	}
	if err != nil {
		return nil, fmt.Errorf("tape %s: %w", dir, err)
	}
	refuse := func(why string) (*Manifest, error) {
		return nil, fmt.Errorf("tape %s: %s: %s: %w", dir, manifestName, why, ErrTape)
	}
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return refuse("not JSON: " + err.Error())
	}
	if head.Format != Format {
		return refuse(fmt.Sprintf("format is %q, not %q", head.Format, Format))
	}
	if head.Version != Version {
		return refuse(fmt.Sprintf("version %d; this program reads version %d: import the source again", head.Version, Version))
	}
	m := &Manifest{location: dir}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return refuse(err.Error())
	}
	if again, err := m.seal(); err != nil || !bytes.Equal(again, b) {
		return refuse("its own hash does not match: it was changed or damaged")
	}
	return m, m.check(dir)
}

// check refuses what the reader relies on but a hash cannot say.
func (m *Manifest) check(dir string) error {
	seen := map[string]bool{}
	for i := range m.Sources {
		s := &m.Sources[i]
		if _, err := data.ParseVenue(s.Venue); err != nil {
			return fmt.Errorf("tape %s: source %d: %v: %w", dir, i, err, ErrTape)
		}
		if seen[s.Key()] {
			return fmt.Errorf("tape %s: source %s appears twice: %w", dir, s.Key(), ErrTape)
		}
		seen[s.Key()] = true
		names := []string{s.Dictionary.Name}
		for _, g := range s.Segments {
			names = append(names, g.Name)
		}
		for _, n := range names {
			if n != filepath.Base(n) || n == "." || n == ".." {
				return fmt.Errorf("tape %s: %q is not a file name in the tape's own folder: %w", dir, n, ErrTape)
			}
		}
		if _, err := unitOf(s.RecvUnit); err != nil {
			return fmt.Errorf("tape %s: source %s: %v: %w", dir, s.Key(), err, ErrTape)
		}
		if _, err := unitOf(s.ExchUnit); err != nil {
			return fmt.Errorf("tape %s: source %s: %v: %w", dir, s.Key(), err, ErrTape)
		}
	}
	return nil
}

func unitOf(name string) (data.Duration, error) {
	switch name {
	case "ns":
		return 1, nil
	case "us":
		return data.Microsecond, nil
	case "ms":
		return data.Millisecond, nil
	}
	return 0, fmt.Errorf("unknown time unit %q", name)
}

// record is one line of a dictionary file.
type record struct {
	Kind    string            `json:"kind"`
	Listing *data.Listing     `json:"listing,omitempty"`
	Fees    *data.FeeSchedule `json:"fees,omitempty"`
	Pairing *data.Pairing     `json:"pairing,omitempty"`
}

func encodeDictionary(d *data.Dictionary) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range d.Listings {
		if err := enc.Encode(record{Kind: "listing", Listing: &d.Listings[i]}); err != nil {
			return nil, err
		}
	}
	for i := range d.Fees {
		if err := enc.Encode(record{Kind: "fees", Fees: &d.Fees[i]}); err != nil {
			return nil, err
		}
	}
	for i := range d.Pairings {
		if err := enc.Encode(record{Kind: "pairing", Pairing: &d.Pairings[i]}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func decodeDictionary(b []byte) (*data.Dictionary, error) {
	d := &data.Dictionary{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	for line := 1; dec.More(); line++ {
		var r record
		if err := dec.Decode(&r); err != nil {
			return nil, fmt.Errorf("record %d: %w", line, err)
		}
		switch {
		case r.Kind == "listing" && r.Listing != nil:
			if err := data.CheckBands(r.Listing.Bands); err != nil {
				return nil, fmt.Errorf("record %d: %w", line, err)
			}
			d.Listings = append(d.Listings, *r.Listing)
		case r.Kind == "fees" && r.Fees != nil:
			if err := r.Fees.Check(); err != nil {
				return nil, fmt.Errorf("record %d: %w", line, err)
			}
			d.Fees = append(d.Fees, *r.Fees)
		case r.Kind == "pairing" && r.Pairing != nil:
			d.Pairings = append(d.Pairings, *r.Pairing)
		default:
			return nil, fmt.Errorf("record %d: kind %q", line, r.Kind)
		}
	}
	return d, nil
}
