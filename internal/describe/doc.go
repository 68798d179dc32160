// Package describe checks the descriptions of devices (package
// protocol/description), and checks commands against the schemas in them.
//
// Parse checks a description against the published JSON Schema, compiles the
// schema of each action's input, and proves a bound on the cost of a check
// (cost.go). Check checks the payload of one command (check.go).
//
// Descriptions come from devices, and payloads from front ends, so nothing here
// may take long, whatever the text: docs/decisions/0013-descriptions.md says how
// the time is bounded.
package describe
