package router

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// measuringAtMost bounds the devices that are measured.
func measuringAtMost(n int) func(*Options, *session.Options) {
	return func(o *Options, _ *session.Options) { o.DeviceMetrics = n }
}

// measured returns the metrics of a device.
func (g *gateway) measured(id string) (DeviceMetrics, bool) {
	list, _ := g.r.DeviceMetrics()
	for _, d := range list {
		if d.Device == id {
			return d, true
		}
	}
	return DeviceMetrics{}, false
}

// TestDeviceMetrics follows one device that comes, goes and comes back.
func TestDeviceMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d")
		d.sendBinary(telemetry(0, 10), telemetry(10, 5))
		time.Sleep(3 * time.Second)
		d.sendBinary(telemetry(15, 5))
		heard := time.Now()
		synctest.Wait()
		if m, _ := g.measured("d"); m != (DeviceMetrics{Device: "d", Online: true, Health: 100, LastSeen: m.LastSeen, SamplesIn: 20}) || !m.LastSeen.Equal(heard) {
			t.Errorf("online: %+v, heard at %v", m, heard)
		}
		time.Sleep(2 * time.Second)
		d.hangUp()
		synctest.Wait()
		time.Sleep(time.Hour)
		gone, _ := g.measured("d")
		if seen := gone.LastSeen; gone != (DeviceMetrics{Device: "d", LastSeen: seen, SamplesIn: 20}) || seen.Before(heard.Truncate(time.Millisecond)) || seen.After(heard.Add(2*time.Second)) {
			t.Errorf("offline: %+v, heard at %v", gone, heard)
		}
		d = g.device("d")
		d.sendBinary(telemetry(20, 3))
		synctest.Wait()
		if m, _ := g.measured("d"); !m.Online || m.Health != 100 || m.SamplesIn != 23 || time.Since(m.LastSeen) > time.Second {
			t.Errorf("back: %+v", m)
		}
		// Another connection in its place is no absence.
		g.device("d")
		synctest.Wait()
		if m, _ := g.measured("d"); !m.Online || m.Health != 100 {
			t.Errorf("replaced: %+v", m)
		}
	}, measuringAtMost(10))
}

// TestDroppedSamplesOfADevice: what the queues of two slow front ends drop is
// counted to the device that it came from.
func TestDroppedSamplesOfADevice(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		slow := []*peer{g.frontend("a"), g.frontend("b")}
		d, other := g.device("d"), g.device("other")
		other.sendBinary(telemetry(0, 1))
		synctest.Wait()
		for _, p := range slow {
			p.stall(true)
		}
		for i := range uint64(200) {
			d.sendBinary(telemetry(100*i, 100))
		}
		synctest.Wait()
		lost := uint64(0)
		for _, p := range slow {
			lost += p.sess.Health().LostSamples
		}
		m, _ := g.measured("d")
		if lost == 0 || m.Dropped != lost {
			t.Errorf("%d samples dropped, %d were lost for the front ends", m.Dropped, lost)
		}
		if m, _ := g.measured("other"); m.Dropped != 0 {
			t.Errorf("%d samples of the other device dropped", m.Dropped)
		}
		for _, p := range slow {
			p.stall(false)
		}
	}, measuringAtMost(10), func(_ *Options, so *session.Options) { so.TelemetryBytes = 16 << 10 })
}

// TestMeasuredDevicesAreBounded: a device keeps its place for a day after it
// went, and then only while no other wants it; the others are counted.
func TestMeasuredDevicesAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		shown := func(want string, omitted int) {
			t.Helper()
			synctest.Wait()
			got := ""
			for _, id := range []string{"a", "b", "c", "d"} {
				if m, ok := g.measured(id); ok {
					got += fmt.Sprintf("%s %v ", id, m.Online)
				}
			}
			if _, n := g.r.DeviceMetrics(); got != want || n != omitted {
				t.Errorf("%q and %d more, want %q and %d", got, n, want, omitted)
			}
		}
		// A name that a front end has listed is no device.
		g.frontend("").send(`{"type":"gateway.subscribe","payload":{"devices":["nobody"]}}`)
		a, b := g.device("a"), g.device("b")
		c := g.device("c")
		shown("a true b true ", 1)
		b.hangUp()
		shown("a true b false ", 1)
		time.Sleep(measuredGrace - time.Minute)
		g.device("d")
		shown("a true b false ", 2)
		time.Sleep(2 * time.Minute)
		forgetAll(g.r)
		shown("a true b false ", 2)
		c.hangUp()
		synctest.Wait()
		g.device("c")
		shown("a true c true ", 2)
		a.hangUp()
		shown("a false c true ", 2)
		// b has no place, and may be forgotten.
		time.Sleep(2 * evictionGrace)
		forgetAll(g.r)
		shown("a false c true ", 1)
	}, measuringAtMost(2))
	inBubble(t, func(t *testing.T, g *gateway) {
		g.device("a")
		synctest.Wait()
		if list, omitted := g.r.DeviceMetrics(); len(list) != 0 || omitted != 1 {
			t.Errorf("%v and %d more", list, omitted)
		}
	})
}

// TestDeviceMetricsOfAnotherNode: the node says that the device is there, and
// what was lost on the way, and nothing that only the other node knows.
func TestDeviceMetricsOfAnotherNode(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		fe := g.frontend("")
		g.holdElsewhere("d")
		m := member{g.r}
		m.ReceiveTelemetry(elsewhere, batchOf("d", 0, 10))
		m.ReceiveTelemetry(elsewhere, batchOf("d", 15, 5))
		synctest.Wait()
		fe.take()
		if got, _ := g.measured("d"); got != (DeviceMetrics{Device: "d", Online: true, Remote: true, LostBetweenNodes: 5}) {
			t.Errorf("%+v", got)
		}
		m.NodeLeft(elsewhere, federation.NodeClosed)
		synctest.Wait()
		if got, _ := g.measured("d"); got != (DeviceMetrics{Device: "d", LostBetweenNodes: 5}) {
			t.Errorf("when the node has left: %+v", got)
		}
	}, ofSeveral, measuringAtMost(10))
}
