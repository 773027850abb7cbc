// Package data is the vocabulary of arbiter: prices, quantities, money and time as integers; instruments and their
// fees; the event, the command and the book. Every other room speaks in these words.
//
// It promises exactness: decimal text becomes integers directly or is refused, products are 128 bits wide, each
// rounding is named. It imports nothing of ours, and of the standard library nothing that can vary between two runs.
// It refuses to know where events come from and what is decided on them.
package data
