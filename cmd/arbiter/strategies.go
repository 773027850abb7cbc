package main

import (
	"arbiter/strategies"
	"arbiter/strategies/basket"
	"arbiter/strategies/cross"
	"arbiter/strategies/parity"
)

// strategyNames are the families that the command line knows; a new one is a line here and in newStrategies.
var strategyNames = []string{"cross", "parity", "basket"}

func newStrategies(s *settings) []strategies.Strategy {
	var out []strategies.Strategy
	for _, name := range s.strategies {
		switch name {
		case "cross":
			out = append(out, cross.New(s.cross))
		case "parity":
			out = append(out, parity.New(s.parity))
		case "basket":
			out = append(out, basket.New(s.basket))
		}
	}
	return out
}
