package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// journal records the events of a Store.
type journal struct {
	revoked  []Sources
	reloaded []string
	failed   []string
	at       time.Time // of the last event
}

func (j *journal) events() Events {
	return Events{
		Revoked: func(s Sources) { j.revoked, j.at = append(j.revoked, s), time.Now() },
		Reloaded: func(f FileReport) {
			j.reloaded, j.at = append(j.reloaded, fmt.Sprint(f.Path, " ", f.Credentials)), time.Now()
		},
		Failed: func(err error) { j.failed, j.at = append(j.failed, err.Error()), time.Now() },
	}
}

// watched runs f with a watching Authenticator in a synctest bubble.
func watched(t *testing.T, files map[string]string, f func(t *testing.T, a *Authenticator, fs *memory, j *journal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, fs := mustFromFiles(t, Config{}, files)
		var j journal
		a.Watch(j.events())
		f(t, a, fs, &j)
		a.Close()
	})
}

// pass waits, in the time of the bubble.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func source(t *testing.T, a *Authenticator, role Role, token string) string {
	t.Helper()
	id, err := a.Authenticate(role, "", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id.Source
}

// TestRevokedWithinASecond removes a token at different times between two polls.
// A restless file goes on changing.
func TestRevokedWithinASecond(t *testing.T) {
	for _, restless := range []bool{false, true} {
		for at := time.Duration(0); at < time.Second; at += 70 * time.Millisecond {
			watched(t, map[string]string{"device-token-file": tokenA + "\n" + tokenB}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
				kept, lost := source(t, a, RoleDevice, tokenA), source(t, a, RoleDevice, tokenB)
				pass(at)
				fs.replace("device-token-file", tokenA)
				gone := time.Now()
				for restless && time.Since(gone) < time.Second {
					fs.replace("device-token-file", tokenA+strings.Repeat("\n", 1+int(time.Since(gone)/time.Millisecond)))
					pass(10 * time.Millisecond)
				}
				pass(3 * time.Second)
				if len(j.revoked) != 1 || !slices.Equal(j.revoked[0], Sources{lost}) {
					t.Fatalf("revoked %v, want %q", j.revoked, lost)
				}
				if !restless && j.at.Sub(gone) > time.Second {
					t.Errorf("after %v", j.at.Sub(gone))
				}
				if a.InForce(lost) || !a.InForce(kept) || source(t, a, RoleDevice, tokenA) != kept {
					t.Error("in force is what is not, or the other way round")
				}
				if _, err := a.Authenticate(RoleDevice, "x", tokenB, nil); reason(t, err) != Wrong {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// TestRevokedWhileBeingWritten: the second holds for a file that keeps changing.
func TestRevokedWhileBeingWritten(t *testing.T) {
	watched(t, map[string]string{"device-token-file": tokenA + "\n" + tokenB}, func(t *testing.T, _ *Authenticator, fs *memory, j *journal) {
		pass(510 * time.Millisecond)
		gone := time.Now()
		for i := 1; len(j.revoked) == 0; i++ {
			fs.replace("device-token-file", tokenA+strings.Repeat("\n", i))
			pass(10 * time.Millisecond)
			if i > 1000 {
				t.Fatal("never")
			}
		}
		if took := j.at.Sub(gone); took > time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// TestRefusedBeforeReported: a session that the callback ends cannot connect
// again with its old token.
func TestRefusedBeforeReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, fs := mustFromFiles(t, Config{}, map[string]string{"device-token-file": tokenA + "\n" + tokenB})
		lost, told := source(t, a, RoleDevice, tokenB), false
		a.Watch(Events{Revoked: func(s Sources) {
			_, err := a.Authenticate(RoleDevice, "x", tokenB, nil)
			told = s.Covers(lost) && !a.InForce(lost) && err != nil
		}})
		fs.replace("device-token-file", tokenA)
		pass(time.Second)
		a.Close()
		if !told {
			t.Error("told too early")
		}
	})
}

func TestChangesThatEndNothing(t *testing.T) {
	line := hashLine(t, tokenA, "role=device name=d label=old")
	other := hashLine(t, tokenB, "role=device")
	end := func(s string) string { return s + "\n" }
	for name, files := range map[string][]map[string]string{
		"label":        {{"credential-file": end(hashLine(t, tokenA, "role=device name=d label=new"))}},
		"label gone":   {{"credential-file": end(hashLine(t, tokenA, "role=device name=d"))}},
		"lines before": {{"credential-file": end("# a\n\n" + other + "\n" + line)}},
		"order":        {{"credential-file": end(other + "\n" + line)}, {"credential-file": end(line + "\n" + other)}},
		"spelling":     {{"credential-file": hashLine(t, tokenA, "name=d\trole=device") + "\r\n"}},
		"touch":        {{"credential-file": end(line)}},
		"other file":   {{"credential-file": end(other), "device-token-file": end(tokenB + "\n" + line)}},
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, map[string]string{"credential-file": end(line), "device-token-file": tokenB}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
				before, b := source(t, a, RoleDevice, tokenA), source(t, a, RoleDevice, tokenB)
				for _, step := range files {
					for path, data := range step {
						fs.replace(path, data)
					}
					pass(time.Second)
				}
				if len(j.revoked) != 0 || len(j.failed) != 0 || source(t, a, RoleDevice, tokenA) != before || !a.InForce(b) {
					t.Errorf("%+v", j)
				}
				if name == "touch" && len(j.reloaded) != 0 {
					t.Errorf("reloaded %v", j.reloaded)
				}
			})
		})
	}
}

// TestNarrowedGrantRevokes: a session has the rights of the line at the time it
// connected. A changed line ends the session.
func TestNarrowedGrantRevokes(t *testing.T) {
	for name, attributes := range map[string]string{
		"permissions": "role=frontend user=ada permissions=observe devices=a*,b",
		"devices":     "role=frontend user=ada permissions=observe,command devices=a*",
		"user":        "role=frontend user=eve permissions=observe,command devices=a*,b",
		"role":        "role=device name=ada",
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, map[string]string{"credential-file": hashLine(t, tokenA, "role=frontend user=ada permissions=observe,command devices=a*,b label=l") + "\n"}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
				before := source(t, a, RoleFrontend, tokenA)
				fs.replace("credential-file", hashLine(t, tokenA, attributes+" label=l")+"\n")
				pass(time.Second)
				if len(j.revoked) != 1 || !j.revoked[0].Covers(before) || a.InForce(before) {
					t.Errorf("%+v", j)
				}
				if id, err := a.Authenticate(RoleFrontend, "", tokenA, nil); name != "role" && (err != nil || id.Source == before) {
					t.Errorf("%+v, %v", id, err)
				}
			})
		})
	}
}

func TestBrokenFileKeepsTheOld(t *testing.T) {
	watched(t, map[string]string{"device-token-file": tokenA}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
		const path = "device-token-file"
		held := func(step string, failed, reloaded int) {
			t.Helper()
			pass(5 * time.Second)
			if len(j.revoked) != 0 || len(j.failed) != failed || len(j.reloaded) != reloaded {
				t.Errorf("%s: %+v", step, j)
			}
			if _, err := a.Authenticate(RoleDevice, "x", tokenA, nil); err != nil {
				t.Errorf("%s: %v", step, err)
			}
			for _, f := range j.failed {
				mustHide(t, f)
			}
		}
		held("nothing", 0, 0)
		fs.replace(path, tokenB+"!")
		held("broken", 1, 0)
		fs.replace(path, tokenB+"!")
		held("broken the same way again", 1, 0)
		fs.replace(path, "\n"+tokenB+"!")
		held("broken in another way", 2, 0)
		fs.fail(path, errors.New("stat device-token-file: no such file or directory"))
		held("gone", 3, 0)
		fs.fail(path, nil)
		held("broken one back", 4, 0)
		fs.replace(path, tokenA+"\n"+tokenB)
		held("mended", 4, 1)
		fs.fail(path, errors.New("stat device-token-file: no such file or directory"))
		held("gone again", 5, 1)
		fs.fail(path, nil)
		held("back", 5, 2)
		fs.replace(path, strings.Repeat("#", maxTokenFile+1))
		held("too large", 6, 2)
		fs.replace(path, tokenA+"\n"+tokenB)
		held("mended again", 6, 3)
		if !strings.HasPrefix(j.failed[0], "--device-token-file: device-token-file: line 1: character") {
			t.Errorf("said %q", j.failed[0])
		}
		if _, err := a.Authenticate(RoleDevice, "x", tokenB, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestOneBrokenFileDoesNotHoldUpAnother: a revocation does not wait until a
// mistake in another file is corrected.
func TestOneBrokenFileDoesNotHoldUpAnother(t *testing.T) {
	watched(t, map[string]string{"device-token-file": tokenA + "\n" + tokenB, "frontend-token-file": tokenA}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
		fs.replace("frontend-token-file", "x")
		fs.replace("device-token-file", tokenA)
		pass(time.Second)
		if len(j.failed) != 1 || len(j.revoked) != 1 || len(j.revoked[0]) != 1 {
			t.Errorf("%+v", j)
		}
		source(t, a, RoleFrontend, tokenA)
	})
}

// TestEmptiedFileKeepsTheOld: a file without any credential is a mistake while
// running as it is at the start. What it held stays in force.
func TestEmptiedFileKeepsTheOld(t *testing.T) {
	const soon = 60
	for option, c := range map[string]struct {
		file  string
		empty []string
		token func(t *testing.T) string
		says  string
	}{
		"device-token-file": {tokenA + "\n", []string{"", "\n\n", "# nobody\n", "\uFEFF"}, func(*testing.T) string { return tokenA }, "holds no token"},
		"jwt-key-file": {pemPublic(t, edPublic()), []string{"", " \n"}, func(t *testing.T) string {
			return sign(t, jwt.SigningMethodEdDSA, theEd25519(), members{"alg": "EdDSA"}, with(deviceClaims, "exp", time.Now().Unix()+soon))
		}, "holds no key"},
		"jwt-secret-file": {testSecret, []string{"", "\n", " \n"}, func(t *testing.T) string {
			return sign(t, jwt.SigningMethodHS256, []byte(testSecret), members{"alg": "HS256"}, with(deviceClaims, "exp", time.Now().Unix()+soon))
		}, "holds no key"},
		"jwks-file": {jwks(jwkEd25519("e", edPublic())), []string{"", jwks()}, func(t *testing.T) string {
			return sign(t, jwt.SigningMethodEdDSA, theEd25519(), edHeader, with(deviceClaims, "exp", time.Now().Unix()+soon))
		}, "holds no key"},
	} {
		for _, empty := range c.empty {
			if _, _, err := fromFiles(t, Config{}, map[string]string{option: empty}); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: at the start %q: %v", option, empty, err)
			}
			watched(t, map[string]string{option: c.file}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
				token := c.token(t)
				before := source(t, a, RoleDevice, token)
				fs.replace(option, empty)
				pass(3 * time.Second)
				if len(j.revoked) != 0 || len(j.reloaded) != 0 || len(j.failed) != 1 || !strings.Contains(j.failed[0], c.says) || !a.InForce(before) {
					t.Errorf("%s: %q: %+v", option, empty, j)
				}
				if source(t, a, RoleDevice, token) != before || a.Files()[0].Credentials != 1 {
					t.Errorf("%s: %q: %+v", option, empty, a.Files())
				}
				fs.replace(option, c.file)
				pass(time.Second)
				if len(j.revoked) != 0 || len(j.failed) != 1 {
					t.Errorf("%s: back again: %+v", option, j)
				}
			})
		}
	}
}

// TestLastTokenIsReplaced: replacing the only token of a file revokes it.
func TestLastTokenIsReplaced(t *testing.T) {
	watched(t, map[string]string{"device-token-file": tokenA + "\n"}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
		last := source(t, a, RoleDevice, tokenA)
		fs.replace("device-token-file", tokenB+"\n")
		pass(time.Second)
		if len(j.revoked) != 1 || !j.revoked[0].Covers(last) || a.InForce(last) || len(j.failed) != 0 {
			t.Errorf("%+v", j)
		}
	})
}

// TestWrittenInPlace: a file that is written piece by piece is read once it is
// complete.
func TestWrittenInPlace(t *testing.T) {
	watched(t, map[string]string{"device-token-file": tokenA + "\n" + tokenB}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
		whole := "# new\n" + tokenA + "\n" + tokenB + "\nand-a-third-one-here"
		for at := range 40 { // to have a poll at each point of the writing
			pass(100*time.Millisecond + time.Duration(at)*13*time.Millisecond)
			for i := 0; i <= len(whole); i += 9 {
				fs.rewrite("device-token-file", whole[:i], time.Now())
				pass(2 * time.Millisecond)
			}
			fs.rewrite("device-token-file", whole, time.Now())
		}
		pass(time.Second)
		if len(j.revoked) != 0 || len(j.failed) != 0 || len(j.reloaded) != 1 {
			t.Errorf("%+v", j)
		}
		source(t, a, RoleDevice, "and-a-third-one-here")
	})
}

// TestChangeWithinOneStepOfTheClock: same time, same size, same inode.
func TestChangeWithinOneStepOfTheClock(t *testing.T) {
	watched(t, map[string]string{"device-token-file": tokenA}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
		step := time.Now()
		pass(1100 * time.Millisecond) // several polls
		fs.rewrite("device-token-file", strings.ToLower(tokenA), step)
		pass(time.Second)
		if len(j.revoked) != 1 || len(j.reloaded) != 1 {
			t.Errorf("%+v", j)
		}
		source(t, a, RoleDevice, strings.ToLower(tokenA))
		pass(5 * time.Second)
		reads := fs.reads
		pass(time.Minute)
		if fs.reads != reads {
			t.Errorf("an old file was read %d times", fs.reads-reads)
		}
	})
}

func TestKeysReload(t *testing.T) {
	rs, ed := jwkRSA("r", &theRSA().PublicKey), jwkEd25519("e", edPublic())
	watched(t, map[string]string{"jwks-file": jwks(rs, ed), "jwt-secret-file": testSecret}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
		soon := with(deviceClaims, "exp", time.Now().Add(time.Hour).Unix())
		tokens := map[string]string{
			"r":  sign(t, jwt.SigningMethodRS256, theRSA(), rsHeader, soon),
			"e":  sign(t, jwt.SigningMethodEdDSA, theEd25519(), edHeader, soon),
			"e2": sign(t, jwt.SigningMethodEdDSA, theEd25519(), edHeader, with(soon, "jti", "2")),
			"hs": sign(t, jwt.SigningMethodHS256, []byte(testSecret), members{"alg": "HS256"}, soon),
		}
		sources := map[string]string{}
		for name, token := range tokens {
			sources[name] = source(t, a, RoleDevice, token)
		}
		expect := func(step string, in ...string) {
			t.Helper()
			pass(time.Second)
			for name, s := range sources {
				_, err := a.Authenticate(RoleDevice, "tensile-1", tokens[name], nil)
				revoked := slices.ContainsFunc(j.revoked, func(r Sources) bool { return r.Covers(s) })
				if want := slices.Contains(in, name); a.InForce(s) != want || (err == nil) != want || revoked == want {
					t.Errorf("%s: %s: in force %v, revoked %v, %v", step, name, a.InForce(s), revoked, err)
				}
			}
		}
		expect("start", "r", "e", "e2", "hs")
		fs.replace("jwks-file", jwks(ed, rs, jwkEd25519("new", edPublic())))
		expect("one more", "r", "e", "e2", "hs")
		fs.replace("jwks-file", `{"keys":`)
		expect("broken", "r", "e", "e2", "hs")
		fs.replace("jwks-file", jwks(ed))
		expect("RSA removed", "e", "e2", "hs")
		fs.replace("jwt-secret-file", strings.ToUpper(testSecret))
		expect("another secret", "e", "e2")
		fs.replace("jwks-file", jwks(jwkRSA("e", &otherRSA().PublicKey)))
		expect("another key of that kid")
		if len(j.failed) != 1 || len(j.revoked) != 3 {
			t.Errorf("%+v", j)
		}
	})
}

// TestKeyMoves: moving a key to another file revokes nothing.
func TestKeyMoves(t *testing.T) {
	watched(t, map[string]string{"jwt-key-file": pemPublic(t, edPublic()), "jwks-file": jwks(jwkRSA("r", &theRSA().PublicKey))}, func(t *testing.T, a *Authenticator, fs *memory, j *journal) {
		s := source(t, a, RoleDevice, sign(t, jwt.SigningMethodEdDSA, theEd25519(), members{"alg": "EdDSA"}, with(deviceClaims, "exp", time.Now().Add(time.Hour).Unix())))
		fs.replace("jwt-key-file", pemPublic(t, theRSA().Public()))
		fs.replace("jwks-file", jwks(with(jwkEd25519("", edPublic()), "kid", nil)))
		pass(time.Second)
		if !a.InForce(s) || len(j.revoked) != 1 || j.revoked[0].Covers(s) {
			t.Errorf("%+v", j)
		}
	})
}

func TestWatchAndClose(t *testing.T) {
	a, _ := mustFromFiles(t, Config{}, map[string]string{"device-token-file": tokenA})
	a.Close() // never watched
	a.Watch(Events{})
	a.Close()
	b, fs := mustFromFiles(t, Config{pollInterval: time.Millisecond}, map[string]string{"device-token-file": tokenA})
	b.Watch(Events{}) // no callback is needed
	b.Watch(Events{})
	fs.replace("device-token-file", tokenB)
	for b.InForce(sourceOf(b, tokenA)) {
		time.Sleep(time.Millisecond)
	}
	fs.replace("device-token-file", "x")
	time.Sleep(5 * time.Millisecond)
	b.Close()
	b.Close()
	source(t, b, RoleDevice, tokenB)
	c, _ := mustFromFiles(t, Config{}, nil)
	c.Watch(Events{})
	c.Close()
}

func sourceOf(a *Authenticator, token string) string {
	id, _ := a.Authenticate(RoleDevice, "", token, nil)
	return id.Source
}
