// Package soak runs all kinds of load and failure at once against the shipped
// command, and accounts for every sample and command: for ten minutes in make
// soak, for some seconds in make test.
package soak
