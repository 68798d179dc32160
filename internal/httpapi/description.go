package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/internal/thing"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
)

// schemaVersion is the version of the published schema, for its ETag.
var schemaVersion = description.Version(description.Schema)

// getSchema answers GET /v1/schemas/description.json.
func (a *API) getSchema(w http.ResponseWriter, r *http.Request) {
	writeVersion(w, r, "application/schema+json", schemaVersion, description.Schema)
}

// getDescription answers with the description as the device sent it.
func (a *API) getDescription(w http.ResponseWriter, r *http.Request) {
	if text, version, ok := a.findDescription(w, r); ok {
		writeVersion(w, r, "application/json", version, text)
	}
}

// getThing answers with the W3C Thing Description of a device.
func (a *API) getThing(w http.ResponseWriter, r *http.Request) {
	text, version, ok := a.findDescription(w, r)
	if !ok {
		return
	}
	d := thing.Device{
		ID: r.PathValue("id"), Version: version, Host: r.Host,
		// A proxy that ends TLS says so. Who makes the header up gets addresses
		// that are wrong for nobody else.
		TLS:    r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
		Bearer: !a.admission.OpenTo(access.RoleFrontend),
	}
	err := json.Unmarshal(text, &d.Description)
	var td []byte
	if err == nil {
		td, err = thing.Describe(&d)
	}
	if err != nil { // another node has sent what this one would have refused
		httpresponse.WriteError(w, http.StatusBadGateway, protocol.ErrUnavailable, "the description cannot be read: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", thing.MediaType)
	_, _ = w.Write(td)
}

// findDescription returns the description of the device that the path names; it has
// answered when it returns false. A device that may not be observed is not there.
func (a *API) findDescription(w http.ResponseWriter, r *http.Request) (text []byte, version string, ok bool) {
	id := r.PathValue("id")
	if !identityOf(r).MayObserve(id) || !protocol.ValidName(id) {
		httpresponse.WriteError(w, http.StatusNotFound, protocol.ErrNotFound, "device "+admission.Clip(id)+" is not known here, or has no description")
		return nil, "", false
	}
	text, version, err := a.router.Description(r.Context(), id)
	if err != nil {
		writeFailure(w, err)
		return nil, "", false
	}
	return text, version, true
}

// writeVersion answers with a text, or with 304 when the client has this version
// already (RFC 9110 section 13.1.2).
func writeVersion(w http.ResponseWriter, r *http.Request, mediaType, version string, text []byte) {
	tag := `"` + version + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if matchesTag(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	_, _ = w.Write(text)
}

// matchesTag reports whether a list of entity tags has a tag. A version has no
// comma, so a part of a list can be compared as it is.
func matchesTag(lists []string, tag string) bool {
	for _, list := range lists {
		for part := range strings.SplitSeq(list, ",") {
			part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
			if part == "*" || part == tag {
				return true
			}
		}
	}
	return false
}
