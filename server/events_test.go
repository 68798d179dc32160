package server

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router"
)

// eventRecorder is a listener that keeps everything.
type eventRecorder struct {
	mu  sync.Mutex
	all []any
}

func (r *eventRecorder) keep(e any) {
	r.mu.Lock()
	r.all = append(r.all, e)
	r.mu.Unlock()
}

func (r *eventRecorder) SessionBegan(e events.SessionBegan)           { r.keep(e) }
func (r *eventRecorder) SessionEnded(e events.SessionEnded)           { r.keep(e) }
func (r *eventRecorder) ConnectionRefused(e events.ConnectionRefused) { r.keep(e) }
func (r *eventRecorder) HandshakeRefused(e events.HandshakeRefused)   { r.keep(e) }
func (r *eventRecorder) RequestRefused(e events.RequestRefused)       { r.keep(e) }
func (r *eventRecorder) CommandBegan(e events.Command)                { r.keep(e) }
func (r *eventRecorder) CommandEnded(e events.CommandEnded)           { r.keep(e) }
func (r *eventRecorder) FileRead(e events.FileRead)                   { r.keep(e) }

// eventsOf returns the events of one kind, at least as many as asked for.
func eventsOf[T any](g *gateway, r *eventRecorder, least int) []T {
	g.t.Helper()
	var found []T
	g.eventually("enough events", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		found = found[:0]
		for _, e := range r.all {
			if e, ok := e.(T); ok {
				found = append(found, e)
			}
		}
		return len(found) >= least
	})
	return found
}

// TestSessionsAndRefusalsAreTold: each session's begin and end, and each refusal
// with the reason that the client was told, in every mode.
func TestSessionsAndRefusalsAreTold(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		tokens := filepath.Join(t.TempDir(), "tokens")
		device, deviceLine := newToken(t, access.Grant{Role: access.RoleDevice, Name: "d1", Label: "hall"})
		ann, annLine := newToken(t, access.Grant{Role: access.RoleFrontend, Name: "ann", Permissions: access.Permissions{Observe: true, Command: true, Devices: []access.Pattern{"d*"}}})
		writeFile(t, tokens, deviceLine, annLine)
		var told eventRecorder
		g := start(t, m, func(o *Options) {
			o.CredentialFile, o.Events, o.RefuseDuplicate = tokens, &told, true
			o.AdminTokenFile = writeFile(t, filepath.Join(t.TempDir(), "admin"), "an-admin-token-that-nobody-guesses")
		})

		d := g.upgradeAs("/ws/device/d1", device)
		begin := eventsOf[events.SessionBegan](g, &told, 1)[0]
		if begin.Session != uuidOf(t, d) || begin.Role != "device" || begin.Name != "d1" || begin.Remote != d.conn.LocalAddr().String() || !strings.HasPrefix(begin.Credential, "token:hall#") {
			t.Errorf("told %+v", begin)
		}

		if _, err := g.tryUpgradeAs("/ws/device/d2", device); err == nil {
			t.Fatal("a token is good for another device")
		}
		if _, err := g.upgradeOver(g.dial(), "/ws/frontend"); err == nil {
			t.Fatal("a front end needs no token")
		}
		refused := eventsOf[events.HandshakeRefused](g, &told, 2)
		if r := refused[0]; r.Status != http.StatusUnauthorized || r.Path != "/ws/device/d2" || !strings.HasPrefix(r.Credential, "token:hall#") || !strings.Contains(r.Reason, "another device") || r.Remote == "" {
			t.Errorf("told %+v", r)
		}
		if r := refused[1]; r.Status != http.StatusUnauthorized || r.Path != "/ws/frontend" || r.Credential != "" || r.Reason == "" {
			t.Errorf("told %+v", r)
		}
		// A second connection of a device is refused after the handshake.
		second := g.dial()
		defer second.Close()
		write(t, second, request("/ws/device/d1", "Authorization: Bearer "+device))
		if r := eventsOf[events.HandshakeRefused](g, &told, 3)[2]; r.Status != http.StatusSwitchingProtocols || r.Path != "/ws/device/d1" || r.Reason != protocol.CloseDuplicateDevice.Name() {
			t.Errorf("told %+v", r)
		}

		// The HTTP API: who is not let in, and who asks for too much.
		g.callAs("no-token-of-anybody", "GET", "/v1/devices", "")
		g.callAs(ann, "POST", "/v1/devices/oven/commands", `{"type":"a.b"}`)
		requests := eventsOf[events.RequestRefused](g, &told, 2)
		if r := requests[0]; r.Status != http.StatusUnauthorized || r.Method != "GET" || r.Path != "/v1/devices" || r.Reason == "" || r.Remote == "" {
			t.Errorf("told %+v", r)
		}
		if r := requests[1]; r.Status != http.StatusForbidden || r.Method != "POST" || !strings.HasPrefix(r.Credential, "token:ann#") || !strings.Contains(r.Reason, "oven") {
			t.Errorf("told %+v", r)
		}
		if status, _ := g.askAdmin("/metrics"); status != http.StatusUnauthorized {
			t.Errorf("the admin listener answers %d", status)
		}
		if r := eventsOf[events.RequestRefused](g, &told, 3)[2]; r.Path != "/metrics" || r.Status != http.StatusUnauthorized {
			t.Errorf("told %+v", r)
		}

		// A command over the HTTP API carries its asker.
		go g.callAs(ann, "POST", "/v1/devices/d1/commands", `{"type":"test.stop"}`)
		command := d.await("test.stop")
		d.text(`{"type":"done","re":%q}`, command.ID)
		end := eventsOf[events.CommandEnded](g, &told, 1)[0]
		if end.Outcome != events.OutcomeAnswered || end.Type != "test.stop" || end.Device != "d1" || end.Source != router.SourceAPI || end.Remote == "" || !strings.HasPrefix(end.Credential, "token:ann#") {
			t.Errorf("told %+v", end)
		}

		d.sendClose(1000)
		gone := eventsOf[events.SessionEnded](g, &told, 1)[0]
		if gone.SessionBegan != begin || gone.Code != 1000 || gone.Reason != "closed_by_peer" || gone.Duration <= 0 || gone.Duration > patience {
			t.Errorf("told %+v", gone)
		}
	})
}

// TestConnectionsBeyondALimitAreTold: in every mode, under TLS too, where the
// client is told nothing.
func TestConnectionsBeyondALimitAreTold(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		var told eventRecorder
		g := start(t, m, func(o *Options) { o.MaxConnectionsPerAddress, o.Events = 1, &told })
		g.upgrade("/ws/frontend")
		if _, err := g.tryUpgrade("/ws/frontend"); err == nil {
			t.Fatal("there is no limit")
		}
		if e := eventsOf[events.ConnectionRefused](g, &told, 1)[0]; e.Status != http.StatusTooManyRequests || e.Remote == "" || !strings.Contains(e.Reason, "--max-connections-per-address") {
			t.Errorf("told %+v", e)
		}
	})
}

// TestReload reads every file again, tells of each, ends the sessions of what is
// gone, and nothing else.
func TestReload(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	tokens, admin := filepath.Join(dir, "tokens"), filepath.Join(dir, "admin")
	cert, key := certificate(t)
	kept, keptLine := newToken(t, access.Grant{Role: access.RoleDevice, Name: "kept"})
	gone, goneLine := newToken(t, access.Grant{Role: access.RoleDevice, Name: "gone"})
	writeFile(t, tokens, keptLine, goneLine)
	writeFile(t, admin, "an-admin-token-that-nobody-guesses")
	var told eventRecorder
	g := prepare(t, mode{io: eventloop.IONonBlocking, tls: eventloop.TLSBlocking}, func(o *Options) {
		o.CredentialFile, o.AdminTokenFile, o.TLSCert, o.TLSKey, o.Events = tokens, admin, cert, key, &told
		o.certificateInterval = time.Hour // no look but Reload's
	})
	if read, _ := g.Reload(); read != 0 {
		t.Errorf("%d files were read before Start", read)
	}
	g.start()
	stays, leaves := g.upgradeAs("/ws/device/kept", kept), g.upgradeAs("/ws/device/gone", gone)

	reload := func(step string, failed int, want ...events.FileRead) {
		t.Helper()
		told.mu.Lock()
		told.all = nil
		told.mu.Unlock()
		if n, bad := g.Reload(); n != 3 || bad != failed {
			t.Errorf("%s: %d files, %d failed; want 3, %d", step, n, bad, failed)
		}
		got := eventsOf[events.FileRead](g, &told, 0)
		for i := range got {
			if got[i].Err != nil {
				got[i] = events.FileRead{Err: os.ErrInvalid}
			}
			got[i].NotAfter = time.Time{}
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: told %+v, want %+v", step, got, w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: told %+v, want %d", step, got, len(want))
		}
	}
	ofAdmin := events.FileRead{Option: "--admin-token-file", Path: admin, Credentials: 1}
	ofCert := events.FileRead{Option: "--tls-cert", Path: cert, Changed: true}
	broken := events.FileRead{Err: os.ErrInvalid}

	reload("unchanged", 0, events.FileRead{Option: "--credential-file", Path: tokens, Credentials: 2}, ofAdmin, ofCert)
	writeFile(t, tokens, "nonsense here")
	writeFile(t, cert, "nothing")
	reload("broken", 2, broken, broken, ofAdmin)
	stays.text(`{"type":"still.here"}`)
	leaves.text(`{"type":"still.here"}`)
	if n := g.manager.Len(); n != 2 {
		t.Errorf("%d sessions after files that cannot be used, want 2", n)
	}
	writeFile(t, tokens, keptLine)
	ca.write(ca.issue("second", 7*time.Hour), cert, key)
	reload("mended", 0, events.FileRead{Option: "--credential-file", Path: tokens, Credentials: 1, Changed: true}, ofAdmin, ofCert)
	leaves.expectClose(protocol.CloseUnauthorized)
	if end := time.Until(g.loop.CertificateExpiry()); end < 6*time.Hour || end > 7*time.Hour {
		t.Errorf("a certificate is in force that ends in %v", end)
	}
	stays.text(`{"type":"still.here"}`)
	if n := g.manager.Len(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}
