package router

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

// The sender of a message to another node gets an error when the message was
// not or perhaps not delivered, also without an id.
func TestUndelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		fe := g.frontend("")
		g.holdElsewhere("d")
		synctest.Wait()
		fe.take()
		for _, c := range []struct {
			kind    federation.Kind
			id      string
			certain bool
			text    string
		}{
			{federation.KindToDevice, "", true, "it was not delivered"},
			{federation.KindToDevice, "", false, "whether it was delivered is not known"},
			{federation.KindToDevice, "m-1", false, "whether it was delivered is not known"},
			{federation.KindToSession, "", false, "whether it was delivered is not known"},
		} {
			member{g.r}.Undelivered(elsewhere, &federation.Message{Kind: c.kind, Sender: fe.sess.ID(), ID: c.id, Name: "d"}, c.certain)
			synctest.Wait()
			got := fe.take()
			if len(got) != 1 || got[0].Type != protocol.TypeError || got[0].Re != c.id {
				t.Errorf("%+v: got %v", c, got)
				continue
			}
			var e protocol.Error
			if err := json.Unmarshal(got[0].Payload, &e); err != nil || e.Code != protocol.ErrUnavailable || !strings.Contains(e.Message, c.text) {
				t.Errorf("%+v: got %v, %v", c, got, err)
			}
		}
	}, ofSeveral)
}
