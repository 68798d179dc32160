package router

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/labgate/labgate/protocol"
)

// The sender of a message that did not reach another node, or perhaps not, is
// told what is known, whether it gave an id or not.
func TestUndelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		fe := g.frontend("")
		g.holdElsewhere("d")
		synctest.Wait()
		fe.take()
		for _, c := range []struct {
			kind    BusKind
			id      string
			certain bool
			text    string
		}{
			{BusToDevice, "", true, "it was not delivered"},
			{BusToDevice, "", false, "whether it was delivered is not known"},
			{BusToDevice, "m-1", false, "whether it was delivered is not known"},
			{BusToSession, "", false, "whether it was delivered is not known"},
		} {
			member{g.r}.Undelivered(elsewhere, &BusMessage{Kind: c.kind, Sender: fe.sess.ID(), ID: c.id, Name: "d"}, c.certain)
			synctest.Wait()
			got := fe.take()
			if len(got) != 1 || got[0].Type != protocol.TypeError || got[0].Re != c.id {
				t.Errorf("%+v: got %v", c, got)
				continue
			}
			var e protocol.ErrorPayload
			if err := json.Unmarshal(got[0].Payload, &e); err != nil || e.Code != protocol.ErrUnavailable || !strings.Contains(e.Message, c.text) {
				t.Errorf("%+v: got %v, %v", c, got, err)
			}
		}
	}, ofSeveral)
}
