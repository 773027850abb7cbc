// Package polymarket is Polymarket's two-way wire codec, its rules (ticks, lots, fees, book hashes) and its Feed: the
// pure machine that turns the venue's messages into events. It holds no sockets, clock or disk.
//
// A market has two tokens with mirrored books; there is one book here, in YES terms (the first outcome's token). The
// mirrored entry is the same liquidity: it is cross-checked, never added.
//
// Sources: docs.polymarket.com (copies of April to August 2026), the official clients' sources, and real messages of
// April to July 2026.
package polymarket
