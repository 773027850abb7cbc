// Package pairs is the registry of approved market pairs: a YAML file in which a person says that two markets on two
// venues speak of one fact, with the hashes of the rule texts that he read and what each market pays in every branch
// in which the rules differ.
//
// It fails closed: a pair that is not approved, whose rule text changed since, or whose listing is missing is refused
// with the reason, and nothing trades on it. It refuses to guess pairs; discovery proposes, a person approves.
package pairs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"arbiter/data"
)

// Version of the registry's layout.
const Version = 1

// Registry is the file.
type Registry struct {
	Version int    `yaml:"version"`
	Pairs   []Pair `yaml:"pairs"`
}

// Pair is one entry.
type Pair struct {
	ID       string   `yaml:"id"`
	Title    string   `yaml:"title,omitempty"`
	A        Side     `yaml:"a"`
	B        Side     `yaml:"b"`
	Polarity string   `yaml:"polarity"` // same: A's YES is B's YES; opposite: A's YES is B's NO
	Status   string   `yaml:"status"`   // approved, proposed, rejected or suspended
	Approval Approval `yaml:"approved,omitempty"`
	Branches []Branch `yaml:"branches,omitempty"` // beyond the two plain ones: what one YES of each pays
}

// Side is one market of a pair.
type Side struct {
	Venue  string `yaml:"venue"`
	Market string `yaml:"market"`
	Rules  string `yaml:"rules_sha256"` // of the rules text that was read
}

// Approval says who read both texts, and when.
type Approval struct {
	By string `yaml:"by"`
	At string `yaml:"at"` // RFC 3339
}

// Branch is a way to resolve in which the two markets may differ, in dollars a YES contract.
type Branch struct {
	Name string `yaml:"name"`
	A    string `yaml:"a"`
	B    string `yaml:"b"`
}

// HashRules is the hash that an approval pins.
func HashRules(rules string) string {
	sum := sha256.Sum256([]byte(rules))
	return hex.EncodeToString(sum[:])
}

// Load reads a registry. Errors name file, line and column.
func Load(path string) (*Registry, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("pairs: %w", err)
	}
	r, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("pairs %s: %w", path, err)
	}
	return r, nil
}

// Parse reads a registry's text, strictly: unknown keys are errors.
func Parse(b []byte) (*Registry, error) {
	var r Registry
	if err := decode(b, &r); err != nil {
		return nil, err
	}
	if r.Version != Version {
		return nil, fmt.Errorf("version %d; this program reads version %d", r.Version, Version)
	}
	seen := map[string]bool{}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("pair %d (%s): %w", i+1, p.ID, err)
		}
		if seen[p.ID] {
			return nil, fmt.Errorf("pair %d: id %s appears twice", i+1, p.ID)
		}
		seen[p.ID] = true
	}
	return &r, nil
}

// decode guards the YAML library, which panics on some malformed texts (found by fuzzing: a tag on nothing).
func decode(b []byte, r *Registry) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed YAML: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField())
	if err := dec.Decode(r); err != nil {
		return fmt.Errorf("%s", yaml.FormatError(err, false, true))
	}
	return nil
}

var statuses = []string{"approved", "proposed", "rejected", "suspended"}

func (p *Pair) check() error {
	if p.ID == "" {
		return fmt.Errorf("no id")
	}
	if p.Polarity != "same" && p.Polarity != "opposite" {
		return fmt.Errorf("polarity %q: same or opposite", p.Polarity)
	}
	if !slices.Contains(statuses, p.Status) {
		return fmt.Errorf("status %q: one of %s", p.Status, strings.Join(statuses, ", "))
	}
	for _, s := range [2]*Side{&p.A, &p.B} {
		if _, err := data.ParseVenue(s.Venue); err != nil {
			return err
		}
		if s.Market == "" {
			return fmt.Errorf("a side without a market")
		}
	}
	if p.A.Venue == p.B.Venue && p.A.Market == p.B.Market {
		return fmt.Errorf("a market paired with itself")
	}
	if p.Status == "approved" {
		if p.Approval.By == "" {
			return fmt.Errorf("approved by nobody: say who read both rule texts")
		}
		if _, err := time.Parse(time.RFC3339, p.Approval.At); err != nil {
			return fmt.Errorf("approved at %q: not an RFC 3339 time", p.Approval.At)
		}
	}
	_, err := p.branches()
	return err
}

func (p *Pair) branches() ([]data.Branch, error) {
	out := data.PlainBranches(p.Polarity == "opposite")
	for _, b := range p.Branches {
		x := data.Branch{Name: b.Name}
		for _, f := range []struct {
			text string
			to   *data.Money
		}{{b.A, &x.A}, {b.B, &x.B}} {
			m, err := data.ParseMoney([]byte(f.text))
			if err != nil {
				return nil, fmt.Errorf("branch %q: %w", b.Name, err)
			}
			if m < 0 || m > data.Dollar {
				return nil, fmt.Errorf("branch %q: a payoff of %s is outside 0..1", b.Name, m)
			}
			*f.to = m
		}
		out = append(out, x)
	}
	return out, nil
}

// Refused is a pair that may not be traded, and why.
type Refused struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Resolve turns the approved pairs whose two markets are listed and unchanged into pairings; every other pair comes
// back with the reason.
func (r *Registry) Resolve(listings []data.Listing) ([]data.Pairing, []Refused) {
	byKey := map[data.MarketKey]*data.Listing{}
	for i := range listings {
		byKey[listings[i].Key] = &listings[i]
	}
	var out []data.Pairing
	var refused []Refused
	for i := range r.Pairs {
		p := &r.Pairs[i]
		pairing, why := p.resolve(byKey)
		if why != "" {
			refused = append(refused, Refused{p.ID, why})
			continue
		}
		out = append(out, pairing)
	}
	return out, refused
}

func (p *Pair) resolve(byKey map[data.MarketKey]*data.Listing) (data.Pairing, string) {
	out := data.Pairing{ID: p.ID, Opposite: p.Polarity == "opposite"}
	if p.Status != "approved" {
		return out, "not approved: its status is " + p.Status
	}
	var err error
	if out.Branches, err = p.branches(); err != nil {
		return out, err.Error()
	}
	for i, s := range [2]*Side{&p.A, &p.B} {
		v, _ := data.ParseVenue(s.Venue)
		key := data.MarketKey{Venue: v, Native: s.Market}
		l := byKey[key]
		if l == nil {
			return out, "market " + key.String() + " is not on the tape"
		}
		if got := HashRules(l.Rules); got != s.Rules {
			return out, fmt.Sprintf("the rules text of %s changed since it was approved (sha256 is %s..., approved was %.12s...): read it and approve again", key, got[:12], s.Rules)
		}
		if i == 0 {
			out.A = key
		} else {
			out.B = key
		}
	}
	return out, ""
}

// Encode writes a registry.
func (r *Registry) Encode() ([]byte, error) { return yaml.Marshal(r) }

// Approve makes an approved entry of a pairing as its listings stand: for generated markets and for tests. For real
// markets a person reads both texts first.
func Approve(p data.Pairing, listings []data.Listing, by string, at time.Time) (Pair, error) {
	e := Pair{ID: p.ID, Polarity: "same", Status: "approved", Approval: Approval{By: by, At: at.UTC().Format(time.RFC3339)}}
	if p.Opposite {
		e.Polarity = "opposite"
	}
	for i, k := range [2]data.MarketKey{p.A, p.B} {
		n := slices.IndexFunc(listings, func(l data.Listing) bool { return l.Key == k })
		if n < 0 {
			return e, fmt.Errorf("pairs: %s is not listed", k)
		}
		s := Side{Venue: k.Venue.String(), Market: k.Native, Rules: HashRules(listings[n].Rules)}
		if i == 0 {
			e.A, e.Title = s, listings[n].Title
		} else {
			e.B = s
		}
	}
	for _, b := range p.Branches[min(2, len(p.Branches)):] {
		e.Branches = append(e.Branches, Branch{b.Name, b.A.String(), b.B.String()})
	}
	return e, nil
}
