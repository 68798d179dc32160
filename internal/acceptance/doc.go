// Package acceptance tests the shipped binary as its users see it: real
// processes, real sockets, real clients in other languages. It has tests only.
package acceptance
