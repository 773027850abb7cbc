package polymarket

import (
	"crypto/sha1"
	"encoding/hex"

	"arbiter/data"
)

// HashInput is what a book hash covers, in the venue's own key order (official Python client, PR 232, 2025-12-30;
// 40 real hashes reproduce). Prices and sizes are written as the venue writes them: no trailing zeros.
type HashInput struct {
	Market, Asset []byte
	Timestamp     int64 // milliseconds; negative means the empty string
	Bids, Asks    []data.Rung
	MinSize       data.Qty
	Tick          data.Price
	NegRisk       bool
	LastTrade     []byte
}

// AppendPreimage appends the text that is hashed: bids ascending, asks descending, best last in both.
func (h *HashInput) AppendPreimage(dst []byte) []byte {
	dst = append(dst, `{"market":"`...)
	dst = append(dst, h.Market...)
	dst = append(dst, `","asset_id":"`...)
	dst = append(dst, h.Asset...)
	dst = append(dst, `","timestamp":"`...)
	if h.Timestamp >= 0 {
		dst = data.AppendDecimal(dst, h.Timestamp, 0, 0)
	}
	dst = append(dst, `","hash":"","bids":[`...)
	dst = appendRungs(dst, h.Bids)
	dst = append(dst, `],"asks":[`...)
	dst = appendRungs(dst, h.Asks)
	dst = append(dst, `],"min_order_size":"`...)
	dst = data.AppendDecimal(dst, int64(h.MinSize), 6, 0)
	dst = append(dst, `","tick_size":"`...)
	dst = data.AppendDecimal(dst, int64(h.Tick), 4, 0)
	dst = append(dst, `","neg_risk":`...)
	if h.NegRisk {
		dst = append(dst, "true"...)
	} else {
		dst = append(dst, "false"...)
	}
	dst = append(dst, `,"last_trade_price":"`...)
	dst = append(dst, h.LastTrade...)
	return append(dst, `"}`...)
}

func appendRungs(dst []byte, rs []data.Rung) []byte {
	for i, r := range rs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"price":"`...)
		dst = data.AppendDecimal(dst, int64(r.Price), 4, 0)
		dst = append(dst, `","size":"`...)
		dst = data.AppendDecimal(dst, int64(r.Qty), 6, 0)
		dst = append(dst, `"}`...)
	}
	return dst
}

// AppendHash appends the hash in hex. scratch is reused for the preimage and returned grown.
func (h *HashInput) AppendHash(dst, scratch []byte) (hash, grown []byte) {
	scratch = h.AppendPreimage(scratch[:0])
	sum := sha1.Sum(scratch)
	return hex.AppendEncode(dst, sum[:]), scratch
}
