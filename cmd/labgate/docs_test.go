package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/option"
)

// TestDocumentsNameRealOptions: the options of the README's table exist, with the
// defaults that it gives, and so do all variables in documents and scripts.
func TestDocumentsNameRealOptions(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "| option | default | why |")
	table, _, found := strings.Cut(table, "\n\n")
	if !found {
		t.Fatal("the README has no table of options")
	}
	options := map[string]*option.Option{}
	for _, o := range option.Of(&ServeCmd{}) {
		options[o.Flag()] = o
	}
	rows := 0
	for row := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(row, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "--") {
			continue
		}
		rows++
		defaults := strings.Split(cells[2], ",")
		names := optionName.FindAllString(cells[1], -1)
		for i, name := range names {
			o := options[name]
			if o == nil {
				t.Errorf("README: labgate serve has no option %s", name)
			} else if len(defaults) == len(names) && !sameDefault(o, strings.Trim(defaults[i], " `")) {
				t.Errorf("README: the default of %s is %q, not %s", name, o.Default, defaults[i])
			}
		}
		for _, name := range optionName.FindAllString(cells[3], -1) {
			if options[name] == nil {
				t.Errorf("README: labgate serve has no option %s", name)
			}
		}
	}
	if rows < 15 {
		t.Errorf("%d rows read, at least 15 expected", rows)
	}

	known := knownVariables()
	files := []string{"../../README.md", "../../CHANGELOG.md", "../../Makefile"}
	for _, pattern := range []string{"../../docs/*.md", "../../scripts/*"} {
		more, err := filepath.Glob(pattern)
		if err != nil || more == nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		files = append(files, more...)
	}
	seen := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range variableName.FindAllString(string(data), -1) {
			seen++
			if !known[name] {
				t.Errorf("%s names the variable %s, which belongs to no option", file, name)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d variables found, at least 10 expected", seen)
	}
}

var (
	optionName   = regexp.MustCompile(`--[a-z][a-z-]*[a-z]`)
	variableName = regexp.MustCompile(`LABGATE_[A-Z_]*[A-Z]`)
)

// sameDefault compares the README's words with a declaration. Words such as
// none or 1 MiB are not compared.
func sameDefault(o *option.Option, words string) bool {
	if words == "none" || words == "off" || words == "" || strings.Contains(words, " ") {
		return o.Default == "" || o.Zero != "" || o.Switch() || strings.Contains(words, " ")
	}
	return strings.TrimSuffix(words, "/s") == o.Default
}
