package engine

import (
	"crypto/sha256"
	"encoding/binary"

	"arbiter/data"
)

// Digest is a running hash over every command and every refusal, by native keys: dense ids, which depend on what else
// was selected, are not in it.
type Digest struct {
	sum [sha256.Size]byte
	buf [sha256.Size + 96]byte
	n   int
}

func (d *Digest) begin(tag byte) {
	copy(d.buf[:], d.sum[:])
	d.buf[sha256.Size] = tag
	d.n = sha256.Size + 1
}

func (d *Digest) word(x uint64) {
	binary.LittleEndian.PutUint64(d.buf[d.n:], x)
	d.n += 8
}

func (d *Digest) end() { d.sum = sha256.Sum256(d.buf[:d.n]) }

func (d *Digest) command(c *data.Command, key uint64) {
	d.begin('c')
	d.word(uint64(c.Kind) | uint64(c.Side)<<8 | uint64(c.TIF)<<16)
	d.word(uint64(c.Order))
	d.word(key)
	d.word(uint64(c.Price))
	d.word(uint64(c.Qty))
	d.word(uint64(c.Due))
	d.end()
}

func (d *Digest) refusal(now data.Time, r Refusal, keys [2]uint64, q data.Qty) {
	d.begin('r')
	d.word(uint64(now))
	d.word(uint64(r))
	d.word(keys[0])
	d.word(keys[1])
	d.word(uint64(q))
	d.end()
}

// Sum is the digest so far.
func (d *Digest) Sum() [sha256.Size]byte { return d.sum }

// mix folds x into a fast 64-bit state hash (multiply and shift; for locating differences, not for security).
func mix(h, x uint64) uint64 {
	h ^= x
	h *= 0x9E3779B97F4A7C15
	return h ^ h>>29
}
