package access

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestReload: all files are read at once, and the caller learns what became of
// each.
func TestReload(t *testing.T) {
	watched(t, map[string]string{"device-token-file": tokenA + "\n" + tokenB, "frontend-token-file": tokenA, "jwks-file": jwks(jwkEd25519("e", edPublic()))}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
		reload := func(want ...FileReport) {
			t.Helper()
			began := time.Now()
			got := a.Reload()
			if time.Since(began) != 0 {
				t.Errorf("took %v", time.Since(began))
			}
			if len(got) != 3 {
				t.Fatalf("%+v", got)
			}
			for i, option := range []string{"device-token-file", "frontend-token-file", "jwks-file"} {
				w := want[i]
				if got[i].Option != "--"+option || got[i].Path != option || got[i].Credentials != w.Credentials || got[i].Changed != w.Changed || got[i].Ignored != w.Ignored {
					t.Errorf("%+v, want %+v", got[i], w)
				}
				if (got[i].Err == nil) != (w.Err == nil) || w.Err != nil && !strings.Contains(got[i].Err.Error(), w.Err.Error()) {
					t.Errorf("%s: %v, want %v", option, got[i].Err, w.Err)
				}
				f := a.Files()[i]
				if f.Path != option || f.Credentials != w.Credentials || f.Ignored != w.Ignored || f.Err != nil || f.Changed {
					t.Errorf("in force: %+v", f)
				}
			}
		}
		two, one := FileReport{Credentials: 2}, FileReport{Credentials: 1}
		reload(two, one, one)
		if len(j.revoked)+len(j.reloaded)+len(j.failed) != 0 {
			t.Errorf("unchanged: %+v", j)
		}
		lost := source(t, a, RoleDevice, tokenB)
		fs.replace("device-token-file", tokenA)
		fs.replace("frontend-token-file", "x")
		fs.replace("jwks-file", jwks(jwkEd25519("e", edPublic()), members{"kty": "EC"}))
		broken := FileReport{Credentials: 1, Err: errors.New("line 1: a token of 1 characters")}
		reload(FileReport{Credentials: 1, Changed: true}, broken, FileReport{Credentials: 1, Ignored: 1, Changed: true})
		if len(j.revoked) != 1 || !j.revoked[0].Covers(lost) || a.InForce(lost) || len(j.reloaded) != 2 || len(j.failed) != 1 {
			t.Errorf("%+v", j)
		}
		reload(one, broken, FileReport{Credentials: 1, Ignored: 1})
		if len(j.revoked) != 1 || len(j.reloaded) != 2 || len(j.failed) != 2 {
			t.Errorf("read again and not changed: %+v", j)
		}
		pass(5 * time.Second)
		if len(j.reloaded) != 2 || len(j.failed) != 2 {
			t.Errorf("told again by polling: %+v", j)
		}
		fs.fail("device-token-file", errors.New("open device-token-file: permission denied"))
		fs.replace("frontend-token-file", tokenB)
		reload(FileReport{Credentials: 1, Err: errors.New("permission denied")}, FileReport{Credentials: 1, Changed: true}, FileReport{Credentials: 1, Ignored: 1})
	})
}

// TestReloadWithoutWatching returns at once: before Watch, after Close, and
// without files.
func TestReloadWithoutWatching(t *testing.T) {
	a, _ := mustFromFiles(t, Config{}, map[string]string{"device-token-file": tokenA})
	if got := a.Reload(); got != nil {
		t.Errorf("%+v", got)
	}
	a.Watch(Events{})
	if got := a.Reload(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	a.Close()
	if got := a.Reload(); got != nil {
		t.Errorf("%+v", got)
	}
	b, _ := mustFromFiles(t, Config{}, nil)
	b.Watch(Events{})
	if got := b.Reload(); got != nil {
		t.Errorf("%+v", got)
	}
}

// TestReloadWhileClosing: a Reload never waits for a Store that is closing.
func TestReloadWhileClosing(t *testing.T) {
	for range 50 {
		a, _ := mustFromFiles(t, Config{pollInterval: time.Millisecond}, map[string]string{"device-token-file": tokenA})
		a.Watch(Events{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for a.Reload() != nil {
			}
		}()
		a.Close()
		<-done
	}
}
