package describe

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The example of docs/description.md is accepted, and its refusal is the one that
// the page shows.
func TestExampleOfTheDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/description.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	d, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	p := d.Check([]byte("furnace.heat"), []byte(`{"setpoint":1300}`))
	if p == nil || !strings.Contains(string(page), `field "payload": `+p.Error()+"; furnace.heat was not delivered to device furnace-3") {
		t.Errorf("the page does not have %v", p)
	}
}

// The page lists the keywords that the published schema allows, and no others.
func TestKeywordsOfTheDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/description.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| keywords | |")
	table, _, _ = strings.Cut(table, "\n\n")
	var listed []string
	for i, word := range strings.Split(table, "`") {
		if i%2 == 1 && !strings.ContainsAny(word, "/") && !slices.Contains(listed, word) && len(word) > 1 && word != "x-" {
			listed = append(listed, word)
		}
	}
	slices.Sort(listed)
	keywords := sortedNames(lookUp(publishedSchema().document, "/$defs/jsonSchema/properties").(map[string]any))
	keywords = slices.DeleteFunc(keywords, func(k string) bool { return k == "$schema" })
	if !slices.Equal(listed, keywords) {
		t.Errorf("the page lists %v, the schema allows %v", listed, keywords)
	}
}
