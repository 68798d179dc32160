package protocol

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestAppendSpliced(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		splice     Splice
		want       string
	}{
		{"no src", `{"type":"a","id":"1"}`, Splice{Src: "S"}, `{"src":"S","type":"a","id":"1"}`},
		{"first", `{"src":"x","type":"a"}`, Splice{Src: "S"}, `{"src":"S","type":"a"}`},
		{"middle", `{"type":"a","src":"x","id":"1"}`, Splice{Src: "S"}, `{"src":"S","type":"a","id":"1"}`},
		{"last", `{"type":"a","src":"x"}`, Splice{Src: "S"}, `{"src":"S","type":"a"}`},
		{"first with space", `{ "src" : "x" , "type" : "a" }`, Splice{Src: "S"}, `{"src":"S", "type" : "a" }`},
		{"middle with space", `{ "type" : "a" , "src" : "x" , "id" : "1" }`, Splice{Src: "S"}, `{"src":"S", "type" : "a"  , "id" : "1" }`},
		{"last with space", "\n{ \"type\" : \"a\" , \"src\" : \"x\" }\n", Splice{Src: "S"}, "{\"src\":\"S\", \"type\" : \"a\"  }\n"},
		{"src of another type", `{"type":"a","src":{"a":[1,"}"]},"id":"1"}`, Splice{Src: "S"}, `{"src":"S","type":"a","id":"1"}`},
		{"inner src stays", `{"type":"a","payload":{"src":"x"}}`, Splice{Src: "S"}, `{"src":"S","type":"a","payload":{"src":"x"}}`},
		{"replace id", `{"type":"a","id":"old","payload":1}`, Splice{Src: "S", ID: "N-1"}, `{"src":"S","type":"a","id":"N-1","payload":1}`},
		{"replace re", `{"re":"old","type":"a"}`, Splice{Src: "S", Re: "N"}, `{"src":"S","re":"N","type":"a"}`},
		{"replace all", `{"id" : "i","src":"x","re": "r" ,"type":"a"}`, Splice{Src: "S", ID: "II", Re: "R"}, `{"src":"S","id" : "II","re": "R" ,"type":"a"}`},
		{"src first, id next", `{"src":"x","id":"i","type":"a"}`, Splice{Src: "S", ID: "I"}, `{"src":"S","id":"I","type":"a"}`},
		{"insert", `{"type":"a"}`, Splice{Src: "S", ID: "I", Re: "R"}, `{"src":"S","id":"I","re":"R","type":"a"}`},
		{"null id replaced", `{"type":"a","id": null ,"re":null}`, Splice{Src: "S", ID: "I", Re: "R"}, `{"src":"S","type":"a","id": "I" ,"re":"R"}`},
		{"null id stays", `{"id":null,"type":"a"}`, Splice{Src: "S"}, `{"src":"S","id":null,"type":"a"}`},
		{"empty src", `{"type":"a"}`, Splice{}, `{"src":"","type":"a"}`},
		{"unknown and payload byte for byte", `{"type":"a","x": 1.50,"payload":{"a" : "\u00e9"} }`, Splice{Src: "S"}, `{"src":"S","type":"a","x": 1.50,"payload":{"a" : "\u00e9"} }`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var e Envelope
			if err := e.Parse([]byte(tc.text)); err != nil {
				t.Fatal(err)
			}
			if got := string(e.AppendSpliced(nil, tc.splice)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if got := e.SplicedSize(tc.splice); got != len(tc.want) {
				t.Errorf("SplicedSize %d, want %d", got, len(tc.want))
			}
		})
	}
}

func TestSpliceAgainstEncodingJSON(t *testing.T) {
	for _, text := range validEnvelopes {
		if !checkEnvelope(t, []byte(text)) {
			t.Errorf("refused %s", text)
		}
	}
}

// TestSpliceRandomOrder puts the members in any order, with any space between
// them and any value for src.
func TestSpliceRandomOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	space := func() string { return randomString(rnd, " \t\r\n", 0, 2*rnd.IntN(2)) }
	for range 2000 {
		optional := []string{`"id"`, []string{quote(randomString(rnd, "abc-9", 1, 64)), "null"}[rnd.IntN(2)], `"re"`, []string{`"r"`, "null"}[rnd.IntN(2)], `"src"`, string(randomJSON(rnd, 2)),
			`"payload"`, string(randomJSON(rnd, 3)), `"x"`, string(randomJSON(rnd, 1)), `"x"`, `2`, `""`, `"src"`, `"sr\u0063 "`, `"src\""`}
		list := []string{`"type"` + space() + ":" + space() + `"a.b"`}
		for i := 0; i < len(optional); i += 2 {
			if rnd.IntN(2) == 0 {
				list = append(list, optional[i]+space()+":"+space()+optional[i+1])
			}
		}
		rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		text := space() + "{" + space() + strings.Join(list, space()+","+space()) + space() + "}" + space()
		if !checkEnvelope(t, []byte(text)) {
			t.Fatalf("refused %q", text)
		}
	}
}

func TestAppendSplicedDoesNotAllocate(t *testing.T) {
	for _, text := range validEnvelopes {
		raw := []byte(text)
		var e Envelope
		if err := e.Parse(raw); err != nil {
			t.Fatal(err)
		}
		s := Splice{Src: "ut-01", ID: "c-1", Re: "q-2"}
		dst := make([]byte, 0, e.SplicedSize(s))
		if n := testing.AllocsPerRun(100, func() { dst = e.AppendSpliced(dst[:0], s) }); n != 0 {
			t.Errorf("%v allocations for %s", n, text)
		}
	}
}
