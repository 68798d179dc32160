// Package description declares the description of a device: what the device's
// channels are, which commands it takes, and which messages it sends. Every
// program that knows the description can show and command the device, without
// knowing its kind beforehand. docs/description.md explains each field with
// examples.
//
// A device sends its description with [protocol.TypeDescribe], or a file in the
// gateway's --descriptions directory speaks for the device. The gateway checks a
// description against [Schema]; this package only declares the types.
//
// The terms are those of the W3C Web of Things Thing Description 1.1 where it
// has a term.
package description
