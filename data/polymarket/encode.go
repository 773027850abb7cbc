package polymarket

import (
	"arbiter/data"
	"arbiter/data/wire"
)

// AppendMessage appends m as the venue writes it: the keys in the order of the real captures (2026-04 to 2026-07),
// numbers as strings without trailing zeros. What Decode reads from it is m, but for the optional fields that m leaves
// zero. It is the venue's side of the codec: the simulated venue speaks with it.
func AppendMessage(dst []byte, m *Message) []byte {
	text := func(key string, v []byte) {
		dst = append(dst, key...)
		dst = wire.AppendString(dst, v)
	}
	price := func(key string, p data.Price) {
		dst = append(append(dst, key...), '"')
		dst = append(data.AppendDecimal(dst, int64(p), 4, 0), '"')
	}
	qty := func(key string, q data.Qty) {
		dst = append(append(dst, key...), '"')
		dst = append(data.AppendDecimal(dst, int64(q), 6, 0), '"')
	}
	stamp := func() {
		dst = append(dst, `,"timestamp":"`...)
		dst = append(data.AppendDecimal(dst, m.Timestamp, 0, 0), '"')
	}
	end := func(eventType string) []byte {
		return append(append(append(dst, `,"event_type":"`...), eventType...), `"}`...)
	}
	if m.Type == Pong {
		return append(dst, "PONG"...)
	}
	text(`{"market":`, m.Market)
	switch m.Type {
	case BookSnapshot, BookRest:
		text(`,"asset_id":`, m.Asset)
		stamp()
		if len(m.Hash) > 0 {
			text(`,"hash":`, m.Hash)
		}
		dst = append(appendRungs(append(dst, `,"bids":[`...), m.Bids), `],"asks":[`...)
		dst = append(appendRungs(dst, m.Asks), ']')
		if m.Type == BookRest {
			qty(`,"min_order_size":`, m.MinSize)
		}
		if m.TickNew != 0 {
			price(`,"tick_size":`, m.TickNew)
		}
		if m.Type == BookRest {
			dst = append(dst, `,"neg_risk":`...)
			dst = appendBool(dst, m.NegRisk)
			text(`,"last_trade_price":`, m.LastTrade)
			return append(dst, '}')
		}
		if len(m.LastTrade) > 0 {
			text(`,"last_trade_price":`, m.LastTrade)
		}
		return end("book")
	case PriceChange:
		dst = append(dst, `,"price_changes":[`...)
		for i := range m.Changes {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendChange(dst, &m.Changes[i])
		}
		dst = append(dst, ']')
		stamp()
		return end("price_change")
	case LastTradePrice:
		text(`,"asset_id":`, m.Asset)
		price(`,"price":`, m.Price)
		qty(`,"size":`, m.Size)
		dst = append(append(append(dst, `,"side":"`...), sideName(m.Side)...), `","fee_rate_bps":"0"`...)
		stamp()
		text(`,"transaction_hash":`, m.TxHash)
		return end("last_trade_price")
	case TickSizeChange:
		text(`,"asset_id":`, m.Asset)
		price(`,"old_tick_size":`, m.TickOld)
		price(`,"new_tick_size":`, m.TickNew)
		stamp()
		return end("tick_size_change")
	case BestBidAsk:
		text(`,"asset_id":`, m.Asset)
		price(`,"best_bid":`, m.Bid)
		price(`,"best_ask":`, m.Ask)
		price(`,"spread":`, max(0, m.Ask-m.Bid))
		stamp()
		return end("best_bid_ask")
	case NewMarket, MarketResolved:
		dst = appendCouple(append(dst, `,"assets_ids":`...), &m.Assets)
		if m.Type == MarketResolved {
			text(`,"winning_asset_id":`, m.Winner)
			stamp()
			return end("market_resolved")
		}
		dst = appendCouple(append(dst, `,"outcomes":`...), &m.Outcomes)
		text(`,"question":`, m.Question)
		text(`,"description":`, m.Text)
		stamp()
		return end("new_market")
	}
	stamp()
	return end("other")
}

func sideName(s data.Side) string {
	if s == data.Buy {
		return "BUY"
	}
	return "SELL"
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

func appendCouple(dst []byte, c *[2][]byte) []byte {
	dst = wire.AppendString(append(dst, '['), c[0])
	return append(wire.AppendString(append(dst, ','), c[1]), ']')
}

func appendChange(dst []byte, c *Change) []byte {
	dst = wire.AppendString(append(dst, `{"asset_id":`...), c.Asset)
	dst = data.AppendDecimal(append(dst, `,"price":"`...), int64(c.Price), 4, 0)
	dst = data.AppendDecimal(append(dst, `","size":"`...), int64(c.Size), 6, 0)
	dst = append(append(dst, `","side":"`...), sideName(c.Side)...)
	dst = wire.AppendString(append(dst, `","hash":`...), c.Hash)
	dst = data.AppendDecimal(append(dst, `,"best_bid":"`...), int64(c.Bid), 4, 0)
	dst = data.AppendDecimal(append(dst, `","best_ask":"`...), int64(c.Ask), 4, 0)
	return append(dst, `"}`...)
}
