package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/lesismal/nbio/nbhttp"

	"github.com/labgate/labgate/protocol"
)

// answer collects what a handler writes, so that it leaves in one write and
// with its length. It implements http.ResponseWriter.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header returns the header fields to be sent.
func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = make(http.Header)
	}
	return a.header
}

// WriteHeader sets the status; the first call counts.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write adds to the body.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// encode returns the answer as it goes over an HTTP/1.1 connection (RFC 9112).
func (a *answer) encode(withBody, last bool) []byte {
	a.WriteHeader(http.StatusOK)
	header := a.Header()
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if a.status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	header.Set("Connection", "keep-alive")
	if last {
		header.Set("Connection", "close")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	_ = header.Write(&b)
	b.WriteString("\r\n")
	if withBody {
		b.Write(a.body.Bytes())
	}
	return b.Bytes()
}

// respond handles a request and sends the answer. A panic ends only this
// request.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, handle http.HandlerFunc) {
	var a answer
	request := r
	if h := httpConnOf(w); h != nil {
		request = r.WithContext(h.begin(r.Context()))
	} else if r.ContentLength != 0 {
		var err error
		if request, err = s.withBody(w, r); err != nil {
			r.Close = true
			writeError(&a, http.StatusRequestTimeout, protocol.ErrBadMessage, "the body did not come in time")
			s.send(w, r, &a)
			return
		}
	}
	if !s.survive(func() { handle(&a, request) }) {
		a = answer{}
		writeError(&a, http.StatusInternalServerError, protocol.ErrUnavailable, "internal error; the gateway's log says more")
	}
	s.send(w, r, &a)
}

// withBody reads the body of a request under the standard library's server,
// within the time that a request has and one byte beyond the limit at most. The
// deadline must be gone before the request waits for anything: the server takes
// its passing for the end of the connection.
func (s *Server) withBody(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.opts.HandshakeTimeout))
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(s.opts.MaxMessage)+1))
	if err != nil {
		return nil, err
	}
	_ = control.SetReadDeadline(time.Time{})
	r2 := r.WithContext(r.Context())
	r2.Body = io.NopCloser(bytes.NewReader(body))
	return r2, nil
}

// send sends an answer. Under nbio it leaves nothing for nbio to do.
func (s *Server) send(w http.ResponseWriter, r *http.Request, a *answer) {
	withBody := r.Method != http.MethodHead
	if h := httpConnOf(w); h != nil {
		_, _, _ = w.(*nbhttp.Response).Hijack()
		h.answer(a.encode(withBody, r.Close), r.Close)
		return
	}
	a.WriteHeader(http.StatusOK)
	for key, values := range a.header {
		w.Header()[key] = values
	}
	if a.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	if r.Close {
		w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
	w.WriteHeader(a.status)
	if withBody {
		_, _ = w.Write(a.body.Bytes())
	}
}

// survive runs f and reports whether it came through without a panic, which is
// logged and counted.
func (s *Server) survive(f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.stats.panics.Add(1)
			s.log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("panic while serving one peer; no other notices")
		}
	}()
	f()
	return true
}
