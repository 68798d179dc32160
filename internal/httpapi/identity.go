package httpapi

import (
	"context"
	"net/http"

	"github.com/labgate/labgate/internal/access"
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
