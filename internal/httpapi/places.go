package httpapi

import (
	"net/http"
	"sync"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

const (
	// maxWaiting bounds the requests that wait for an answer of a device or another
	// node.
	maxWaiting = 256
	// credentialWaiting bounds those of one credential.
	credentialWaiting = maxWaiting / 2
	// urgentDivisor: of both limits, one part in urgentDivisor is reserved for
	// urgent commands.
	urgentDivisor = 8
)

// places counts the requests that wait for an answer.
type places struct {
	mu    sync.Mutex
	taken int
	// of counts the places of each credential; no credential has the count 0.
	of map[string]int
}

// take takes a place for a request. release must be called when the request has
// its answer; it is nil when the request was refused, and answered.
func (p *places) take(w http.ResponseWriter, r *http.Request, urgent bool) (release func()) {
	credential := identityOf(r).Source
	if credential == access.SourceOpen {
		credential = "" // not one asker
	}
	most, mostOfOne := maxWaiting, credentialWaiting
	if !urgent {
		most -= most / urgentDivisor
		mostOfOne -= mostOfOne / urgentDivisor
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.taken >= most:
		httpresponse.WriteError(w, http.StatusServiceUnavailable, protocol.ErrOverloaded, "too many requests wait for an answer; wait for some of them")
		return nil
	case credential != "" && p.of[credential] >= mostOfOne:
		httpresponse.WriteError(w, http.StatusServiceUnavailable, protocol.ErrOverloaded, "too many requests with this credential wait for an answer; wait for some of them")
		return nil
	}
	if p.of == nil {
		p.of = make(map[string]int)
	}
	p.taken++
	if credential != "" {
		p.of[credential]++
	}
	return func() { p.release(credential) }
}

func (p *places) release(credential string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if credential == "" {
		return
	}
	if p.of[credential]--; p.of[credential] == 0 {
		delete(p.of, credential)
	}
}
