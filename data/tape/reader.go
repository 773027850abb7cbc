package tape

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"arbiter/data"
)

// Selection says what of some tapes is read. The zero Selection is everything.
type Selection struct {
	From, To    data.Time // [From, To); 0: open
	Venues      []data.Venue
	Instruments []data.MarketKey
}

// Set is one or more tapes read as one.
type Set struct {
	Manifests []*Manifest
	dicts     map[*Source]*data.Dictionary
}

// Open reads and verifies the manifests and dictionaries of the tapes in dirs.
func Open(dirs ...string) (*Set, error) {
	if len(dirs) == 0 {
		return nil, fmt.Errorf("no tape named")
	}
	set := &Set{dicts: map[*Source]*data.Dictionary{}}
	for _, dir := range dirs {
		m, err := ReadManifest(dir)
		if err != nil {
			return nil, err
		}
		set.Manifests = append(set.Manifests, m)
		for i := range m.Sources {
			s := &m.Sources[i]
			if set.dicts[s], err = loadDictionary(dir, s); err != nil {
				return nil, err
			}
		}
	}
	return set, nil
}

func loadDictionary(dir string, s *Source) (*data.Dictionary, error) {
	path := filepath.Join(dir, s.Dictionary.Name)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tape dictionary %s: %w: %w", path, err, ErrTape)
	}
	if hashOf(b) != s.Dictionary.SHA256 {
		return nil, fmt.Errorf("tape dictionary %s: the bytes do not match the manifest's hash: damaged: %w", path, ErrTape)
	}
	d, err := decodeDictionary(b)
	if err != nil {
		return nil, fmt.Errorf("tape dictionary %s: %w: %w", path, err, ErrTape)
	}
	for i := range s.Instruments {
		if n := s.Instruments[i].Listing; int(n) >= len(d.Listings) || d.Listings[n].Key != s.Instruments[i].Key {
			return nil, fmt.Errorf("tape dictionary %s: instrument %d does not match the manifest: %w", path, i, ErrTape)
		}
	}
	return d, nil
}

// Listings are all listings of the set, by key; of a market that several sources hold, the first.
func (t *Set) Listings() []data.Listing {
	var out []data.Listing
	seen := map[data.MarketKey]bool{}
	for _, m := range t.Manifests {
		for i := range m.Sources {
			for _, l := range t.dicts[&m.Sources[i]].Listings {
				if !seen[l.Key] {
					seen[l.Key] = true
					out = append(out, l)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b data.Listing) int {
		if a.Key.Less(b.Key) {
			return -1
		}
		return 1
	})
	return out
}

// Unpriced are the venues of which some source names no fee schedule.
func (t *Set) Unpriced() []data.Venue {
	var out []data.Venue
	for _, m := range t.Manifests {
		for i := range m.Sources {
			s := &m.Sources[i]
			if v, _ := data.ParseVenue(s.Venue); len(t.dicts[s].Fees) == 0 && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

// Span is the first and the last receive time of the set.
func (t *Set) Span() (first, last data.Time) {
	for _, m := range t.Manifests {
		for i := range m.Sources {
			for _, g := range m.Sources[i].Segments {
				if first == 0 || g.FirstRecv < first {
					first = g.FirstRecv
				}
				last = max(last, g.LastRecv)
			}
		}
	}
	return first, last
}

// part is one segment of a stream with what is needed to read it.
type part struct {
	dir  string
	src  *Source
	dict *data.Dictionary
	seg  *Segment
	skip []bool              // by local id: not selected; never written while decoders run
	ids  []data.InstrumentID // by local id: the session's, or unlisted; the merging side's alone
	anew bool                // the part before it is missing: its keyframe says what is known
}

const unlisted = data.NoInstrument

// stream is all segments of one source key, over all tapes of the set, in time order.
type stream struct {
	key   string
	parts []part
	there map[sessionPart]bool // also those without rows
}

type sessionPart struct {
	session string
	part    int
}

// Reader merges the selected events by (Recv, source key, Seq). It numbers instruments by the order of their Listed
// events and fills Dictionary as they come. Not safe for concurrent use; Close stops its decoders.
type Reader struct {
	sel     Selection
	set     *Set
	dict    *data.Dictionary
	ids     map[data.MarketKey]data.InstrumentID
	owner   map[data.MarketKey]string
	streams []*cursor
	current *cursor // inside a message of this one
	opening []data.Event
	seq     uint64
	stop    chan struct{}
	wg      sync.WaitGroup
	Read    int64 // events delivered, for progress
	Total   int64 // rows in the selected segments
}

// cursor is one stream's decoded events.
type cursor struct {
	s       *stream
	batches chan batch
	free    chan []data.Event
	cur     []data.Event
	part    *part // that cur came from
	pos     int
	err     error
}

type batch struct {
	part   *part
	events []data.Event
	err    error
}

// Read starts reading a selection. An empty one is an error that says what the tapes hold.
func (t *Set) Read(sel Selection) (*Reader, error) {
	r := &Reader{sel: sel, set: t, dict: &data.Dictionary{}, ids: map[data.MarketKey]data.InstrumentID{}, owner: map[data.MarketKey]string{}, stop: make(chan struct{})}
	if sel.To != 0 && sel.From >= sel.To {
		return nil, fmt.Errorf("empty time range: from %s is not before to %s", sel.From, sel.To)
	}
	streams, err := t.streams(sel)
	if err != nil {
		return nil, err
	}
	if len(streams) == 0 {
		first, last := t.Span()
		return nil, fmt.Errorf("nothing selected: the tapes span %s to %s; `arbiter data ls` shows their instruments", first, last)
	}
	if err := r.open(streams); err != nil {
		return nil, err
	}
	for _, s := range streams {
		c := &cursor{s: s, batches: make(chan batch, 6), free: make(chan []data.Event, 8)}
		r.streams = append(r.streams, c)
		r.wg.Add(1)
		go r.decode(c)
	}
	for _, c := range r.streams {
		c.fill()
	}
	return r, nil
}

// streams selects segments and orders them.
func (t *Set) streams(sel Selection) ([]*stream, error) {
	byKey := map[string]*stream{}
	if err := t.known(sel.Instruments); err != nil {
		return nil, err
	}
	for _, m := range t.Manifests {
		for i := range m.Sources {
			src := &m.Sources[i]
			venue, _ := data.ParseVenue(src.Venue)
			if len(sel.Venues) > 0 && !slices.Contains(sel.Venues, venue) {
				continue
			}
			skip, ids := make([]bool, len(src.Instruments)), make([]data.InstrumentID, len(src.Instruments))
			for j := range ids {
				ids[j] = unlisted
				skip[j] = len(sel.Instruments) > 0 && !slices.Contains(sel.Instruments, src.Instruments[j].Key)
			}
			s := byKey[src.Key()]
			if s == nil {
				s = &stream{key: src.Key(), there: map[sessionPart]bool{}}
				byKey[src.Key()] = s
			}
			s.there[sessionPart{src.Session, src.Part}] = true
			for j := range src.Segments {
				if seg := &src.Segments[j]; selects(sel, seg, skip) {
					s.parts = append(s.parts, part{dir: m.location, src: src, dict: t.dicts[src], seg: seg, skip: skip, ids: ids})
				}
			}
		}
	}
	out := make([]*stream, 0, len(byKey))
	for _, s := range byKey {
		if len(s.parts) == 0 {
			continue
		}
		if err := s.arrange(sel.From); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *stream) int { return strings.Compare(a.key, b.key) })
	return out, nil
}

func (t *Set) known(keys []data.MarketKey) error {
	for _, k := range keys {
		found := false
		for _, m := range t.Manifests {
			for i := range m.Sources {
				found = found || slices.ContainsFunc(m.Sources[i].Instruments, func(x Instrument) bool { return x.Key == k })
			}
		}
		if !found {
			return fmt.Errorf("unknown instrument %s: not on these tapes; `arbiter data ls` shows what is", k)
		}
	}
	return nil
}

// selects says that a segment holds something selected. A market's Listed event counts as a row, so the segment in
// which it is listed is never left out.
func selects(sel Selection, g *Segment, skip []bool) bool {
	if sel.To != 0 && g.FirstRecv >= sel.To {
		return false
	}
	if len(sel.Instruments) == 0 {
		return true
	}
	if g.Venue {
		return true
	}
	return slices.ContainsFunc(g.Inst, func(id uint32) bool { return int(id) < len(skip) && !skip[id] })
}

// arrange sorts a stream's segments, refuses overlap and drops what lies before the segment that holds from.
func (s *stream) arrange(from data.Time) error {
	slices.SortStableFunc(s.parts, func(a, b part) int {
		switch x, y := a.seg, b.seg; {
		case x.FirstRecv != y.FirstRecv:
			return cmp(x.FirstRecv < y.FirstRecv)
		default:
			return cmp(x.FirstSeq < y.FirstSeq)
		}
	})
	for i := 1; i < len(s.parts); i++ {
		a, b := s.parts[i-1].seg, s.parts[i].seg
		if b.FirstRecv < a.LastRecv || (s.parts[i-1].src == s.parts[i].src && b.FirstSeq <= a.LastSeq) || (a.SameRows(b)) {
			return fmt.Errorf("tapes overlap: %s and %s both hold source %s at %s: name each recording once: %w",
				filepath.Join(s.parts[i-1].dir, a.Name), filepath.Join(s.parts[i].dir, b.Name), s.key, b.FirstRecv, ErrTape)
		}
	}
	for i := 1; i < len(s.parts); i++ {
		a, b := s.parts[i-1].src, s.parts[i].src
		s.parts[i].anew = a != b && a.Session+b.Session != "" && (a.Session != b.Session || !s.follows(a.Part, b.Part, a.Session))
	}
	for len(s.parts) > 1 && s.parts[1].seg.FirstRecv < from {
		s.parts = s.parts[1:]
	}
	return nil
}

// follows says that no part of a session is missing between two; parts without rows count as there.
func (s *stream) follows(a, b int, session string) bool {
	for n := a + 1; n < b; n++ {
		if !s.there[sessionPart{session, n}] {
			return false
		}
	}
	return b > a
}

// SameRows says that two segments are copies of each other.
func (g *Segment) SameRows(o *Segment) bool {
	return len(g.Groups) > 0 && len(o.Groups) > 0 && g.Groups[0].SHA256 == o.Groups[0].SHA256 && g.FirstRecv == o.FirstRecv
}

func cmp(less bool) int {
	if less {
		return -1
	}
	return 1
}

// open refuses a market that two streams hold and lists what was known before From, sorted by (venue, native id).
func (r *Reader) open(streams []*stream) error {
	type known struct {
		key  data.MarketKey
		dict *data.Dictionary
		n    uint32
	}
	var early []known
	start := data.Time(1<<63 - 1)
	for _, s := range streams {
		for i := range s.parts {
			r.Total += s.parts[i].seg.Rows
		}
		for _, p := range s.parts {
			for j, k := range p.src.Instruments {
				if p.skip[j] {
					continue
				}
				if o, ok := r.owner[k.Key]; ok && o != s.key {
					return fmt.Errorf("%s is in two sources, %s and %s: its changes would be counted twice: select one tape: %w", k.Key, o, s.key, ErrTape)
				}
				r.owner[k.Key] = s.key
				if k.Listed != 0 && k.Listed < r.sel.From {
					start = min(start, k.Listed)
					early = append(early, known{k.Key, r.set.dicts[p.src], k.Listing})
				}
			}
		}
	}
	slices.SortFunc(early, func(a, b known) int {
		if a.key == b.key {
			return 0
		}
		return cmp(a.key.Less(b.key))
	})
	for _, k := range early {
		if _, ok := r.ids[k.key]; !ok {
			r.opening = append(r.opening, r.list(k.key, k.dict.Listings[k.n], start))
		}
	}
	return nil
}

func (r *Reader) list(key data.MarketKey, l data.Listing, recv data.Time) data.Event {
	id := data.InstrumentID(len(r.ids))
	r.ids[key] = id
	r.dict.Listings = append(r.dict.Listings, l)
	return data.Event{Kind: data.Listed, Inst: id, Recv: recv, Arg: uint32(len(r.dict.Listings) - 1), Last: true}
}

// Dictionary is the session's: records are there before the event that first uses them.
func (r *Reader) Dictionary() *data.Dictionary { return r.dict }

// decode runs in its own goroutine: it reads the stream's segments and hands over batches.
func (r *Reader) decode(c *cursor) {
	defer r.wg.Done()
	defer close(c.batches)
	var keys []bool
	for i := range c.s.parts {
		p := &c.s.parts[i]
		anew := p.anew && i > 0
		sr, err := openSegment(p.dir, p.src, p.seg)
		for err == nil {
			var ev []data.Event
			select {
			case ev = <-c.free:
			default:
				ev = make([]data.Event, 0, batchRows)
			}
			ev, keys, err = sr.next(ev[:0], keys[:0])
			if err == nil {
				ev, err = r.screen(p, i == 0 || p.anew, ev, keys)
			}
			if err == nil && len(ev) > 0 {
				if anew && !begins(&ev[0]) && !r.missing(c, p) {
					sr.close()
					return
				}
				anew = false
				select {
				case c.batches <- batch{part: p, events: ev}:
				case <-r.stop:
					sr.close()
					return
				}
			}
		}
		if sr != nil {
			sr.close()
		}
		if !errors.Is(err, io.EOF) {
			select {
			case c.batches <- batch{err: err}:
			case <-r.stop:
			}
			return
		}
	}
}

// begins says that a recording begins with the event: it tells itself what is not known.
func begins(e *data.Event) bool {
	return e.Kind == data.Gap && e.Inst == data.NoInstrument && data.GapCause(e.Arg&0xff) == data.GapStart
}

// missing tells that the part before p is not there: what its keyframe does not say is not known. False: stopped.
func (r *Reader) missing(c *cursor, p *part) bool {
	v, _ := data.ParseVenue(p.src.Venue)
	gap := data.Event{Kind: data.Gap, Inst: data.NoInstrument, Recv: p.seg.FirstRecv, Arg: data.VenueArg(v, uint8(data.GapStart)), Last: true}
	select {
	case c.batches <- batch{part: p, events: []data.Event{gap}}:
		return true
	case <-r.stop:
		return false
	}
}

// screen drops rows that are not wanted: other instruments, times at or after To, keyframes of all but the first
// segment. What remains is checked against the dictionary, so that a wrong index is an error and not a crash.
func (r *Reader) screen(p *part, first bool, events []data.Event, keys []bool) ([]data.Event, error) {
	n := 0
	for i := range events {
		e := &events[i]
		if keys[i] && !first {
			continue
		}
		if r.sel.To != 0 && e.Recv >= r.sel.To {
			continue
		}
		if e.Inst != data.NoInstrument {
			if int(e.Inst) >= len(p.skip) {
				return nil, fmt.Errorf("tape segment %s: instrument %d is not in the manifest: %w", filepath.Join(p.dir, p.seg.Name), e.Inst, ErrTape)
			}
			if p.skip[e.Inst] {
				continue
			}
		}
		if !e.Kind.World() {
			return nil, fmt.Errorf("tape segment %s: a %s event: tapes hold world events only: %w", filepath.Join(p.dir, p.seg.Name), e.Kind, ErrTape)
		}
		if (e.Kind == data.Listed && int(e.Arg) >= len(p.dict.Listings)) || (e.Kind == data.Fees && int(e.Arg) >= len(p.dict.Fees)) {
			return nil, fmt.Errorf("tape segment %s: a record that is not in the dictionary: %w", filepath.Join(p.dir, p.seg.Name), ErrTape)
		}
		if e.Recv < r.sel.From {
			e.Last = false // muted: the state is rebuilt, nothing is decided
		}
		events[n] = *e
		n++
	}
	return events[:n], nil
}

func (c *cursor) fill() {
	for c.err == nil && c.pos >= len(c.cur) {
		if c.cur != nil {
			select {
			case c.free <- c.cur:
			default:
			}
		}
		b, ok := <-c.batches
		if !ok {
			c.cur, c.err = nil, io.EOF
			return
		}
		c.part, c.cur, c.pos, c.err = b.part, b.events, 0, b.err
	}
}

// Next delivers the next event with session instrument ids; io.EOF ends the selection.
func (r *Reader) Next(ev *data.Event) error {
	for {
		if len(r.opening) > 0 {
			*ev = r.opening[0]
			r.opening = r.opening[1:]
		} else {
			c, err := r.pick()
			if err != nil {
				return err
			}
			p := c.part
			*ev = c.cur[c.pos]
			if c.pos++; c.pos >= len(c.cur) {
				c.fill()
			}
			r.current = c
			if ev.Last || ev.Recv < r.sel.From {
				r.current = nil
			}
			r.Read++
			if !r.translate(p, ev) {
				continue
			}
		}
		r.seq++
		ev.Seq = r.seq
		return nil
	}
}

// pick chooses the cursor with the least (Recv, source key); inside a message it stays.
func (r *Reader) pick() (*cursor, error) {
	if c := r.current; c != nil {
		if c.err == nil {
			return c, nil
		}
		if !errors.Is(c.err, io.EOF) {
			return nil, c.err
		}
		r.current = nil
	}
	var best *cursor
	for _, c := range r.streams {
		if c.err != nil {
			if !errors.Is(c.err, io.EOF) {
				return nil, c.err
			}
			continue
		}
		if best == nil || c.cur[c.pos].Recv < best.cur[best.pos].Recv {
			best = c
		}
	}
	if best == nil {
		return nil, io.EOF
	}
	return best, nil
}

// translate turns local ids into the session's. A second Listed of a market (a keyframe's, or another tape's) says
// nothing new.
func (r *Reader) translate(p *part, ev *data.Event) bool {
	if ev.Inst == data.NoInstrument {
		return true
	}
	local := ev.Inst
	if p.ids[local] == unlisted {
		key := p.src.Instruments[local].Key
		id, ok := r.ids[key]
		if !ok && ev.Kind != data.Listed {
			return false // before its listing nothing can be said of it
		}
		if !ok {
			last := ev.Last
			*ev = r.list(key, p.dict.Listings[ev.Arg], ev.Recv)
			ev.Last = last
			p.ids[local] = ev.Inst
			return true
		}
		p.ids[local] = id
	}
	ev.Inst = p.ids[local]
	switch ev.Kind {
	case data.Listed:
		return false
	case data.Fees:
		r.dict.Fees = append(r.dict.Fees, p.dict.Fees[ev.Arg])
		ev.Arg = uint32(len(r.dict.Fees) - 1)
	}
	return true
}

// Close stops the decoders and waits for them.
func (r *Reader) Close() {
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	for _, c := range r.streams {
		for range c.batches {
		}
	}
	r.wg.Wait()
}
