//go:build linux

// Package load puts the same load on every product: it opens a population of
// WebSocket connections, sends numbered messages by a fixed schedule and checks
// each delivery.
//
// The load is an open loop: latency counts from the moment a message was due,
// whether or not it could be written then. When a server stalls, every message
// that became due during the stall shows the wait. Every message carries its
// number and the time when it was due, and is compared byte for byte with the
// message that was sent, except for bytes that a product is meant to change.
//
// One goroutine owns a Population and does everything in one epoll loop, with
// one read for all bytes that have arrived on a connection: the program uses one
// core, and as little of it as possible.
package load
