package events

import (
	"context"
	"reflect"
	"testing"
)

// recorder keeps the names of the events that it is told.
type recorder struct {
	name string
	all  *[]string
}

func (r recorder) note(what string)                    { *r.all = append(*r.all, r.name+" "+what) }
func (r recorder) SessionBegan(SessionBegan)           { r.note("SessionBegan") }
func (r recorder) SessionEnded(SessionEnded)           { r.note("SessionEnded") }
func (r recorder) ConnectionRefused(ConnectionRefused) { r.note("ConnectionRefused") }
func (r recorder) HandshakeRefused(HandshakeRefused)   { r.note("HandshakeRefused") }
func (r recorder) RequestRefused(RequestRefused)       { r.note("RequestRefused") }
func (r recorder) CommandBegan(Command)                { r.note("CommandBegan") }
func (r recorder) CommandEnded(CommandEnded)           { r.note("CommandEnded") }
func (r recorder) FileRead(FileRead)                   { r.note("FileRead") }

// TestJoinTellsEverybodyInOrder calls each method of Listener, whatever methods
// there are.
func TestJoinTellsEverybodyInOrder(t *testing.T) {
	var all []string
	l := Join(nil, recorder{"a", &all}, Join(recorder{"b", &all}, nil, recorder{"c", &all}))
	kind := reflect.TypeFor[Listener]()
	for i := range kind.NumMethod() {
		m := kind.Method(i)
		all = all[:0]
		reflect.ValueOf(l).MethodByName(m.Name).Call([]reflect.Value{reflect.Zero(m.Type.In(0))})
		if want := []string{"a " + m.Name, "b " + m.Name, "c " + m.Name}; !reflect.DeepEqual(all, want) {
			t.Errorf("%s told %v, want %v", m.Name, all, want)
		}
	}
}

func TestJoinOfNobodyIsNil(t *testing.T) {
	if l := Join(nil, Join(), nil); l != nil {
		t.Errorf("got %#v", l)
	}
	var all []string
	if l, ok := Join(nil, recorder{"a", &all}).(recorder); !ok || l.name != "a" {
		t.Errorf("one listener is not returned as it is")
	}
}

func TestAskerTravelsInTheContext(t *testing.T) {
	want := Asker{Source: "api", Remote: "192.0.2.1:5", Credential: "token:hall"}
	if got := AskerOf(WithAsker(context.Background(), want)); got != want {
		t.Errorf("got %+v", got)
	}
	if got := AskerOf(context.Background()); got != (Asker{}) {
		t.Errorf("got %+v without an asker", got)
	}
}
