package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/protocol"
)

// counted returns token-1, token-2 and so on.
func counted(calls *atomic.Int32) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return fmt.Sprintf("token-%d", calls.Add(1)), nil }
}

func expiring(t *testing.T, left time.Duration) protocol.Message {
	t.Helper()
	ms := left.Milliseconds()
	m, err := protocol.NewMessage(protocol.TypeTokenExpiring, protocol.Expiry{ExpiresInMS: &ms})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func bearer(s *fakeSession) string { return s.request.Header.Get("Authorization") }

// TestTokenIsRenewed: at the gateway's warning a fresh token goes over the same
// connection; the answer is not passed on, nor is a token logged.
func TestTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		var calls atomic.Int32
		var log bytes.Buffer
		logger := zerolog.New(&log)
		cfg := g.config()
		cfg.TokenSource, cfg.Logger = counted(&calls), &logger
		var got []string
		d, err := DialDevice(t.Context(), cfg, DeviceConfig{ID: "d", OnMessage: func(m protocol.Message) { got = append(got, m.Type) }})
		if err != nil {
			t.Fatal(err)
		}
		s := g.next()
		if bearer(s) != "Bearer token-1" {
			t.Errorf("connected with %q", bearer(s))
		}
		for _, answer := range []string{protocol.TypeRenewed, protocol.TypeError} {
			want := fmt.Sprintf(`{"token":"token-%d"}`, calls.Load()+1)
			s.send(expiring(t, time.Minute))
			m := s.text()
			if m.Type != protocol.TypeRenew || m.ID == "" || string(m.Payload) != want {
				t.Errorf("sent %+v %s, want %s", m, m.Payload, want)
			}
			a, _ := protocol.NewMessage(answer, protocol.Error{Code: protocol.ErrNotAllowed, Message: "no"})
			a.Re = m.ID
			s.send(a)
		}
		synctest.Wait()
		if want := "gateway.token_expiring gateway.token_expiring"; strings.Join(got, " ") != want {
			t.Errorf("passed on %v, want %s", got, want)
		}
		// If the gateway closes the session, the client asks TokenSource again.
		s.readOn()
		s.close(protocol.CloseUnauthorized)
		if s = g.next(); bearer(s) != "Bearer token-4" {
			t.Errorf("connected with %q", bearer(s))
		}
		s.readOn()
		d.Close()
		if strings.Contains(log.String(), "token-") || !strings.Contains(log.String(), "does not take the new token") {
			t.Errorf("logged %s", log.String())
		}
	})
}

// TestTokenSourceFails: the client calls TokenSource again until the token
// expires.
func TestTokenSourceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		var calls atomic.Int32
		cfg := g.config()
		cfg.TokenSource = func(ctx context.Context) (string, error) {
			switch n := calls.Add(1); n {
			case 2:
				return "", errors.New("the issuer is away")
			case 3:
				panic("the issuer is mad")
			case 5: // hangs
				<-ctx.Done()
				return "", ctx.Err()
			default:
				return fmt.Sprintf("token-%d", n), nil
			}
		}
		d, err := DialDevice(t.Context(), cfg, DeviceConfig{ID: "d"})
		if err != nil {
			t.Fatal(err)
		}
		s := g.next()
		s.send(expiring(t, time.Minute))
		if m := s.text(); string(m.Payload) != `{"token":"token-4"}` {
			t.Errorf("sent %s", m.Payload)
		}
		s.send(expiring(t, time.Minute))
		synctest.Wait()
		s.readOn()
		d.Close() // while it hangs
		if n := calls.Load(); n != 5 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestRefusedTokenIsReplaced: after a refused token the client tries again with
// a TokenSource, and ends without one.
func TestRefusedTokenIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		var calls atomic.Int32
		cfg := g.config()
		cfg.TokenSource = counted(&calls)
		d, err := DialDevice(t.Context(), cfg, DeviceConfig{ID: "d"})
		if err != nil {
			t.Fatal(err)
		}
		s := g.next()
		g.set(func() {
			g.refuse = func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "Bearer token-4" {
					g.set(func() { g.refuse = nil })
				}
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		s.vanish()
		if s = g.next(); bearer(s) != "Bearer token-5" {
			t.Errorf("connected with %q", bearer(s))
		}
		s.readOn()
		d.Close()

		cfg.TokenSource, cfg.Token = nil, "token"
		if d, err = DialDevice(t.Context(), cfg, DeviceConfig{ID: "d"}); err != nil {
			t.Fatal(err)
		}
		s = g.next()
		s.send(expiring(t, time.Minute)) // nobody can renew it
		s.readOn()
		s.close(protocol.CloseUnauthorized)
		<-d.Done()
		if closed, ok := errors.AsType[*DisconnectError](d.Err()); !ok || closed.Code != protocol.CloseUnauthorized {
			t.Errorf("ended with %v", d.Err())
		}
		d.Close()

		cfg.TokenSource = func(context.Context) (string, error) { return "", errors.New("no") }
		if _, err := DialDevice(t.Context(), cfg, DeviceConfig{ID: "d"}); err == nil || !strings.Contains(err.Error(), "TokenSource: no") {
			t.Errorf("connected without a token: %v", err)
		}
	})
}
