package clusteracceptance

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// answered is the outcome of a command that was carried out.
const answered = "it.is_done"

// newAsker sends commands to random devices until stop is closed, and then
// waits until all have an outcome.
func newAsker(f *fleet, name string, every time.Duration, devices []string, stop <-chan struct{}) *asker {
	a := &asker{fleet: f, name: name, done: make(chan struct{}), byID: map[string]*question{}}
	go a.run(every, devices, stop)
	return a
}

func (a *asker) run(every time.Duration, devices []string, stop <-chan struct{}) {
	defer close(a.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var p *peer
	for i := 0; ; {
		select {
		case <-stop:
			if p != nil {
				a.settle(p)
			}
			return
		case <-tick.C:
		}
		if p == nil || p.ended() {
			p = nil
			if n := a.fleet.pick(); n != nil {
				p, _ = tryConnect(a.fleet.t, n.Addr, "/ws/frontend/"+a.name+"?telemetry=none", a.text)
			}
			continue
		}
		q := &question{id: fmt.Sprintf("%s-%d", a.name, i), device: devices[rand.IntN(len(devices))], over: p}
		i++
		a.mu.Lock()
		a.asked = append(a.asked, q)
		a.byID[q.id] = q
		a.mu.Unlock()
		p.Text(`{"type":"do.it","id":%q,"dst":%q,"timeout_ms":3000,"urgent":%v,"payload":{"key":%q}}`, q.id, q.device, rand.IntN(4) == 0, q.id)
	}
}

// text notes the outcome of a command.
func (a *asker) text(_ *peer, m protocol.Message) {
	if m.Re == "" {
		return
	}
	outcome := m.Type
	if m.Type == protocol.TypeError {
		outcome = string(gatewaytest.Decode[protocol.Error](a.fleet.t, m.Payload).Code)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if q := a.byID[m.Re]; q != nil {
		q.outcomes = append(q.outcomes, outcome)
	} else {
		a.problems = append(a.problems, "an answer to nothing: "+m.Re)
	}
}

// settle waits until every command that was sent over p has an outcome.
func (a *asker) settle(p *peer) {
	for end := time.Now().Add(gatewaytest.Patience); time.Now().Before(end) && !p.ended(); time.Sleep(10 * time.Millisecond) {
		a.mu.Lock()
		open := 0
		for _, q := range a.asked {
			if q.over == p && len(q.outcomes) == 0 {
				open++
			}
		}
		a.mu.Unlock()
		if open == 0 {
			break
		}
	}
	p.reset()
}

// balance checks that each command has one outcome, and by the devices'
// records that it was carried out at most once. It returns the number of
// commands by outcome. A command whose connection broke may have no outcome.
// When the gateway closed the connection with 1001, only the last commands of
// the connection may have none.
func (a *asker) balance(devices map[string]*device) map[string]int {
	t := a.fleet.t
	t.Helper()
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	tally := map[string]int{}
	unread := map[*peer]string{}
	for _, q := range a.asked {
		times := devices[q.device].carriedOut(q.id)
		if times > 1 {
			t.Errorf("command %s was carried out %d times", q.id, times)
		}
		if len(q.outcomes) > 1 {
			t.Errorf("command %s has the outcomes %v", q.id, q.outcomes)
		}
		if len(q.outcomes) == 0 {
			tally["none: the connection ended"]++
			if !q.over.ended() {
				t.Errorf("command %s to %s over node %s has no outcome", q.id, q.device, q.over.welcome.Node)
			} else if q.over.awaitClose() == 1001 {
				unread[q.over] = q.id
			}
			continue
		}
		outcome := q.outcomes[0]
		tally[outcome]++
		if before := unread[q.over]; before != "" {
			t.Errorf("command %s has no outcome, %s behind it has: %s", before, q.id, outcome)
		}
		if outcome == answered && times != 1 || outcome == string(protocol.ErrDeviceOffline) && times != 0 {
			t.Errorf("command %s had the outcome %s and was carried out %d times", q.id, outcome, times)
		}
	}
	for _, problem := range a.problems {
		t.Error(problem)
	}
	return tally
}
