package bench

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, tc := range []struct {
		raw    string
		remote bool
		addr   string
		path   string
		says   string // of the error
	}{
		{raw: "http://127.0.0.1:8080", addr: "127.0.0.1:8080"},
		{raw: "ws://127.0.0.1:8080/lab/", addr: "127.0.0.1:8080", path: "/lab"},
		{raw: "127.0.0.1:81", addr: "127.0.0.1:81"},
		{raw: "http://127.9.9.9", addr: "127.9.9.9:80"},
		{raw: "http://[::1]:90", addr: "[::1]:90"},
		{raw: "http://localhost:91", addr: "127.0.0.1:91"},
		{raw: "http://192.0.2.1:80", says: "--allow-remote"},
		{raw: "http://192.0.2.1:80", remote: true, addr: "192.0.2.1:80"},
		{raw: "http://0.0.0.0:80", says: "--allow-remote"},
		{raw: "wss://127.0.0.1", says: "TLS"},
		{raw: "ftp://127.0.0.1", says: "scheme"},
		{raw: "http://127.0.0.1:0", says: "port"},
		{raw: "http://127.0.0.1:99999", says: "port"},
		{raw: "http://u:p@127.0.0.1:80", says: "only"},
		{raw: "http://127.0.0.1:80?a=b", says: "only"},
		{raw: "", says: "missing"},
	} {
		got, err := parseTarget(context.Background(), "target", tc.raw, tc.remote)
		if tc.says != "" {
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q: error %v, want one saying %q", tc.raw, err, tc.says)
			}
			continue
		}
		if err != nil || got.addr.String() != tc.addr || got.path != tc.path {
			t.Errorf("%q: %v %q, %v; want %s %q", tc.raw, got.addr, got.path, err, tc.addr, tc.path)
		}
	}
}

func TestSourceAddrs(t *testing.T) {
	if got := sourceAddrs(netip.MustParseAddr("127.0.0.1"), 3); len(got) != 3 || got[2].String() != "127.0.0.3" {
		t.Errorf("got %v", got)
	}
	for _, dst := range []string{"::1", "192.0.2.1"} {
		if got := sourceAddrs(netip.MustParseAddr(dst), 3); got != nil {
			t.Errorf("%s: got %v, want the kernel's choice", dst, got)
		}
	}
}

func TestCheckFields(t *testing.T) {
	for _, size := range []int{minTextPayload, minTextPayload + 1, 128, 4096} {
		if p := textPayload(kindCommand, size); len(p) != size {
			t.Errorf("payload of %d bytes, want %d: %s", len(p), size, p)
		}
	}
	want := checkFields{kind: kindUnicast, seq: 1<<64 - 1, due: 1_700_000_000_123_456_789, index: 19999}
	wire := textFrame(`{"type":"bench.unicast"`, textPayload(kindUnicast, 128))
	want.put(wire[checkOffset(wire):])
	var got checkFields
	if !got.read(wire[checkOffset(wire):]) || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "u", "u" + strings.Repeat("0", 39), "u" + strings.Repeat("0", 39) + "G", "q" + strings.Repeat("0", 40), "u" + strings.Repeat("F", 40)} {
		if got.read([]byte(bad)) {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestField(t *testing.T) {
	for _, tc := range []struct{ raw, key, want string }{
		{`{"src":"a","type":"b"}`, `"src":`, "a"},
		{`{"type":"b","id":""}`, `"id":`, ""},
		{`{"type":"b"}`, `"id":`, ""},
		{`{"id":5}`, `"id":`, ""},
		{`{"id":"5`, `"id":`, ""},
		{`{"id":`, `"id":`, ""},
	} {
		if got := field([]byte(tc.raw), tc.key); string(got) != tc.want {
			t.Errorf("%s of %s: %q, want %q", tc.key, tc.raw, got, tc.want)
		}
	}
}

// TestSampleServer uses this process as the gateway, once and as both nodes.
func TestSampleServer(t *testing.T) {
	pid := os.Getpid()
	one := sampleServer(&Options{ServerPID: pid})
	if one.err != nil || one.rssKiB == 0 || one.peakKiB < one.rssKiB || one.cpuSeconds <= 0 {
		t.Errorf("this process: %+v", one)
	}
	two := sampleServer(&Options{ServerPID: pid, FrontendPID: pid})
	if two.err != nil || two.peakKiB < 2*one.peakKiB || two.cpuSeconds < 2*one.cpuSeconds {
		t.Errorf("twice this process: %+v, once: %+v", two, one)
	}
	if s := sampleServer(&Options{FrontendTarget: "http://x", FrontendPID: 1 << 30}); s.err == nil || !strings.Contains(s.err.Error(), "frontend-pid") {
		t.Errorf("error %v, want one that names the option", s.err)
	}
}

func TestScrape(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("# TYPE go_goroutines gauge\ngo_goroutines_max 9\ngo_goroutines 17\n"))
	}))
	defer srv.Close()
	if n, err := sampleGoroutines(&Options{AdminURL: srv.URL + "/"}); err != nil || n != 17 {
		t.Errorf("%d, %v; want 17", n, err)
	}
	if _, err := scrape(srv.URL, "absent"); err == nil {
		t.Error("an absent metric was found")
	}
	if _, err := scrape(srv.URL+"/x", "go_goroutines"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v, want the status", err)
	}
}

func TestCheckFileLimit(t *testing.T) {
	if err := checkFileLimit(19000, 20000); err != nil {
		t.Error(err)
	}
	if err := checkFileLimit(20000, 20000); err == nil || !strings.Contains(err.Error(), "at most 19936") {
		t.Errorf("error %v, want the number that fits", err)
	}
}
