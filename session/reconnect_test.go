package session

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
)

func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		var log []string
		on(&opts).connect = func(s *Session) { log = append(log, fmt.Sprint("connect ", s.Generation())) }
		on(&opts).disconnect = func(s *Session, c Cause) {
			log = append(log, fmt.Sprintf("disconnect %d %s %d", s.Generation(), c.Reason, int(c.Code)))
		}
		m := newTestManager(t, opts)
		old, oldT := connect(t, m, device("d"), answering)
		_ = sendText(old, "queued", false)
		fresh, freshT := connect(t, m, device("d"))
		synctest.Wait()

		equal(t, "the old connection got", oldT.sentText(), "queued close:4000:replaced")
		equal(t, "the new connection got", freshT.sentText(), "")
		if !oldT.closed() || freshT.closed() {
			t.Error("want the old transport closed and the new one open")
		}
		if m.ByDevice("d") != fresh || m.Get(old.ID()) != nil || m.Get(fresh.ID()) != fresh || m.Len() != 1 || m.Devices() != 1 {
			t.Error("the tables do not hold exactly the new session")
		}
		equal(t, "callbacks", log, "[connect 1 disconnect 1 replaced 4000 connect 2]")
		equal(t, "replacements", m.Stats().Replacements.Load(), 1)
	})
}

// TestOldCleanUpAfterNewRegistration is the reconnect race in the form that
// loses a device: the clean-up of the old connection runs when the new one is
// registered already.
func TestOldCleanUpAfterNewRegistration(t *testing.T) {
	cleanUps := map[string]func(*Manager, *Session, *fake){
		"TransportClosed":       func(_ *Manager, s *Session, _ *fake) { s.TransportClosed(errFake) },
		"TransportClosed twice": func(_ *Manager, s *Session, _ *fake) { s.TransportClosed(errFake); s.TransportClosed(nil) },
		"Remove":                func(m *Manager, s *Session, _ *fake) { _ = m.Remove(s.ID(), protocol.CloseKicked, "") },
		"Fail":                  func(_ *Manager, s *Session, _ *fake) { s.Fail(protocol.CloseProtocolError, "") },
		"Close":                 func(_ *Manager, s *Session, _ *fake) { s.Close(protocol.CloseNormal, "") },
		"heartbeat":             func(_ *Manager, s *Session, _ *fake) { s.Expire(time.Now()) },
		"failed write":          func(_ *Manager, s *Session, f *fake) { f.setFail(errFake); s.Flush() },
		"closed by the peer": func(_ *Manager, s *Session, f *fake) {
			_ = s.HandleControl(8, nil)
			_ = f.Close()
		},
		"unregister itself": func(m *Manager, s *Session, _ *fake) {
			// As if the phase had not been checked: the index alone must hold.
			if m.devices.removeIf(s) {
				panic("the old session removed the new one")
			}
		},
	}
	for name, cleanUp := range cleanUps {
		t.Run(name, func(t *testing.T) {
			m := newTestManager(t, testOptions())
			old, oldT := connect(t, m, device("d"))
			fresh, freshT := connect(t, m, device("d"))
			cleanUp(m, old, oldT)
			if m.ByDevice("d") != fresh || !fresh.Open() || m.Get(fresh.ID()) != fresh {
				t.Error("the device that reconnected is lost to its old connection's clean-up")
			}
			equal(t, "Len", m.Len(), 1)
			if err := sendText(m.ByDevice("d"), "command", false); err != nil {
				t.Error(err)
			}
			m.ByDevice("d").Flush()
			equal(t, "the device got", freshT.sentText(), "command")
		})
	}
}

func TestRefuseDuplicate(t *testing.T) {
	opts := testOptions()
	opts.RefuseDuplicate = true
	connects := 0
	on(&opts).connect = func(*Session) { connects++ }
	m := newTestManager(t, opts)
	first, _ := connect(t, m, device("d"))
	_, f, err := tryConnect(m, Info{Role: RoleDevice, Name: "d", Blocking: true})
	if !errors.Is(err, ErrDuplicateDevice) {
		t.Fatalf("second connection: %v, want ErrDuplicateDevice", err)
	}
	if m.ByDevice("d") != first || !first.Open() || m.Len() != 1 || len(m.IDs()) != 1 || connects != 1 || f.closed() {
		t.Error("the refused connection changed something")
	}
	if _, _, err := tryConnect(m, Info{Role: RoleFrontend, Name: "d"}); err != nil {
		t.Errorf("a front end's user with the same name: %v", err)
	}
	first.TransportClosed(nil)
	second, _ := connect(t, m, device("d"))
	if m.ByDevice("d") != second {
		t.Error("the device is refused after its first connection ended")
	}
}

// TestConcurrentTakeover has many connections of one device arrive at once,
// while others use whatever they find: everything found must be usable.
func TestConcurrentTakeover(t *testing.T) {
	opts := testOptions()
	opts.Flushers = 3
	opts.CloseGrace = 20 * time.Millisecond
	m := newTestManager(t, opts)
	stop := make(chan struct{})
	var users, adders sync.WaitGroup
	for range 2 {
		users.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if s := m.ByDevice("d"); s != nil {
					_ = sendText(s, "command", true)
					_ = sendTelemetry(s, 1, 0, 1)
					s.Schedule()
					_ = s.Health()
					_ = s.ConnectedAt()
				}
				_ = m.Sessions()
			}
		})
	}
	for range 4 {
		adders.Go(func() {
			for range 100 {
				if _, _, err := tryConnect(m, device("d"), answering); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adders.Wait()
	close(stop)
	users.Wait()
	checkTables(t, m, nil)
	equal(t, "Len", m.Len(), 1)
	equal(t, "replacements", m.Stats().Replacements.Load(), 399)
}

// TestRandomInterleavings lets several goroutines add and end sessions of few
// devices, and looks at the tables each time the dust has settled.
func TestRandomInterleavings(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprintf("refuse=%v", refuse), func(t *testing.T) {
			var mu sync.Mutex
			connected, disconnected := map[*Session]int{}, map[*Session]int{}
			opts := testOptions()
			opts.RefuseDuplicate = refuse
			opts.CloseGrace = 5 * time.Millisecond
			on(&opts).connect = func(s *Session) {
				mu.Lock()
				defer mu.Unlock()
				connected[s]++
			}
			on(&opts).disconnect = func(s *Session, _ Cause) {
				mu.Lock()
				defer mu.Unlock()
				disconnected[s]++
			}
			m := newTestManager(t, opts)
			var all []*Session // guarded by mu
			for round := range 1000 {
				var wg sync.WaitGroup
				for g := range 4 {
					rng := rand.New(rand.NewPCG(uint64(round), uint64(g)))
					wg.Go(func() {
						for range 4 {
							randomStep(m, rng, &mu, &all)
						}
					})
				}
				wg.Wait()
				mu.Lock()
				checkTables(t, m, all)
				all = keepOpen(all)
				mu.Unlock()
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
			for _, s := range m.Sessions() {
				s.TransportClosed(nil)
			}
			checkTables(t, m, nil)
			mu.Lock()
			defer mu.Unlock()
			equal(t, "sessions that connected", len(connected), m.Stats().Connects.Load())
			equal(t, "sessions that disconnected", len(disconnected), len(connected))
			for s, n := range connected {
				if n != 1 || disconnected[s] != 1 {
					t.Fatalf("a session connected %d times and disconnected %d times, want 1 and 1", n, disconnected[s])
				}
			}
		})
	}
}

func randomStep(m *Manager, rng *rand.Rand, mu *sync.Mutex, all *[]*Session) {
	pick := func() *Session {
		mu.Lock()
		defer mu.Unlock()
		if len(*all) == 0 {
			return nil
		}
		return (*all)[rng.IntN(len(*all))]
	}
	if rng.IntN(3) == 0 {
		info := device(fmt.Sprint("d", rng.IntN(3)))
		if rng.IntN(6) == 0 {
			info = frontend
		}
		// A few have goroutines of their own or answer the close.
		info.Blocking = rng.IntN(8) == 0
		answer := rng.IntN(2) == 0
		s, _, err := tryConnect(m, info, func(f *fake) { f.answer = answer })
		if err != nil {
			return
		}
		mu.Lock()
		*all = append(*all, s)
		mu.Unlock()
		return
	}
	s := pick()
	if s == nil {
		return
	}
	switch rng.IntN(6) {
	case 0:
		s.TransportClosed(errFake)
	case 1:
		_ = m.Remove(s.ID(), protocol.CloseKicked, "")
	case 2:
		s.Fail(protocol.CloseProtocolError, "")
	case 3:
		_ = s.HandleControl(8, nil)
	case 4:
		_ = m.SendTo(s.ID(), []byte("x"))
	case 5:
		m.Broadcast([]byte("x"), nil)
	}
}

// checkTables compares the indexes with each other, and with all sessions ever
// made when they are given.
func checkTables(t *testing.T, m *Manager, all []*Session) {
	t.Helper()
	open, newest := map[*Session]bool{}, map[string]*Session{}
	for _, s := range m.Sessions() {
		if !s.Open() {
			t.Errorf("the id index holds a session that has ended: %s", s.Source())
		}
		open[s] = true
		if s.Role() != RoleDevice {
			continue
		}
		if other := newest[s.Name()]; other != nil {
			t.Errorf("two live sessions of device %s", s.Name())
		}
		if other := newest[s.Name()]; other == nil || other.Generation() < s.Generation() {
			newest[s.Name()] = s
		}
	}
	for _, s := range all {
		if s.Open() != open[s] {
			t.Errorf("a session of %s is open: %v, but in the id index: %v", s.Source(), s.Open(), open[s])
		}
	}
	for name, s := range newest {
		if m.ByDevice(name) != s {
			t.Errorf("the device index does not point at the newest live session of %s", name)
		}
	}
	equal(t, "size of the device index", m.Devices(), len(newest))
	equal(t, "Len", m.Len(), len(open))
}

func keepOpen(all []*Session) (open []*Session) {
	for _, s := range all {
		if s.Open() {
			open = append(open, s)
		}
	}
	return open
}
