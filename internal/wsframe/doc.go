// Package wsframe reads and writes RFC 6455 (WebSocket) frames for both sides of a
// connection. It does no I/O: [Reader.Feed] takes the bytes in pieces of any size
// and passes messages and control frames to a [Handler], the Append functions
// build frames to send, and [CutFrame] takes such frames apart.
//
// The Reader is strict: it checks every rule of RFC 6455 that a receiver can
// check, and its errors name the section. It is made for an event loop with one
// read buffer shared by many connections: a frame that is complete in that buffer
// is unmasked in place and passed on as a part of it. Only unfinished frames and
// fragments are copied, into a pooled buffer that is released as soon as the
// message is delivered, so that an idle connection holds only its small Reader.
//
// No extension is supported: the RSV bits must be 0.
package wsframe
