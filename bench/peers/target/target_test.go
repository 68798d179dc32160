//go:build linux

package target

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labgate/labgate/bench/peers/wire"
)

func TestConfigurationsStayOnLoopback(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:4321")
	for _, target := range All() {
		dir := t.TempDir()
		args, err := target.args(addr, dir)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(args, " ")
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			text += "\n" + string(b)
		}
		if !strings.Contains(text, "127.0.0.1") || !strings.Contains(text, "4321") || strings.Contains(text, "0.0.0.0") {
			t.Errorf("%s: %s", target.Name, text)
		}
	}
}

func TestTargets(t *testing.T) {
	names := map[string]bool{}
	for _, target := range All() {
		if names[target.Name] {
			t.Errorf("%s is there twice", target.Name)
		}
		names[target.Name] = true
		if target.Kind != Reference && !(target.Takes(wire.FanOut) && target.Takes(wire.Unicast) && target.Takes(wire.Idle)) {
			t.Errorf("%s does not take part in everything", target.Name)
		}
		if (target.Module == "") == (target.VersionArg == "") || target.Settings == "" || target.Work == "" || target.Protocol == nil || target.Binary == "" {
			t.Errorf("%s: %+v", target.Name, target)
		}
	}
}

func TestStartSaysWhyNot(t *testing.T) {
	failing := &Target{Name: "x", Binary: "sh", System: true, args: func(netip.AddrPort, string) ([]string, error) {
		return []string{"-c", "echo no luck >&2; exit 3"}, nil
	}}
	_, err := Start(context.Background(), failing, &Place{CPU: -1})
	if err == nil || !strings.Contains(err.Error(), "no luck") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
	missing := &Target{Name: "x", Binary: "no-such-program", System: true, args: labgateArgs}
	if _, err := Start(context.Background(), missing, &Place{CPU: -1}); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("%v", err)
	}
}

func TestServerIsMeasuredAndStopped(t *testing.T) {
	s := &Server{done: make(chan struct{})}
	loop := &Target{Name: "x", Binary: "sh", System: true, args: func(netip.AddrPort, string) ([]string, error) {
		return []string{"-c", "while :; do :; done"}, nil
	}}
	if err := s.run(loop, &Place{CPU: -1}); err != nil {
		t.Fatal(err)
	}
	if rss, err := s.RSS(); err != nil || rss <= 0 {
		t.Errorf("%d KiB, %v", rss, err)
	}
	if _, err := s.CPU(); err != nil || s.Ended() != nil {
		t.Errorf("%v, %v", err, s.Ended())
	}
	s.Stop()
	if s.Ended() == nil {
		t.Error("the process goes on")
	}
	if _, err := s.CPU(); err == nil {
		t.Error("CPU time of a process that has ended")
	}
}
