package data

// Kind says what an Event is. The numbers are written to tapes and digests: append, never renumber.
type Kind uint8

// World kinds are facts about the venues; a tape holds these and nothing else.
const (
	_        Kind = iota
	Level         // Inst, Side, Price, Qty: the level's new total quantity; 0 removes it.
	Delta         // Inst, Side, Price, Qty: a signed change of the level's quantity.
	Clear         // Inst: the book is emptied; with Last it stays empty, else a snapshot's Levels follow up to Last.
	Trade         // Inst, Side (the taker's, in YES terms), Price, Qty, Order (hash of the venue's trade identity), Arg (TradeBlock).
	TickSize      // Inst, Price: the new uniform tick; the levels stand until the venue resends the book.
	Listed        // Inst, Arg: index into Dictionary.Listings. Assigns the InstrumentID.
	Paired        // Arg: index into Dictionary.Pairings.
	Fees          // Inst, Arg: index into Dictionary.Fees. The schedule names its own effective time.
	Status        // Inst, or NoInstrument for the venue; Arg: MarketStatus, with the Venue in bits 8..15.
	Settle        // Inst, Cash: what one YES contract pays, 0 to Dollar.
	Alive         // proof of life of a venue's feed; Arg: the Venue in bits 8..15.
	Gap           // Inst or NoInstrument: something was lost; the book is invalid until rebuilt. Arg: GapCause, Venue in bits 8..15; Qty: span in ns where known.
	Offset        // Arg: Venue in bits 8..15; Qty: the venue's clock minus ours in ns.
)

// Session kinds belong to one run; they stay in its journal and serve replay only.
const (
	Ack       Kind = iota + 64 // Order: the venue accepted it.
	Reject                     // Order, Arg: RejectReason. Nothing was or will be filled.
	Fill                       // Order, Inst, Side, Price, Qty, Cash (fee charged, net of rebate).
	Confirmed                  // Order, Qty: that much of the order's fills is final.
	Voided                     // Order, Qty, Price: a provisional fill was undone.
	Canceled                   // Order, Qty: the unfilled rest, which will not fill any more. Ends every order that was acknowledged; Qty may be 0.
	Unknown                    // Order: the outcome is not known yet.
	Balance                    // Arg: Venue in bits 8..15, shard in bits 0..7; Cash: free cash there.
	Wake                       // Order: the token of the WakeAt it answers.
	Opening                    // Inst, Qty, Cash: a position found at start-up and what it cost.
	Control                    // Arg: ControlCode.
)

var kindNames = map[Kind]string{Level: "level", Delta: "delta", Clear: "clear", Trade: "trade", TickSize: "tick", Listed: "listed",
	Paired: "paired", Fees: "fees", Status: "status", Settle: "settle", Alive: "alive", Gap: "gap", Offset: "offset",
	Ack: "ack", Reject: "reject", Fill: "fill", Confirmed: "confirmed", Voided: "voided", Canceled: "canceled", Unknown: "unknown",
	Balance: "balance", Wake: "wake", Opening: "opening", Control: "control"}

// String is the kind's name on tapes' statistics and transcripts.
func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return "kind?"
}

// World says that k may stand on a tape.
func (k Kind) World() bool { return k >= Level && k <= Offset }

// Side is a side of the YES book or the direction of an order in YES terms. Buying NO is Sell.
type Side uint8

// Buy is the bid side, Sell the ask side.
const (
	Buy  Side = 1
	Sell Side = 2
)

// Opposite is the other side.
func (s Side) Opposite() Side { return 3 - s }

// Worth is the price of the contract that an opening order on side s buys: YES at p, or NO at its complement.
func (s Side) Worth(p Price) Price {
	if s == Sell {
		return p.Complement()
	}
	return p
}

// Beyond says that price p is worse than limit for an order on side s.
func (s Side) Beyond(p, limit Price) bool {
	if s == Buy {
		return p > limit
	}
	return p < limit
}

// String is "buy" or "sell".
func (s Side) String() string {
	switch s {
	case Buy:
		return "buy"
	case Sell:
		return "sell"
	}
	return "-"
}

// TradeBlock marks in a Trade's Arg a block trade: no evidence about the book's queue.
const TradeBlock uint32 = 1

// MarketStatus is the state of a market or a venue.
type MarketStatus uint8

// The states of a market's life; Open is the only one in which plans are opened.
const (
	StatusUnknown MarketStatus = iota
	Open
	Halted
	Closed
	Determined
	Disputed
	Settled
	PostOnly
	Restarting
)

// String is the state's name.
func (s MarketStatus) String() string {
	names := [...]string{"unknown", "open", "halted", "closed", "determined", "disputed", "settled", "post-only", "restarting"}
	if int(s) < len(names) {
		return names[s]
	}
	return "status?"
}

// GapCause says how a hole was found.
type GapCause uint8

// Causes of a Gap.
const (
	GapSequence    GapCause = iota + 1 // the venue's sequence skipped or went back
	GapNegative                        // a delta took a level below zero
	GapMalformed                       // a message could not be decoded
	GapBeforeStart                     // a delta came before the first snapshot
	GapDisconnect                      // the connection was lost
	GapCrossed                         // the book stayed locked or crossed
	GapTick                            // a tick change: the levels are of another epoch
	GapEvidence                        // the venue's own best prices or REST books disagreed with the book
	GapOverflow                        // frames were received and could not be queued
	GapFrozen                          // the venue's REST book went on, its stream did not
	GapStart                           // a recording began: what was before it is not known
	GapStopped                         // the market is no longer followed
	GapBehind                          // the connection's messages came later and later
)

// String is the cause's name.
func (c GapCause) String() string {
	names := [...]string{"?", "sequence", "negative level", "malformed", "before first snapshot", "disconnect", "crossed", "tick change", "top of book disagrees",
		"queue overflow", "frozen stream", "recording began", "no longer followed", "stream too late"}
	if int(c) < len(names) {
		return names[c]
	}
	return "cause?"
}

// RejectReason says why a venue refused an order.
type RejectReason uint8

// Reasons of a Reject.
const (
	RejectUnknownMarket RejectReason = iota + 1
	RejectClosed
	RejectPrice // outside the market's tick grid
	RejectQty   // below the minimum or off the lot
	RejectCash  // not enough free cash or contracts
	RejectUnfilled
	RejectRate
)

// String is the reason's name.
func (r RejectReason) String() string {
	names := [...]string{"?", "unknown market", "market not open", "price off tick", "quantity off lot or below minimum", "insufficient funds",
		"not fillable at once", "rate limit"}
	if int(r) < len(names) {
		return names[r]
	}
	return "reason?"
}

// Event is one fact: flat, pointer-free, 64 bytes; one struct is one row of a tape. Which fields a kind uses stands
// beside the kind. What does not fit is a record of the session's Dictionary, indexed by Arg.
type Event struct {
	Seq   uint64  // assigned by the World: gapless in a session; on a tape the source's own
	Recv  Time    // when we received it; never decreases within a session
	Exch  Time    // the venue's stamp, 0 where there is none; data only, never an order of events
	Order OrderID // ours in session kinds; a Trade's identity hash
	Qty   Qty
	Cash  Money
	Price Price
	Inst  InstrumentID
	Arg   uint32
	Kind  Kind
	Side  Side
	Last  bool // the venue's message is complete: decisions are taken only then
}

// Venue of an event whose Arg carries one in bits 8..15.
func (e *Event) Venue() Venue { return Venue(e.Arg >> 8) }

// VenueArg packs a venue and a code into an Arg.
func VenueArg(v Venue, code uint8) uint32 { return uint32(v)<<8 | uint32(code) }

// CommandKind says what a Command asks for.
type CommandKind uint8

// The commands of the decision code.
const (
	Place  CommandKind = iota + 1 // Order, Inst, Side, Price (limit), Qty, TIF
	Cancel                        // Order
	WakeAt                        // Due, Order: an opaque token that the Wake returns
)

// String is the command's name.
func (k CommandKind) String() string {
	names := [...]string{"?", "place", "cancel", "wake"}
	if int(k) < len(names) {
		return names[k]
	}
	return "command?"
}

// TIF is an order's time in force.
type TIF uint8

// ImmediateOrCancel is Kalshi's immediate_or_cancel and Polymarket's FAK; FillOrKill both venues' FOK.
// GoodTillCanceled is not sent by any machine yet: resting orders come with queue positions.
const (
	ImmediateOrCancel TIF = iota + 1
	FillOrKill
	GoodTillCanceled
)

// String is the time in force in the venues' words.
func (t TIF) String() string {
	names := [...]string{"-", "ioc", "fok", "gtc"}
	if int(t) < len(names) {
		return names[t]
	}
	return "tif?"
}

// Command is something the decision code asks the world to do. The outcome arrives later, as an Event.
type Command struct {
	Cause uint64 // Seq of the event that caused it
	Order OrderID
	Qty   Qty
	Due   Time
	Price Price
	Inst  InstrumentID
	Kind  CommandKind
	Side  Side
	TIF   TIF
}

// ControlCode is an operator's instruction.
type ControlCode uint8

// Halt stops new plans; Resume lifts it; Flatten also unwinds.
const (
	Halt ControlCode = iota + 1
	Resume
	Flatten
)
