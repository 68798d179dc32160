package server

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

const (
	devicePath   = "/ws/device/"
	frontendPath = "/ws/frontend"

	maxMeta      = 32
	maxMetaKey   = 64
	maxMetaValue = 256
)

// refusal is the answer to a request that is not served.
type refusal struct {
	status  int
	code    protocol.ErrorCode
	message string
	// reason is its name in the metrics, the code if empty; retryAfter the
	// value of Retry-After for a connection that is turned away.
	reason, retryAfter string
	// credential names the one that was presented, where it is known, for the
	// log only.
	credential string
}

func (r *refusal) reasonName() string {
	if r.reason != "" {
		return r.reason
	}
	return string(r.code)
}

func refuse(status int, code protocol.ErrorCode, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// handshake is what a request for a WebSocket asks for, once it was found
// acceptable.
type handshake struct {
	info session.Info
	// subprotocol is what the answer names: labgate.v1, or nothing when the
	// client offered nothing.
	subprotocol string
}

// checkHandshake reads role and name from the path, the rest from query and
// headers, and says what is wrong with them (RFC 6455 section 4.2).
func (s *Server) checkHandshake(r *http.Request) (handshake, *refusal) {
	var h handshake
	role, name, ref := s.roleAndName(r.URL.EscapedPath())
	if ref != nil {
		return h, ref
	}
	if ref := checkUpgradeHeaders(r); ref != nil {
		return h, ref
	}
	if ref := s.checkOrigin(r); ref != nil {
		return h, ref
	}
	offered := offeredProtocols(r)
	if slices.Contains(offered, protocol.Subprotocol) {
		h.subprotocol = protocol.Subprotocol
	} else if len(offered) > 0 && role != session.RoleEcho {
		return h, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "header Sec-WebSocket-Protocol: %s is not among the sub-protocols offered; offer it", protocol.Subprotocol)
	}
	id, ref := s.admit(r, accessRole(role), name, offered)
	if ref != nil {
		return h, ref
	}
	if h.info, ref = describePeer(r, role, name); ref == nil {
		s.grant(&h.info, id)
	}
	return h, ref
}

// roleAndName reads /ws/device/{id}, /ws/frontend and /ws/frontend/{user}, and
// /ws/echo when that is switched on.
func (s *Server) roleAndName(path string) (session.Role, string, *refusal) {
	if path == echoPath && s.opts.DebugEcho {
		return session.RoleEcho, "", nil
	}
	if name, ok := strings.CutPrefix(path, devicePath); ok {
		if !protocol.ValidName(name) {
			return 0, "", refuse(http.StatusBadRequest, protocol.ErrBadMessage, "field \"device_id\": %q is not a device id; use 1 to %d letters, digits and . _ : - that start with a letter or digit", clip(name), protocol.MaxNameLen)
		}
		return session.RoleDevice, name, nil
	}
	if path == frontendPath || path == frontendPath+"/" {
		return session.RoleFrontend, "", nil
	}
	if name, ok := strings.CutPrefix(path, frontendPath+"/"); ok {
		if !protocol.ValidName(name) {
			return 0, "", refuse(http.StatusBadRequest, protocol.ErrBadMessage, "field \"user\": %q is not a user name; use 1 to %d letters, digits and . _ : - that start with a letter or digit", clip(name), protocol.MaxNameLen)
		}
		return session.RoleFrontend, name, nil
	}
	return 0, "", refuse(http.StatusNotFound, protocol.ErrNotFound, "no such endpoint; connect to /ws/device/{device_id}, /ws/frontend or /ws/frontend/{user}")
}

func checkUpgradeHeaders(r *http.Request) *refusal {
	if r.Method != http.MethodGet {
		return refuse(http.StatusMethodNotAllowed, protocol.ErrBadMessage, "method %s: a WebSocket is asked for with GET", clip(r.Method))
	}
	if !r.ProtoAtLeast(1, 1) || r.Host == "" {
		return refuse(http.StatusBadRequest, protocol.ErrBadMessage, "header Host: a WebSocket is asked for with HTTP/1.1, which needs it")
	}
	if !headerHas(r.Header, "Connection", "upgrade") || !headerHas(r.Header, "Upgrade", "websocket") {
		return refuse(http.StatusUpgradeRequired, protocol.ErrBadMessage, "this endpoint speaks WebSocket; connect with a WebSocket client, or, behind a proxy, have it pass the Upgrade and Connection headers on")
	}
	if r.Header.Get("Sec-Websocket-Version") != "13" {
		return refuse(http.StatusUpgradeRequired, protocol.ErrBadMessage, "header Sec-WebSocket-Version: only 13 is spoken here")
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	if err != nil || len(key) != 16 {
		return refuse(http.StatusBadRequest, protocol.ErrBadMessage, "header Sec-WebSocket-Key: must be 16 random bytes in base64")
	}
	return nil
}

func describePeer(r *http.Request, role session.Role, name string) (session.Info, *refusal) {
	info := session.Info{Role: role, Name: name, Remote: r.RemoteAddr}
	if role == session.RoleEcho {
		// Test programs put into the query what they like.
		return info, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return info, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query: cannot be read; percent-encode its values")
	}
	for key, values := range query {
		if len(values) != 1 {
			return info, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query %s: given %d times; give it once", queryName(key), len(values))
		}
		value := values[0]
		if len(value) > maxMetaValue || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\uFFFD' }) {
			return info, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query %s: at most %d bytes of printable UTF-8 allowed; shorten or clean it", queryName(key), maxMetaValue)
		}
		switch meta, isMeta := strings.CutPrefix(key, "meta."); {
		case role == session.RoleDevice && key == "type":
			info.Type = value
		case role == session.RoleDevice && key == "customer":
			info.Customer = value
		case role == session.RoleDevice && isMeta:
			if !protocol.ValidName(meta) || len(meta) > maxMetaKey {
				return info, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query %s: after meta. come 1 to %d letters, digits and . _ : -", queryName(key), maxMetaKey)
			}
			if info.Meta == nil {
				info.Meta = make(map[string]string)
			}
			if info.Meta[meta] = value; len(info.Meta) > maxMeta {
				return info, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query: more than %d meta values; send fewer", maxMeta)
			}
		case role == session.RoleFrontend && key == "telemetry":
			if value != protocol.TelemetryAll && value != protocol.TelemetryNone {
				return info, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query \"telemetry\": its value is unknown; use all or none")
			}
			info.Telemetry = value
		default:
			return info, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query %s: unknown for a %s; devices know type, customer and meta.NAME, front ends telemetry, and a token belongs in the Authorization header", queryName(key), role)
		}
	}
	if role == session.RoleFrontend && info.Telemetry == "" {
		info.Telemetry = protocol.TelemetryAll
	}
	return info, nil
}

// queryName quotes the name of a query's value, unless it is so long that it
// may be a token in the wrong place.
func queryName(key string) string {
	if len(key) < access.MinTokenLen {
		return strconv.Quote(key)
	}
	return fmt.Sprintf("(a name of %d bytes)", len(key))
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

// clip shortens what a stranger sent to a length that an answer and a log line
// bear.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
