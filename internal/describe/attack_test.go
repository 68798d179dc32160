package describe

import (
	"fmt"
	"strings"
	"testing"
)

// attacks are schemas that make a check as slow as the limits allow, and payloads
// as large as the check accepts.
var attacks = []struct {
	name, schema string
	payload      func(in *input) string
}{
	{"plain numbers", `{"items":{"type":"number"}}`, func(in *input) string { return array("1", in.maxValues-1) }},
	{"integers", `{"items":{"type":"integer"}}`, func(in *input) string { return array("1234567.25e2", in.maxValues-1) }},
	{"exact fractions", `{"items":{"allOf":[` + list(`{"multipleOf":0.00000000123456789,"minimum":-1e30,"maximum":1e30}`, 20) + `]}}`,
		func(in *input) string { return array("123456789.12345678", in.maxValues-1) }},
	{"one exact fraction", `{"items":{"multipleOf":0.00000000123456789,"minimum":-1e30,"maximum":1e30}}`,
		func(in *input) string { return array("12345.678901234", in.maxValues-1) }},
	{"far numbers", `{"items":{"multipleOf":0.00000000123456789,"minimum":-1e30}}`,
		func(in *input) string { return array("1.2345678901234567e-300", (in.maxValues-1)/(farWeight+1)) }},
	{"alternatives that fail", `{"items":{"anyOf":[` + list(`{"type":"string","pattern":"x"}`, 120) + `]}}`,
		func(in *input) string { return array("1", in.maxValues-1) }},
	{"nested alternatives", strings.Repeat(`{"anyOf":[{"type":"string"},`, 25) + `{"type":"null"}` + strings.Repeat(`]}`, 25),
		func(in *input) string { return array("1", in.maxValues-1) }},
	{"chain of references", chain(150), func(in *input) string { return array("1", in.maxValues-1) }},
	{"reference fan-out", fanOut(), func(in *input) string { return array("1", in.maxValues-1) }},
	{"values of enum", `{"items":{"enum":[` + numbers(70) + `]}}`, func(in *input) string { return array("9e9", in.maxValues-1) }},
	{"texts of enum", `{"items":{"enum":[` + texts(600) + `]}}`, func(in *input) string { return array(`"zzzzzzzzzz"`, in.maxValues-1) }},
	{"unevaluated properties", `{"allOf":[` + list(`{"not":{"required":["q"]}}`, 30) + `],"unevaluatedProperties":{"type":"number"}}`,
		func(in *input) string { return object(in.maxValues/2 - 1) }},
	{"names", `{"propertyNames":{"pattern":"^[a-z]+[0-9]+$","minLength":1},"additionalProperties":{"type":"number"}}`,
		func(in *input) string { return object(min(in.maxValues/2-1, in.maxBytes/10)) }},
	{"backtracking", `{"pattern":"^(a|aa|a?){28}(a+)+$"}`, func(in *input) string { return `"` + strings.Repeat("a", in.maxBytes-3) + `b"` }},
	{"ambiguous", `{"pattern":"` + strings.Repeat("(x*)*", 40) + `y"}`, func(in *input) string { return `"` + strings.Repeat("x", in.maxBytes-2) + `"` }},
	{"many patterns", `{"allOf":[` + list(`{"pattern":"(x+x+)+[^x]y{20}"}`, 11) + `]}`, func(in *input) string { return `"` + strings.Repeat("x", in.maxBytes-2) + `"` }},
	{"classes", `{"pattern":"([^a]|[^b]|[^ab])*[^c][^d]$"}`, func(in *input) string { return `"` + strings.Repeat("é", in.maxBytes/2-2) + `"` }},
	{"deep", `{"items":{"items":{"items":{"items":{"items":{"maximum":1}}}}}}`, func(in *input) string {
		return strings.Repeat("[", 5) + strings.TrimSuffix(strings.Repeat("2,", in.maxValues-6), ",") + strings.Repeat("]", 5)
	}},
	{"contains", `{"contains":{"const":7.5},"minContains":5}`, func(in *input) string { return array("1", in.maxValues-1) }},
	{"wrong names", `{"additionalProperties":false}`, func(in *input) string { return object(in.maxValues/2 - 1) }},
	{"no limit but bytes", `{"type":["string"]}`, func(in *input) string { return `"` + strings.Repeat(`\u00e9`, in.maxBytes/6-1) + `"` }},
}

func TestAttacksAreWithinTheLimits(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			in, payload := attack(t, a.schema, a.payload)
			if len(payload) > in.maxBytes {
				t.Fatalf("%d bytes, at most %d are checked", len(payload), in.maxBytes)
			}
			if _, _, err := readValue([]byte(payload), in.maxValues); err != nil {
				t.Error("the payload is refused before the check: ", err)
			}
		})
	}
}

func BenchmarkAttack(b *testing.B) {
	for _, a := range attacks {
		b.Run(strings.ReplaceAll(a.name, " ", "_"), func(b *testing.B) {
			d := described(b, a.schema)
			payload := []byte(a.payload(d.inputs["a"]))
			b.ReportMetric(float64(len(payload)), "bytes")
			for b.Loop() {
				d.Check([]byte("a"), payload)
			}
		})
	}
}

func attack(t *testing.T, schema string, payload func(*input) string) (*input, string) {
	t.Helper()
	in := described(t, schema).inputs["a"]
	return in, payload(in)
}

// described returns a description whose action a has an input.
func described(t testing.TB, schema string) *Described {
	t.Helper()
	d, err := Parse([]byte(`{"actions":{"a":{"input":` + schema + `}}}`))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func list(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }

func array(item string, n int) string { return "[" + list(item, n) + "]" }

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d.5,", i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

func texts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"zzzz%06d",`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

func object(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"a%d":1,`, i)
	}
	return "{" + strings.TrimSuffix(b.String(), ",") + "}"
}

// chain returns n schemas each of which is a reference to the next.
func chain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"d%d":{"$ref":"#/$defs/d%d"},`, i, i+1)
	}
	return fmt.Sprintf(`{"items":{"$ref":"#/$defs/d0"},"$defs":{%s"d%d":{"maximum":0}}}`, b.String(), n)
}

// fanOut returns schemas each of which refers twice to the next: 2^6 comparisons.
func fanOut() string {
	var b strings.Builder
	for i := range 5 {
		fmt.Fprintf(&b, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	return fmt.Sprintf(`{"items":{"$ref":"#/$defs/d0"},"$defs":{%s"d5":{"type":"number"}}}`, b.String())
}
