// Package httpresponse buffers HTTP responses and encodes their bodies: a
// response leaves in one write, with its length, or is replaced as a whole.
package httpresponse

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Buffer collects what a handler writes. It implements http.ResponseWriter; the
// zero value is empty.
type Buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header returns the header fields to be sent.
func (b *Buffer) Header() http.Header {
	if b.header == nil {
		b.header = make(http.Header)
	}
	return b.header
}

// WriteHeader sets the status; the first call counts.
func (b *Buffer) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
}

// Write adds to the body.
func (b *Buffer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

// Encode returns the response as sent over an HTTP/1.1 connection (RFC 9112
// section 2.1), without a body for HEAD. last says that the connection is closed
// behind it.
func (b *Buffer) Encode(withBody, last bool) []byte {
	b.WriteHeader(http.StatusOK)
	header := b.Header()
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	b.setLength(header)
	header.Set("Connection", "keep-alive")
	if last {
		header.Set("Connection", "close")
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\r\n", b.status, http.StatusText(b.status))
	_ = header.Write(&out)
	out.WriteString("\r\n")
	if withBody {
		out.Write(b.body.Bytes())
	}
	return out.Bytes()
}

// CopyTo writes the response to a server's writer, without a body for HEAD.
// last says that the connection is closed behind it.
func (b *Buffer) CopyTo(w http.ResponseWriter, withBody, last bool) {
	b.WriteHeader(http.StatusOK)
	header := w.Header()
	for key, values := range b.header {
		header[key] = values
	}
	b.setLength(header)
	if last {
		header.Set("Connection", "close")
	}
	w.WriteHeader(b.status)
	if withBody {
		_, _ = w.Write(b.body.Bytes())
	}
}

// setLength tells the length of the body. A 204 has none, and the length of a 304
// would be that of the body which is not sent (RFC 9110 section 8.6).
func (b *Buffer) setLength(header http.Header) {
	if b.status != http.StatusNoContent && b.status != http.StatusNotModified {
		header.Set("Content-Length", strconv.Itoa(b.body.Len()))
	}
}
