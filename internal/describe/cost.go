package describe

import (
	"slices"
	"strconv"
	"strings"
)

// The cost of checking a payload is bounded before the first payload arrives. A
// walk over an action's schema computes how many subschemas can be applied to one
// value of any payload, at any depth, and how many steps the regular expressions
// can take for one byte of a string. Check multiplies both with the size of the
// payload. A schema that contains itself has no such bound, and is refused.

const (
	// maxComparisons bounds one check: values in the payload × subschemas applied
	// to each value. One comparison takes 0.2 to 0.6 µs.
	maxComparisons = 8_000
	// maxPatternSteps bounds one check: bytes of the payload × steps of the
	// regular expressions for each byte. One step takes at most about 10 ns.
	maxPatternSteps = 400_000
	// maxApplied bounds the subschemas that are applied to one value, so that
	// every schema allows a payload of maxComparisons/maxApplied values, 50.
	maxApplied = 160
	// maxSteps bounds the steps of the regular expressions for one byte, so that
	// every schema allows a payload of maxPatternSteps/maxSteps bytes, 500.
	maxSteps = 800
	// maxPatternSize bounds one regular expression, in steps for one byte.
	maxPatternSize = 400
	// maxSchemaSize bounds the subschemas of one schema when each $ref is replaced
	// by its target.
	maxSchemaSize = 512
	// maxSchemas bounds the subschemas of all schemas of a description.
	maxSchemas = 512
	// maxPatterns bounds the regular expressions of a description, in steps for
	// one byte.
	maxPatterns = 4_000
)

// cost is the cost of applying a schema to one value.
type cost struct {
	applied int // subschemas, or as much work
	steps   int // steps of regular expressions for one byte
}

func (c cost) plus(d cost) cost {
	return cost{bounded(c.applied + d.applied), bounded(c.steps + d.steps)}
}

func (c cost) max(d cost) cost { return cost{max(c.applied, d.applied), max(c.steps, d.steps)} }

// bounded keeps sums of sums from overflowing; no limit is near.
func bounded(n int) int { return min(n, 1<<24) }

// shape is what the walk knows of a schema.
type shape struct {
	// self is the cost at the value that the schema is applied to; below is the
	// largest cost at any value inside that value.
	self, below cost
	// size is the number of subschemas.
	size int
}

// most returns the largest cost at any value.
func (s shape) most() cost { return s.self.max(s.below) }

// walker computes the shape of one schema.
type walker struct {
	defs map[string]any
	// known has the shapes of $defs that were computed; open has those that are
	// being computed.
	known map[string]shape
	open  map[string]bool
	written
}

// written counts the parts of a schema as they are written, without replacing any
// $ref.
type written struct {
	schemas int
	steps   int // of all regular expressions, for one byte
}

// measure returns the shape of an action's or event's schema, and counts its
// parts. The schema fits the published schema. The pointer in
// the error is relative to the schema.
func measure(schema any) (shape, written, *PointerError) {
	w := walker{known: map[string]shape{}, open: map[string]bool{}}
	s, problem := w.walk(schema)
	if problem != nil {
		problem.rooted = false
		return s, w.written, problem
	}
	switch c := s.most(); {
	case s.size > maxSchemaSize:
		problem = &PointerError{Problem: "more than " + strconv.Itoa(maxSchemaSize) + " subschemas, each $ref replaced by its target; at most that many are allowed"}
	case c.applied > maxApplied:
		problem = &PointerError{Problem: strconv.Itoa(c.applied) + " subschemas or values of enum may apply to one value of a payload; at most " + strconv.Itoa(maxApplied) + " are allowed: use fewer alternatives"}
	case c.steps > maxSteps:
		problem = &PointerError{Problem: "the regular expressions that may apply to one text have " + strconv.Itoa(c.steps) + " steps together; at most " + strconv.Itoa(maxSteps) + " are allowed: use shorter ones"}
	}
	return s, w.written, problem
}

// walk returns the shape of a whole schema, whose $defs are walked, too.
func (w *walker) walk(schema any) (shape, *PointerError) {
	if object, ok := schema.(map[string]any); ok {
		w.defs, _ = object["$defs"].(map[string]any)
	}
	s, problem := w.schema(schema, true)
	for _, name := range sortedNames(w.defs) { // also those without a $ref
		if problem == nil {
			_, problem = w.definition(name)
		}
	}
	return s, problem
}

// definition returns the shape of a schema in $defs.
func (w *walker) definition(name string) (shape, *PointerError) {
	if s, known := w.known[name]; known {
		return s, nil
	}
	if w.open[name] {
		return shape{}, &PointerError{Problem: "the schema contains itself, through $ref; a schema without recursion is allowed"}
	}
	w.open[name] = true
	defer delete(w.open, name)
	s, problem := w.schema(w.defs[name], false)
	if problem != nil {
		problem.within(name).within("$defs").rooted = true
		return s, problem
	}
	w.known[name] = s
	return s, nil
}

// schema returns the shape of a schema. top: the schema is no subschema.
func (w *walker) schema(v any, top bool) (shape, *PointerError) {
	w.schemas++
	object, ok := v.(map[string]any)
	if !ok {
		return shape{self: cost{applied: 1}, size: 1}, nil
	}
	if _, has := object["$defs"]; has && !top {
		return shape{}, (&PointerError{Problem: "is allowed at the top of a schema only"}).within("$defs")
	}
	if problem := farNumbers(object); problem != nil {
		return shape{}, problem
	}
	s := shape{self: cost{applied: 1 + valueWork(object) + numberWork(object)}, size: 1}
	x := part{w: w, object: object, into: &s}
	x.pattern()
	x.inPlace()
	inside := x.members().max(x.items())
	s.below = s.below.plus(inside)
	for _, name := range []string{"unevaluatedProperties", "unevaluatedItems"} {
		if _, has := object[name]; has {
			// Each schema that is applied in place keeps a list of the members.
			s.below = s.below.plus(s.self).plus(x.sub(name).most())
		}
	}
	return s, x.problem
}

// valueWork returns the work of comparing a value with enum, const and the lists of
// names, in subschemas.
func valueWork(object map[string]any) int {
	work := 0
	if values, has := object["enum"].([]any); has {
		work += valueSize(values)
	}
	work += valueSize(object["const"])
	names := 0
	if required, has := object["required"].([]any); has {
		names += len(required)
	}
	if dependent, has := object["dependentRequired"].(map[string]any); has {
		for _, list := range dependent {
			names += 1 + len(list.([]any))
		}
	}
	return bounded(work/4 + names/8)
}

// numberWork returns the work of calculating with a number, in subschemas. The
// library makes an exact fraction of the number first.
func numberWork(object map[string]any) int {
	work := 0
	for _, keyword := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"} {
		if _, has := object[keyword]; has {
			work = 2
		}
	}
	if _, has := object["multipleOf"]; has {
		work += 4
	}
	types, _ := object["type"].([]any)
	if object["type"] == "integer" || slices.Contains(types, any("integer")) {
		work += 2
	}
	return work
}

// farNumbers refuses numbers with which calculating takes long.
func farNumbers(object map[string]any) *PointerError {
	for _, keyword := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"} {
		if v, _ := object[keyword].(float64); isFar(v) {
			return &PointerError{Pointer: pointerTo(keyword), Problem: "too far from 1; 0 and numbers from 1e-30 to 1e30, of either sign, are allowed"}
		}
	}
	return nil
}

// valueSize returns the work of comparing a value with another one, in quarters of
// a subschema. Numbers are compared as exact fractions.
func valueSize(v any) int {
	switch v := v.(type) {
	case float64:
		if isFar(v) {
			return 4 * farWeight
		}
		return 8
	case []any:
		n := 1
		for _, item := range v {
			n += valueSize(item)
		}
		return n
	case map[string]any:
		n := 1
		for _, member := range v {
			n += 1 + valueSize(member)
		}
		return n
	case nil:
		return 0
	}
	return 1
}

// part walks one schema object, and stops at the first problem.
type part struct {
	w       *walker
	object  map[string]any
	into    *shape
	problem *PointerError
}

// add counts a subschema, and returns its shape. The tokens lead to the subschema.
func (x *part) add(v any, tokens ...string) shape {
	if x.problem != nil {
		return shape{}
	}
	s, problem := x.w.schema(v, false)
	if problem != nil {
		for _, token := range slices.Backward(tokens) {
			problem = problem.within(token)
		}
		x.problem = problem
	}
	x.into.size = bounded(x.into.size + s.size)
	return s
}

// sub returns the shape of the subschema of a keyword; the zero shape for none.
func (x *part) sub(keyword string) shape {
	v, has := x.object[keyword]
	if !has {
		return shape{}
	}
	return x.add(v, keyword)
}

// apply adds the costs of a subschema that is applied to the same value.
func (x *part) apply(s shape) {
	x.into.self = x.into.self.plus(s.self)
	x.into.below = x.into.below.plus(s.below)
}

// pattern adds the cost of pattern, and of counting characters.
func (x *part) pattern() {
	for _, keyword := range []string{"minLength", "maxLength"} {
		if _, has := x.object[keyword]; has {
			x.into.self.steps++
		}
	}
	if text, has := x.object["pattern"].(string); has {
		x.into.self.steps += x.regexp(text, "pattern")
	}
}

// regexp returns the steps of a regular expression for one byte.
func (x *part) regexp(text string, tokens ...string) int {
	steps, fault := patternSize(text)
	if fault != "" && x.problem == nil {
		x.problem = &PointerError{Pointer: pointerTo(tokens...), Problem: fault}
	}
	x.w.steps = bounded(x.w.steps + steps)
	return steps
}

// inPlace adds the costs of the keywords that apply subschemas to the same value.
func (x *part) inPlace() {
	for _, keyword := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := x.object[keyword].([]any)
		for i, v := range list {
			x.apply(x.add(v, keyword, strconv.Itoa(i)))
		}
	}
	for _, keyword := range []string{"not", "if", "then", "else"} {
		x.apply(x.sub(keyword))
	}
	schemas, _ := x.object["dependentSchemas"].(map[string]any)
	for _, name := range sortedNames(schemas) {
		x.apply(x.add(schemas[name], "dependentSchemas", name))
	}
	ref, has := x.object["$ref"].(string)
	if !has || x.problem != nil {
		return
	}
	name := strings.TrimPrefix(ref, "#/$defs/")
	if _, there := x.w.defs[name]; !there {
		x.problem = &PointerError{Pointer: "/$ref", Problem: quoted(ref) + " is not in $defs at the top of this schema; the names there are allowed: " + listed(sortedNames(x.w.defs))}
		return
	}
	s, problem := x.w.definition(name)
	if problem != nil {
		x.problem = problem.within("$ref")
	}
	x.apply(s)
	x.into.size = bounded(x.into.size + s.size)
}

// members returns the largest cost at a member of an object.
func (x *part) members() cost {
	var named, all cost
	schemas, _ := x.object["properties"].(map[string]any)
	for _, name := range sortedNames(schemas) {
		named = named.max(x.add(schemas[name], "properties", name).most())
	}
	schemas, _ = x.object["patternProperties"].(map[string]any)
	for _, pattern := range sortedNames(schemas) {
		all = all.plus(cost{steps: x.regexp(pattern, "patternProperties", pattern)})
		all = all.plus(x.add(schemas[pattern], "patternProperties", pattern).most())
	}
	all = all.plus(x.sub("propertyNames").most())
	return all.plus(named.max(x.sub("additionalProperties").most()))
}

// items returns the largest cost at an item of an array.
func (x *part) items() cost {
	var at cost
	list, _ := x.object["prefixItems"].([]any)
	for i, v := range list {
		at = at.max(x.add(v, "prefixItems", strconv.Itoa(i)).most())
	}
	return at.max(x.sub("items").most()).plus(x.sub("contains").most())
}
