package admission

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/session"
)

// transport is a connection whose peer takes everything.
type transport struct{}

func (transport) Write(b []byte) (int, error) { return len(b), nil }
func (transport) Buffered() int               { return 0 }
func (transport) Close() error                { return nil }

// TestCredentialThatWasRevokedMeanwhile: a session that comes into being while
// its credential is revoked is ended.
func TestCredentialThatWasRevokedMeanwhile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	token := access.NewToken()
	line, err := access.HashLine(token, access.Grant{Role: access.RoleDevice})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{CredentialOptions: CredentialOptions{Config: access.Config{CredentialFile: file}, TokenWarning: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.NewManager(session.Options{Callbacks: a.Callbacks(session.NopCallbacks{})})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Stop(ctx)
	}()
	a.Bind(m, nil)
	id, err := a.authenticator.Authenticate(access.RoleDevice, "d", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, revoked := range []bool{false, true} {
		info := session.Info{Role: session.RoleDevice, Name: "d", Remote: "192.0.2.1:1"}
		a.grant(&info, id)
		if revoked {
			info.Access.(*credential).source = "token:gone#1"
		}
		s, err := m.Add(info, transport{})
		if err != nil {
			t.Fatal(err)
		}
		a.SessionAdded(s)
		if s.Open() == revoked {
			t.Errorf("revoked %v, open %v", revoked, s.Open())
		}
	}
}
