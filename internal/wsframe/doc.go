// Package wsframe reads and writes RFC 6455 (WebSocket) frames for both sides
// of a connection. It knows nothing of sockets: bytes go in through
// [Reader.Feed] in whatever pieces the network made of them, messages and
// control frames come out through a [Handler], and the Append functions build
// frames to send.
//
// The reader is strict (every rule of RFC 6455 that a receiver can check is
// checked, and the failing rule's section is named) and is made for an event
// loop with one read buffer shared by many connections: a frame that lies
// whole in that buffer is unmasked where it lies and handed on as a part of
// it. Only what an unfinished frame or fragmented message left behind is
// copied, to a pooled buffer that goes back as soon as the message is
// delivered, so an idle connection holds nothing but the small Reader.
//
// No extension is supported: nothing may set the RSV bits.
package wsframe
