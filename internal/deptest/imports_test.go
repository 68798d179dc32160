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
	"protocol":          {},
	"internal/wsframe":  {},
	"internal/tensile":  {},
	"web":               {},
	"session":           {"protocol", "internal/wsframe"},
	"router":            {"protocol", "internal/wsframe", "session", "router/federation"},
	"router/federation": {"protocol"},
	"internal/membus":   {"router/federation"},
	"server":            {"protocol", "internal/access", "internal/wsframe", "session", "router", "router/federation", "web"},
	"cluster":           {"protocol", "router/federation"},
	"client":            {"protocol"},
	"bench":             {"protocol", "internal/wsframe", "client", "bench/internal/host", "bench/internal/stats"},
	"bench/limit":       {"internal/wsframe", "bench/internal/host"},
	"bench/goals":       {"bench", "bench/internal/host", "bench/internal/stats"},

	"bench/internal/host":  {},
	"bench/internal/stats": {},

	"internal/access":   {"protocol"},

	"internal/redistest": {},
}

// foreign lists who alone may import a module that is not ours.
var foreign = map[string][]string{
	"github.com/lesismal/":       {"server", "bench", "bench/limit"},
	"github.com/prometheus/":     {"server"},
	"github.com/alecthomas/kong": {"cmd/labgate"},
	"github.com/coder/websocket": {"client"},
	"github.com/HdrHistogram/":   {"bench"},
	"net/http":                   {"server", "web", "client", "bench", "bench/limit", "cmd/labgate"},
	"github.com/rs/zerolog":      {"session", "cluster", "server", "client", "cmd/labgate"},
	"github.com/google/uuid":     {"session", "router", "router/federation", "cluster", "server", "client"},
	"github.com/redis/rueidis":   {"cluster"},
	"github.com/golang-jwt/":     {"internal/access"},
	"golang.org/x/sys/unix":      {"cluster", "server", "bench", "bench/limit", "bench/internal/host"},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; packages++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/")
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
	if packages < len(may) {
		t.Errorf("%d packages looked at, at least %d expected", packages, len(may))
	}
}
