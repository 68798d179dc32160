// Package federation defines how the nodes of a gateway communicate: the Bus
// between nodes, the contract between the Bus and the Member on each node, and the
// accounting of telemetry that goes from node to node.
package federation
