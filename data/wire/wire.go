// Package wire is a strict JSON scanner over one frame of bytes, for the venues' codecs. It allocates nothing as long
// as strings carry no escapes, returns slices of the frame, and refuses what RFC 8259 refuses: the whole grammar is
// checked, also of the values that are skipped. It knows nothing of venues.
//
// It stands beside the codecs because both read with it and may not import each other; data itself stays free of
// parsing (added to the import table on 2026-11-21).
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrSyntax is wrapped by every refusal of the scanner itself.
var ErrSyntax = errors.New("malformed JSON")

// DepthMax bounds nesting; the venues' messages need five.
const DepthMax = 64

// Scanner reads one frame. The zero Scanner is ready for Reset. After the first failure it stays failed: every method
// returns a zero value and Err tells what happened, so callers check once a message.
type Scanner struct {
	b     []byte
	i     int
	depth int
	fresh bool // the last token opened an object or array
	why   string
	at    int
	text  []byte // unescaped strings of this frame
}

// Reset starts a new frame. Slices returned before stay valid only as long as the old frame does.
func (s *Scanner) Reset(frame []byte) {
	s.b, s.i, s.depth, s.fresh, s.why, s.at = frame, 0, 0, false, "", 0
	s.text = s.text[:0]
}

// Err is nil, or the first failure with its byte offset.
func (s *Scanner) Err() error {
	if s.why == "" {
		return nil
	}
	return fmt.Errorf("at byte %d: %s: %w", s.at, s.why, ErrSyntax)
}

// Fail records a failure at the current position; the first one wins.
func (s *Scanner) Fail(why string) {
	if s.why == "" {
		s.why, s.at = why, s.i
		s.b = nil
		s.i = 0
	}
}

func (s *Scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// Peek is the next byte that is not white space, or 0 at the end.
func (s *Scanner) Peek() byte {
	if s.i < len(s.b) && s.b[s.i] > ' ' {
		return s.b[s.i]
	}
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// Open consumes '{' or '['.
func (s *Scanner) Open(c byte) bool {
	if s.Peek() != c {
		if c == '{' {
			s.Fail("expected an object")
		} else {
			s.Fail("expected an array")
		}
		return false
	}
	if s.depth++; s.depth > DepthMax {
		s.Fail("nested too deeply")
		return false
	}
	s.i++
	s.fresh = true
	return true
}

// More says that another member follows, consuming the comma before it or the closing bracket c.
func (s *Scanner) More(c byte) bool {
	if !s.fresh && s.i < len(s.b) && s.b[s.i] == ',' {
		s.i++
		return true
	}
	return s.more(c)
}

func (s *Scanner) more(c byte) bool {
	p := s.Peek()
	if p == c {
		s.i++
		s.depth--
		s.fresh = false
		return false
	}
	if s.fresh {
		s.fresh = false
		if p == 0 {
			s.Fail("unexpected end")
			return false
		}
		return true
	}
	if p != ',' {
		s.Fail("expected a comma or the end of the object or array")
		return false
	}
	s.i++
	return true
}

// Key reads a member's name and its colon.
func (s *Scanner) Key() []byte {
	k := s.String()
	if s.i < len(s.b) && s.b[s.i] == ':' {
		s.i++
		return k
	}
	if s.Peek() != ':' {
		s.Fail("expected a colon")
		return nil
	}
	s.i++
	return k
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// String reads a string. Without escapes it is a slice of the frame.
func (s *Scanner) String() []byte {
	b, i := s.b, s.i
	if uint(i) >= uint(len(b)) || b[i] != '"' {
		if s.Peek() != '"' {
			s.Fail("expected a string")
			return nil
		}
		i = s.i
	}
	i++
	start := i
	for i+8 <= len(b) {
		// The lowest set bit marks the first byte that is a quote, a backslash, a control character or beyond ASCII;
		// borrows can only spoil bytes above it.
		x := binary.LittleEndian.Uint64(b[i:])
		quote := x ^ (ones * '"')
		slash := x ^ (ones * '\\')
		hit := (((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((x - ones*0x20) &^ x) | x) & highs
		if hit != 0 {
			i += bits.TrailingZeros64(hit) >> 3
			if b[i] == '"' {
				s.i = i + 1
				return b[start:i:i]
			}
			return s.slowString(start, i)
		}
		i += 8
	}
	for i < len(b) {
		c := b[i]
		if c == '"' {
			s.i = i + 1
			return b[start:i:i]
		}
		if c == '\\' || c < 0x20 || c >= 0x80 {
			return s.slowString(start, i)
		}
		i++
	}
	s.i = len(b)
	s.Fail("unterminated string")
	return nil
}

// slowString reads the rest of a string that holds escapes or characters beyond ASCII.
func (s *Scanner) slowString(start, i int) []byte {
	b := s.b
	escaped := false
	for j := i; ; j++ {
		if j >= len(b) {
			s.i = len(b)
			s.Fail("unterminated string")
			return nil
		}
		switch c := b[j]; {
		case c == '"':
			if !utf8.Valid(b[start:j]) {
				s.i = start
				s.Fail("invalid UTF-8 in a string")
				return nil
			}
			s.i = j + 1
			if !escaped {
				return b[start:j:j]
			}
			return s.unescape(b[start:j])
		case c < 0x20:
			s.i = j
			s.Fail("control character in a string")
			return nil
		case c == '\\':
			escaped = true
			j++
		}
	}
}

func (s *Scanner) unescape(raw []byte) []byte {
	from := len(s.text)
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			s.text = append(s.text, c)
			continue
		}
		i++
		switch raw[i] {
		case '"', '\\', '/':
			s.text = append(s.text, raw[i])
		case 'b':
			s.text = append(s.text, '\b')
		case 'f':
			s.text = append(s.text, '\f')
		case 'n':
			s.text = append(s.text, '\n')
		case 'r':
			s.text = append(s.text, '\r')
		case 't':
			s.text = append(s.text, '\t')
		case 'u':
			r := hex4(raw, i+1)
			if r < 0 {
				s.Fail("malformed \\u escape")
				return nil
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+2 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
					low = hex4(raw, i+3)
				}
				r = utf16.DecodeRune(r, low)
				if r != utf8.RuneError {
					i += 6
				}
			}
			s.text = utf8.AppendRune(s.text, r)
		default:
			s.Fail("unknown escape")
			return nil
		}
	}
	return s.text[from:len(s.text):len(s.text)]
}

func hex4(b []byte, i int) rune {
	if i+4 > len(b) {
		return -1
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// Number reads a number and returns its text.
func (s *Scanner) Number() []byte {
	c := s.Peek()
	if c != '-' && (c < '0' || c > '9') {
		s.Fail("expected a number")
		return nil
	}
	b, i := s.b, s.i
	start := i
	digits := func() bool {
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		s.Fail("malformed number")
		return nil
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			s.Fail("malformed number")
			return nil
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			s.Fail("malformed number")
			return nil
		}
	}
	s.i = i
	return b[start:i:i]
}

// Int reads a number that must be an integer of at most 18 digits.
func (s *Scanner) Int() int64 {
	if c := s.Peek(); c >= '1' && c <= '9' {
		b, i := s.b, s.i
		var v int64
		for i < len(b) && b[i]-'0' <= 9 {
			v = v*10 + int64(b[i]-'0')
			i++
		}
		if i-s.i <= 18 && i < len(b) && b[i] != '.' && b[i]|0x20 != 'e' {
			s.i = i
			return v
		}
	}
	t := s.Number()
	v, ok := ParseInt(t)
	if !ok {
		s.Fail("expected an integer")
	}
	return v
}

// Literal consumes text if the frame goes on with exactly these bytes. Codecs use it to read the layout that a venue
// really sends without looking up each key; on false nothing is consumed.
func (s *Scanner) Literal(text string) bool {
	if len(s.b)-s.i < len(text) || string(s.b[s.i:s.i+len(text)]) != text {
		return false
	}
	s.i += len(text)
	return true
}

// AtEnd says that the whole frame is consumed, without a failure.
func (s *Scanner) AtEnd() bool { return s.why == "" && s.i == len(s.b) }

// ParseInt reads an optional minus and 1 to 18 digits.
func ParseInt(t []byte) (int64, bool) {
	neg := len(t) > 0 && t[0] == '-'
	if neg {
		t = t[1:]
	}
	if len(t) == 0 || len(t) > 18 {
		return 0, false
	}
	var v int64
	for _, c := range t {
		c -= '0'
		if c > 9 {
			return 0, false
		}
		v = v*10 + int64(c)
	}
	if neg {
		v = -v
	}
	return v, true
}

// Bool reads true or false.
func (s *Scanner) Bool() bool {
	switch s.Peek() {
	case 't':
		s.literal("true")
		return s.why == ""
	case 'f':
		s.literal("false")
		return false
	}
	s.Fail("expected true or false")
	return false
}

// Null consumes null if it is next.
func (s *Scanner) Null() bool {
	if s.Peek() != 'n' {
		return false
	}
	s.literal("null")
	return s.why == ""
}

func (s *Scanner) literal(w string) {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		s.Fail("malformed literal")
		return
	}
	s.i += len(w)
}

// Skip consumes any value, checking its grammar.
func (s *Scanner) Skip() {
	switch s.Peek() {
	case '{':
		s.Open('{')
		for s.More('}') {
			s.Key()
			s.Skip()
		}
	case '[':
		s.Open('[')
		for s.More(']') {
			s.Skip()
		}
	case '"':
		_ = s.String()
	case 't', 'f':
		s.Bool()
	case 'n':
		s.Null()
	default:
		s.Number()
	}
	s.fresh = false
}

// End requires that nothing but white space is left.
func (s *Scanner) End() {
	if s.why == "" && s.Peek() != 0 {
		s.Fail("data after the message")
	} else if s.why == "" && s.i < len(s.b) {
		s.Fail("data after the message")
	}
}

// Pos is the offset of the next byte: a caller that keeps the frame can take a value's bytes verbatim.
func (s *Scanner) Pos() int { return s.i }
