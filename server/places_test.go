package server

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/labgate/labgate/internal/access"
)

// TestPlacesOfRequests: requests that need other nodes are bounded; where there
// are none nothing waits.
func TestPlacesOfRequests(t *testing.T) {
	a, _, _ := two(t, modes[0], nil)
	alone := start(t, modes[0], nil)
	for _, g := range []*gateway{a, alone} {
		const places = 224
		dev := g.upgrade("/ws/device/slow")
		var commands sync.WaitGroup
		for range places {
			commands.Go(func() {
				if status, answer, err := g.tryCall("POST", "/v1/devices/slow/commands", `{"type":"a.command"}`); status != 200 || err != nil {
					t.Errorf("a command: %d %v %v", status, answer, err)
				}
			})
		}
		ids := make([]string, places)
		for i := range ids {
			ids[i] = dev.await("a.command").ID
		}
		for _, c := range [][3]string{
			{"GET", "/v1/devices", ""}, {"GET", "/v1/devices/d", ""}, {"GET", "/v1/sessions", ""},
			{"GET", "/v1/sessions/00000000-0000-4000-8000-000000000000", ""}, {"DELETE", "/v1/sessions/00000000-0000-4000-8000-000000000000", ""},
			{"POST", "/v1/broadcast", `{"type":"a.b"}`}, {"POST", "/v1/users/ann/messages", `{"type":"a.b"}`},
		} {
			status, answer := g.call(c[0], c[1], c[2])
			if code, _ := errorOf(answer); (code == "overloaded" && status == 503) != (g == a) {
				t.Errorf("%s %s of %s: %d %v", c[0], c[1], g.opts.Node, status, answer)
			}
		}
		g.checkPlace(t, "", "slow", `{"type":"a.b"}`, false)
		g.checkPlace(t, "", "slow", `{"type":"a.stop","urgent":true,"timeout_ms":1}`, true)
		dev.await("a.stop")
		for _, id := range ids {
			dev.text(`{"type":"an.answer","re":%q}`, id)
		}
		commands.Wait()
	}
}

// checkPlace sends a command to a device that does not answer, and checks whether
// the command gets a place.
func (g *gateway) checkPlace(t *testing.T, token, device, body string, gets bool) {
	t.Helper()
	want, wantCode := 503, "overloaded"
	if gets {
		want, wantCode = 504, "timeout"
	}
	status, answer := g.callAs(token, "POST", "/v1/devices/"+device+"/commands", body)
	if code, _ := errorOf(answer); status != want || code != wantCode {
		t.Errorf("%s: %d %v, want %d", body, status, answer, want)
	}
}

// The requests of one credential that wait leave places to others, and to urgent
// commands of the same credential.
func TestPlacesOfOneCredential(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	dev, devLine := newToken(t, access.Grant{Role: access.RoleDevice})
	operator := access.Grant{Role: access.RoleFrontend, Permissions: access.Permissions{Command: true, Devices: []access.Pattern{"*"}}}
	greedy, greedyLine := newToken(t, operator)
	other, otherLine := newToken(t, operator)
	writeFile(t, file, devLine, greedyLine, otherLine)
	g := start(t, modes[0], func(o *Options) { o.CredentialFile = file })
	d := g.upgradeAs("/ws/device/slow", dev)
	const places = 112
	var commands sync.WaitGroup
	for range places {
		commands.Go(func() {
			if status, answer := g.callAs(greedy, "POST", "/v1/devices/slow/commands", `{"type":"a.command"}`); status != 200 {
				t.Errorf("a command: %d %v", status, answer)
			}
		})
	}
	ids := make([]string, places)
	for i := range ids {
		ids[i] = d.await("a.command").ID
	}
	const short, urgent = `{"type":"a.b","timeout_ms":1}`, `{"type":"a.stop","urgent":true,"timeout_ms":1}`
	g.checkPlace(t, greedy, "slow", short, false)
	g.checkPlace(t, greedy, "slow", urgent, true)
	g.checkPlace(t, other, "slow", short, true)
	for _, id := range ids {
		d.text(`{"type":"an.answer","re":%q}`, id)
	}
	commands.Wait()
	g.checkPlace(t, greedy, "slow", short, true)
}
