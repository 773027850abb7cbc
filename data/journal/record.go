package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"arbiter/data"
)

// ErrJournal is wrapped by every refusal of a file's content.
var ErrJournal = errors.New("not a sound journal")

// Version of the format.
const Version = 1

const (
	magic      = "ARBJRNL\n"
	markMagic  = "FLUSHED\n"
	headSize   = 24
	eventSize  = 64
	payloadMax = 16 << 20 // a longer length is damage
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// kind of a record: an input's kind, or one of these.
const (
	kindHeader  = 100 // JSON Header; the first record of a segment
	kindEvents  = 101 // events of one input, 64 bytes each
	kindListing = 102 // u32 index, JSON data.Listing
	kindFees    = 103 // u32 index, JSON data.FeeSchedule
	kindMark    = 104 // markMagic, u64: what lies before this offset of the segment was flushed
	kindEnd     = 105 // JSON End; the last record of a closed segment
	kindSession = 106 // JSON, its writer's own: what a session of decisions needs beside its events to be run again
	kindPairing = 107 // u32 index, JSON data.Pairing
	kindCommand = 108 // commands that the newest event caused, 44 bytes each
	kindDigest  = 109 // u64 Seq, 32 bytes: the decisions' digest after that event
)

const flagKeyframe = 1

// Header says what a segment belongs to.
type Header struct {
	Version  int       `json:"version"`
	Recorder string    `json:"recorder"` // stable name of who records
	Session  string    `json:"session"`  // one run of the recorder
	Commit   string    `json:"commit"`
	Segment  int       `json:"segment"` // within the folder, from 1
	First    bool      `json:"first"`   // the session begins here
	Seq      uint64    `json:"seq"`     // of the last event before this segment
	Began    data.Time `json:"began"`
	Polled   []string  `json:"polled,omitempty"` // venues without a stream: what happened between two polls is not known
}

// End says how a segment ended.
type End struct {
	Seq    uint64    `json:"seq"` // of the last event
	Recv   data.Time `json:"recv"`
	Torn   int64     `json:"torn"`   // bytes that were cut off at recovery
	Reason string    `json:"reason"` // rolled, closed or recovered
}

// Record is one entry as a reader sees it. Which fields are set follows from What.
type Record struct {
	What     What
	Input    data.Input   // What Input; Text is valid until the next record
	Events   []data.Event // What Events; valid until the next record
	Keyframe bool         // the events repeat what was known when the segment began
	Index    uint32       // What Listing and Fees: the dictionary's index
	Listing  data.Listing
	Fees     data.FeeSchedule
	Header   Header
	End      End
	Session  []byte         // What Session; valid until the next record
	Pairing  data.Pairing   // What Pairing, with Index
	Commands []data.Command // What Commands; valid until the next record
	Seq      uint64         // What Digest
	Digest   [32]byte
}

// What a Record is.
type What uint8

// The kinds of records a reader hands over.
const (
	IsHeader What = iota + 1
	IsInput
	IsEvents
	IsListing
	IsFees
	IsEnd
	IsSession
	IsPairing
	IsCommands
	IsDigest
)

// head is a record's first bytes.
type head struct {
	recv  data.Time
	conn  uint32
	kind  uint8
	venue uint8
	flags uint8
}

// appendRecord frames a payload, which is a followed by b.
func appendRecord(dst []byte, h head, a, b []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, headSize)...)
	dst = append(append(dst, a...), b...)
	seal(dst[at:], h)
	return dst
}

// seal fills in the head of a record whose payload stands.
func seal(p []byte, h head) {
	binary.LittleEndian.PutUint32(p[0:], uint32(len(p)-headSize))
	binary.LittleEndian.PutUint64(p[8:], uint64(h.recv))
	binary.LittleEndian.PutUint32(p[16:], h.conn)
	p[20], p[21], p[22] = h.kind, h.venue, h.flags
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(p[8:], castagnoli))
}

// parseRecord reads the record at the start of b; n is its size, 0 if there is no whole and sound one.
func parseRecord(b []byte) (h head, payload []byte, n int) {
	if len(b) < headSize {
		return h, nil, 0
	}
	size := int(binary.LittleEndian.Uint32(b))
	if size > payloadMax || len(b) < headSize+size {
		return h, nil, 0
	}
	p := b[:headSize+size]
	if crc32.Checksum(p[8:], castagnoli) != binary.LittleEndian.Uint32(p[4:]) {
		return h, nil, 0
	}
	h = head{recv: data.Time(binary.LittleEndian.Uint64(p[8:])), conn: binary.LittleEndian.Uint32(p[16:]), kind: p[20], venue: p[21], flags: p[22]}
	return h, p[headSize:], len(p)
}

func appendEvent(dst []byte, e *data.Event) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, e.Seq)
	dst = le.AppendUint64(dst, uint64(e.Recv))
	dst = le.AppendUint64(dst, uint64(e.Exch))
	dst = le.AppendUint64(dst, uint64(e.Order))
	dst = le.AppendUint64(dst, uint64(e.Qty))
	dst = le.AppendUint64(dst, uint64(e.Cash))
	dst = le.AppendUint32(dst, uint32(e.Price))
	dst = le.AppendUint32(dst, uint32(e.Inst))
	dst = le.AppendUint32(dst, e.Arg)
	last := byte(0)
	if e.Last {
		last = 1
	}
	return append(dst, byte(e.Kind), byte(e.Side), last, 0)
}

func parseEvent(b []byte) data.Event {
	le := binary.LittleEndian
	return data.Event{Seq: le.Uint64(b), Recv: data.Time(le.Uint64(b[8:])), Exch: data.Time(le.Uint64(b[16:])), Order: data.OrderID(le.Uint64(b[24:])),
		Qty: data.Qty(le.Uint64(b[32:])), Cash: data.Money(le.Uint64(b[40:])), Price: data.Price(le.Uint32(b[48:])), Inst: data.InstrumentID(le.Uint32(b[52:])),
		Arg: le.Uint32(b[56:]), Kind: data.Kind(b[60]), Side: data.Side(b[61]), Last: b[62] == 1}
}

const commandSize = 44

func appendCommand(dst []byte, c *data.Command) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, c.Cause)
	dst = le.AppendUint64(dst, uint64(c.Order))
	dst = le.AppendUint64(dst, uint64(c.Qty))
	dst = le.AppendUint64(dst, uint64(c.Due))
	dst = le.AppendUint32(dst, uint32(c.Price))
	dst = le.AppendUint32(dst, uint32(c.Inst))
	return append(dst, byte(c.Kind), byte(c.Side), byte(c.TIF), 0)
}

func parseCommand(b []byte) data.Command {
	le := binary.LittleEndian
	return data.Command{Cause: le.Uint64(b), Order: data.OrderID(le.Uint64(b[8:])), Qty: data.Qty(le.Uint64(b[16:])), Due: data.Time(le.Uint64(b[24:])),
		Price: data.Price(le.Uint32(b[32:])), Inst: data.InstrumentID(le.Uint32(b[36:])), Kind: data.CommandKind(b[40]), Side: data.Side(b[41]), TIF: data.TIF(b[42])}
}

// fill decodes a payload into r; more is false for records that concern the journal alone.
func (r *Record) fill(h head, payload []byte) (more bool, err error) {
	switch h.kind {
	case kindHeader:
		r.What, r.Header = IsHeader, Header{}
		return true, json.Unmarshal(payload, &r.Header)
	case kindEnd:
		r.What, r.End = IsEnd, End{}
		return true, json.Unmarshal(payload, &r.End)
	case kindMark:
		return false, nil
	case kindEvents:
		if len(payload) == 0 || len(payload)%eventSize != 0 {
			return false, fmt.Errorf("events of %d bytes", len(payload))
		}
		r.What, r.Keyframe, r.Events = IsEvents, h.flags&flagKeyframe != 0, r.Events[:0]
		for i := 0; i < len(payload); i += eventSize {
			r.Events = append(r.Events, parseEvent(payload[i:]))
		}
		return true, nil
	case kindSession:
		r.What, r.Session = IsSession, payload
		return true, nil
	case kindCommand:
		if len(payload) == 0 || len(payload)%commandSize != 0 {
			return false, fmt.Errorf("commands of %d bytes", len(payload))
		}
		r.What, r.Commands = IsCommands, r.Commands[:0]
		for i := 0; i < len(payload); i += commandSize {
			r.Commands = append(r.Commands, parseCommand(payload[i:]))
		}
		return true, nil
	case kindDigest:
		if len(payload) != 8+len(r.Digest) {
			return false, fmt.Errorf("a digest of %d bytes", len(payload))
		}
		r.What, r.Seq = IsDigest, binary.LittleEndian.Uint64(payload)
		copy(r.Digest[:], payload[8:])
		return true, nil
	case kindListing, kindFees, kindPairing:
		if len(payload) < 4 {
			return false, errors.New("a dictionary record without index")
		}
		r.Index = binary.LittleEndian.Uint32(payload)
		if h.kind == kindListing {
			r.What, r.Listing = IsListing, data.Listing{}
			return true, json.Unmarshal(payload[4:], &r.Listing)
		}
		if h.kind == kindPairing {
			r.What, r.Pairing = IsPairing, data.Pairing{}
			return true, json.Unmarshal(payload[4:], &r.Pairing)
		}
		r.What, r.Fees = IsFees, data.FeeSchedule{}
		return true, json.Unmarshal(payload[4:], &r.Fees)
	}
	if h.kind >= byte(data.InputOpen) && h.kind <= byte(data.InputControl) {
		r.What = IsInput
		r.Input = data.Input{Kind: data.InputKind(h.kind), Venue: data.Venue(h.venue), Conn: h.conn, Recv: h.recv, Text: payload}
		return true, nil
	}
	return false, fmt.Errorf("a record of unknown kind %d: written by a newer version", h.kind)
}
