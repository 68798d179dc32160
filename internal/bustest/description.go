package bustest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
)

const (
	firstDescription  = `{"title":"first", "actions":{"test.start":{"input":{"type":"object","required":["speed"]}}}}`
	secondDescription = `{"title":"second"}`
)

// awaitDescribed waits for gateway.device_described with this version.
func (p *peer) awaitDescribed(device, version string) {
	p.t.Helper()
	p.await("description "+version+" of "+device, func(m protocol.Message) bool {
		var d protocol.DeviceDescribed
		return m.Type == protocol.TypeDeviceDescribed && json.Unmarshal(m.Payload, &d) == nil && d.DeviceID == device && d.Version != nil && *d.Version == version
	})
}

// describes sends a description and waits for its version.
func (p *peer) describes(text string) string {
	p.t.Helper()
	p.send(`{"type":"gateway.describe","id":"describe","payload":` + text + `}`)
	var d protocol.Described
	if err := json.Unmarshal(p.awaitType(protocol.TypeDescribed).Payload, &d); err != nil || d.Version == nil {
		p.t.Fatal(d, err)
	}
	return *d.Version
}

// testDescription: the version of a device's description reaches every node, the
// content is asked from the node that has it, and commands are checked there.
func testDescription(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	fe := ns[1].frontend("ada")
	d := ns[0].device("d1")
	fe.awaitNotice(protocol.TypeDeviceOnline, "d1", "a", "connected")
	first := d.describes(firstDescription)
	fe.awaitDescribed("d1", first)
	text := func(n *node) string {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		text, version, err := n.r.Description(ctx, "d1")
		if err != nil {
			return err.Error()
		}
		if version != description.Version(text) {
			t.Errorf("version %s of %s", version, text)
		}
		return string(text)
	}
	for _, n := range ns {
		n.sees("d1", "a")
		if got := text(n); got != firstDescription {
			t.Errorf("node %s: %s", n.name, got)
		}
	}

	// A late front end has the version in its welcome.
	var welcome protocol.Welcome
	if err := json.Unmarshal(ns[2].frontend("late").awaitType(protocol.TypeWelcome).Payload, &welcome); err != nil {
		t.Fatal(err)
	}
	if len(welcome.Devices) != 1 || welcome.Devices[0].DescriptionVersion != first {
		t.Errorf("welcome lists %+v", welcome.Devices)
	}

	// The node of the device checks commands of other nodes.
	fe.send(`{"type":"test.start","id":"1","dst":"d1","payload":{"sped":1}}`)
	fe.awaitError(protocol.ErrBadMessage, "1")
	fe.send(`{"type":"test.start","id":"2","dst":"d1","payload":{"speed":1}}`)
	d.send(echo(d.await("command 2", func(m protocol.Message) bool { return m.ID == "2" })))
	fe.awaitType("done")

	// A second description replaces the first, without another notice that the
	// device is online.
	second := d.describes(secondDescription)
	fe.awaitDescribed("d1", second)
	if got := text(ns[2]); got != secondDescription {
		t.Errorf("node c: %s", got)
	}
	if n := fe.count(protocol.TypeDeviceOnline); n != 1 {
		t.Errorf("%d notices that the device is online", n)
	}

	// The description stays while the device is offline.
	d.hangUp()
	fe.awaitNotice(protocol.TypeDeviceOffline, "d1", "a", "connection_lost")
	if got := text(ns[1]); got != secondDescription {
		t.Errorf("node b: %s", got)
	}

	// On another node, the device is not described until it says so.
	moved := ns[2].device("d1")
	if n := fe.awaitNotice(protocol.TypeDeviceOnline, "d1", "c", "connected"); n.DescriptionVersion != "" {
		t.Errorf("description %s before the device has sent one", n.DescriptionVersion)
	}
	ns[0].sees("d1", "c")
	if got := text(ns[0]); !strings.Contains(got, string(protocol.ErrNotFound)) {
		t.Errorf("node a: %s", got)
	}
	moved.describes(firstDescription)
	fe.awaitDescribed("d1", first)
}

// testDescriptionMeanwhile: a node that was cut off learns of a description
// afterwards.
func testDescriptionMeanwhile(_ *testing.T, w *world) {
	ns := w.nodes("a", "b")
	d := ns[0].device("d1")
	ns[1].sees("d1", "a")
	w.net.SetReachable(false)
	gatewaytest.Eventually(w.t, "the nodes are cut off", func() bool { return !ns[0].bus.Up() && !ns[1].bus.Up() })
	version := d.describes(firstDescription)
	time.Sleep(10 * time.Millisecond)
	w.net.SetReachable(true)
	gatewaytest.EventuallyWithin(w.t, patience, "node b knows the description", func() bool {
		st, _ := ns[1].r.Device(context.Background(), "d1")
		return st.DescriptionVersion == version
	})
}
