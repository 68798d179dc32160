// Package acceptance tests the shipped binary from outside, as its users see
// it: real processes, real sockets, real clients in other languages. It holds
// tests only.
package acceptance
