package admission

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

const (
	maxMeta      = 32
	maxMetaKey   = 64
	maxMetaValue = 256
)

// role says how peers of a session role connect.
type role struct {
	// path is followed by the peer's name, if it has one.
	path string
	name nameRule
	// field and what are the name's in errors.
	field, what string
	access      access.Role
	// anyProtocol lets in clients that do not offer labgate.v1 among others.
	anyProtocol bool
	// debug is a role that is let in only for tests of the connection layer.
	debug bool
	// info is what the session is when the query says nothing.
	info session.Info
	// query takes one value of the query and returns false when the role does
	// not know the key. nil: the query is not looked at.
	query func(info *session.Info, key, value string) (known bool, ref *Refusal)
}

type nameRule uint8

const (
	nameRequired nameRule = iota
	nameOptional
	nameless
)

// roles is the table of the roles. How their sessions are treated is declared in
// package session.
var roles = [...]role{
	session.RoleDevice: {
		path: "/ws/device", name: nameRequired, field: "device_id", what: "a device id",
		access: access.RoleDevice,
		info:   session.Info{Role: session.RoleDevice},
		query:  deviceQuery,
	},
	session.RoleFrontend: {
		path: "/ws/frontend", name: nameOptional, field: "user", what: "a user name",
		access: access.RoleFrontend,
		info:   session.Info{Role: session.RoleFrontend, Telemetry: protocol.TelemetryAll},
		query:  frontendQuery,
	},
	// Conformance suites know nothing of labgate.v1, and put into the query what
	// they like.
	session.RoleEcho: {
		path: "/ws/echo", name: nameless,
		access: access.RoleFrontend, anyProtocol: true, debug: true,
		info: session.Info{Role: session.RoleEcho},
	},
}

// Roles lists the roles that peers may take.
func (a *Admission) Roles() []session.Role {
	var all []session.Role
	for i := range roles {
		if a.letsIn(&roles[i]) {
			all = append(all, roles[i].info.Role)
		}
	}
	return all
}

func (a *Admission) letsIn(to *role) bool { return !to.debug || a.opts.Echo }

// roleAndName reads /ws/device/{id}, /ws/frontend and /ws/frontend/{user}, and
// /ws/echo when that is switched on.
func (a *Admission) roleAndName(path string) (*role, string, *Refusal) {
	for i := range roles {
		to := &roles[i]
		rest, ok := strings.CutPrefix(path, to.path)
		if !ok || !a.letsIn(to) {
			continue
		}
		name, named := strings.CutPrefix(rest, "/")
		switch {
		case rest == "" && to.name != nameRequired, rest == "/" && to.name == nameOptional:
			return to, "", nil
		case !named || to.name == nameless:
			continue
		case !protocol.ValidName(name):
			return nil, "", refuse(http.StatusBadRequest, protocol.ErrBadMessage, "field %q: %q is not %s; use 1 to %d letters, digits and . _ : - that start with a letter or digit", to.field, Clip(name), to.what, protocol.MaxNameLen)
		}
		return to, name, nil
	}
	return nil, "", refuse(http.StatusNotFound, protocol.ErrNotFound, "no such endpoint; connect to /ws/device/{device_id}, /ws/frontend or /ws/frontend/{user}")
}

// describePeer reads what the query says of a peer.
func (to *role) describePeer(r *http.Request, name string) (session.Info, *Refusal) {
	info := to.info
	info.Name, info.Remote = name, r.RemoteAddr
	if to.query == nil {
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
		known, ref := to.query(&info, key, value)
		if !known {
			ref = refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query %s: unknown for a %s; devices know type, customer and meta.NAME, front ends telemetry, and a token belongs in the Authorization header", queryName(key), info.Role)
		}
		if ref != nil {
			return info, ref
		}
	}
	return info, nil
}

func deviceQuery(info *session.Info, key, value string) (known bool, ref *Refusal) {
	meta, isMeta := strings.CutPrefix(key, "meta.")
	switch {
	case key == "type":
		info.Type = value
	case key == "customer":
		info.Customer = value
	case isMeta:
		if !protocol.ValidName(meta) || len(meta) > maxMetaKey {
			return true, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query %s: after meta. come 1 to %d letters, digits and . _ : -", queryName(key), maxMetaKey)
		}
		if info.Meta == nil {
			info.Meta = make(map[string]string)
		}
		if info.Meta[meta] = value; len(info.Meta) > maxMeta {
			return true, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query: more than %d meta values; send fewer", maxMeta)
		}
	default:
		return false, nil
	}
	return true, nil
}

func frontendQuery(info *session.Info, key, value string) (known bool, ref *Refusal) {
	if key != "telemetry" {
		return false, nil
	}
	// Constants: value would keep the whole URL in memory.
	switch value {
	case protocol.TelemetryAll:
		info.Telemetry = protocol.TelemetryAll
	case protocol.TelemetryNone:
		info.Telemetry = protocol.TelemetryNone
	default:
		return true, refuse(http.StatusBadRequest, protocol.ErrBadMessage, "query \"telemetry\": its value is unknown; use all or none")
	}
	return true, nil
}

// queryName quotes the name of a query's value, unless it is so long that it
// may be a token in the wrong place.
func queryName(key string) string {
	if len(key) < access.MinTokenLen {
		return strconv.Quote(key)
	}
	return fmt.Sprintf("(a name of %d bytes)", len(key))
}
