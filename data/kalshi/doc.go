// Package kalshi is Kalshi's two-way wire codec, its fee rules and its Feed: the pure machine that turns the venue's
// messages into events. It holds no sockets, clock or disk.
//
// NO bids become YES asks here, once. A required field that is missing or of another type is an error that names it,
// never a zero; unknown fields are tolerated, because the venue adds them.
//
// Sources: docs.kalshi.com (AsyncAPI 2.0.0 and OpenAPI 3.26, copies of spring and summer 2026) and real messages of
// August 2026.
package kalshi
