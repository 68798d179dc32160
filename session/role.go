package session

import "github.com/labgate/labgate/protocol"

// Role tells the kinds of peers apart.
type Role uint8

const (
	// RoleDevice is a machine under test.
	RoleDevice Role = iota
	// RoleFrontend is a browser or program that watches and commands devices.
	RoleFrontend
	// RoleEcho is a test program that gets its own messages back. It has
	// no rate limit, and its first ping comes after a whole heartbeat interval,
	// so that a conformance test of a few seconds sees its own frames only.
	RoleEcho
)

// roles is the table of the roles: how the sessions of each are treated. How
// their peers connect is declared in the table of internal/admission.
var roles = [...]struct {
	// name is what the role is called on the wire, in logs and metrics.
	name string
	// namePrefix is in front of a peer's name in the src of its messages.
	namePrefix string
	// rate limits what each session may send, nil: nothing does.
	rate func(*Options) *Rate
	// controlBytes bounds the urgent and control messages that wait.
	controlBytes func(*Options) int
	// latePing puts the first ping off by a heartbeat interval.
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

// nameSource sets the src of the session's messages. A bare name is a device's
// alone, so that nobody else can pass for one. The name becomes a part of the
// source, for the two to be one string: the one that the handshake brought may be
// a part of a long URL.
func (s *Session) nameSource() {
	name, prefix := s.info.Name, roles[s.info.Role].namePrefix
	if name == "" {
		s.source = protocol.SessionPrefix + s.id.String()
		return
	}
	s.source = prefix + name
	s.info.Name = s.source[len(prefix):]
}

// roleLimits are the limits on the sessions of one role, by the Manager's
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

// controlLimit bounds what is urgent and control.
func (s *Session) controlLimit() int { return s.m.limits[s.info.Role].controlBytes }
