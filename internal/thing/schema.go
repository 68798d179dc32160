package thing

import (
	"encoding/json"
	"strings"
)

// A data schema of a Thing Description has some of the keywords of JSON Schema, and
// no references. The conversion keeps what a data schema can say, and replaces
// references by their targets; what is left out, the gateway checks all the same.

// maxCopied bounds the bytes of the targets that replace references, in one Thing
// Description: many references to one long target must not make an endless answer.
const maxCopied = 256 << 10

// converter converts the schemas of one input, output or data.
type converter struct {
	defs map[string]any
	// copied is the size of the targets that have replaced references, in all
	// schemas of the Thing Description.
	copied *int
}

// target returns the schema that a reference leads to; true, which allows
// everything, beyond maxCopied.
func (c *converter) target(ref string) any {
	schema := c.defs[strings.TrimPrefix(ref, "#/$defs/")]
	text, err := json.Marshal(schema)
	if *c.copied += len(text); err != nil || *c.copied > maxCopied {
		return true
	}
	return schema
}

// kept are the keywords that mean the same in a data schema, and that need no
// conversion.
var kept = []string{
	"title", "description", "unit", "default", "const", "readOnly", "writeOnly", "format", "contentEncoding", "contentMediaType",
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
	"minLength", "maxLength", "pattern", "minItems", "maxItems", "required",
}

// convert returns the data schema of a JSON Schema. The schema was accepted by
// describe.Parse, so no reference leads back to itself, and the result is small.
func (c *converter) convert(schema any) map[string]any {
	object, ok := schema.(map[string]any)
	if !ok {
		return map[string]any{} // true allows everything; false cannot be said
	}
	data := map[string]any{}
	if ref, has := object["$ref"].(string); has {
		data = c.convert(c.target(ref))
	}
	for _, keyword := range kept {
		if v, has := object[keyword]; has {
			data[keyword] = v
		}
	}
	c.convertType(data, object)
	if values, has := object["enum"].([]any); has {
		data["enum"] = distinct(values)
	}
	if members, has := object["properties"].(map[string]any); has {
		properties := map[string]any{}
		for name, v := range members {
			properties[name] = c.convert(v)
		}
		data["properties"] = properties
	}
	if list, has := object["prefixItems"].([]any); has {
		data["items"] = c.convertAll(list)
	} else if v, has := object["items"]; has {
		data["items"] = c.convert(v)
	}
	if list, has := object["oneOf"].([]any); has {
		data["oneOf"] = c.convertAll(list)
	}
	return data
}

func (c *converter) convertAll(schemas []any) []any {
	all := make([]any, len(schemas))
	for i, v := range schemas {
		all[i] = c.convert(v)
	}
	return all
}

// convertType converts type. A data schema has one type; several become
// alternatives, unless there are others.
func (c *converter) convertType(data, object map[string]any) {
	switch types := object["type"].(type) {
	case string:
		data["type"] = types
	case []any:
		if len(types) == 1 {
			data["type"] = types[0]
			return
		}
		var alternatives []any
		for _, typ := range distinct(types) {
			alternatives = append(alternatives, map[string]any{"type": typ})
		}
		data["oneOf"] = alternatives
	}
}

// distinct returns values without those that are there twice.
func distinct(values []any) []any {
	seen := map[string]bool{}
	var all []any
	for _, v := range values {
		text, err := json.Marshal(v)
		if err == nil && !seen[string(text)] {
			seen[string(text)] = true
			all = append(all, v)
		}
	}
	return all
}

// member returns a member of an object, nil for none.
func member(v any, name string) any {
	object, _ := v.(map[string]any)
	return object[name]
}
