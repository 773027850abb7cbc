package polymarket

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"arbiter/data"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// show is what the two directions must agree on: every exported field.
func show(m *Message) string {
	s := fmt.Sprintf("%d %q %q %q %d %v %v %d %d %d %d %d %d %d %d %t %q %q %q %q %q %q %q", m.Type, m.Market, m.Asset, m.Hash, m.Timestamp, m.Bids, m.Asks, m.Price, m.Size, m.Side,
		m.TickOld, m.TickNew, m.Bid, m.Ask, m.MinSize, m.NegRisk, m.LastTrade, m.TxHash, m.Winner, m.Assets, m.Outcomes, m.Question, m.Text)
	for _, c := range m.Changes {
		s += fmt.Sprintf(" [%q %q %d %d %d %d %d]", c.Asset, c.Hash, c.Price, c.Size, c.Side, c.Bid, c.Ask)
	}
	return s
}

func randomText(r *rand.Rand) []byte {
	return []byte([]string{"7132104567925221259462638553270621441222", `a "quoted" \ name`, "tab\tand\nline", "ünïcode ≤ €", "\x01"}[r.IntN(5)])
}

func randomRungs(r *rand.Rand) []data.Rung {
	var out []data.Rung
	for range r.IntN(5) {
		out = append(out, data.Rung{Price: data.Price(1 + r.IntN(9999)), Qty: data.Qty(r.Int64N(1e15))})
	}
	return out
}

// randomMessage fills what its type carries.
func randomMessage(r *rand.Rand) Message {
	price := func() data.Price { return data.Price(1 + r.IntN(9999)) }
	m := Message{Type: MessageType(1 + r.IntN(8)), Market: randomText(r), Timestamp: r.Int64N(1e13)}
	if m.Type != PriceChange && m.Type != NewMarket && m.Type != MarketResolved {
		m.Asset = randomText(r)
	}
	switch m.Type {
	case BookRest, BookSnapshot:
		m.Bids, m.Asks, m.Hash, m.TickNew, m.LastTrade = randomRungs(r), randomRungs(r), randomText(r), price(), []byte("0.5")
		if m.Type == BookRest {
			m.MinSize, m.NegRisk = data.Qty(r.Int64N(1e9)), r.IntN(2) == 0
		}
	case PriceChange:
		for range 1 + r.IntN(3) {
			m.Changes = append(m.Changes, Change{Asset: randomText(r), Hash: randomText(r), Price: price(), Size: data.Qty(r.Int64N(1e15)), Side: data.Side(1 + r.IntN(2)), Bid: price(), Ask: price()})
		}
	case LastTradePrice:
		m.Price, m.Size, m.Side, m.TxHash = price(), data.Qty(r.Int64N(1e15)), data.Side(1+r.IntN(2)), randomText(r)
	case TickSizeChange:
		m.TickOld, m.TickNew = price(), price()
	case BestBidAsk:
		m.Bid, m.Ask = price(), price()
	case NewMarket:
		m.Assets, m.Outcomes, m.Question, m.Text = [2][]byte{randomText(r), randomText(r)}, [2][]byte{randomText(r), randomText(r)}, randomText(r), randomText(r)
	case MarketResolved:
		m.Assets, m.Winner = [2][]byte{randomText(r), randomText(r)}, randomText(r)
	}
	return m
}

func decodeOne(frame []byte) (*Message, error) {
	var d Decoder
	var m Message
	d.Reset(frame)
	_, err := d.Next(&m)
	return &m, err
}

func TestCodec_DecodeOfEncodeIsTheMessage(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 1))
	for n := range 20_000 {
		want := randomMessage(r)
		frame := AppendMessage(nil, &want)
		got, err := decodeOne(frame)
		if err != nil {
			t.Fatalf("seed %d, message %d: %v: %s", *seed, n, err, frame)
		}
		if show(got) != show(&want) {
			t.Fatalf("seed %d, message %d: got\n%s\nwant\n%s\nfrom %s", *seed, n, show(got), show(&want), frame)
		}
	}
}

// A frame may hold fields that are foreign to its type; what is written of it once is written again.
func FuzzCodec_EncodeOfDecodeDecodesToTheSame(f *testing.F) {
	for _, b := range fixtures {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := decodeOne(frame)
		if err != nil || m.Type == Other {
			return
		}
		written := AppendMessage(nil, m)
		again, err := decodeOne(written)
		if err != nil {
			t.Fatalf("%v: %s from %s", err, written, frame)
		}
		if twice := AppendMessage(nil, again); string(twice) != string(written) {
			t.Fatalf("got\n%s\nwant\n%s\nfrom %s", twice, written, frame)
		}
	})
}
