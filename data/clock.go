package data

import "fmt"

// The calendar below is the proleptic Gregorian calendar in UTC, computed on integers (Howard Hinnant's published
// days-from-civil method restated), because this room may not import the standard library's clock package.

func daysFromCivil(y, m, d int64) int64 {
	if m <= 2 {
		y--
	}
	era := y / 400
	if y < 0 {
		era = (y - 399) / 400
	}
	yoe := y - era*400
	mp := (m + 9) % 12
	doy := (153*mp+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return era*146097 + doe - 719468
}

func civilFromDays(z int64) (y, m, d int64) {
	z += 719468
	era := z / 146097
	if z < 0 {
		era = (z - 146096) / 146097
	}
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = doy - (153*mp+2)/5 + 1
	m = mp + 3
	if m > 12 {
		m -= 12
	}
	y = yoe + era*400
	if m <= 2 {
		y++
	}
	return y, m, d
}

// ParseTime reads an RFC 3339 instant in UTC ("2026-08-10T23:46:17.241218Z") or with a numeric offset, to the
// nanosecond. Further digits must be zeros. Years 1970 to 2200.
func ParseTime(b []byte) (Time, error) {
	bad := func(why string) (Time, error) {
		if len(b) > 40 {
			b = b[:40]
		}
		return 0, fmt.Errorf("%q: %s: not an RFC 3339 time", b, why)
	}
	if len(b) < 20 || b[4] != '-' || b[7] != '-' || (b[10] != 'T' && b[10] != ' ') || b[13] != ':' || b[16] != ':' {
		return bad("shape")
	}
	num := func(i, j int) int64 {
		var v int64
		for ; i < j; i++ {
			c := b[i] - '0'
			if c > 9 {
				return -1
			}
			v = v*10 + int64(c)
		}
		return v
	}
	y, mo, d := num(0, 4), num(5, 7), num(8, 10)
	h, mi, s := num(11, 13), num(14, 16), num(17, 19)
	if y < 1970 || y > 2200 || mo < 1 || mo > 12 || d < 1 || d > monthDays(y, mo) || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 59 {
		return bad("out of range")
	}
	var nanos, unit int64 = 0, 100_000_000
	i := 19
	if b[i] == '.' {
		i++
		start := i
		for ; i < len(b) && b[i]-'0' <= 9; i++ {
			nanos += int64(b[i]-'0') * unit
			if unit == 0 && b[i] != '0' {
				return bad("finer than a nanosecond")
			}
			unit /= 10
		}
		if i == start {
			return bad("no digit after the point")
		}
	}
	var shift int64
	rest := b[i:]
	switch {
	case len(rest) == 1 && (rest[0] == 'Z' || rest[0] == 'z'):
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		oh, om := num(i+1, i+3), num(i+4, i+6)
		if oh < 0 || oh > 23 || om < 0 || om > 59 {
			return bad("offset")
		}
		shift = (oh*60 + om) * 60
		if rest[0] == '-' {
			shift = -shift
		}
	default:
		return bad("zone")
	}
	sec := daysFromCivil(y, mo, d)*86400 + h*3600 + mi*60 + s - shift
	return Time(sec*1_000_000_000 + nanos), nil
}

func monthDays(y, m int64) int64 {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// String is t in RFC 3339, UTC, with milliseconds or, where they matter, nanoseconds; "-" when absent.
func (t Time) String() string {
	if t == 0 {
		return "-"
	}
	days := t.UTCDay()
	y, m, d := civilFromDays(days)
	rest := int64(t) - days*int64(Day)
	sec, nanos := rest/1_000_000_000, rest%1_000_000_000
	if nanos%1_000_000 == 0 {
		return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", y, m, d, sec/3600, sec/60%60, sec%60, nanos/1_000_000)
	}
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", y, m, d, sec/3600, sec/60%60, sec%60, nanos)
}

// String is d in a unit that suits its size: 250ms, 1.5s, 2m3s, 4h5m.
func (d Duration) String() string {
	neg := ""
	if d < 0 {
		neg, d = "-", -d
	}
	switch {
	case d == 0:
		return "0s"
	case d < Millisecond:
		return neg + string(AppendDecimal(nil, int64(d), 3, 0)) + "µs"
	case d < Second:
		return neg + string(AppendDecimal(nil, int64(d/1000), 3, 0)) + "ms"
	case d < Minute:
		return neg + string(AppendDecimal(nil, int64(d/Millisecond), 3, 0)) + "s"
	case d < Hour:
		return fmt.Sprintf("%s%dm%ds", neg, d/Minute, d%Minute/Second)
	case d < Day:
		return fmt.Sprintf("%s%dh%dm", neg, d/Hour, d%Hour/Minute)
	}
	return fmt.Sprintf("%s%dd%dh", neg, d/Day, d%Day/Hour)
}
