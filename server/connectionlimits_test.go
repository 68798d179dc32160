package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
)

// from dials from one of the loopback addresses.
func from(addr string) *net.Dialer {
	return &net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
}

// refusedWith makes a request from an address and returns the answer to it.
func (g *gateway) refusedWith(d *net.Dialer, request string) (status int, retryAfter, body string, err error) {
	conn, err := g.tryDialWith(d)
	if err != nil {
		return 0, "", "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, request)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", "", err
	}
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header.Get("Retry-After"), string(b), err
}

// TestConnectionsPerAddress: one address takes its share and no more, the
// others theirs, and what has ended counts no longer, however it ended.
func TestConnectionsPerAddress(t *testing.T) {
	const limit = 3
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.MaxConnectionsPerAddress = limit })
		var first []*peer
		for i := range limit {
			for _, addr := range []string{"127.0.0.1", "127.0.0.2"} {
				p, err := g.tryUpgradeWith(from(addr), fmt.Sprintf("/ws/device/d%s-%d", addr, i))
				if err != nil {
					t.Fatal(err)
				}
				first = append(first, p)
			}
		}
		if m.tls != "" {
			// There is no answer without a handshake of TLS.
			if conn, err := g.tryDialWith(from("127.0.0.1")); err == nil {
				conn.Close()
				t.Error("one more was let in")
			}
		} else {
			status, retry, body, err := g.refusedWith(from("127.0.0.1"), request("/ws/frontend"))
			if err != nil || status != 429 || retry != "2" || !strings.Contains(body, "--max-connections-per-address") || !strings.Contains(body, string(protocol.ErrOverloaded)) {
				t.Errorf("%d %q %s %v", status, retry, body, err)
			}
		}
		if n := g.admission.Counters().RefusedConnections.All()["address"]; n != 1 {
			t.Errorf("%d refused connections counted", n)
		}
		if _, err := g.tryUpgradeWith(from("127.0.0.3"), "/ws/frontend"); err != nil {
			t.Errorf("another address: %v", err)
		}
		for i, p := range first {
			if i%2 == 0 {
				p.vanish()
			} else {
				p.sendClose(1000)
				_, _ = p.awaitClose()
				p.conn.Close()
			}
		}
		g.eventually("all but one are gone", func() bool { return g.admission.Counters().Connections.Load() == 1 })
		for i := range limit {
			if _, err := g.tryUpgradeWith(from("127.0.0.1"), fmt.Sprintf("/ws/device/again-%d", i)); err != nil {
				t.Errorf("again: %v", err)
			}
		}
		if _, err := g.tryUpgradeWith(from("127.0.0.1"), "/ws/frontend"); err == nil {
			t.Error("one more than the limit was let in again")
		}
	})
}

// TestForwardedAddress: behind a trusted proxy, sessions are counted and shown
// by the address that it forwards; from anybody else the header means nothing.
func TestForwardedAddress(t *testing.T) {
	const limit = 2
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) {
			o.MaxConnectionsPerAddress, o.TrustedProxies = limit, []string{"127.0.0.9"}
		})
		connect := func(source, forwarded string) (*peer, string) {
			conn, err := g.tryDialWith(from(source))
			if err != nil {
				t.Fatal(err)
			}
			p := newPeer(t, conn)
			_, _ = io.WriteString(conn, request("/ws/frontend", "X-Forwarded-For: "+forwarded))
			// What follows a refusal is no frame.
			head, err := p.readHead()
			if head == "" {
				t.Fatal(err)
			}
			return p, head
		}
		for i := range limit {
			if _, head := connect("127.0.0.9", "192.0.2.1"); !strings.Contains(head, " 101 ") {
				t.Fatalf("%d: %s", i, head)
			}
		}
		if _, head := connect("127.0.0.9", "192.0.2.1"); !strings.Contains(head, " 429 ") || !strings.Contains(head, "Retry-After: 2") {
			t.Errorf("one more: %s", head)
		}
		// A proxy serves many: it has no limit itself.
		for i := range 2 * limit {
			if _, head := connect("127.0.0.9", fmt.Sprintf("192.0.2.1, 198.51.100.%d", i)); !strings.Contains(head, " 101 ") {
				t.Errorf("another client: %s", head)
			}
		}
		if _, head := connect("127.0.0.4", "192.0.2.77"); !strings.Contains(head, " 101 ") {
			t.Errorf("no proxy: %s", head)
		}
		g.eventually("all are sessions", func() bool { return g.manager.Len() == 3*limit+1 })
		remotes := map[string]int{}
		for _, sess := range g.manager.Sessions() {
			host, _, err := net.SplitHostPort(sess.Info().Remote)
			if err != nil {
				host = sess.Info().Remote
			}
			remotes[host]++
		}
		if remotes["192.0.2.1"] != limit || remotes["198.51.100.3"] != 1 || remotes["127.0.0.4"] != 1 || remotes["192.0.2.77"] != 0 || remotes["127.0.0.9"] != 0 {
			t.Errorf("remotes %v", remotes)
		}
		if n := g.admission.Counters().RefusedRequests.All()["address"]; n != 1 {
			t.Errorf("%d counted", n)
		}
		for _, sess := range g.manager.Sessions() {
			sess.Close(protocol.CloseKicked, "")
		}
		g.eventually("their sessions have ended", func() bool { return g.manager.Len() == 0 })
		for i := range limit {
			if _, head := connect("127.0.0.9", "192.0.2.1"); !strings.Contains(head, " 101 ") {
				t.Errorf("again, %d: %s", i, head)
			}
		}
	})
}

// TestSessionsPerUser: a user has a number of sessions; a refusal names the
// user, and nobody else is touched.
func TestSessionsPerUser(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.MaxSessionsPerUser = 2 })
		a := g.upgrade("/ws/frontend/anna")
		g.upgrade("/ws/frontend/anna")
		status, retry, body, err := g.refusedWith(&net.Dialer{Timeout: patience}, request("/ws/frontend/anna"))
		if err != nil || status != 429 || retry != "2" || !strings.Contains(body, `\"anna\"`) || !strings.Contains(body, "--max-sessions-per-user") {
			t.Errorf("%d %q %s %v", status, retry, body, err)
		}
		g.upgrade("/ws/frontend/bob")
		g.upgrade("/ws/frontend/bob")
		for range 4 {
			g.upgrade("/ws/frontend")
		}
		g.upgrade("/ws/device/anna")
		if n := g.admission.Counters().RefusedRequests.All()["sessions_per_user"]; n != 1 {
			t.Errorf("%d counted", n)
		}
		a.vanish()
		g.eventually("anna may come again", func() bool {
			_, err := g.tryUpgrade("/ws/frontend/anna")
			return err == nil
		})
	})
}

// TestDuplicateDeviceGivesItsPlaceBack: a handshake that ends in 4007 holds
// nothing.
func TestDuplicateDeviceGivesItsPlaceBack(t *testing.T) {
	g := start(t, modes[0], func(o *Options) {
		o.RefuseDuplicate, o.MaxConnectionsPerAddress, o.TrustedProxies = true, 2, []string{"127.0.0.1"}
	})
	g.upgrade("/ws/device/d")
	for range 5 {
		conn := g.dial()
		p := newPeer(t, conn)
		_, _ = io.WriteString(conn, request("/ws/device/d", "X-Forwarded-For: 192.0.2.1"))
		if head, err := p.readHead(); err != nil || !strings.Contains(head, " 101 ") {
			t.Fatalf("%s %v", head, err)
		}
		if code, _ := p.awaitClose(); code != protocol.CloseDuplicateDevice {
			t.Errorf("closed with %d", code)
		}
		conn.Close()
	}
}

// TestConnectionRate: in a storm as many as allowed get in each second, and the
// others are told to come again.
func TestConnectionRate(t *testing.T) {
	g := start(t, modes[0], func(o *Options) { o.MaxConnectionRate = 5 })
	let, refused := 0, 0
	for range 40 {
		status, retry, body, err := g.refusedWith(&net.Dialer{Timeout: patience}, request("/ws/frontend"))
		switch {
		case err != nil:
			t.Fatal(err)
		case status == 101:
			let++
		case status == 503 && retry != "" && retry != "0" && strings.Contains(body, "--max-connection-rate"):
			refused++
		default:
			t.Errorf("%d %q %s", status, retry, body)
		}
	}
	if let < 5 || refused == 0 {
		t.Errorf("%d let in, %d refused", let, refused)
	}
	if n := g.admission.Counters().RefusedConnections.All()["rate"]; n != uint64(refused) {
		t.Errorf("%d counted, %d refused", n, refused)
	}
	g.eventually("the storm is over", func() bool {
		status, _, _, err := g.refusedWith(&net.Dialer{Timeout: patience}, request("/ws/frontend"))
		return err == nil && status == 101
	})
}

// TestSessionsPerCredential: many ids with one token that is bound to none are
// held to a number. A device that comes again takes the place of its old
// connection, and another token is another matter.
func TestSessionsPerCredential(t *testing.T) {
	shared, sharedLine := newToken(t, access.Grant{Role: access.RoleDevice})
	other, otherLine := newToken(t, access.Grant{Role: access.RoleDevice})
	display, displayLine := newToken(t, access.Grant{Role: access.RoleFrontend, Permissions: access.Permissions{Observe: true, Devices: []access.Pattern{"*"}}})
	file := writeFile(t, filepath.Join(t.TempDir(), "tokens"), sharedLine, otherLine, displayLine)
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.MaxSessionsPerCredential, o.CredentialFile = 2, file })
		asked := func(path, token, want string) {
			t.Helper()
			status, retry, body, err := g.refusedWith(&net.Dialer{Timeout: patience}, request(path, "Authorization: Bearer "+token))
			if err != nil || status != 429 || retry != "2" || !strings.Contains(body, want) || strings.Contains(body, token) {
				t.Errorf("%s: %d %q %s %v", path, status, retry, body, err)
			}
		}
		a := g.upgradeAs("/ws/device/a", shared)
		b := g.upgradeAs("/ws/device/b", shared)
		asked("/ws/device/c", shared, "--max-sessions-per-credential")
		g.upgradeAs("/ws/device/c", other)
		for range 2 {
			g.upgradeAs("/ws/frontend", display)
		}
		asked("/ws/frontend/anna", display, "--max-sessions-per-credential")
		for range 5 {
			again := g.upgradeAs("/ws/device/a", shared)
			a.expectClose(protocol.CloseReplaced)
			a = again
		}
		asked("/ws/device/c", shared, "--max-sessions-per-credential")
		if n := g.admission.Counters().RefusedRequests.All()["sessions_per_credential"]; n != 3 {
			t.Errorf("%d counted", n)
		}
		b.vanish()
		g.eventually("a place is free", func() bool {
			_, err := g.tryUpgradeAs("/ws/device/d", shared)
			return err == nil
		})
		for _, sess := range g.manager.Sessions() {
			sess.Close(protocol.CloseKicked, "")
		}
		for _, path := range []string{"/ws/device/e", "/ws/device/f"} {
			if _, err := g.tryUpgradeAs(path, shared); err != nil {
				t.Errorf("again: %v", err)
			}
		}
	})
}
