// Package journal is the append-only log of a session: what came in, verbatim, and the events that were made of it.
// Records carry their length and checksum; a torn tail is cut off when a folder is opened again, damage before the last
// flush is an error. FORMAT.md describes every byte.
//
// J1: the events of a session are numbered without a gap. J2: receive times never decrease. J3: what Sync has covered
// reads back, or reading fails: nothing is invented and nothing flushed goes missing silently.
//
// It refuses to know what an input means and when to flush: its owner decides. It has no goroutine; Sync alone may be
// called beside the other methods.
package journal
