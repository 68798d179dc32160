// Package soak runs everything at once against the shipped command, and
// balances the books: make soak for ten minutes, make test for some seconds.
package soak
