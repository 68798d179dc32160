// Package clusteracceptance tests several nodes as one gateway: real processes
// of the shipped command, a real Redis, and failures of both and of the
// network between them. It has tests only.
package clusteracceptance
