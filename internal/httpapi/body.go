package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// maxBodies bounds the bodies that are being read at a time, in bytes together;
// one of --max-message always fits.
const maxBodies = 64 << 20

// bodyBudget bounds the memory for bodies that are being read: peers that need
// no credential may be many, and slow.
type bodyBudget struct {
	limit int64
	used  atomic.Int64
}

var errBodies = errors.New("too much of other bodies is being read")

// budgetedBody takes what it reads from a budget.
type budgetedBody struct {
	io.Reader
	budget *bodyBudget
	taken  int64
}

// Read implements io.Reader. It fails with errBodies when the budget is used up.
func (b *budgetedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.taken += int64(n)
	if b.budget.used.Add(int64(n)) > b.budget.limit {
		return 0, errBodies
	}
	return n, err
}

// giveBack gives back what was taken.
func (b *budgetedBody) giveBack() { b.budget.used.Add(-b.taken) }

// readBody reads the body of a request, at most --max-message bytes; it has
// answered when it returns false.
func (a *API) readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	most := int64(a.opts.MaxMessage)
	var body []byte
	var err error
	if r.ContentLength <= most {
		in := &budgetedBody{Reader: io.LimitReader(r.Body, most+1), budget: &a.bodies}
		defer in.giveBack()
		body, err = io.ReadAll(in)
	}
	switch {
	case r.ContentLength > most || int64(len(body)) > most:
		httpresponse.WriteError(w, http.StatusRequestEntityTooLarge, protocol.ErrTooLarge, "the body is larger than --max-message; send less")
	case errors.Is(err, errBodies):
		httpresponse.WriteError(w, http.StatusServiceUnavailable, protocol.ErrOverloaded, "the bodies of other requests take all the memory that there is for them; try again shortly")
	case errors.Is(err, os.ErrDeadlineExceeded):
		httpresponse.WriteError(w, http.StatusRequestTimeout, protocol.ErrBadMessage, "the body did not come in time; send it faster, or raise --handshake-timeout")
	case err != nil:
		httpresponse.WriteError(w, http.StatusBadRequest, protocol.ErrBadMessage, "the body could not be read; see RFC 9112 section 7.1 for its chunks")
	default:
		return body, true
	}
	return nil, false
}
