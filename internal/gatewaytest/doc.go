// Package gatewaytest has the tools that tests of the shipped command share:
// the binary, built once for all test packages; a gateway as a process; its
// log lines and metrics; a WebSocket over a plain socket; and [Eventually].
//
// The package imports only [protocol] and internal/wsframe of the gateway, so
// tests of nearly all other packages can import it without a cycle.
package gatewaytest
