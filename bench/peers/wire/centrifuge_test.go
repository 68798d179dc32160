package wire

import (
	"testing"

	"github.com/centrifugal/protocol"
)

// The codecs here are compared with the library's own.

func TestCentrifugeCommandsAsTheLibraryReadsThem(t *testing.T) {
	for _, c := range []struct {
		p    Protocol
		typ  protocol.Type
		data string
	}{{CentrifugeJSON{}, protocol.TypeJSON, `{"a":1}`}, {CentrifugeProtobuf{}, protocol.TypeProtobuf, "\x00any\xff"}} {
		client := c.p.Client(Spec{Shape: Unicast, Index: 12})
		_, hello := unframe(t, client.Hello())
		d := protocol.GetCommandDecoder(c.typ, hello)
		connect, err := d.Decode()
		if err != nil || connect.Id != connectID || connect.Connect == nil {
			t.Errorf("%T: connect %v, %v", c.p, connect, err)
		}
		sub, _ := d.Decode() // the last one comes with io.EOF
		if sub == nil || sub.Id != subscribeID || sub.Subscribe == nil || sub.Subscribe.Channel != "lab.d12" {
			t.Errorf("%T: subscribe %v", c.p, sub)
		}
		frame, at := c.p.Client(Spec{Shape: Unicast, Index: 12, Sender: true}).Frame([]byte(c.data))
		if got := string(frame[at : at+len(c.data)]); got != c.data {
			t.Errorf("%T: payload %q", c.p, got)
		}
		_, command := unframe(t, frame)
		pub, _ := protocol.GetCommandDecoder(c.typ, command).Decode()
		if pub == nil || pub.Id != publishID || pub.Publish == nil || pub.Publish.Channel != "lab.d12" || string(pub.Publish.Data) != c.data {
			t.Errorf("%T: publish %v", c.p, pub)
		}
	}
}

func TestCentrifugeRepliesAsTheLibraryWritesThem(t *testing.T) {
	for _, c := range []struct {
		p    Protocol
		typ  protocol.Type
		data string
	}{{CentrifugeJSON{}, protocol.TypeJSON, `{"a":1}`}, {CentrifugeProtobuf{}, protocol.TypeProtobuf, "\x00any\xff"}} {
		encoder := protocol.GetDataEncoder(c.typ)
		for _, r := range []*protocol.Reply{
			{Id: connectID, Connect: &protocol.ConnectResult{Client: "c", Version: "v", Ping: 25, Pong: true}},
			{Id: subscribeID, Subscribe: &protocol.SubscribeResult{}},
			{Push: &protocol.Push{Channel: "lab.t1", Pub: &protocol.Publication{Data: []byte(c.data)}}},
			{Id: publishID, Publish: &protocol.PublishResult{}},
			{},
			{Push: &protocol.Push{Channel: "lab.t1", Pub: &protocol.Publication{Data: []byte(c.data)}}},
		} {
			b, err := protocol.GetReplyEncoder(c.typ).Encode(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := encoder.Encode(b); err != nil {
				t.Fatal(err)
			}
		}
		client, to := c.p.Client(Spec{Shape: FanOut}), &sink{}
		if err := feed(client, 0, encoder.Finish(), 1<<20, to); err != nil {
			t.Fatalf("%T: %v", c.p, err)
		}
		if len(to.delivered) != 2 || to.delivered[0] != c.data || to.delivered[1] != c.data || len(to.sent) != 1 || !client.Ready() {
			t.Errorf("%T: delivered %q, answers %q, ready %v", c.p, to.delivered, to.sent, client.Ready())
		}
	}
}
