package describe

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
)

// maxValues bounds the values and names in a description.
const maxValues = 10_000

// Described is a description that was accepted. A Described does not change.
type Described struct {
	description.Description
	// Text is the description as it was sent. Version is the version of Text.
	Text    []byte
	Version string

	inputs map[string]*input // by the action's type; only actions with an input
	weight int
}

// Weight returns about how many bytes of memory the description takes.
func (d *Described) Weight() int { return d.weight }

// The memory of a compiled schema, of a step of a regular expression, and of the
// rest of a Described, in bytes. Rough
// upper bounds.
const (
	schemaWeight = 3 << 9
	stepWeight   = 128
	restWeight   = 4 << 10
)

// Parse checks a description and compiles it. Parse keeps a copy of the text, not
// the text. The error is a *PointerError.
func Parse(text []byte) (*Described, error) {
	text = bytes.TrimSpace(text)
	if len(text) > description.MaxSize {
		return nil, &PointerError{Problem: strconv.Itoa(len(text)) + " bytes; a description of at most " + strconv.Itoa(description.MaxSize) + " is allowed"}
	}
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	tree, _, problem := readValue(text, maxValues)
	if problem != nil {
		return nil, problem
	}
	if problem := publishedSchema().check(tree); problem != nil {
		return nil, problem
	}
	d := &Described{Text: bytes.Clone(text), Version: description.Version(text), inputs: map[string]*input{}}
	if err := json.Unmarshal(d.Text, &d.Description); err != nil {
		return nil, &PointerError{Problem: "cannot be read: " + err.Error()}
	}
	if problem := checkMeaning(&d.Description); problem != nil {
		return nil, problem
	}
	if problem := d.compile(tree.(map[string]any)); problem != nil {
		return nil, problem
	}
	return d, nil
}

// checkJSON checks that a text is one JSON value (RFC 8259, UTF-8, at most
// protocol.MaxDepth levels).
func checkJSON(text []byte) error {
	if len(text) == 0 {
		return &PointerError{Problem: "empty; a JSON object is allowed, see docs/description.md"}
	}
	m := protocol.Message{Type: "description", Payload: text}
	_, err := m.Append(nil)
	var field *protocol.FieldError
	if errors.As(err, &field) {
		return &PointerError{Problem: field.Problem}
	}
	return err
}

// compile measures all schemas of the description, and compiles the inputs.
func (d *Described) compile(tree map[string]any) *PointerError {
	var total written
	for _, place := range []struct {
		member, keyword string
	}{{"actions", "input"}, {"actions", "output"}, {"events", "data"}} {
		entries, _ := tree[place.member].(map[string]any)
		for _, typ := range sortedNames(entries) {
			schema, has := entries[typ].(map[string]any)[place.keyword]
			if !has {
				continue
			}
			s, own, problem := measure(schema)
			if problem == nil {
				problem = total.add(own)
			}
			if problem == nil && place.keyword == "input" {
				d.weight += schemaWeight*own.schemas + stepWeight*own.steps
				d.inputs[typ], problem = newInput(schema, s.most())
			}
			if problem != nil {
				return problem.within(place.keyword).within(typ).within(place.member)
			}
		}
	}
	d.weight += restWeight + 4*len(d.Text)
	return nil
}

// add adds the parts of one schema, and checks the limits of a description.
func (t *written) add(own written) *PointerError {
	t.schemas += own.schemas
	t.steps += own.steps
	switch {
	case t.schemas > maxSchemas:
		return &PointerError{Problem: "more than " + strconv.Itoa(maxSchemas) + " subschemas up to here; at most that many are allowed in a description"}
	case t.steps > maxPatterns:
		return &PointerError{Problem: "the regular expressions up to here have " + strconv.Itoa(t.steps) + " steps; at most " + strconv.Itoa(maxPatterns) + " are allowed in a description"}
	}
	return nil
}

// checkMeaning checks what the published schema cannot say.
func checkMeaning(d *description.Description) *PointerError {
	names := map[string]int{}
	for i := range d.Channels {
		c := &d.Channels[i]
		at := func(problem string, tokens ...string) *PointerError {
			return &PointerError{Pointer: pointerTo(slices.Concat([]string{"channels", strconv.Itoa(i)}, tokens)...), Problem: problem}
		}
		if first, twice := names[c.Name]; twice {
			return at(quoted(c.Name)+" is the name of channel "+strconv.Itoa(first)+" already; a name of its own is allowed", "name")
		}
		names[c.Name] = i
		if c.Minimum != nil && c.Maximum != nil && *c.Minimum >= *c.Maximum {
			return at("is not above minimum; a larger number is allowed", "maximum")
		}
		if name := disorder(c.Limits); name != "" {
			return at("is out of order; low_alarm ≤ low_warning ≤ high_warning ≤ high_alarm is allowed", "limits", name)
		}
	}
	for _, place := range []struct {
		used    bool
		event   func() string
		pointer string
	}{
		{d.State != nil, func() string { return d.State.Event }, "/state/event"},
		{d.Runs != nil, func() string { return d.Runs.Start.Event }, "/runs/start/event"},
		{d.Runs != nil, func() string { return d.Runs.Stop.Event }, "/runs/stop/event"},
	} {
		if !place.used {
			continue
		}
		if _, there := d.Events[place.event()]; !there {
			return &PointerError{Pointer: place.pointer, Problem: quoted(place.event()) + " is not in events; a type that is there is allowed: " + listed(sortedNames(d.Events))}
		}
	}
	return nil
}

// disorder returns the name of the first limit that is below the one before it, ""
// for none.
func disorder(l *description.Limits) string {
	if l == nil {
		return ""
	}
	var before *float64
	for _, limit := range []struct {
		name  string
		value *float64
	}{{"low_alarm", l.LowAlarm}, {"low_warning", l.LowWarning}, {"high_warning", l.HighWarning}, {"high_alarm", l.HighAlarm}} {
		if limit.value == nil {
			continue
		}
		if before != nil && *limit.value < *before {
			return limit.name
		}
		before = limit.value
	}
	return ""
}

// compiled is a compiled schema and its document.
type compiled struct {
	schema   *jsonschema.Schema
	document any
}

// schemaURL is the address of the one schema that a compiler has. $ref never leads
// to another one, and noLoader loads none.
const schemaURL = "labgate:schema"

// noLoader loads no schema, from no file and no network.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errors.New("no other schema is loaded") }

// compileSchema compiles a schema for the library.
func compileSchema(document any) (*compiled, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(compilePattern)
	if err := c.AddResource(schemaURL, document); err != nil {
		return nil, err
	}
	schema, err := c.Compile(schemaURL)
	if err != nil {
		return nil, err
	}
	return &compiled{schema, document}, nil
}

// publishedSchema returns the compiled schema of descriptions.
var publishedSchema = sync.OnceValue(func() *compiled {
	var document any
	if err := json.Unmarshal(description.Schema, &document); err != nil {
		panic("describe: the published schema is no JSON: " + err.Error())
	}
	// The library compares addresses with $id.
	delete(document.(map[string]any), "$id")
	c, err := compileSchema(document)
	if err != nil {
		panic("describe: the published schema cannot be compiled: " + err.Error())
	}
	return c
})

func sortedNames[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// maxListed bounds the names that a problem lists.
const maxListed = 40

// listed returns names as a list for people.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	more := ""
	if len(names) > maxListed {
		names, more = names[:maxListed], ", ..."
	}
	return strings.Join(names, ", ") + more
}
