package server

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
)

// TestFloodHoldsNobodyUp has devices send without a pause, over the one poller
// that there is: others are let in and served all the same.
func TestFloodHoldsNobodyUp(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.Pollers = 1 })
		dev := g.upgrade("/ws/device/quiet")
		var burst []byte
		for i := range 2000 {
			burst = wsframe.AppendMaskedFrame(burst, wsframe.OpBinary, testKey, telemetry(uint64(i)*100, 100))
		}
		var sent atomic.Int64
		stop := make(chan struct{})
		done := make(chan struct{})
		flooders := 3
		for i := range flooders {
			flooder := g.upgrade(fmt.Sprintf("/ws/device/flood%d", i))
			go func() {
				defer func() { done <- struct{}{} }()
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := flooder.conn.Write(burst); err != nil {
						t.Errorf("the flood: %v", err)
						return
					}
					sent.Add(1)
				}
			}()
		}
		g.eventually("it floods", func() bool { return sent.Load() > int64(2*flooders) })
		for i := range 10 {
			fe := g.upgrade("/ws/frontend?telemetry=none")
			fe.text(`{"type":"a.command","id":"c%d","dst":"quiet"}`, i)
			c := dev.await("a.command")
			dev.text(`{"type":"an.answer","re":%q}`, c.ID)
			fe.await("an.answer")
		}
		close(stop)
		for range flooders {
			<-done
		}
	})
}
