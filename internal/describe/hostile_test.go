package describe

import (
	"fmt"
	"strings"
	"testing"
)

// hostile returns descriptions of at most 64 KiB that take as long to check as a
// description can, accepted or not.
func hostile() map[string]string {
	input := func(schema string) string { return `{"actions":{"a":{"input":` + schema + `}}}` }
	filled := func(before, part, after string, most int) string {
		n := min((64<<10-len(before)-len(after))/(len(part)+1), most)
		return before + list(part, n) + after
	}
	numbered := func(before, format, after string, most int) string {
		b := strings.Builder{}
		for i := 0; i < most && b.Len() < 64<<10-len(before)-len(after)-len(format)-8; i++ {
			fmt.Fprintf(&b, format+",", i)
		}
		return before + strings.TrimSuffix(b.String(), ",") + after
	}
	const many = 1 << 20
	return map[string]string{
		"channels":           numbered(`{"channels":[`, `{"name":"a%d","unit":"N","scale":0.5}`, `]}`, 1024),
		"too many channels":  filled(`{"channels":[`, `{"name":1}`, `]}`, many),
		"values":             filled(`{"x-y":[`, `0`, `]}`, many),
		"enum":               filled(`{"actions":{"a":{"input":{"enum":[`, `0`, `]}}}}`, 8000),
		"schemas":            filled(`{"actions":{"a":{"input":{"allOf":[`, `{}`, `]}}}}`, 5000),
		"wrong schemas":      filled(`{"actions":{"a":{"input":{"allOf":[`, `0`, `]}}}}`, 16000),
		"many inputs":        numbered(`{"actions":{`, `"a%d":{"input":{"minimum":0}}`, `}}`, 256),
		"properties":         numbered(`{"actions":{"a":{"input":{"properties":{`, `"p%d":{"type":"number"}`, `}}}}}`, 510),
		"too many actions":   numbered(`{"actions":{`, `"a%d":{}`, `}}`, many),
		"patterns":           numbered(`{"actions":{"a":{"output":{"properties":{`, `"p%d":{"pattern":"(a?b?c?d?e?f?g?h?){11}x{90}"}`, `}}}}}`, 500),
		"patterns in inputs": numbered(`{"actions":{`, `"p%d":{"input":{"pattern":"(a?b?c?d?e?f?g?h?){11}x{90}"}}`, `}}`, 250),
		"unicode classes":    numbered(`{"actions":{"a":{"input":{"properties":{`, `"p%d":{"pattern":"`+strings.Repeat(`(?i:\\pL)`, 10)+`"}`, `}}}}}`, 500),
		"negated classes":    numbered(`{"actions":{"a":{"input":{"properties":{`, `"p%d":{"pattern":"`+strings.Repeat(`[^\\W\\d]`, 25)+`"}`, `}}}}}`, 500),
		"folded":             numbered(`{"actions":{"a":{"input":{"properties":{`, `"p%d":{"pattern":"(?i:`+strings.Repeat(`[^k-s]`, 35)+`)"}`, `}}}}}`, 500),
		"definitions":        input(chain(150)),
		"recursion":          input(`{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/a"},{"items":{"$ref":"#/$defs/a"}}]}},"$ref":"#/$defs/a"}`),
		"deep":               input(strings.Repeat(`{"items":`, 58) + `{}` + strings.Repeat(`}`, 58)),
		"too deep":           input(strings.Repeat(`{"items":`, 7000)),
		"10,000 levels":      input(strings.Repeat(`[`, 10000) + strings.Repeat(`]`, 10000)),
		"names":              numbered(`{"actions":{"a":{"input":{"required":[`, `"%d"`, `]}}}}`, many),
		"unknown names":      numbered(`{`, `"u%d":0`, `}`, many),
	}
}

func BenchmarkHostile(b *testing.B) {
	for name, text := range hostile() {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			_, err := Parse([]byte(text))
			b.Log(len(text), " ", err)
			for b.Loop() {
				_, _ = Parse([]byte(text))
			}
		})
	}
}
