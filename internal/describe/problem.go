package describe

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// check returns the first place where a value does not fit the schema, nil when
// the value fits.
func (c *compiled) check(value any) *PointerError {
	err := c.schema.Validate(value)
	if err == nil {
		return nil
	}
	failure, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return &PointerError{Problem: err.Error()}
	}
	return c.problem(firstOf(failure))
}

// firstOf returns the failure to tell: the first one of several in the order of
// their places, because the library visits members in no order. Of alternatives
// that all failed, the failure of the alternatives is told, not those within.
func firstOf(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
	default:
		return e
	}
	if len(e.Causes) == 0 {
		return e
	}
	first := firstOf(e.Causes[0])
	for _, cause := range e.Causes[1:] {
		if other := firstOf(cause); before(other, first) {
			first = other
		}
	}
	return first
}

func before(a, b *jsonschema.ValidationError) bool {
	return cmp.Or(slices.Compare(a.InstanceLocation, b.InstanceLocation), cmp.Compare(a.SchemaURL, b.SchemaURL),
		slices.Compare(a.ErrorKind.KeywordPath(), b.ErrorKind.KeywordPath())) < 0
}

// problem explains a failure.
func (c *compiled) problem(e *jsonschema.ValidationError) *PointerError {
	_, at, _ := strings.Cut(e.SchemaURL, "#")
	schema, _ := lookUp(c.document, unescapeURL(at)).(map[string]any)
	where := e.InstanceLocation
	var problem, allowed string
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		// One wrong name is enough, always the same one.
		where = append(slices.Clone(where), slices.Min(k.Properties))
		problem, allowed = "is not known here", listed(namesIn(schema, "properties", "patternProperties"))
	case *kind.Required:
		where = append(slices.Clone(where), k.Missing[0])
		problem = "is missing"
		properties, _ := schema["properties"].(map[string]any)
		schema, _ = c.resolved(properties[k.Missing[0]]).(map[string]any)
	case *kind.DependentRequired:
		problem = "has " + quoted(k.Prop) + " without " + quoted(k.Missing[0])
		allowed = "both or neither"
	case *kind.PropertyNames:
		where = append(slices.Clone(where), k.Property)
		problem = "the name is not allowed here"
		schema, _ = c.resolved(schema).(map[string]any)
	case *kind.FalseSchema:
		problem, allowed = "is not allowed here", "nothing"
	default:
		problem, allowed = faultOf(e.ErrorKind)
	}
	if text, has := schema["description"].(string); has {
		if allowed != "" {
			allowed += " ("
			text += ")"
		}
		allowed += text
	} else if allowed == "" {
		allowed = outline(schema)
	}
	return &PointerError{Pointer: pointerTo(where...), Problem: problem + "; allowed: " + clipped(allowed)}
}

// resolved follows $ref.
func (c *compiled) resolved(schema any) any {
	object, _ := schema.(map[string]any)
	ref, has := object["$ref"].(string)
	if !has {
		return schema
	}
	return lookUp(c.document, strings.TrimPrefix(ref, "#"))
}

// faultOf returns what is wrong, and what is allowed, as far as the failure itself
// says that.
func faultOf(failure jsonschema.ErrorKind) (problem, allowed string) {
	switch k := failure.(type) {
	case *kind.Type:
		return "is " + article(k.Got), articles(k.Want)
	case *kind.Enum:
		return short(k.Got) + " is not one of the values", shortList(k.Want)
	case *kind.Const:
		return short(k.Got) + " is another value", short(k.Want)
	case *kind.Minimum:
		return number(k.Got) + " is too small", "at least " + number(k.Want)
	case *kind.Maximum:
		return number(k.Got) + " is too large", "at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return number(k.Got) + " is too small", "more than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return number(k.Got) + " is too large", "less than " + number(k.Want)
	case *kind.MultipleOf:
		return number(k.Got) + " lies between the steps", "a multiple of " + number(k.Want)
	case *kind.MinLength:
		return strconv.Itoa(k.Got) + " characters", "at least " + strconv.Itoa(k.Want)
	case *kind.MaxLength:
		return strconv.Itoa(k.Got) + " characters", "at most " + strconv.Itoa(k.Want)
	case *kind.Pattern:
		return quoted(k.Got) + " does not match", "a text that matches " + k.Want
	case *kind.MinItems:
		return strconv.Itoa(k.Got) + " items", "at least " + strconv.Itoa(k.Want)
	case *kind.MaxItems:
		return strconv.Itoa(k.Got) + " items", "at most " + strconv.Itoa(k.Want)
	case *kind.MinProperties:
		return strconv.Itoa(k.Got) + " members", "at least " + strconv.Itoa(k.Want)
	case *kind.MaxProperties:
		return strconv.Itoa(k.Got) + " members", "at most " + strconv.Itoa(k.Want)
	case *kind.Contains:
		return "no item fits", "at least one item that fits contains"
	case *kind.MinContains:
		return strconv.Itoa(len(k.Got)) + " items fit", "at least " + strconv.Itoa(k.Want) + " that fit contains"
	case *kind.MaxContains:
		return strconv.Itoa(len(k.Got)) + " items fit", "at most " + strconv.Itoa(k.Want) + " that fit contains"
	case *kind.AnyOf:
		return "fits none of the alternatives", ""
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return "fits more than one of the alternatives", "exactly one of them"
		}
		return "fits none of the alternatives", ""
	case *kind.Not:
		return "is excluded", ""
	}
	return "does not fit", ""
}

// outline returns a schema as JSON, without its parts that say nothing about
// values.
func outline(schema map[string]any) string {
	rest := map[string]any{}
	for name, v := range schema {
		switch name {
		case "$defs", "$comment", "$schema", "title", "examples", "default":
		default:
			rest[name] = v
		}
	}
	return short(rest)
}

// namesIn returns the names of a schema's members, sorted: the properties and the
// patterns of names.
func namesIn(schema map[string]any, keywords ...string) []string {
	var names []string
	for _, keyword := range keywords {
		members, _ := schema[keyword].(map[string]any)
		for _, name := range sortedNames(members) {
			if keyword == "patternProperties" {
				name = "names that match " + name
			}
			names = append(names, name)
		}
	}
	return names
}

func article(typ string) string {
	switch typ {
	case "null":
		return typ
	case "array", "object", "integer":
		return "an " + typ
	}
	return "a " + typ
}

func articles(types []string) string {
	all := make([]string, len(types))
	for i, typ := range types {
		all[i] = article(typ)
	}
	return strings.Join(all, " or ")
}

// number returns a number as people write it.
func number(r *big.Rat) string {
	v, _ := r.Float64()
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// short returns a value as JSON, clipped.
func short(v any) string {
	switch v := v.(type) {
	case string:
		return quoted(v)
	case []any:
		if len(v) > maxListed {
			return "an array of " + strconv.Itoa(len(v)) + " items"
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	return clipped(string(text))
}

func shortList(values []any) string {
	texts := make([]string, 0, min(len(values), maxListed))
	for _, v := range values[:min(len(values), maxListed)] {
		texts = append(texts, short(v))
	}
	if len(values) > maxListed {
		texts = append(texts, "...")
	}
	return strings.Join(texts, ", ")
}

// maxAllowed bounds what a problem says about the allowed values, in bytes.
const maxAllowed = 400

func clipped(s string) string {
	if len(s) <= maxAllowed {
		return s
	}
	return strings.ToValidUTF8(s[:maxAllowed], "") + "..."
}

// unescapeURL undoes the escapes of a pointer in the fragment of a URL.
func unescapeURL(fragment string) string {
	if !strings.Contains(fragment, "%") {
		return fragment
	}
	var b strings.Builder
	for i := 0; i < len(fragment); i++ {
		if fragment[i] == '%' && i+2 < len(fragment) {
			if c, err := strconv.ParseUint(fragment[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(fragment[i])
	}
	return b.String()
}
