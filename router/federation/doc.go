// Package federation has what the nodes of a gateway tell each other: the Bus
// between nodes, its contract with the Member on each node, and the accounting of
// the telemetry that goes from node to node.
package federation
