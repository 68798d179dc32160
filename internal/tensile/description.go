package tensile

import (
	"encoding/json"
	"fmt"

	"github.com/labgate/labgate/protocol/description"
)

// Events of a machine.
const (
	EventState        = "test.state"         // the present state, once a second
	EventStateChanged = "test.state_changed" // a change of state
)

// Describe returns the description of a machine that takes rate samples per second.
func Describe(rate float64) description.Description {
	states := fmt.Sprintf("%q,%q,%q,%q", Idle, Running, Stopped, Fractured)
	result := json.RawMessage(`{"type":"object","properties":{` +
		`"ok":{"type":"boolean"},` +
		`"state":{"type":"string","enum":[` + states + `]},` +
		`"sample":{"type":"integer","title":"First sample in this state"},` +
		`"peak_force_n":{"type":"number","unit":"N","title":"Greatest force of this test"}},"required":["ok"]}`)
	return description.Description{
		Title: "Tensile tester", Description: "A simulated tensile tester with specimens of structural steel.",
		Manufacturer: "Labgate", Model: "simulated tensile tester", RateHz: rate,
		Channels: []description.Channel{
			{Name: "force", Title: "Force", Unit: "N", Minimum: ptr(0), Maximum: ptr(30_000), Limits: &description.Limits{HighWarning: ptr(28_000), HighAlarm: ptr(30_000), Hysteresis: 200, HoldMS: 10}},
			{Name: "extension", Title: "Extension", Unit: "mm", Minimum: ptr(0), Maximum: ptr(20)},
			{Name: "temperature", Title: "Temperature", Unit: "Cel", Minimum: ptr(15), Maximum: ptr(60), Limits: &description.Limits{HighWarning: ptr(55), HighAlarm: ptr(60), Hysteresis: 0.5, HoldMS: 100}},
		},
		Actions: map[string]description.Action{
			CommandStart: {
				Title: "Start", Description: "Pulls the specimen until it breaks. The machine must be idle.",
				Input:  json.RawMessage(fmt.Sprintf(`{"type":"object","properties":{"speed_mm_min":{"type":"number","title":"Speed","description":"crosshead speed in mm/min","unit":"mm/min","minimum":%g,"maximum":%d,"default":5}},"required":["speed_mm_min"],"additionalProperties":false}`, MinSpeed, MaxSpeed)),
				Output: result, TimeoutMS: 5000,
			},
			CommandStop:  {Title: "Stop", Description: "Stops the crosshead; the specimen stays under load.", Output: result, Urgent: true, Always: true, TimeoutMS: 5000},
			CommandReset: {Title: "Reset", Description: "Unloads the machine and puts in a new specimen.", Output: result, Confirm: "Take the specimen out and put in a new one?", TimeoutMS: 5000},
		},
		Events: map[string]description.Event{
			EventState: {Title: "State", Data: json.RawMessage(`{"type":"object","properties":{` +
				`"state":{"type":"string","enum":[` + states + `]},"sample":{"type":"integer"},"peak_force_n":{"type":"number","unit":"N"}},"required":["state"]}`)},
			EventStateChanged: {Title: "Change of state", Data: json.RawMessage(`{"type":"object","properties":{` +
				`"state":{"type":"string","enum":[` + states + `]},"previous":{"type":"string"},"reason":{"type":"string"},"sample":{"type":"integer"}},"required":["state","reason"]}`)},
		},
		State: &description.State{Event: EventState, Pointer: "/state"},
		// A test ends with any change from running, whatever the new state is.
		Runs: &description.Runs{
			Start:    description.Condition{Event: EventStateChanged, Pointer: "/state", Equals: json.RawMessage(`"running"`)},
			Stop:     description.Condition{Event: EventStateChanged, Pointer: "/previous", Equals: json.RawMessage(`"running"`)},
			BeforeMS: 1000, AfterMS: 1000,
		},
	}
}

func ptr(v float64) *float64 { return &v }
