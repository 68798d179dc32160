package admission

import (
	"net/http"
	"strings"
	"testing"
)

func TestTrustedProxiesParse(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":          "10.0.0.0/8",
		"10.1.2.3/8":          "10.0.0.0/8",
		" 127.0.0.1 ":         "127.0.0.1/32",
		"::1":                 "::1/128",
		"fd00::/8":            "fd00::/8",
		"::ffff:10.0.0.1":     "10.0.0.1/32",
		"::ffff:10.0.0.0/104": "10.0.0.0/8",
		"0.0.0.0/0":           "0.0.0.0/0",
	} {
		p, err := parseProxies([]string{text})
		if err != nil || len(p) != 1 || p[0].String() != want {
			t.Errorf("%q: %v %v, want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"", "10.0.0.0/33", "proxy.lab", "10.0.0", "fe80::1%eth0", "::ffff:0:0/90", "10.0.0.1:80"} {
		if p, err := parseProxies([]string{"127.0.0.1", text}); err == nil || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: %v %v", text, p, err)
		}
	}
}

// TestClientAddress: only what a trusted proxy vouches for is believed.
func TestClientAddress(t *testing.T) {
	trusted, err := parseProxies([]string{"127.0.0.1", "10.0.0.0/8", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"direct":                         {"192.0.2.1:5", nil, "192.0.2.1:5"},
		"stranger claims":                {"192.0.2.1:5", []string{"127.0.0.1"}, "192.0.2.1:5"},
		"proxy without a header":         {"127.0.0.1:5", nil, "127.0.0.1:5"},
		"one proxy":                      {"127.0.0.1:5", []string{"192.0.2.9"}, "192.0.2.9"},
		"client's own claim stands left": {"127.0.0.1:5", []string{"198.51.100.7, 192.0.2.9"}, "192.0.2.9"},
		"two proxies":                    {"127.0.0.1:5", []string{"192.0.2.9, 10.1.1.1"}, "192.0.2.9"},
		"two header lines":               {"127.0.0.1:5", []string{"198.51.100.7", "192.0.2.9 , 10.1.1.1"}, "192.0.2.9"},
		"all trusted":                    {"127.0.0.1:5", []string{"10.2.2.2, 10.1.1.1"}, "10.2.2.2"},
		"with ports":                     {"127.0.0.1:5", []string{"192.0.2.9:4711"}, "192.0.2.9"},
		"IPv6":                           {"[fd00::1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv6 in brackets":               {"127.0.0.1:5", []string{"[2001:db8::7]:80, [fd00::2]"}, "2001:db8::7"},
		"mapped":                         {"[::ffff:127.0.0.1]:5", []string{"::ffff:192.0.2.9"}, "192.0.2.9"},
		"unreadable":                     {"127.0.0.1:5", []string{"unknown"}, "127.0.0.1:5"},
		"unreadable behind a proxy":      {"127.0.0.1:5", []string{"192.0.2.9, unknown, 10.1.1.1"}, "10.1.1.1"},
		"empty":                          {"127.0.0.1:5", []string{""}, "127.0.0.1:5"},
		"empty element at the end":       {"127.0.0.1:5", []string{"192.0.2.9, "}, "192.0.2.9"},
		"empty elements":                 {"127.0.0.1:5", []string{"198.51.100.7,,192.0.2.9,\t,10.1.1.1,,"}, "192.0.2.9"},
		"empty line at the end":          {"127.0.0.1:5", []string{"192.0.2.9", ""}, "192.0.2.9"},
		"empty elements alone":           {"127.0.0.1:5", []string{" , ,"}, "127.0.0.1:5"},
		"a name is not an address":       {"127.0.0.1:5", []string{"lab.example"}, "127.0.0.1:5"},
		"zone":                           {"127.0.0.1:5", []string{"fe80::1%eth0"}, "fe80::1"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		for _, line := range c.forwarded {
			r.Header.Add("X-Forwarded-For", line)
		}
		if got := trusted.client(r); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if got := (proxies)(nil).client(r); got != c.remote {
			t.Errorf("%s, nobody trusted: %s", name, got)
		}
	}
}

// FuzzClientAddress: whatever the header says, the answer is the peer or an
// address, and a peer that is not trusted is always itself.
func FuzzClientAddress(f *testing.F) {
	f.Add("127.0.0.1:5", "192.0.2.9, 10.1.1.1", "10.0.0.0/8")
	f.Add("[fd00::1]:5", "[2001:db8::7]:80", "fd00::/8")
	f.Add("127.0.0.1:5", ",,unknown,[,]:", "127.0.0.1")
	f.Fuzz(func(t *testing.T, remote, forwarded, network string) {
		trusted, err := parseProxies([]string{network})
		if err != nil {
			return
		}
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		got := trusted.client(r)
		peer, ok := hostOf(remote)
		if got == remote {
			return
		}
		if !ok || !trusted.trust(peer) {
			t.Errorf("%q: %q although %q is not trusted", forwarded, got, remote)
		}
		addr, ok := hostOf(got)
		if !ok || addr.String() != got {
			t.Errorf("%q: %q is not an address", forwarded, got)
		}
	})
}
