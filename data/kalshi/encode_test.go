package kalshi

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"arbiter/data"
	"arbiter/testdata/captures"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// show is what the two directions must agree on: every exported field.
func show(m *Message) string {
	return fmt.Sprintf("%d %d %d %d %q %v %v %d %d %t %d %q %t %q %d %q %q %q %d", m.Type, m.SID, m.Seq, m.ID, m.Ticker, m.Yes, m.No, m.Price, m.Qty, m.YesSide, m.Time, m.TradeID,
		m.Block, m.Channel, m.Code, m.Text, m.Event, m.Result, m.CloseTS)
}

func randomRungs(r *rand.Rand) []data.Rung {
	var out []data.Rung
	for range r.IntN(5) {
		out = append(out, data.Rung{Price: data.Price(1 + r.IntN(9999)), Qty: data.Qty(r.Int64N(1e11)) * 10_000})
	}
	return out
}

func randomText(r *rand.Rand) []byte {
	return []byte([]string{"KXTEST-1", `a "quoted" \ name`, "tab\tand\nline", "ünïcode ≤ €", "\x01"}[r.IntN(5)])
}

// randomMessage fills what its type carries.
func randomMessage(r *rand.Rand) Message {
	m := Message{Type: MessageType(1 + r.IntN(6))}
	if m.Type <= Trade {
		m.SID, m.Seq, m.Ticker = r.Int64N(1000), r.Int64N(1e12), randomText(r)
	}
	switch m.Type {
	case Snapshot:
		m.Yes, m.No = randomRungs(r), randomRungs(r)
	case Delta:
		m.Price, m.Qty, m.YesSide = data.Price(1+r.IntN(9999)), data.Qty(r.Int64N(1e9)-5e8)*10_000, r.IntN(2) == 0
		m.Time = data.Time(1+r.Int64N(1e15)) * data.Time(data.Microsecond)
	case Trade:
		m.TradeID, m.Price, m.Qty, m.YesSide, m.Block = randomText(r), data.Price(1+r.IntN(9999)), data.Qty(r.Int64N(1e9))*10_000, r.IntN(2) == 0, r.IntN(2) == 0
		m.Time = data.Time(1+r.Int64N(1e12)) * data.Time(data.Millisecond)
	case Lifecycle:
		m.SID, m.Ticker, m.Event, m.Result, m.CloseTS = 4, randomText(r), []byte("determined"), []byte("yes"), r.Int64N(1e9)
		m.Time = data.Time(1+r.Int64N(1e12)) * data.Time(data.Millisecond)
	case Subscribed:
		m.ID, m.Channel, m.SID = r.Int64N(100), randomText(r), 1+r.Int64N(100)
	case Failure:
		m.ID, m.Code, m.Text = r.Int64N(100), r.Int64N(30), randomText(r)
	}
	return m
}

func TestCodec_DecodeOfEncodeIsTheMessage(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 1))
	var d Decoder
	var got Message
	for n := range 20_000 {
		want := randomMessage(r)
		frame := AppendMessage(nil, &want)
		if err := d.Decode(frame, &got); err != nil {
			t.Fatalf("seed %d, message %d: %v: %s", *seed, n, err, frame)
		}
		if show(&got) != show(&want) {
			t.Fatalf("seed %d, message %d: got\n%s\nwant\n%s\nfrom %s", *seed, n, show(&got), show(&want), frame)
		}
	}
}

// agree decodes a frame, and again what is written of it.
func agree(t *testing.T, frame []byte) {
	t.Helper()
	var d Decoder
	var m, again Message
	if d.Decode(frame, &m) != nil || m.Type == Other {
		return
	}
	written := AppendMessage(nil, &m)
	if err := d.Decode(written, &again); err != nil {
		t.Fatalf("%v: %s from %s", err, written, frame)
	}
	if m.Type == Trade { // its stamp has milliseconds only
		m.Time -= m.Time % data.Time(data.Millisecond)
	}
	if show(&again) != show(&m) {
		t.Fatalf("got\n%s\nwant\n%s\nfrom %s", show(&again), show(&m), frame)
	}
}

func TestCodec_RealMessagesSurviveBothWays(t *testing.T) {
	const window = "KXGOLD15M-26AUG050000-00"
	for _, line := range captures.Lines(t, captures.Path(t, "kalshi", "gold15m", "events", window)) {
		i := bytes.Index(line, []byte(`"event":`))
		agree(t, bytes.TrimSpace(line[i+len(`"event":`):len(line)-1]))
	}
}

// A frame may hold fields that are foreign to its type; what is written of it once is written again.
func FuzzCodec_EncodeOfDecodeDecodesToTheSame(f *testing.F) {
	for _, b := range fixtures {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var d Decoder
		var m, again Message
		if d.Decode(frame, &m) != nil || m.Type == Other {
			return
		}
		written := AppendMessage(nil, &m)
		if err := d.Decode(written, &again); err != nil {
			t.Fatalf("%v: %s from %s", err, written, frame)
		}
		if twice := AppendMessage(nil, &again); string(twice) != string(written) {
			t.Fatalf("got\n%s\nwant\n%s\nfrom %s", twice, written, frame)
		}
	})
}
