package describe

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxPatternText bounds a regular expression in bytes.
const maxPatternText = 256

// patternSize returns the steps that a regular expression takes for one byte at
// most, or why the expression is refused. A counted repetition counts as often as
// the part is repeated.
func patternSize(text string) (steps int, fault string) {
	if len(text) > maxPatternText {
		return 0, strconv.Itoa(len(text)) + " bytes; a regular expression of at most " + strconv.Itoa(maxPatternText) + " is allowed"
	}
	if strings.Contains(text, `\p`) || strings.Contains(text, `\P`) {
		return 0, `has a Unicode class (\p), which takes long to compile; a regular expression without is allowed, for example with [a-z]`
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0, "is no regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ") + "; the syntax of RE2 is allowed (no look-around, no back references)"
	}
	if steps = treeSize(tree); steps > maxPatternSize {
		return steps, "a regular expression of " + strconv.Itoa(steps) + " steps, counted repetitions written out; at most " + strconv.Itoa(maxPatternSize) + " are allowed"
	}
	return steps, ""
}

func treeSize(re *syntax.Regexp) int {
	n := 1
	for _, sub := range re.Sub {
		n += treeSize(sub)
	}
	switch re.Op {
	case syntax.OpLiteral:
		n += len(re.Rune)
	case syntax.OpCharClass:
		n += len(re.Rune) / 64 // a long class is searched in several steps
	case syntax.OpRepeat:
		n *= max(re.Min, re.Max, 1)
	}
	return bounded(n)
}

// compilePattern compiles a regular expression whose size patternSize accepts.
func compilePattern(text string) (jsonschema.Regexp, error) {
	if _, fault := patternSize(text); fault != "" {
		return nil, errors.New(fault)
	}
	return regexp.Compile(text)
}
