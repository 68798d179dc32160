package router

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// sink is the other end of a session that only counts the written bytes, for
// allocation counts and benchmarks.
type sink struct {
	sess *session.Session
	got  atomic.Uint64 // bytes
	seen uint64        // bytes at the last mark or await
}

// sink connects a sink. Its session ends with the gateway.
func (g *gateway) sink(info session.Info) *sink {
	k := &sink{}
	s, err := g.m.Add(info, k)
	if err != nil {
		g.t.Fatal(err)
	}
	k.sess = s
	g.t.Cleanup(func() { s.TransportClosed(nil) })
	return k
}

// Write counts.
func (k *sink) Write(b []byte) (int, error) {
	k.got.Add(uint64(len(b)))
	return len(b), nil
}

// Buffered is 0: Write takes everything.
func (k *sink) Buffered() int { return 0 }

// Close does nothing; the test ends the session.
func (k *sink) Close() error { return nil }

// read runs one read event with these messages, and changes them.
func (k *sink) read(op wsframe.Opcode, messages ...[]byte) {
	k.sess.Heard()
	for _, m := range messages {
		_ = k.sess.HandleMessage(op, m)
	}
	k.sess.EndRead()
}

// mark sets the count from which await counts.
func mark(sinks []*sink) {
	for _, k := range sinks {
		k.sess.Flush()
		k.seen = k.got.Load()
	}
}

// await waits until each sink has got n bytes since the last mark or await. With
// n 1 it waits for any bytes, and counts all of them.
func await(sinks []*sink, n uint64) {
	for _, k := range sinks {
		for k.got.Load() < k.seen+n {
			runtime.Gosched()
		}
		if k.seen += n; n == 1 {
			k.seen = k.got.Load()
		}
	}
}

func putSeq(frame []byte, seq uint64) { binary.LittleEndian.PutUint64(frame[8:], seq) }
