// Package bench is Labgate's load generator. The gateway is a black box: the
// generator opens WebSocket connections as devices and front ends, sends by a
// fixed schedule and checks every delivery.
//
// Latency is measured from the moment a message was due, not from the moment
// it was written (open loop): when a gateway stalls, every message that became
// due during the stall shows the wait, so there is no coordinated omission. Loss
// and order are checked by sample index, for each stream at each receiver,
// against the exact ranges that gateway.lost reports.
//
// One goroutine owns a run: it drives an epoll loop, the schedules and the
// checks, and takes no lock. A run therefore uses at most one core, and the
// gateway can be measured on another one. Sockets and frame headers are those of
// bench/internal/wsconn, not internal/wsframe: a framing mistake of the gateway
// cannot hide behind the same mistake here.
package bench
