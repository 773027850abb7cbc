package kalshi

import (
	"arbiter/data"
	"arbiter/data/wire"
)

// AppendMessage appends m as the venue writes it: the keys in the order of the real captures (2026-08), prices with
// four decimals, counts with two. What Decode reads from it is m, but for the optional fields that m leaves zero. It is
// the venue's side of the codec: the simulated venue speaks with it.
func AppendMessage(dst []byte, m *Message) []byte {
	num := func(key string, v int64) { dst = data.AppendDecimal(append(dst, key...), v, 0, 0) }
	price := func(key string, p data.Price) {
		dst = append(data.AppendDecimal(append(append(dst, key...), '"'), int64(p), 4, 4), '"')
	}
	count := func(key string, q data.Qty) {
		dst = append(data.AppendDecimal(append(append(dst, key...), '"'), int64(q), 6, 2), '"')
	}
	text := func(key string, v []byte) { dst = wire.AppendString(append(dst, key...), v) }
	envelope := func(name string) {
		dst = append(append(append(dst, `{"type":"`...), name...), '"')
		num(`,"sid":`, m.SID)
		num(`,"seq":`, m.Seq)
	}
	switch m.Type {
	case Snapshot:
		envelope("orderbook_snapshot")
		text(`,"msg":{"market_ticker":`, m.Ticker)
		dst = append(dst, `,"market_id":""`...)
		for _, side := range [2]struct {
			key  string
			from []data.Rung
		}{{`,"yes_dollars_fp":`, m.Yes}, {`,"no_dollars_fp":`, m.No}} {
			if len(side.from) > 0 { // an empty side is absent
				dst = AppendLevels(append(dst, side.key...), side.from)
			}
		}
	case Delta:
		envelope("orderbook_delta")
		text(`,"msg":{"market_ticker":`, m.Ticker)
		dst = append(dst, `,"market_id":""`...)
		price(`,"price_dollars":`, m.Price)
		count(`,"delta_fp":`, m.Qty)
		dst = append(append(append(dst, `,"side":"`...), outcomeName(m.YesSide)...), `","ts":"`...)
		dst = append(appendMicros(dst, m.Time), '"')
		num(`,"ts_ms":`, int64(m.Time)/int64(data.Millisecond))
	case Trade:
		envelope("trade")
		text(`,"msg":{"trade_id":`, m.TradeID)
		text(`,"market_ticker":`, m.Ticker)
		price(`,"yes_price_dollars":`, m.Price)
		price(`,"no_price_dollars":`, m.Price.Complement())
		count(`,"count_fp":`, m.Qty)
		dst = append(append(append(dst, `,"taker_side":"`...), outcomeName(m.YesSide)...), '"')
		if m.Block {
			dst = append(dst, `,"is_block_trade":true`...)
		}
		num(`,"ts":`, int64(m.Time)/int64(data.Second))
		num(`,"ts_ms":`, int64(m.Time)/int64(data.Millisecond))
	case Lifecycle:
		dst = append(dst, `{"type":"market_lifecycle_v2"`...)
		num(`,"sid":`, m.SID)
		text(`,"msg":{"market_ticker":`, m.Ticker)
		text(`,"event_type":`, m.Event)
		if len(m.Result) > 0 {
			text(`,"result":`, m.Result)
		}
		if m.CloseTS != 0 {
			num(`,"close_ts":`, m.CloseTS)
		}
		if m.Time != 0 {
			num(`,"ts_ms":`, int64(m.Time)/int64(data.Millisecond))
		}
	case Subscribed:
		dst = append(dst, `{"type":"subscribed"`...)
		num(`,"id":`, m.ID)
		text(`,"msg":{"channel":`, m.Channel)
		num(`,"sid":`, m.SID)
	case Failure:
		dst = append(dst, `{"type":"error"`...)
		num(`,"id":`, m.ID)
		num(`,"msg":{"code":`, m.Code)
		text(`,"msg":`, m.Text)
	default:
		dst = append(dst, `{"type":"other","msg":{`...)
	}
	return append(dst, `}}`...)
}

func outcomeName(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// AppendLevels appends [["0.0100","33348.00"],…].
func AppendLevels(dst []byte, rs []data.Rung) []byte {
	dst = append(dst, '[')
	for i, r := range rs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = data.AppendDecimal(append(dst, `["`...), int64(r.Price), 4, 4)
		dst = data.AppendDecimal(append(dst, `","`...), int64(r.Qty), 6, 2)
		dst = append(dst, `"]`...)
	}
	return append(dst, ']')
}

// appendMicros appends a stamp as 2026-08-05T00:00:00.123456Z.
func appendMicros(dst []byte, t data.Time) []byte {
	whole := t - t%data.Time(data.Second)
	text := "1970-01-01T00:00:00" // which a Time shows as none
	if whole != 0 {
		text = whole.String()[:len(text)]
	}
	dst = append(dst, text...)
	micros := int64(t-whole)/int64(data.Microsecond) + 1_000_000
	dst = data.AppendDecimal(append(dst, '.'), micros, 0, 0)
	n := len(dst)
	copy(dst[n-7:], dst[n-6:]) // drop the leading 1 that keeps the zeros
	return append(dst[:n-1], 'Z')
}
