package server

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
)

// TestRevokedTokenEndsItsSessions: and those of no other, whatever the file
// goes through.
func TestRevokedTokenEndsItsSessions(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		file := filepath.Join(t.TempDir(), "tokens")
		kept, keptLine := newToken(t, access.Grant{Role: access.RoleDevice, Name: "kept"})
		gone, goneLine := newToken(t, access.Grant{Role: access.RoleDevice, Label: "lost"})
		ann, annLine := newToken(t, access.Grant{Role: access.RoleFrontend, Name: "ann", Permissions: access.Permissions{Observe: true, Devices: []access.Pattern{"*"}}})
		writeFile(t, file, keptLine, goneLine, annLine)
		g := start(t, m, func(o *Options) { o.CredentialFile = file })
		stays, first, second := g.upgradeAs("/ws/device/kept", kept), g.upgradeAs("/ws/device/a", gone), g.upgradeAs("/ws/device/b", gone)
		fe := g.upgradeAs("/ws/frontend", ann)
		if fe.welcome.Session == "" || g.manager.Get(uuidOf(t, fe)).Name() != "ann" {
			t.Error("a bound token does not name its front end")
		}
		if _, err := g.tryUpgradeAs("/ws/device/other", kept); err == nil {
			t.Error("a token is good for another device")
		}

		// A file that cannot be used changes nothing.
		writeFile(t, file, "nonsense here")
		g.eventually("the failure is counted", func() bool { return g.admission.Counters().ReloadFailures.Load() == 1 })
		if n := g.manager.Len(); n != 4 {
			t.Errorf("%d sessions after a broken file, want 4", n)
		}
		writeFile(t, file, annLine, keptLine)
		first.expectClose(protocol.CloseUnauthorized)
		second.expectClose(protocol.CloseUnauthorized)
		if _, err := g.tryUpgradeAs("/ws/device/a", gone); err == nil {
			t.Error("a revoked token lets in")
		}
		stays.text(`{"type":"still.here"}`)
		fe.await("still.here")
		// It is counted when all its sessions have been told.
		g.eventually("the reload is counted", func() bool { return g.admission.Counters().Reloads.Load() == 1 })
	})
}

// renewPause is the least time between two renewals of one session.
const renewPause = 100 * time.Millisecond

// TestExpiredSessionIsClosed: after a warning in time.
func TestExpiredSessionIsClosed(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, withJWT(t))
		for path, c := range map[string]claims{"/ws/device/d": {"sub": "d", "role": "device"}, "/ws/frontend": {"sub": "ann", "role": "frontend"}} {
			p := g.upgradeAs(path, signed(t, 1500*time.Millisecond, c))
			var e protocol.Expiry
			if err := json.Unmarshal(p.await(protocol.TypeTokenExpiring).Payload, &e); err != nil || e.ExpiresInMS == nil || *e.ExpiresInMS <= 0 || *e.ExpiresInMS > 1500 {
				t.Errorf("warned with %+v, %v", e, err)
			}
			p.expectClose(protocol.CloseUnauthorized)
		}
		if n := g.manager.Stats().Closes()["unauthorized"]; n != 2 {
			t.Errorf("%d closes counted as unauthorized, want 2", n)
		}
		if _, err := g.tryUpgradeAs("/ws/device/d", signed(t, -time.Second, claims{"sub": "d", "role": "device"})); err == nil {
			t.Error("an expired JWT lets in")
		}
	})
}

// TestRenewInPlace: a session goes on with another JWT of the same subject, and
// with what that one permits.
func TestRenewInPlace(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, withJWT(t))
		long := func(c claims) string { return signed(t, time.Hour, c) }
		one, two := g.upgradeAs("/ws/device/one", long(claims{"sub": "one", "role": "device"})), g.upgradeAs("/ws/device/two", long(claims{"sub": "two", "role": "device"}))
		begun := time.Now()
		fe := g.upgradeAs("/ws/frontend", signed(t, 2*time.Second, claims{"sub": "ann", "role": "frontend", "devices": []string{"one"}}))
		if d := fe.welcome.Devices; len(d) != 1 || d[0].DeviceID != "one" {
			t.Errorf("welcomed with %v", d)
		}
		fe.await(protocol.TypeTokenExpiring)
		for name, token := range map[string]string{
			"other user": long(claims{"sub": "bob", "role": "frontend"}),
			"other role": long(claims{"sub": "ann", "role": "device"}),
			"expired":    signed(t, -time.Second, claims{"sub": "ann", "role": "frontend"}),
			"forged":     long(claims{"sub": "ann", "role": "frontend"}) + "x",
		} {
			time.Sleep(renewPause)
			fe.text(`{"type":"gateway.renew","id":"no","payload":{"token":%q}}`, token)
			if e := fe.errorOf("no"); e.Code != protocol.ErrNotAllowed || strings.Contains(e.Message, token) {
				t.Errorf("%s: %+v", name, e)
			}
		}
		time.Sleep(renewPause)
		fe.text(`{"type":"gateway.renew","id":"yes","payload":{"token":%q}}`, long(claims{"sub": "ann", "role": "frontend", "devices": []string{"two"}, "permissions": []string{"observe", "command"}}))
		var e protocol.Expiry
		if r := fe.await(protocol.TypeRenewed); r.Re != "yes" || json.Unmarshal(r.Payload, &e) != nil || e.ExpiresInMS == nil || *e.ExpiresInMS < 3_500_000 {
			t.Errorf("renewed: %+v", r)
		}
		fe.text(`{"type":"gateway.renew","id":"again","payload":{"token":"x"}}`)
		if e := fe.errorOf("again"); e.Code != protocol.ErrRateLimited {
			t.Errorf("at once again: %+v", e)
		}
		time.Sleep(time.Until(begun.Add(2200 * time.Millisecond)))
		one.text(`{"type":"from.one"}`)
		fe.text(`{"type":"a.command","dst":"two"}`)
		two.await("a.command")
		two.text(`{"type":"from.two"}`)
		fe.await("from.two")
		fe.text(`{"type":"a.command","id":"c","dst":"one"}`)
		if e := fe.errorOf("c"); e.Code != protocol.ErrNotAllowed {
			t.Errorf("command to one: %+v", e)
		}
	})
}

// errorOf awaits the error that answers a message.
func (p *peer) errorOf(re string) (e protocol.Error) {
	p.t.Helper()
	m := p.await(protocol.TypeError)
	if err := json.Unmarshal(m.Payload, &e); err != nil || m.Re != re {
		p.t.Fatalf("%+v %s, want the error of %q", m, m.Payload, re)
	}
	return e
}

// TestRenewingAnOpenSession: where no token was asked for nothing expires.
func TestRenewingAnOpenSession(t *testing.T) {
	g := start(t, modes[0], nil)
	p := g.upgrade("/ws/device/d")
	p.text(`{"type":"gateway.renew","id":"1","payload":{"token":"whatever"}}`)
	if m := p.await(protocol.TypeRenewed); string(m.Payload) != `{}` {
		t.Errorf("renewed with %s", m.Payload)
	}
}

// TestRenewingWithTheSameToken: it is taken, changes nothing, and is not warned
// of again.
func TestRenewingWithTheSameToken(t *testing.T) {
	g := start(t, modes[0], withJWT(t))
	token := signed(t, 2*time.Second, claims{"sub": "d", "role": "device"})
	p := g.upgradeAs("/ws/device/d", token)
	p.await(protocol.TypeTokenExpiring)
	p.text(`{"type":"gateway.renew","id":"1","payload":{"token":%q}}`, token)
	p.await(protocol.TypeRenewed)
	f, err := p.next()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := closeOf(f), `4001 "unauthorized"`; got != want {
		t.Errorf("%s %s came, want the close", got, f.data)
	}
}

// TestRenewingUnderAnotherName: a session without a user cannot become one's.
// With a token that does not expire it goes on for good.
func TestRenewingUnderAnotherName(t *testing.T) {
	file := writeFile(t, filepath.Join(t.TempDir(), "tokens"), frontendToken)
	withKey := withJWT(t)
	g := start(t, modes[0], func(o *Options) { withKey(o); o.FrontendTokenFile = file })
	p := g.upgradeAs("/ws/frontend", frontendToken)
	p.text(`{"type":"gateway.renew","id":"1","payload":{"token":%q}}`, signed(t, time.Hour, claims{"sub": "ann", "role": "frontend"}))
	if e := p.errorOf("1"); e.Code != protocol.ErrNotAllowed {
		t.Errorf("renewed as ann: %+v", e)
	}
	ann := g.upgradeAs("/ws/frontend/ann", signed(t, time.Second, claims{"sub": "ann", "role": "frontend"}))
	ann.text(`{"type":"gateway.renew","id":"1","payload":{"token":%q}}`, frontendToken)
	if m := ann.await(protocol.TypeRenewed); string(m.Payload) != `{}` {
		t.Errorf("renewed with %s", m.Payload)
	}
	time.Sleep(1200 * time.Millisecond)
	ann.text(`{"type":"still.here","dst":"@user/ann"}`)
	if f, err := ann.next(); err != nil || !strings.Contains(string(f.data), "still.here") {
		t.Errorf("%s %s, %v came", closeOf(f), f.data, err)
	}
}
