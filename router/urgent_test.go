package router

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// order lists the received frames in order: telemetry by its first sample, a
// message by its type.
func order(t *testing.T, got []received) string {
	t.Helper()
	var names []string
	for _, m := range got {
		if m.op == wsframe.OpBinary {
			names = append(names, fmt.Sprint(spansOf(t, []received{m})[0].from))
		} else {
			names = append(names, m.Type)
		}
	}
	return strings.Join(names, " ")
}

func TestUrgentGoesAheadOfEverythingQueued(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.stall(true)
		d.sendBinary(telemetry(0, 1))
		d.send(`{"type":"first"}`)
		d.sendBinary(telemetry(1, 1))
		d.send(`{"type":"stop","urgent":true}`)
		d.send(`{"type":"second","urgent":false}`)
		d.send(`{"type":"stop_again","dst":"@user/alice","urgent":true}`)
		d.send(`{"type":"third","dst":"@session/` + a.sess.ID().String() + `"}`)
		if got := a.take(); len(got) != 0 {
			t.Fatalf("a stalled peer got %v", got)
		}
		a.stall(false)
		synctest.Wait()
		if got := order(t, a.take()); got != "stop stop_again first second third 0 1" {
			t.Errorf("order: %s", got)
		}
	})
}

func TestUrgentCommandGoesAheadOfQueuedOnes(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a, b := g.device("d1"), g.frontend("alice"), g.frontend("bob")
		g.quiet()
		d.stall(true)
		for i := range 3 {
			a.send(fmt.Sprintf(`{"type":"move%d","id":"%d","dst":"d1"}`, i, i))
		}
		b.send(`{"type":"emergency_stop","id":"e","dst":"d1","urgent":true}`)
		done := g.command(t.Context(), "d1", protocol.Message{Type: "emergency_stop_too", Urgent: true})
		synctest.Wait()
		d.stall(false)
		synctest.Wait()
		if got := order(t, d.take()); got != "emergency_stop emergency_stop_too move0 move1 move2" {
			t.Errorf("order: %s", got)
		}
		d.hangUp()
		<-done
	})
}

// TestUrgentAnswerGoesAheadOfTelemetry: answers and messages of the HTTP API
// can be urgent, too.
func TestUrgentAnswerGoesAheadOfTelemetry(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.send(`{"type":"c","id":"1","dst":"d1"}`, `{"type":"c","id":"2","dst":"d1"}`)
		a.stall(true)
		d.sendBinary(telemetry(0, 1))
		d.send(`{"type":"slow","re":"1"}`, `{"type":"fast","re":"2","urgent":true}`)
		if n, err := g.broadcast(protocol.Message{Type: "alarm", Urgent: true}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := g.sendUser("alice", protocol.Message{Type: "note"}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		a.stall(false)
		synctest.Wait()
		if got := order(t, a.take()); got != "fast alarm slow note 0" {
			t.Errorf("order: %s", got)
		}
	})
}

// TestUrgentDoesNotWaitForTheFlushInterval: telemetry may wait for the flush
// interval, a message does not.
func TestUrgentDoesNotWaitForTheFlushInterval(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		begin := time.Now()
		d.sendBinary(telemetry(0, 1))
		d.send(`{"type":"stop","dst":"@user/alice","urgent":true}`)
		synctest.Wait()
		// Waiting telemetry leaves in the same write, behind the message.
		if got := order(t, a.take()); got != "stop 0" || !time.Now().Equal(begin) {
			t.Errorf("order: %s after %v", got, time.Since(begin))
		}
		d.sendBinary(telemetry(1, 1))
		synctest.Wait()
		if got := order(t, a.take()); got != "" {
			t.Errorf("telemetry did not wait: %s", got)
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if got := order(t, a.take()); got != "1" {
			t.Errorf("got %s", got)
		}
	}, func(_ *Options, so *session.Options) { so.FlushInterval = 50 * time.Millisecond })
}
