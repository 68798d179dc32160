// Package deptest holds the direction of imports (docs/architecture.md).
package deptest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/labgate/labgate"

// may lists, for each package, what it may import of ours. Those that are
// missing, the commands and tests, may import everything.
var may = map[string][]string{
	"protocol":             {},
	"protocol/description": {},
	"internal/wsframe":     {},
	"internal/tensile":     {"protocol/description"},
	"web":                  {},
	"session":              {"protocol", "internal/option", "internal/wsframe"},
	"router":               {"protocol", "protocol/description", "internal/describe", "internal/events", "internal/wsframe", "session", "router/federation"},
	"router/federation":    {"protocol"},
	"internal/membus":      {"router/federation"},
	"server": {
		"protocol", "internal/wsframe", "session", "router", "router/federation",
		"internal/access", "internal/admission", "internal/describe", "internal/option", "internal/eventlog", "internal/eventloop", "internal/events", "internal/httpapi", "internal/httpresponse", "internal/metrics", "internal/panics",
	},
	"internal/eventloop":    {"protocol", "internal/textfile", "internal/events", "internal/wsframe", "internal/httpresponse", "internal/panics", "session"},
	"internal/admission":    {"protocol", "internal/access", "internal/events", "internal/httpresponse", "session"},
	"internal/httpapi":      {"protocol", "protocol/description", "internal/access", "internal/admission", "internal/events", "internal/httpresponse", "internal/thing", "session", "router", "router/federation", "web"},
	"internal/metrics":      {"internal/admission", "internal/eventloop", "internal/panics", "session", "router", "router/federation"},
	"internal/httpresponse": {"protocol"},
	"internal/panics":       {},
	"cluster":               {"protocol", "internal/option", "internal/textfile", "router/federation"},
	"client":                {"protocol", "protocol/description"},
	"bench":                 {"protocol", "internal/option", "internal/wsframe", "client", "bench/internal/host", "bench/internal/stats", "bench/internal/wsconn"},
	"bench/limit":           {"internal/wsframe", "bench/internal/host"},
	"bench/goals":           {"bench", "bench/internal/host", "bench/internal/stats"},

	// Both load programs, bench and bench/peers, stand on these.
	"bench/internal/host":   {},
	"bench/internal/stats":  {},
	"bench/internal/wsconn": {"internal/wsframe"},

	// A module of its own: what it compares the gateway with must not reach the
	// gateway's go.mod.
	"bench/peers":                    {"bench/internal/host", "bench/internal/stats", "bench/peers/load", "bench/peers/search", "bench/peers/target", "bench/peers/wire"},
	"bench/peers/load":               {"protocol", "internal/wsframe", "bench/internal/host", "bench/internal/stats", "bench/internal/wsconn", "bench/peers/wire"},
	"bench/peers/search":             {},
	"bench/peers/servers/centrifuge": {},
	"bench/peers/servers/melody":     {"bench/peers/wire"},
	"bench/peers/target":             {"bench/internal/host", "bench/peers/wire"},
	"bench/peers/wire":               {"protocol", "internal/wsframe"},

	"internal/access":    {"protocol", "internal/filestamp", "internal/textfile"},
	"internal/describe":  {"protocol", "protocol/description", "internal/filestamp"},
	"internal/thing":     {"protocol", "protocol/description"},
	"internal/filestamp": {},

	"internal/option":      {},
	"internal/textfile":    {},
	"internal/events":      {},
	"internal/eventlog":    {"internal/events"},
	"internal/logwriter":   {},
	"internal/gatewaytest": {"protocol", "internal/wsframe"},
	"internal/redistest":   {"internal/gatewaytest"},
}

// foreign lists who alone may import a module that is not ours.
var foreign = map[string][]string{
	"github.com/lesismal/":        {"internal/eventloop", "bench/limit", "bench/internal/wsconn", "bench"},
	"github.com/prometheus/":      {"internal/metrics"},
	"github.com/spf13/pflag":      {"cmd/labgate"},
	"github.com/coder/websocket":  {"client"},
	"net/http":                    {"server", "internal/eventloop", "internal/admission", "internal/httpapi", "internal/httpresponse", "internal/metrics", "web", "client", "bench", "bench/limit", "bench/peers/servers/centrifuge", "bench/peers/servers/melody", "cmd/labgate", "internal/gatewaytest"},
	"github.com/rs/zerolog":       {"session", "cluster", "server", "internal/eventloop", "internal/admission", "internal/httpapi", "internal/panics", "internal/eventlog", "client", "cmd/labgate"},
	"github.com/google/uuid":      {"internal/events", "internal/eventlog", "session", "router", "router/federation", "cluster", "internal/httpapi", "internal/panics", "client"},
	"github.com/redis/rueidis":    {"cluster"},
	"github.com/golang-jwt/":      {"internal/access"},
	"github.com/santhosh-tekuri/": {"internal/describe"},
	"golang.org/x/sys/unix":       {"cluster", "internal/eventloop", "bench/limit", "bench/internal/host", "bench/internal/wsconn", "bench/peers"},
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	// bench/peers is listed with -e: its dependencies need not be downloaded.
	check(t, seen, "go", "list", "-json=ImportPath,Imports", module+"/...")
	check(t, seen, "go", "-C", "../../bench/peers", "list", "-e", "-json=ImportPath,Imports", "./...")
	for name := range may {
		if !seen[name] {
			t.Errorf("there is no package %s", name)
		}
	}
}

// check compares what a go list names with may and foreign.
func check(t *testing.T, seen map[string]bool, list ...string) {
	t.Helper()
	out, err := exec.Command(list[0], list[1:]...).Output()
	if err != nil {
		t.Fatalf("%v: %v", list, err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		seen[name] = true
		allowed, known := may[name]
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module+"/"); ok && known && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", name, ours)
			}
			for prefix, who := range foreign {
				if strings.HasPrefix(imp, prefix) && !slices.Contains(who, name) {
					t.Errorf("%s imports %s; only %v may", name, imp, who)
				}
			}
		}
	}
}
