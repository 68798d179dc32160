package router

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// TestCostOfOneCredentialIsBounded: the sessions of a credential together may
// list only so many devices per second. Other credentials are not affected.
func TestCostOfOneCredentialIsBounded(t *testing.T) {
	renew := func(o *Options, _ *session.Options) {
		o.Renew = func(*session.Session, string) (protocol.Expiry, *protocol.Error) {
			return protocol.Expiry{}, nil
		}
	}
	inBubble(t, func(t *testing.T, g *gateway) {
		greedy := session.Info{Role: session.RoleFrontend, Credential: "greedy", Telemetry: protocol.TelemetryNone}
		a, b := g.connect(greedy), g.connect(greedy)
		other := g.connect(session.Info{Role: session.RoleFrontend, Credential: "other", Telemetry: protocol.TelemetryNone})
		synctest.Wait()
		for _, p := range g.peers {
			p.take()
		}
		ids := make([]string, maxSubscriptions)
		for i := range ids {
			ids[i] = fmt.Sprintf(`"absent-%d"`, i)
		}
		list := fmt.Sprintf(`{"type":"gateway.subscribe","id":"x","payload":{"devices":[%s]}}`, strings.Join(ids, ","))
		unlist := strings.Replace(list, "subscribe", "unsubscribe", 1)
		for range ownerBurst / maxSubscriptions / 4 {
			for _, p := range []*peer{a, b} {
				p.send(list, unlist)
				synctest.Wait()
				if n := len(p.take()); n != 2 {
					t.Fatalf("%d answers, want 2", n)
				}
			}
		}
		for _, p := range []*peer{a, b} {
			p.send(list)
			p.oneError(protocol.ErrRateLimited, "x")
			p.send(`{"type":"gateway.renew","id":"y","payload":{"token":"anything"}}`)
			p.oneError(protocol.ErrRateLimited, "y")
		}
		other.send(list)
		if got := other.one(); got.Type != protocol.TypeSubscribed {
			t.Fatalf("another credential got %v", got)
		}
		// Of what a second allows, one list is a part.
		time.Sleep(time.Second)
		b.send(list)
		if got := b.one(); got.Type != protocol.TypeSubscribed {
			t.Errorf("after a second: %v", got)
		}
	}, renew)
}
