package sim_test

import (
	"errors"
	"fmt"
	"io"

	"arbiter/data"
	"arbiter/data/tape"
	"arbiter/sim"
	"arbiter/sim/report"
	"arbiter/strategies/engine"
	"arbiter/strategies/example"
)

// A user's own strategy, backtested through the packages, without the command line.
func Example_ownStrategy() {
	set, err := tape.Open("../testdata/tapes/demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	events, err := set.Read(tape.Selection{Venues: []data.Venue{data.Kalshi}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer events.Close()

	cfg := sim.Defaults()
	world, err := sim.NewBacktest(cfg, events, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	mine := example.New(example.Config{PriceMax: 1500, Lot: 5 * data.Contract, Position: 20 * data.Contract, Worth: 300_000})
	e, err := engine.New(engine.Defaults(), events.Dictionary(), mine)
	if err != nil {
		fmt.Println(err)
		return
	}
	results := report.NewCollector(e, []string{"mine"}, cfg.Feed)
	if err := engine.Run(world, e, results.Watch); !errors.Is(err, io.EOF) {
		fmt.Println(err)
		return
	}
	results.Finish()
	s := results.Summary()
	fmt.Printf("%d opportunities, %d attempted, %d filled, realised %s\n", s.Funnel.Seen, s.Funnel.Attempted, s.Funnel.Filled, s.Money.Realised)
}
