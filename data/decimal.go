package data

import (
	"errors"
	"fmt"
)

// ErrDecimal is wrapped by every refusal of a decimal text.
var ErrDecimal = errors.New("not an exact decimal")

// ParseDecimal reads an unsigned decimal such as "0.5300", "12" or ".48" as an integer of the given scale
// (4 for Price, 6 for Qty and Money). It never passes through a float and never rounds: digits beyond the scale must
// be zeros. Signs, exponents, blanks, "5." and superfluous leading zeros are refused.
func ParseDecimal(b []byte, scale int) (int64, error) {
	i, n := 0, len(b)
	var v uint64
	for ; i < n; i++ {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		if v > 1e17 {
			return 0, decimalError(b, "too large")
		}
		v = v*10 + uint64(c)
	}
	if i > 1 && b[0] == '0' {
		return 0, decimalError(b, "superfluous leading zero")
	}
	left := scale
	if i < n {
		if b[i] != '.' {
			return 0, decimalError(b, "unexpected character")
		}
		i++
		if i == n {
			return 0, decimalError(b, "no digit after the point")
		}
		for ; i < n; i++ {
			c := b[i] - '0'
			if c > 9 {
				return 0, decimalError(b, "unexpected character")
			}
			if left == 0 {
				if c != 0 {
					return 0, decimalError(b, "more decimals than the unit has")
				}
				continue
			}
			if v > 1e17 {
				return 0, decimalError(b, "too large")
			}
			v = v*10 + uint64(c)
			left--
		}
	} else if n == 0 {
		return 0, decimalError(b, "empty")
	}
	for ; left > 0; left-- {
		if v > 1e17 {
			return 0, decimalError(b, "too large")
		}
		v *= 10
	}
	return int64(v), nil
}

func decimalError(b []byte, why string) error {
	if len(b) > 40 {
		b = b[:40]
	}
	return fmt.Errorf("%q: %s: %w", b, why, ErrDecimal)
}

// ParsePrice reads a dollar price in [0, 1].
func ParsePrice(b []byte) (Price, error) {
	v, err := ParseDecimal(b, 4)
	if err != nil {
		return 0, err
	}
	if v > int64(One) {
		return 0, decimalError(b, "a price above one dollar")
	}
	return Price(v), nil
}

// ParseQty reads an unsigned quantity of contracts, at most QtyMax.
func ParseQty(b []byte) (Qty, error) {
	v, err := ParseDecimal(b, 6)
	if err != nil {
		return 0, err
	}
	if v > int64(QtyMax) {
		return 0, decimalError(b, "a quantity above one billion contracts")
	}
	return Qty(v), nil
}

// ParseDelta reads a signed change of quantity; a leading minus is allowed, a plus is not.
func ParseDelta(b []byte) (Qty, error) {
	if len(b) > 0 && b[0] == '-' {
		q, err := ParseQty(b[1:])
		return -q, err
	}
	return ParseQty(b)
}

// ParseMoney reads an amount in dollars with at most six decimals; a leading minus is allowed.
func ParseMoney(b []byte) (Money, error) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	v, err := ParseDecimal(b, 6)
	if err != nil {
		return 0, err
	}
	if v > int64(MoneyMax) {
		return 0, decimalError(b, "an amount above one trillion dollars")
	}
	if neg {
		v = -v
	}
	return Money(v), nil
}

// AppendDecimal appends v of the given scale as a decimal with at least minDecimals decimals and no further trailing
// zeros: AppendDecimal(nil, 5300, 4, 0) is "0.53", with minDecimals 4 "0.5300".
func AppendDecimal(dst []byte, v int64, scale, minDecimals int) []byte {
	u := uint64(v)
	if v < 0 {
		dst = append(dst, '-')
		u = -u
	}
	var buf [40]byte
	i := len(buf)
	digits := 0
	trim := true
	for u > 0 || digits <= scale {
		d := byte('0' + u%10)
		u /= 10
		if digits == scale && i < len(buf) {
			i--
			buf[i] = '.'
		}
		if digits < scale && trim && d == '0' && digits < scale-minDecimals {
			digits++
			continue
		}
		trim = false
		i--
		buf[i] = d
		digits++
	}
	return append(dst, buf[i:]...)
}

// String is the price in dollars without trailing zeros, as Polymarket writes it.
func (p Price) String() string { return string(AppendDecimal(nil, int64(p), 4, 0)) }

// String is the quantity in contracts without trailing zeros.
func (q Qty) String() string { return string(AppendDecimal(nil, int64(q), 6, 0)) }

// String is the amount in dollars with two to six decimals.
func (m Money) String() string { return string(AppendDecimal(nil, int64(m), 6, 2)) }
