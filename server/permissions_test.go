package server

import (
	"path/filepath"
	"testing"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
)

// TestPermissionsInTheAPI: what is not permitted is not seen, or refused with
// 403.
func TestPermissionsInTheAPI(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		file := filepath.Join(t.TempDir(), "tokens")
		dev, devLine := newToken(t, access.Grant{Role: access.RoleDevice})
		grant := func(observe, command bool, devices ...access.Pattern) (string, string) {
			return newToken(t, access.Grant{Role: access.RoleFrontend, Permissions: access.Permissions{Observe: observe, Command: command, Devices: devices}})
		}
		some, someLine := grant(true, true, "press-*")
		viewer, viewerLine := grant(true, false, "*")
		all, allLine := grant(true, true, "x", "*")
		writeFile(t, file, devLine, someLine, viewerLine, allLine)
		g := start(t, m, func(o *Options) { o.CredentialFile = file })
		press, oven := g.upgradeAs("/ws/device/press-1", dev), g.upgradeAs("/ws/device/oven-1", dev)
		fe := g.upgradeAs("/ws/frontend", some)
		for name, c := range map[string]struct {
			token             string
			devices, sessions int
			see               int // status of GET /v1/devices/oven-1
			command, end      int // status of what is done to oven-1
			endFrontend       int
		}{
			"some":   {some, 1, 1, 404, 403, 404, 404},
			"viewer": {viewer, 2, 3, 200, 403, 403, 403},
			"all":    {all, 2, 3, 200, 504, 204, 204},
		} {
			if name == "all" {
				continue // last: it ends the sessions
			}
			g.checkPermissions(t, name, c.token, c.devices, c.sessions, c.see, c.command, c.end, c.endFrontend, oven, fe)
		}
		if status, _ := g.callAs(some, "POST", "/v1/devices/press-1/commands", `{"type":"a.b","timeout_ms":1}`); status != 504 {
			t.Errorf("a permitted command: %d", status)
		}
		press.await("a.b")
		g.checkPermissions(t, "all", all, 2, 3, 200, 504, 204, 204, oven, fe)
		oven.await("a.b")
		oven.expectClose(protocol.CloseKicked)
		if status, _ := g.callAs(dev, "GET", "/v1/devices", ""); status != 401 {
			t.Errorf("a device's token: %d", status)
		}
	})
}

func (g *gateway) checkPermissions(t *testing.T, name, token string, devices, sessions, see, command, end, endFrontend int, oven, fe *peer) {
	t.Helper()
	if _, answer := g.callAs(token, "GET", "/v1/devices", ""); len(answer["devices"].([]any)) != devices {
		t.Errorf("%s: devices %v", name, answer)
	}
	if _, answer := g.callAs(token, "GET", "/v1/sessions", ""); len(answer["sessions"].([]any)) != sessions {
		t.Errorf("%s: sessions %v", name, answer)
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/v1/devices/oven-1", "", see},
		{"GET", "/v1/sessions/" + oven.welcome.Session, "", see},
		{"POST", "/v1/devices/oven-1/commands", `{"type":"a.b","timeout_ms":1}`, command},
		{"DELETE", "/v1/sessions/" + oven.welcome.Session, "", end},
		{"DELETE", "/v1/sessions/" + fe.welcome.Session, "", endFrontend},
	} {
		status, answer := g.callAs(token, c.method, c.path, c.body)
		code, _ := errorOf(answer)
		if status != c.want || status == 403 && code != "not_allowed" {
			t.Errorf("%s: %s %s: %d %v, want %d", name, c.method, c.path, status, answer, c.want)
		}
	}
}
