package data

// InputKind says what an Input is. The numbers are written to journals: append, never renumber.
type InputKind uint8

// What can happen at the boundary to the venues. A recording keeps these verbatim: they are the truth from which
// events are derived.
const (
	_            InputKind = iota
	InputOpen              // Conn is open. Text: ConnStream or ConnPolled.
	InputClose             // Conn is over. Text: why.
	InputFrame             // Text: one WebSocket message, verbatim.
	InputRest              // Text: name of the resource, newline, body verbatim (RestBooks, RestEvent, ...).
	InputWant              // Text: native id of a market to follow from now on.
	InputDrop              // Text: native id of a market that is no longer followed.
	InputCarry             // Text: native id of a market that Conn was asked to carry.
	InputLost              // Text: decimal count of frames of Conn that were received and could not be queued.
	InputControl           // Text: decimal ControlCode of the operator. It is no fact about a venue.
)

var inputNames = [...]string{"?", "open", "close", "frame", "rest", "want", "drop", "carry", "lost", "control"}

// String is the kind's name.
func (k InputKind) String() string {
	if int(k) < len(inputNames) {
		return inputNames[k]
	}
	return "input?"
}

// Texts of an InputOpen.
const (
	ConnStream = "stream" // a WebSocket: what it does not say did not happen
	ConnPolled = "polled" // REST books now and then: what lies between two is not known
)

// Names of REST resources in an InputRest: the venue's records and books, each body as the venue sent it.
const (
	RestEvent  = "event"  // GET /events/{ticker} (Kalshi), one Gamma event (Polymarket)
	RestMarket = "market" // one Gamma market
	RestSeries = "series" // GET /series/{ticker} (Kalshi)
	RestBooks  = "books"  // POST /books (Polymarket), GET /markets/orderbooks (Kalshi)
	RestStatus = "status" // GET /exchange/status (Kalshi)
)

// Input is one thing that happened at the boundary: flat but for Text, which belongs to the caller.
type Input struct {
	Recv  Time
	Text  []byte
	Conn  uint32 // of a venue's connections; 0: none
	Kind  InputKind
	Venue Venue
}
