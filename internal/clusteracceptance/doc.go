// Package clusteracceptance tests several nodes as one: real processes of the
// shipped command, a real Redis, and what may happen to either and between
// them. It holds tests only.
package clusteracceptance
