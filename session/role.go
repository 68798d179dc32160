package session

import "github.com/labgate/labgate/protocol"

// Role is the kind of a peer.
type Role uint8

const (
	// RoleDevice is a machine under test.
	RoleDevice Role = iota
	// RoleFrontend is a browser or program that observes and commands devices.
	RoleFrontend
	// RoleEcho is a test program that gets its own messages back. It has no rate
	// limit. Its first ping comes after a whole heartbeat interval, so that a
	// conformance test of a few seconds gets no pings.
	RoleEcho
)

// roles has the properties of the sessions of each role. A table of
// internal/admission says how the peers of each role connect.
var roles = [...]struct {
	// name is the name of the role on the wire, in logs and metrics.
	name string
	// namePrefix precedes a peer's name in the src of its messages.
	namePrefix string
	// rate returns the rate of each session; nil: no limit.
	rate func(*Options) *Rate
	// controlBytes returns the limit of the urgent and control queues, in bytes.
	controlBytes func(*Options) int
	// latePing delays the first ping by a heartbeat interval.
	latePing bool
}{
	RoleDevice: {
		name:         "device",
		rate:         func(o *Options) *Rate { return &o.DeviceRate },
		controlBytes: func(o *Options) int { return o.ControlBytes },
	},
	RoleFrontend: {
		name:         "frontend",
		namePrefix:   protocol.UserPrefix,
		rate:         func(o *Options) *Rate { return &o.FrontendRate },
		controlBytes: func(o *Options) int { return o.ControlBytes },
	},
	RoleEcho: {
		name:         "echo",
		namePrefix:   protocol.UserPrefix,
		controlBytes: func(o *Options) int { return o.EchoBytes },
		latePing:     true,
	},
}

// String returns the role's name on the wire, in logs and metrics.
func (r Role) String() string { return roles[r].name }

// setSource sets the src of the session's messages. Only a device's src is a name
// without a prefix, so that no other peer can pose as a device. setSource also
// makes Info.Name a part of the src's string. The string from the handshake may be
// a part of a long URL, whose memory the session must not keep.
func (s *Session) setSource() {
	name, prefix := s.info.Name, roles[s.info.Role].namePrefix
	if name == "" {
		s.source = protocol.SessionPrefix + s.id.String()
		return
	}
	s.source = prefix + name
	s.info.Name = s.source[len(prefix):]
}

// roleLimits has the limits of the sessions of one role, from the Manager's
// options.
type roleLimits struct {
	rate         *Rate
	controlBytes int
}

// limitsOf returns the limits of all roles.
func limitsOf(o *Options) (all [len(roles)]roleLimits) {
	for i := range roles {
		all[i] = roleLimits{rate: new(Rate), controlBytes: roles[i].controlBytes(o)}
		if rate := roles[i].rate; rate != nil {
			all[i].rate = rate(o)
		}
	}
	return all
}

// controlLimit returns the limit of the urgent and control queues, in bytes.
func (s *Session) controlLimit() int { return s.m.limits[s.info.Role].controlBytes }
