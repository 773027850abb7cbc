package report

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"arbiter/data"
)

// Dollars is an amount with sign and cents' decimals where they suffice.
func Dollars(m data.Money) string { return "$" + strings.Replace(m.String(), "-", "−", 1) }

func newTable(w io.Writer, title string) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Options.DrawBorder = false
	t.Style().Options.SeparateColumns = false
	t.Style().Format.Header = text.FormatDefault
	t.Style().Format.Footer = text.FormatDefault
	if title != "" {
		fmt.Fprintf(w, "\n%s\n", title)
	}
	return t
}

func right(t table.Writer, from, to int) {
	var cs []table.ColumnConfig
	for i := from; i <= to; i++ {
		cs = append(cs, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight})
	}
	t.SetColumnConfigs(cs)
}

// Print writes the console summary.
func (s *Summary) Print(w io.Writer) {
	kind := ""
	if s.Synthetic {
		kind = " · SYNTHETIC DATA: says nothing about real markets"
	}
	if s.Partial {
		kind += " · PARTIAL: stopped before the end"
	}
	fmt.Fprintf(w, "%s to %s (%s) · %d events · %d markets · %d pairs%s\n", s.First, s.Last, s.Last.Sub(s.First), s.Events, s.Markets, s.Pairs, kind)
	s.printFunnel(w)
	s.printMoney(w)
	if len(s.ByPair) > 0 {
		t := newTable(w, "By pair or market")
		t.AppendHeader(table.Row{"", "seen", "tradable", "attempted", "filled", "phantom", "best edge", "leg losses", "net"})
		for _, r := range s.ByPair {
			t.AppendRow(table.Row{r.Pair, r.Seen, r.Tradable, r.Attempted, r.Filled, r.Phantom, Dollars(r.Best), Dollars(r.LegLosses), Dollars(r.Net)})
		}
		right(t, 2, 9)
		t.Render()
	}
	if len(s.Refusals) > 0 {
		t := newTable(w, "Refused by the risk gate (a change of reason within an episode counts once)")
		for _, r := range s.Refusals {
			t.AppendRow(table.Row{r.Name, r.Count})
		}
		right(t, 2, 2)
		t.Render()
	}
	s.printPerturbed(w)
	if len(s.Open) > 0 {
		t := newTable(w, "Open at the end (marked at executable prices after fees; not profit)")
		t.AppendHeader(table.Row{"market", "contracts", "cost", "mark", ""})
		for _, o := range s.Open {
			note := ""
			if !o.Whole {
				note = "the book could not take all of it"
			}
			t.AppendRow(table.Row{short(o.Market), o.Qty, Dollars(o.Cost), Dollars(o.Mark), note})
		}
		right(t, 2, 4)
		t.Render()
	}
	list(w, "Warnings", s.Warnings)
	list(w, "Assumptions", s.Assumptions)
	fmt.Fprintf(w, "\ndigest %s  checkpoint %s\n", s.Digest, s.Checkpoint)
}

func list(w io.Writer, title string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, it := range items {
		fmt.Fprintf(w, "  - %s\n", it)
	}
}

func (s *Summary) printFunnel(w io.Writer) {
	f := &s.Funnel
	t := newTable(w, "Opportunities (distinct episodes, not ticks)")
	t.AppendHeader(table.Row{"seen", "tradable", "attempted", "all legs filled", "median life", "p90", "p99"})
	ms := func(x float64) string { return data.Duration(x * float64(data.Millisecond)).String() }
	t.AppendRow(table.Row{f.Seen, f.Tradable, f.Attempted, f.Filled, ms(s.Durations.P50), ms(s.Durations.P90), ms(s.Durations.P99)})
	right(t, 1, 7)
	t.Render()
	if len(s.Phantom) > 0 && s.Phantom[0].Episodes > 0 {
		t := newTable(w, fmt.Sprintf("Phantom share: of %d two-market episodes, those that never coexisted in exchange time,\nif Kalshi's clock were off by", s.Phantom[0].Episodes))
		var head, row table.Row
		for _, p := range s.Phantom {
			head = append(head, fmt.Sprintf("%+d ms", p.OffsetMS))
			row = append(row, fmt.Sprintf("%.0f %%", p.Share*100))
		}
		t.AppendHeader(head)
		t.AppendRow(row)
		right(t, 1, len(head))
		t.Render()
	}
}

func (s *Summary) printMoney(w io.Writer) {
	m := &s.Money
	t := newTable(w, "Executions, at par (what balanced legs pay in the worst listed branch)")
	t.AppendHeader(table.Row{"gross edge", "fees", "slippage", "leg losses", "net"})
	t.AppendRow(table.Row{Dollars(m.Gross), Dollars(-m.Fees), Dollars(-m.Slippage), Dollars(-m.LegLosses), Dollars(m.Net)})
	right(t, 1, 5)
	t.Render()
	t = newTable(w, "Account")
	t.AppendHeader(table.Row{"deposits", "cash", "locked", "most locked", "realised after fees", "on locked capital, yearly"})
	ret := "-"
	if m.LockedDays > 0 {
		ret = fmt.Sprintf("%.1f %%", m.Return*100)
		if s.Last.Sub(s.First) < data.Day {
			ret = fmt.Sprintf("- (less than a day; %.2f dollar-days)", m.LockedDays)
		}
	}
	t.AppendRow(table.Row{Dollars(m.Deposits), Dollars(m.Cash), Dollars(m.Locked), Dollars(m.LockedMax), Dollars(m.Realised), ret})
	right(t, 1, 6)
	t.Render()
}

func (s *Summary) printPerturbed(w io.Writer) {
	if len(s.Perturbed) == 0 {
		return
	}
	t := newTable(w, "The same decisions in a slightly worse world")
	t.AppendHeader(table.Row{"", "attempted", "filled", "leg losses", "net", "realised"})
	t.AppendRow(table.Row{"as configured", s.Funnel.Attempted, s.Funnel.Filled, Dollars(s.Money.LegLosses), Dollars(s.Money.Net), Dollars(s.Money.Realised)})
	for _, p := range s.Perturbed {
		t.AppendRow(table.Row{p.Name, p.Attempted, p.Filled, Dollars(p.LegLosses), Dollars(p.Net), Dollars(p.Realised)})
	}
	right(t, 2, 6)
	t.Render()
}

// short cuts Polymarket's condition ids to what can be read.
func short(market string) string {
	if len(market) > 48 {
		return market[:24] + "…" + market[len(market)-6:]
	}
	return market
}

// Explain writes why an opportunity was or was not taken, line by line.
func (ep *Episode) Explain(w io.Writer) {
	fmt.Fprintf(w, "Opportunity %d · %s · %s · %s\n", ep.ID, ep.Strategy, ep.Why, ep.Pair)
	fmt.Fprintf(w, "seen %s, ended %s: lived %s\n", ep.Start, ep.End, ep.End.Sub(ep.Start))
	fmt.Fprintf(w, "when first seen: %s contracts of each leg, edge %s after fees, par %s a contract\n", ep.Qty, Dollars(ep.Edge), Dollars(ep.Par))
	if ep.Two {
		if ep.Coexisted[0] {
			fmt.Fprintln(w, "both books coexisted in exchange time")
		} else {
			fmt.Fprintln(w, "PHANTOM: the two books never coexisted in exchange time")
		}
	}
	t := newTable(w, "Legs as planned")
	t.AppendHeader(table.Row{"", "market", "side", "limit", "contracts"})
	for i, l := range ep.Legs {
		t.AppendRow(table.Row{i + 1, short(l.Market), l.Side, l.Limit, l.Qty})
	}
	right(t, 4, 5)
	t.Render()
	for _, b := range ep.Books {
		b.print(w)
	}
	if len(ep.Gate) > 0 {
		t := newTable(w, "Risk gate, when it admitted")
		keys := make([]string, 0, len(ep.Gate))
		for k := range ep.Gate {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			t.AppendRow(table.Row{k, ep.Gate[k]})
		}
		t.Render()
	}
	list(w, "Refused because of", ep.Refusals)
	if len(ep.Orders) == 0 {
		fmt.Fprintln(w, "\nNo order was sent.")
		return
	}
	t = newTable(w, "Orders and fills")
	t.AppendHeader(table.Row{"order", "for", "market", "side", "limit", "contracts", "filled", "price", "fee", "at", "result"})
	for _, o := range ep.Orders {
		t.AppendRow(table.Row{o.ID & 0xffffffff, o.Purpose, short(o.Market), o.Side, o.Limit, o.Qty, o.Filled, "", Dollars(o.Fees), o.Sent, o.Result})
		for _, f := range o.Fills {
			t.AppendRow(table.Row{"", "", "", "", "", "", f.Qty, f.Price, Dollars(f.Fee), f.At, ""})
		}
	}
	right(t, 5, 9)
	t.Render()
	o := &ep.Outcome
	fmt.Fprintf(w, "\nbalanced %s contracts, residual %s: planned %s − slippage %s − leg losses %s = net %s at par (fees %s included)\n", o.Balanced, o.Residual,
		Dollars(o.Planned), Dollars(o.Slippage), Dollars(o.LegLoss), Dollars(o.Net), Dollars(o.Fees))
}

func (b *BookAt) print(w io.Writer) {
	t := newTable(w, fmt.Sprintf("Book of %s at %s (newest message %s, its stamp %s)", short(b.Market), b.At, b.Recv, b.Exch))
	t.AppendHeader(table.Row{"bid size", "bid", "ask", "ask size"})
	for i := range max(len(b.Bids), len(b.Asks)) {
		row := table.Row{"", "", "", ""}
		if i < len(b.Bids) {
			row[0], row[1] = b.Bids[i].Qty, b.Bids[i].Price
		}
		if i < len(b.Asks) {
			row[2], row[3] = b.Asks[i].Price, b.Asks[i].Qty
		}
		t.AppendRow(row)
	}
	right(t, 1, 4)
	t.Render()
}
