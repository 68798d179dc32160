package access

import (
	"slices"
	"strings"
	"time"
)

// Role is the role in which a peer connects. The zero value is no role.
type Role uint8

const (
	// RoleDevice is a machine under test.
	RoleDevice Role = iota + 1
	// RoleFrontend is a browser or program that watches and commands devices.
	RoleFrontend
	// RoleAdmin may read the admin listener. Its only credentials are the tokens
	// of [Config.AdminTokenFile].
	RoleAdmin

	roles
)

// String returns "device", "frontend", "admin" or, for the zero value, "none".
func (r Role) String() string {
	switch r {
	case RoleDevice:
		return "device"
	case RoleFrontend:
		return "frontend"
	case RoleAdmin:
		return "admin"
	default:
		return "none"
	}
}

// ParseRole reads "device", "frontend" or "admin".
func ParseRole(s string) (Role, bool) {
	switch s {
	case "device":
		return RoleDevice, true
	case "frontend":
		return RoleFrontend, true
	case "admin":
		return RoleAdmin, true
	default:
		return 0, false
	}
}

// Identity is who the bearer of a credential is and what the credential grants.
// Sessions share it: it must not be changed.
type Identity struct {
	// Role is the only role in which the bearer may connect.
	Role Role
	// Name is the device id or the user. Empty: the credential is not bound,
	// and the bearer may take any name of the role.
	Name string
	// Source identifies the credential, for the log and for revocation:
	// "token:LABEL#ID", "jwt:KEY#ID/SUB" or "jwt:KEY#ID/SUB/JTI", "cert:SERIAL",
	// or "open". The Source is the same while the gateway runs and the
	// credential grants the same. It reveals nothing about the secret.
	Source string
	// Expires is when the credential expires, and the session with it. Zero:
	// never.
	Expires time.Time
	// Permissions are empty except for a front end.
	Permissions
}

// Permissions say what a front end may do with which devices. The zero value
// permits nothing.
type Permissions struct {
	// Observe permits receiving a device's messages and telemetry, and knowing
	// that the device is connected.
	Observe bool
	// Command permits sending messages to a device. It does not include
	// Observe.
	Command bool
	// Devices limits Observe and Command to the devices that at least one of
	// these patterns matches. At most 64 patterns.
	Devices []Pattern
}

// MayObserve reports whether the device may be observed. It does not allocate.
func (p Permissions) MayObserve(device string) bool { return p.Observe && p.covers(device) }

// MayCommand reports whether messages may be sent to the device. It does not
// allocate.
func (p Permissions) MayCommand(device string) bool { return p.Command && p.covers(device) }

func (p Permissions) covers(device string) bool {
	for _, pattern := range p.Devices {
		if pattern.Match(device) {
			return true
		}
	}
	return false
}

func (p Permissions) equal(o Permissions) bool {
	return p.Observe == o.Observe && p.Command == o.Command && slices.Equal(p.Devices, o.Devices)
}

// everything returns the permissions of a front end with a token in clear, and
// of every front end where no credential is needed.
func everything() Permissions {
	return Permissions{Observe: true, Command: true, Devices: []Pattern{"*"}}
}

// SourceOpen is the [Identity.Source] of a peer that needs no credential.
const SourceOpen = "open"

const (
	tokenPrefix = "token:"
	jwtPrefix   = "jwt:"
	certPrefix  = "cert:"
)

// Sources is a sorted list of credentials by their [Identity.Source]. The Source
// of a JWT key has no slash and covers every JWT that the key signed: their
// Sources begin with that of the key and a slash.
type Sources []string

// Covers reports whether the list contains the credential with this
// [Identity.Source].
func (s Sources) Covers(source string) bool {
	_, found := slices.BinarySearch(s, source)
	if found {
		return true
	}
	group, _, isMember := strings.Cut(source, "/")
	if !isMember {
		return false
	}
	_, found = slices.BinarySearch(s, group)
	return found
}
