// Package bench is Labgate's load generator. It sees the gateway from outside
// only: it opens WebSocket connections as devices and as front ends, sends by a
// fixed schedule and checks every delivery.
//
// Latency is measured from the moment a message was due, not from the moment
// it was written (open loop): a gateway that stalls is charged for everything
// that became due meanwhile, so coordinated omission does not arise. Loss and
// order are checked by sample index, for each stream at each receiver, against
// the exact ranges that gateway.lost reports.
//
// One goroutine owns a run: it drives an epoll loop, the schedules and the
// checks, and takes no lock. A run therefore uses at most one core, which is
// how the gateway is measured: server on one core, load on the other. Sockets
// and frame headers are those of bench/internal/wsconn, not internal/wsframe: a
// framing mistake of the gateway cannot hide behind the same mistake here.
package bench
