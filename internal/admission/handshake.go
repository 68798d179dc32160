package admission

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Handshake is an accepted request for a WebSocket.
type Handshake struct {
	Info session.Info
	// Subprotocol is what the answer names: labgate.v1, or nothing when the
	// client offered nothing.
	Subprotocol string
}

// CheckHandshake decides about a request for a WebSocket (RFC 6455 section 4.2):
// path, query, headers, origin, credential and the limits on sessions. A nil
// refusal lets it in: give its place back with SessionEnded.
func (a *Admission) CheckHandshake(r *http.Request) (Handshake, *Refusal) {
	var h Handshake
	if ref := a.CheckDraining(); ref != nil {
		return h, ref
	}
	to, name, ref := a.roleAndName(r.URL.Path)
	if ref != nil {
		return h, ref
	}
	if ref := checkUpgradeHeaders(r); ref != nil {
		return h, ref
	}
	if ref := a.CheckOrigin(r); ref != nil {
		return h, ref
	}
	offered := offeredProtocols(r)
	if slices.Contains(offered, protocol.Subprotocol) {
		h.Subprotocol = protocol.Subprotocol
	} else if len(offered) > 0 && !to.anyProtocol {
		return h, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "header Sec-WebSocket-Protocol: %s is not among the sub-protocols offered; offer it", protocol.Subprotocol)
	}
	id, ref := a.Authenticate(r, to.access, name, offered)
	if ref != nil {
		return h, ref
	}
	if h.Info, ref = to.describePeer(r, name); ref != nil {
		return h, ref
	}
	a.grant(&h.Info, id)
	return h, a.takePlace(&h.Info)
}

// NoteRefused counts a refused handshake and tells of it.
func (a *Admission) NoteRefused(r *http.Request, ref *Refusal) {
	a.counters.RefusedRequests.Add(ref.reasonName())
	a.events.HandshakeRefused(events.HandshakeRefused{
		Remote: r.RemoteAddr, Path: Clip(r.URL.Path), Status: ref.Status, Origin: Clip(r.Header.Get("Origin")), Credential: ref.Credential, Reason: ref.Message,
	})
}

func checkUpgradeHeaders(r *http.Request) *Refusal {
	if r.Method != http.MethodGet {
		return refuse(http.StatusMethodNotAllowed, protocol.ErrBadMessage, "method %s: a WebSocket is asked for with GET", Clip(r.Method))
	}
	if !r.ProtoAtLeast(1, 1) {
		return refuse(http.StatusBadRequest, protocol.ErrBadMessage, "the request is HTTP/1.0; a WebSocket needs HTTP/1.1, also from a proxy")
	}
	if r.Host == "" {
		return refuse(http.StatusBadRequest, protocol.ErrBadMessage, "header Host: missing or empty; HTTP/1.1 needs the header")
	}
	if !headerHas(r.Header, "Connection", "upgrade") || !headerHas(r.Header, "Upgrade", "websocket") {
		return refuse(http.StatusUpgradeRequired, protocol.ErrBadMessage, "this endpoint speaks WebSocket; connect with a WebSocket client, or, behind a proxy, have it pass the Upgrade and Connection headers on")
	}
	if r.Header.Get("Sec-Websocket-Version") != "13" {
		return refuse(http.StatusUpgradeRequired, protocol.ErrBadMessage, "header Sec-WebSocket-Version: only 13 is spoken here")
	}
	if r.ContentLength != 0 {
		return refuse(http.StatusBadRequest, protocol.ErrBadMessage, "header Content-Length or Transfer-Encoding: a request for a WebSocket has no body; send none")
	}
	// RFC 6455 section 11.3.
	for _, name := range []string{"Sec-WebSocket-Key", "Sec-WebSocket-Version"} {
		if len(r.Header.Values(name)) > 1 {
			return refuse(http.StatusBadRequest, protocol.ErrBadMessage, "header %s: more than one; send the header once", name)
		}
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	if err != nil || len(key) != 16 {
		return refuse(http.StatusBadRequest, protocol.ErrBadMessage, "header Sec-WebSocket-Key: must be 16 random bytes in base64")
	}
	return nil
}

func offeredProtocols(r *http.Request) []string {
	var offered []string
	for _, line := range r.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if p = strings.TrimSpace(p); p != "" {
				offered = append(offered, p)
			}
		}
	}
	return offered
}

// headerHas reports whether a comma-separated header holds the token.
func headerHas(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for value := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(value), token) {
				return true
			}
		}
	}
	return false
}
