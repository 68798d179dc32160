package describe

import "strconv"

// input is the compiled schema of an action's input.
type input struct {
	*compiled
	// maxValues and maxBytes bound the payloads that are checked.
	maxValues, maxBytes int
}

func newInput(schema any, c cost) (*input, *PointerError) {
	s, err := compileSchema(schema)
	if err != nil {
		return nil, &PointerError{Problem: "cannot be compiled: " + err.Error()}
	}
	in := &input{compiled: s, maxValues: maxComparisons / c.applied, maxBytes: maxPayload}
	if c.steps > 0 {
		in.maxBytes = min(maxPatternSteps/c.steps, maxPayload)
	}
	return in, nil
}

// maxPayload bounds the payloads that are checked, in bytes.
const maxPayload = 256 << 10

// emptyPayload is checked in place of an absent payload.
var emptyPayload = []byte("{}")

// Check checks the payload of a command against the input of the action of this
// type. An absent payload (nil) is checked as {}. Check returns nil when the payload
// fits, or when the device has no such action or the action no input. The payload
// must be valid JSON. Any goroutine may call Check.
func (d *Described) Check(typ, payload []byte) *PointerError {
	in := d.inputs[string(typ)]
	if in == nil {
		return nil
	}
	if payload == nil {
		payload = emptyPayload
	}
	if len(payload) > in.maxBytes {
		return &PointerError{Problem: strconv.Itoa(len(payload)) + " bytes; at most " + strconv.Itoa(in.maxBytes) + " are allowed for this command, because the gateway checks its payload"}
	}
	value, _, problem := readValue(payload, in.maxValues)
	if problem != nil {
		return problem
	}
	return in.check(value)
}
