package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
)

// TestByteRate: telemetry and text share the bytes; a message larger than the
// burst passes when anything is left, and what follows waits for longer; a
// session that goes on is closed.
func TestByteRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		through := 0
		opts := testOptions()
		opts.FrontendRate = Rate{Bytes: 1000}
		on(&opts).message = func(*Session, wsframe.Opcode, []byte) error { through++; return nil }
		m := newTestManager(t, opts)
		s, f := connect(t, m, frontend)
		send := func(op wsframe.Opcode, n int) {
			f.read(func(s *Session) { _ = s.HandleMessage(op, make([]byte, n)) })
		}
		send(wsframe.OpBinary, 1000)
		send(wsframe.OpText, 999)
		send(wsframe.OpBinary, 5000) // 1 byte was left
		equal(t, "within the burst", through, 3)
		send(wsframe.OpBinary, 1)
		send(wsframe.OpText, 1)
		send(wsframe.OpText, 0) // nothing to pay
		equal(t, "in debt", through, 4)
		time.Sleep(5 * time.Second)
		send(wsframe.OpText, 1)
		equal(t, "debt paid", through, 5)
		sent := f.sent()
		if len(sent) != 1 || !strings.Contains(sent[0], `"code":"rate_limited"`) || !strings.Contains(sent[0], "1000 bytes per second, burst 2000") {
			t.Errorf("told %q", sent)
		}
		equal(t, "counted", fmt.Sprint(m.Stats().RateLimited.Load(), m.Stats().ByteRateLimited.Load()), "2 2")

		for n := 0; s.Open() && n < 100; n++ {
			send(wsframe.OpBinary, 500)
		}
		synctest.Wait()
		equal(t, "closes", m.Stats().Closes(), "map[rate_limited:1]")
	})
}

// TestRolesHaveTheirOwnRates: what a device may send says nothing about front
// ends, and an echo session has no limit.
func TestRolesHaveTheirOwnRates(t *testing.T) {
	opts := testOptions()
	opts.DeviceRate, opts.FrontendRate = Rate{Messages: 1, Burst: 5}, Rate{Messages: 1, Burst: 9}
	got := map[Role]int{}
	on(&opts).message = func(s *Session, _ wsframe.Opcode, _ []byte) error { got[s.Role()]++; return nil }
	m := newTestManager(t, opts)
	for _, info := range []Info{{Role: RoleDevice, Name: "d"}, {Role: RoleFrontend}, {Role: RoleEcho}} {
		_, f := connect(t, m, info)
		for range 10 {
			f.read(message)
		}
	}
	equal(t, "got through", got, fmt.Sprint(map[Role]int{RoleDevice: 5, RoleFrontend: 9, RoleEcho: 10}))
	if _, err := (Rate{Bytes: -1}).withDefaults(); err == nil || errors.Is(err, errByteRate) {
		t.Errorf("negative byte rate: %v", err)
	}
}

// TestEchoIsPingedLate: a test program's session of a few seconds sees no ping
// of ours.
func TestEchoIsPingedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, Options{Callbacks: NopCallbacks{}, LivenessOptions: LivenessOptions{IdleTimeout: time.Hour}})
		interval := m.Options().HeartbeatInterval
		var all []*fake
		for range 50 {
			_, f := connect(t, m, Info{Role: RoleEcho})
			all = append(all, f)
		}
		time.Sleep(interval)
		synctest.Wait()
		for _, f := range all {
			if sent := f.sent(); len(sent) > 0 {
				t.Errorf("within the first interval: %q", sent)
			}
		}
		time.Sleep(interval + time.Second)
		synctest.Wait()
		for _, f := range all {
			if sent := f.sent(); len(sent) == 0 {
				t.Error("no ping within the second interval")
			}
		}
	})
}
