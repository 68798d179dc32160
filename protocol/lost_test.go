package protocol

import (
	"encoding/json"
	"math"
	"testing"
)

// TestLostMessage: what is appended is what encoding/json makes of the message.
func TestLostMessage(t *testing.T) {
	for _, l := range []Lost{
		{Stream: 1, From: 0, To: 1, Cause: "bus"},
		{Stream: math.MaxUint32, From: math.MaxUint64 - 1, To: math.MaxUint64, Cause: "slow_consumer"},
		{Stream: 7, From: 10, To: 5010, Cause: "slow_consumer", Inexact: true, Samples: 17},
		{Stream: 7, From: 10, To: 5010, Cause: "bus", Inexact: true},
	} {
		want, err := NewMessage(TypeLost, l)
		if err != nil {
			t.Fatal(err)
		}
		text, err := want.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got := l.AppendMessage([]byte("before"))
		if string(got) != "before"+string(text) {
			t.Errorf("got  %s\nwant %s", got[len("before"):], text)
		}
		var back Lost
		if err := json.Unmarshal(want.Payload, &back); err != nil || back != l {
			t.Errorf("%s read as %+v, %v", want.Payload, back, err)
		}
		if n := testing.AllocsPerRun(100, func() { got = l.AppendMessage(got[:0]) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestLostCount(t *testing.T) {
	for _, c := range []struct {
		lost Lost
		want uint64
	}{
		{Lost{From: 5, To: 9}, 4},
		{Lost{From: 5, To: 900, Inexact: true, Samples: 17}, 17},
		{Lost{From: 5, To: 900, Inexact: true}, 0},
	} {
		if got := c.lost.Count(); got != c.want {
			t.Errorf("%+v: %d samples, want %d", c.lost, got, c.want)
		}
	}
}
