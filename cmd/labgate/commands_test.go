package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/option"
)

// TestDeclarations: each option of each command can be set and explained; a
// wrong default or bound panics here.
func TestDeclarations(t *testing.T) {
	variables := map[string]string{}
	check := func(spec *commandSpec, where string, structs ...any) {
		seen := map[string]bool{}
		for _, o := range option.Of(structs...) {
			o.SetDefault()
			switch {
			case seen[o.Name]:
				t.Errorf("%s has two options %s", where, o.Flag())
			case !strings.HasSuffix(o.Help, "."):
				t.Errorf("%s %s: the help %q is no sentence", where, o.Flag(), o.Help)
			case leansOnNeighbour.MatchString(o.Help):
				t.Errorf("%s %s: the help %q is understood only with another option's", where, o.Flag(), o.Help)
			case o.Positional:
			case !hasGroup(o.Group):
				t.Errorf("%s %s: the help shows no group %q", where, o.Flag(), o.Group)
			}
			seen[o.Name] = true
			if v := variable(spec, o); v != "" && variables[v] != "" {
				t.Errorf("variable %s is for %s and for %s", v, variables[v], where+" "+o.Flag())
			} else if v != "" {
				variables[v] = where + " " + o.Flag()
			}
		}
		if err := option.Check(structs...); err != nil {
			t.Errorf("%s: a default is refused: %v", where, err)
		}
	}
	check(nil, "labgate", &globalOptions{})
	for _, spec := range commands() {
		check(spec, spec.name, spec.new())
	}
	for _, v := range []string{"LABGATE_LISTEN", "LABGATE_REDIS", "LABGATE_LOG_LEVEL", "LABGATE_SIMULATE_DEVICES", "LABGATE_BENCH_DEVICES", "LABGATE_TOKEN_DEVICES", "LABGATE_SEND_TIMEOUT", "LABGATE_TAIL_URL"} {
		if variables[v] == "" {
			t.Errorf("no option has the variable %s", v)
		}
	}
	for _, v := range []string{"LABGATE_CONFIG", "LABGATE_VERSION", "LABGATE_DEVICES", "LABGATE_URL", "LABGATE_SEND_DEVICE"} {
		if variables[v] != "" {
			t.Errorf("%s has the variable %s", variables[v], v)
		}
	}
}

// leansOnNeighbour matches help that cannot be understood alone.
var leansOnNeighbour = regexp.MustCompile(`(?i)\bthe same for\b|\bas above\b|\bsuch (keys|files|tokens)\b|file with (its|the) key\.`)

func hasGroup(key string) bool {
	for _, g := range groups {
		if g.key == key {
			return true
		}
	}
	return false
}

// TestHelpOfEachCommand: labgate help X and labgate X --help are the same, fit a
// terminal, name each option with its default and show an example that the
// command line understands.
func TestHelpOfEachCommand(t *testing.T) {
	for _, spec := range commands() {
		code, help, stderr := labgate(t, "help", spec.name)
		if code != 0 || stderr != "" {
			t.Errorf("help %s: exit code %d, %s", spec.name, code, stderr)
		}
		for _, args := range [][]string{{spec.name, "--help"}, {spec.name, "-h"}} {
			if code, same, _ := labgate(t, args...); code != 0 || same != help {
				t.Errorf("%v: exit code %d, %q, want the text of labgate help %s", args, code, same, spec.name)
			}
		}
		for _, o := range option.Of(spec.new(), &globalOptions{}) {
			if !strings.Contains(help, "  "+o.Flag()) || o.Default != "" && !strings.Contains(flat(help), "Default: "+o.Default+".") {
				t.Errorf("the help of %s does not explain %s", spec.name, o.Flag())
			}
		}
		for line := range strings.SplitSeq(help, "\n") {
			if len(line) > helpWidth && strings.Contains(strings.TrimSpace(line), " ") && !strings.Contains(spec.example, strings.TrimSpace(line)) {
				t.Errorf("help %s: %d columns: %s", spec.name, len(line), line)
			}
		}
		if !strings.Contains(help, "\nExample:\n  ") || spec.example == "" {
			t.Errorf("help %s has no example", spec.name)
		}
		for example := range strings.SplitSeq(spec.example, "\n") {
			if err := understands(example); err != nil {
				t.Errorf("example %q: %v", example, err)
			}
		}
	}
}

// flat joins the lines of a text.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// understands parses an example as a shell would pass it.
func understands(example string) error {
	example, _, _ = strings.Cut(example, " >")
	var environment, args []string
	for i, part := range strings.Split(example, "'") {
		if i%2 == 1 {
			args = append(args, part)
			continue
		}
		for _, word := range strings.Fields(part) {
			if len(args) == 0 && strings.Contains(word, "=") {
				environment = append(environment, word)
			} else if word != "labgate" {
				args = append(args, word)
			}
		}
	}
	if i := len(args); i > 1 && strings.HasPrefix(args[0], "serve") {
		for n, arg := range args { // the file of the example does not exist
			if arg == "--config" {
				args = append(args[:n:n], args[n+2:]...)
				break
			}
		}
	}
	_, err := parse(args, environment)
	return err
}

func TestOverview(t *testing.T) {
	_, want, _ := labgate(t, "--help")
	for _, args := range [][]string{{"help"}, {"-h"}} {
		if code, got, _ := labgate(t, args...); code != 0 || got != want {
			t.Errorf("%v: exit code %d, %q", args, code, got)
		}
	}
	for _, spec := range commands() {
		if !strings.Contains(want, "  "+spec.name+" ") || !strings.Contains(want, spec.summary) {
			t.Errorf("%s is missing in %s", spec.name, want)
		}
	}
	_, version, _ := labgate(t, "version")
	for _, args := range [][]string{{"--version"}, {"serve", "--version"}, {"--log-level", "debug", "--version"}} {
		if code, got, _ := labgate(t, args...); code != 0 || got != version || !strings.HasPrefix(got, "labgate ") {
			t.Errorf("%v: exit code %d, %q, want %q", args, code, got, version)
		}
	}
	for says, args := range map[string][]string{
		`"serv" is not a command; did you mean serve?`:                       {"serv"},
		`"fly" is not a command; use one of serve, simulate,`:                {"fly"},
		`"nothing" is not a command`:                                         {"help", "nothing"},
		"no command is given":                                                {},
		"unknown flag: --lisen; did you mean --listen?":                      {"serve", "--lisen", "x"},
		"flag needs an argument: --listen":                                   {"serve", "--listen"},
		`unexpected argument "x"; usage: labgate serve [options]`:            {"serve", "x"},
		"expected TYPE; usage: labgate send [options] DEVICE TYPE [PAYLOAD]": {"send", "tensile-1"},
	} {
		want := exitUsage
		if len(args) > 0 && args[0] == "help" {
			want = exitFailed
		}
		if code, _, stderr := labgate(t, args...); code != want || !strings.Contains(stderr, says) {
			t.Errorf("%v: exit code %d, %q, want %d and %q", args, code, stderr, want, says)
		}
	}
}

// TestSimulateHelpListsTheTestersCommands: the help is the only list there is.
func TestSimulateHelpListsTheTestersCommands(t *testing.T) {
	_, help, _ := labgate(t, "simulate", "--help")
	for _, want := range []string{`test.start {"speed_mm_min": N}`, "0.01 to 1000 mm/min", "test.stop", "test.reset"} {
		if !strings.Contains(help, want) {
			t.Errorf("%q is missing in %s", want, help)
		}
	}
}
