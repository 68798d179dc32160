package httpapi

import (
	"context"
	"net/http"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/events"
)

// identityKey is the key of a request's identity in its context.
type identityKey struct{}

func withIdentity(r *http.Request, id access.Identity) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
}

// identityOf returns who makes a request; nobody, who may do nothing, where that
// was not found out.
func identityOf(r *http.Request) access.Identity {
	id, _ := r.Context().Value(identityKey{}).(access.Identity)
	return id
}

// withAsker returns the context of a request for a command: it says who asks.
func withAsker(r *http.Request) context.Context {
	asker := events.Asker{Remote: r.RemoteAddr}
	if source := identityOf(r).Source; source != access.SourceOpen {
		asker.Credential = source
	}
	return events.WithAsker(r.Context(), asker)
}
