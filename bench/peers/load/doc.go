//go:build linux

// Package load puts the same load on every product: it opens a population of
// WebSocket connections, sends numbered messages by a fixed schedule and checks
// each delivery.
//
// It is an open loop: latency counts from the moment a message was due,
// whether or not it could be written then, so a server that stalls is charged
// for what became due meanwhile. Every message carries its number and that
// moment, and is compared with what was sent, byte for byte but for what a
// product is meant to change.
//
// One goroutine owns a Population and does everything in one epoll loop, with
// one read for whatever has come on a connection, so that it uses one core and
// as little of it as possible.
package load
