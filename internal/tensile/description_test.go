package tensile_test

import (
	"encoding/json"
	"testing"

	"github.com/labgate/labgate/internal/describe"
	"github.com/labgate/labgate/internal/tensile"
)

// The gateway accepts the description, and refuses the speeds that the machine
// refuses.
func TestDescription(t *testing.T) {
	text, err := json.Marshal(tensile.Describe(10_000))
	if err != nil {
		t.Fatal(err)
	}
	d, err := describe.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{`{"speed_mm_min":5}`, `{"speed_mm_min":0.01}`, `{"speed_mm_min":1000}`, `{"speed_mm_min":0.009}`, `{"speed_mm_min":1000.1}`, `{}`, `{"speed":5}`, `[]`, `{"speed_mm_min":"5"}`} {
		m, err := tensile.New(tensile.Options{Rate: 1000})
		if err != nil {
			t.Fatal(err)
		}
		_, refused := m.Do(tensile.CommandStart, []byte(payload))
		if problem := d.Check([]byte(tensile.CommandStart), []byte(payload)); (problem == nil) != (refused == nil) {
			t.Errorf("%s: the machine says %v, the gateway %v", payload, refused, problem)
		}
	}
	m, err := tensile.New(tensile.Options{Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		m.Next()
	}
	if s := m.Next(); len(d.Channels) != 3 || s.Temperature < *d.Channels[2].Minimum || s.Temperature > *d.Channels[2].Maximum {
		t.Errorf("%+v is outside of the display", s)
	}
}
