// Package gatewaytest is what tests of the shipped command share: the binary,
// built once for all test packages; a gateway as a process of its own; its log
// lines and metrics; a WebSocket over a plain socket; and [Eventually].
//
// The package knows the wire only ([protocol], internal/wsframe). Tests of the
// packages below the command use [Eventually] without a cycle of imports.
package gatewaytest
