package access

import (
	"slices"
	"strings"
	"time"
)

// Role is what somebody wants to get in as. The zero value is none.
type Role uint8

const (
	// RoleDevice is a machine under test.
	RoleDevice Role = iota + 1
	// RoleFrontend is a browser or program that watches and commands devices.
	RoleFrontend
	// RoleAdmin is who may read the admin listener. It has tokens of a file of
	// its own and no other credentials.
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

// Identity is who a credential says its bearer is, and what it grants. It is
// shared between sessions: read it, do not change it.
type Identity struct {
	// Role is the only role in which the bearer gets in.
	Role Role
	// Name is the device id or the user. Empty: the credential is not bound,
	// and the bearer may take any name of the role.
	Name string
	// Source tells the credential from all others, for the log and for
	// revocation. It stays as long as the gateway runs and the credential
	// grants the same, and says nothing about the secret: "token:LABEL#ID",
	// "jwt:KEY#ID/SUB" or "jwt:KEY#ID/SUB/JTI", "cert:SERIAL", "open".
	Source string
	// Expires is when the credential ends; the session is to end with it.
	// Zero: never.
	Expires time.Time
	// Permissions are a front end's; a device's are empty.
	Permissions
}

// Permissions are what a front end may do, and with which devices. The zero
// value permits nothing.
type Permissions struct {
	// Observe allows messages and telemetry from a device, and seeing that it
	// is there.
	Observe bool
	// Command allows messages to a device. It does not include Observe.
	Command bool
	// Devices are the devices that both speak of: those that at least one
	// pattern matches. At most [MaxPatterns].
	Devices []Pattern
}

// MayObserve reports whether the device may be watched. It does not allocate.
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

// everything is what a token in clear and an open gateway permit front ends.
func everything() Permissions {
	return Permissions{Observe: true, Command: true, Devices: []Pattern{"*"}}
}

// SourceOpen is the Source of those that are let in without a credential.
const SourceOpen = "open"

const (
	tokenPrefix = "token:"
	jwtPrefix   = "jwt:"
	certPrefix  = "cert:"
)

// Sources are credentials that are no longer in force, sorted. One that ends
// before the first slash, as the key of a JWT does, stands for all that begin
// with it and a slash.
type Sources []string

// Covers reports whether the credential of that [Identity.Source] is among
// them.
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
