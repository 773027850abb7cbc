// Package tape is the recording: a folder of Parquet segments, a dictionary for each source and a manifest that holds
// a hash of every part. FORMAT.md beside this file documents each column.
//
// It promises order: events come back by (Recv, source, Seq), a message never split, whatever way the tape was cut
// into files. It promises honesty: what is read is verified against the manifest before a row of it is used; a
// damaged, truncated or foreign file is refused with its name and the reason. It holds world events only and refuses
// session events. Its memory does not grow with the tape.
package tape
