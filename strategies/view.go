package strategies

import "arbiter/data"

// Market is what the engine keeps of one instrument. A strategy reads it through View.
type Market struct {
	Listing  *data.Listing
	Venue    data.Venue
	Key      uint64 // hash of the native key, for digests
	Book     data.Book
	Valid    bool // a snapshot stands and nothing was lost since
	Status   data.MarketStatus
	Fees     data.FeeTable
	Bands    []data.Band
	Recv     data.Time // receive time of the newest message
	Exch     data.Time // its venue stamp
	Position data.Qty  // held, in YES terms
	Settled  bool
	Pairs    []uint32 // indexes into Markets.Pairs
	Group    int32    // index into Markets.Groups, or -1
}

// Pair is an approved pairing whose two markets are listed.
type Pair struct {
	Pairing *data.Pairing
	A, B    data.InstrumentID
	Par     [2]data.Money // by direction: the worst branch of Pairing
	Ready   bool          // both are listed
}

// Group is the listed markets of one venue event whose outcomes are proven to exclude each other.
type Group struct {
	Venue    data.Venue
	Event    string
	Outcomes int // that the event has; fewer listed markets are an incomplete set
	Exhaust  bool
	Members  []data.InstrumentID
}

// Markets is the state that a View shows. It belongs to the engine.
type Markets struct {
	Now    data.Time
	Seq    uint64
	All    []Market
	Pairs  []Pair
	Groups []Group
	Skew   data.Duration // how far apart two markets' newest messages may be
	Stale  data.Duration // how old a market's newest message may be
}

// View is the world as a strategy sees it, as of the current event. It is read-only.
type View struct {
	m      *Markets
	memory []uint64
	walks  [MaxLegs]walk
}

// NewView is for the engine and for tests.
func NewView(m *Markets, memory []uint64) *View { return &View{m: m, memory: memory} }

// Now is the receive time of the current event: the only clock there is.
func (v *View) Now() data.Time { return v.m.Now }

// Markets is the number of instruments; ids run from 0.
func (v *View) Markets() int { return len(v.m.All) }

// Listing describes a market; do not change it.
func (v *View) Listing(id data.InstrumentID) *data.Listing { return v.m.All[id].Listing }

// Position is what is held of a market, in YES terms.
func (v *View) Position(id data.InstrumentID) data.Qty { return v.m.All[id].Position }

// Memory is the strategy's own fixed block of words: hashed, checkpointed, all the state it may keep.
func (v *View) Memory() []uint64 { return v.memory }

// Bands are the market's ticks as they are now; the listing has them as they were.
func (v *View) Bands(id data.InstrumentID) []data.Band { return v.m.All[id].Bands }

// Fees is the schedule in force, or nil.
func (v *View) Fees(id data.InstrumentID) *data.FeeSchedule { return v.m.All[id].Fees.At(v.m.Now) }

// Received is when the market's newest message came.
func (v *View) Received(id data.InstrumentID) data.Time { return v.m.All[id].Recv }

// Pairs are the numbers of the pairs that a market is in.
func (v *View) Pairs(id data.InstrumentID) []uint32 { return v.m.All[id].Pairs }

// Pair is a pairing with its instruments; do not change it.
func (v *View) Pair(n uint32) *Pair { return &v.m.Pairs[n] }

// Group is the number of the exclusive event that a market belongs to, or -1.
func (v *View) Group(id data.InstrumentID) int32 { return v.m.All[id].Group }

// GroupOf is a group; do not change it.
func (v *View) GroupOf(n int32) *Group { return &v.m.Groups[n] }

// BookView reads a book.
type BookView struct{ b *data.Book }

// Book is a market's book. It may be invalid or crossed: see Usable.
func (v *View) Book(id data.InstrumentID) BookView { return BookView{&v.m.All[id].Book} }

// Best is the best level of a side; Qty 0: empty.
func (b BookView) Best(s data.Side) data.Rung { return b.b.Best(s) }

// Top is the best bid and ask price; 0: that side is empty.
func (b BookView) Top() (bid, ask data.Price) {
	return b.b.BestPrice(data.Buy), b.b.BestPrice(data.Sell)
}

// Next is the level after p; p = 0 asks for the best.
func (b BookView) Next(s data.Side, p data.Price) data.Rung { return b.b.Next(s, p) }

// Qty is the quantity at a price.
func (b BookView) Qty(s data.Side, p data.Price) data.Qty { return b.b.Qty(s, p) }

// Len is the number of levels of a side.
func (b BookView) Len(s data.Side) int { return b.b.Len(s) }

// Crossed says that the best bid meets the best ask.
func (b BookView) Crossed() bool { return b.b.Crossed() }

// Usable says that a market can be reckoned with: listed, open, its book valid and its fees known. A crossed book is
// a venue's passing inconsistency; only parity looks at one.
func (v *View) Usable(id data.InstrumentID) bool {
	m := &v.m.All[id]
	return m.Valid && m.Status == data.Open && !m.Settled && m.Fees.At(v.m.Now) != nil
}
