package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/labgate/labgate/internal/option"
)

const (
	variablePrefix = "LABGATE_"
	// testPrefix is the prefix of variables of the tests, which labgate
	// ignores.
	testPrefix = "LABGATE_TEST_"
)

// linkVariable matches variables that Kubernetes and Docker set in containers
// when a service has a name that begins with "labgate".
var linkVariable = regexp.MustCompile(`^LABGATE_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// labgateVariables returns the variables that begin with LABGATE_. A variable
// that belongs to no option is refused: an ignored misspelt limit would be
// noticed only when the limit is needed.
func labgateVariables(environment []string) (map[string]string, error) {
	known := knownVariables()
	values := map[string]string{}
	for _, entry := range environment {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, variablePrefix) {
			continue
		}
		if known[name] {
			values[name] = value
			continue
		}
		if value == "" || foreignVariable(name, value) {
			continue
		}
		return nil, unknownVariable(name, slices.Sorted(maps.Keys(known)))
	}
	return values, nil
}

// unknownVariable returns an error that suggests variables: those of other
// commands with the same ending, or the one with the nearest spelling.
func unknownVariable(name string, known []string) error {
	own := strings.TrimPrefix(name, variablePrefix)
	var meant []string
	rest := make([]string, 0, len(known))
	for _, k := range known {
		k = strings.TrimPrefix(k, variablePrefix)
		if strings.HasSuffix(k, "_"+own) && commandNamed(strings.ToLower(strings.TrimSuffix(k, "_"+own))) != nil {
			meant = append(meant, variablePrefix+k)
		}
		rest = append(rest, k)
	}
	if meant == nil {
		if near := option.Nearest(own, rest); near != "" {
			meant = []string{variablePrefix + near}
		}
	}
	if meant == nil {
		return fmt.Errorf("the environment variable %s belongs to no option; remove it, or see labgate help serve for the names", name)
	}
	return fmt.Errorf("the environment variable %s belongs to no option; did you mean %s?", name, strings.Join(meant, " or "))
}

// foreignVariable reports whether labgate ignores a variable.
func foreignVariable(name, value string) bool {
	if strings.HasPrefix(name, testPrefix) || linkVariable.MatchString(name) {
		return true
	}
	return strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}

// knownVariables returns the variables of all options of all commands.
func knownVariables() map[string]bool {
	known := map[string]bool{}
	for _, o := range option.Of(&globalOptions{}) {
		known[variable(nil, o)] = true
	}
	for _, spec := range commands() {
		for _, o := range option.Of(spec.new()) {
			known[variable(spec, o)] = true
		}
	}
	delete(known, "")
	return known
}
