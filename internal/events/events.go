// Package events says what happens in the gateway: sessions that begin and end,
// refused handshakes and requests, commands, and files that were read again.
// The log listens here; metrics and records of commands can, too.
//
// An event is a struct of values. It holds no payload, no token and no part of
// one. Strings that clients choose (type, id, name, path) have the limits of
// package protocol or are cut off.
package events

import (
	"time"

	"github.com/google/uuid"
)

// Listener is told what happens. Its methods run on the goroutine on which the
// event happens, often an event loop, and with locks of the gateway held. They
// must not block, must not call the gateway, and must be safe for concurrent
// use. A listener that wants only some of the events embeds [Nop].
type Listener interface {
	// SessionBegan tells of a session that was added.
	SessionBegan(SessionBegan)
	// SessionEnded tells of its end, once. A session that ends while it begins
	// may be told to have ended first.
	SessionEnded(SessionEnded)
	// ConnectionRefused tells of a connection beyond a limit.
	ConnectionRefused(ConnectionRefused)
	// HandshakeRefused tells of a WebSocket handshake without a session.
	HandshakeRefused(HandshakeRefused)
	// RequestRefused tells of a request of the HTTP API or the admin listener that
	// was not admitted, or that asks for more than its credential permits.
	RequestRefused(RequestRefused)
	// CommandBegan tells of a command that the gateway has read. It comes before
	// the device can answer.
	CommandBegan(Command)
	// CommandEnded tells of the end of a command that was told to have begun,
	// exactly once.
	CommandEnded(CommandEnded)
	// FileRead tells of a file that was read again, because it has changed or
	// because somebody asked for that.
	FileRead(FileRead)
}

// SessionBegan describes a new session.
type SessionBegan struct {
	Session uuid.UUID
	// Role is "device", "frontend" or "echo".
	Role string
	// Name is the device id, or the user of a front end, "" for none.
	Name string
	// Remote is the client's address.
	Remote string
	// Credential names what let the client in, "" where nothing is asked for.
	Credential string
}

// SessionEnded describes a session's end.
type SessionEnded struct {
	SessionBegan
	// Code is the WebSocket close code, 1006 without a close frame.
	Code int
	// Reason is a close code's name, "connection_lost" or "closed_by_peer".
	Reason string
	// Detail says more for people; it may be "".
	Detail string
	// Duration is how long the session was there.
	Duration time.Duration
}

// ConnectionRefused describes a connection beyond a limit.
type ConnectionRefused struct {
	// Remote is the address of the other end, which may be a proxy.
	Remote string
	// Status is the HTTP status of the answer; under TLS there is none.
	Status int
	// Reason says why, for people.
	Reason string
}

// HandshakeRefused describes a WebSocket handshake without a session.
type HandshakeRefused struct {
	Remote, Path string
	// Status is the HTTP status of the answer. It is 101 when the refusal
	// followed the handshake, as a close frame.
	Status int
	// Origin is the page's origin, "" for programs other than browsers.
	Origin string
	// Credential names the credential that was refused, "" when it is not known.
	Credential string
	// Reason says why, for people; it is what the client was told.
	Reason string
}

// RequestRefused describes a request without a WebSocket that was refused.
type RequestRefused struct {
	Remote, Method, Path string
	// Status is the HTTP status of the answer.
	Status int
	// Credential names the credential that was refused, "" when it is not known.
	Credential string
	// Reason says why, for people; it is what the client was told.
	Reason string
}

// Command describes a command: a message with an id, for a device.
type Command struct {
	// Number is different for all commands of one process. It joins a command's
	// begin and end.
	Number uint64
	// ID is what the asker calls the command, Type its type.
	ID, Type string
	// Device is the device id, Urgent whether the command overtakes others.
	Device string
	Urgent bool
	// Asker is who sent the command.
	Asker
	// Began is when the gateway had read it.
	Began time.Time
}

// Asker is who sends a command.
type Asker struct {
	// Source is the src that the device sees: @user/NAME, @session/UUID, or @api.
	Source string
	// Session is the front end's session, zero for a request of the HTTP API and
	// for an asker on another node.
	Session uuid.UUID
	// Remote is the asker's address, Credential what let it in. Both are "" for
	// an asker on another node.
	Remote, Credential string
	// Node is the node of an asker on another node, "" for this node. Such a
	// command is told of on both nodes.
	Node string
}

// CommandEnded describes a command's end.
type CommandEnded struct {
	Command
	// Outcome is [OutcomeAnswered], [OutcomeAskerGone], or the error code that
	// the asker was told (device_offline, timeout, …).
	Outcome string
	// Duration is the time from Began to the end.
	Duration time.Duration
}

// The outcomes of a command that are not error codes.
const (
	// OutcomeAnswered: the device has answered. Whether the answer says that the
	// device did what it was told is not looked at.
	OutcomeAnswered = "answered"
	// OutcomeAskerGone: the asker ended before the answer came.
	OutcomeAskerGone = "asker_gone"
)

// FileRead describes a file that was read again.
type FileRead struct {
	// Option is the option that names the file, such as "--credential-file". Both
	// are "" where Err names them.
	Option, Path string
	// Changed reports whether what the file holds was put in force.
	Changed bool
	// Credentials is how many tokens or keys of the file are in force; 0 for a
	// certificate.
	Credentials int
	// NotAfter is when the certificate in force ends; zero for credentials.
	NotAfter time.Time
	// Version is the version of the description in force that the file holds, ""
	// for a file that holds none. Removed: the file was removed.
	Version string
	Removed bool
	// Err says why the file cannot be used, nil if it can. What the file held
	// before then stays in force.
	Err error
}

// Nop is a [Listener] that does nothing.
type Nop struct{}

// SessionBegan implements [Listener].
func (Nop) SessionBegan(SessionBegan) {}

// SessionEnded implements [Listener].
func (Nop) SessionEnded(SessionEnded) {}

// ConnectionRefused implements [Listener].
func (Nop) ConnectionRefused(ConnectionRefused) {}

// HandshakeRefused implements [Listener].
func (Nop) HandshakeRefused(HandshakeRefused) {}

// RequestRefused implements [Listener].
func (Nop) RequestRefused(RequestRefused) {}

// CommandBegan implements [Listener].
func (Nop) CommandBegan(Command) {}

// CommandEnded implements [Listener].
func (Nop) CommandEnded(CommandEnded) {}

// FileRead implements [Listener].
func (Nop) FileRead(FileRead) {}
