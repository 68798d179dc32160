package router

import (
	"context"
	"github.com/labgate/labgate/router/federation"
	"sync"

	"github.com/labgate/labgate/protocol"
)

// maxAnswering bounds the questions of other nodes that are being answered at
// one time; one more goes unanswered.
const maxAnswering = 8

// gathers are the questions to other nodes, and the messages to many that are
// counted, whose answers are awaited.
type gathers struct {
	// mu guards the rest; a leaf.
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*gather
}

// gather is one of them.
type gather struct {
	// left are the nodes that have not answered yet; guarded by gathers.mu.
	left    map[federation.NodeID]struct{}
	answers map[federation.NodeID][]byte
	count   int
	// done is closed when none is left.
	done chan struct{}
}

// begin starts to wait for the nodes in names. The number of the gather is what
// they answer with.
func (x *gathers) begin(names map[federation.NodeID]string) (uint64, *gather) {
	g := &gather{left: make(map[federation.NodeID]struct{}, len(names)), answers: make(map[federation.NodeID][]byte), done: make(chan struct{})}
	for node := range names {
		g.left[node] = struct{}{}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.waiting == nil {
		x.waiting = make(map[uint64]*gather)
	}
	x.last++
	x.waiting[x.last] = g
	if len(g.left) == 0 {
		close(g.done)
	}
	return x.last, g
}

// end waits until all have answered or ctx ends, and returns who has not.
func (x *gathers) end(ctx context.Context, corr uint64, g *gather, names map[federation.NodeID]string) (silent []string) {
	select {
	case <-g.done:
	case <-ctx.Done():
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.waiting, corr)
	for node, name := range names {
		if _, answered := g.answers[node]; !answered {
			silent = append(silent, name)
		}
	}
	return silent
}

// answered notes a node's answer; nil text stands for none.
func (x *gathers) answered(corr uint64, node federation.NodeID, text []byte, count int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	g := x.waiting[corr]
	if g == nil {
		return
	}
	if _, waiting := g.left[node]; !waiting {
		return
	}
	if text != nil {
		g.answers[node] = text
		g.count += count
	}
	g.settle(node)
}

// settle crosses a node off. The caller holds gathers.mu.
func (g *gather) settle(node federation.NodeID) {
	if _, waiting := g.left[node]; !waiting {
		return
	}
	delete(g.left, node)
	if len(g.left) == 0 {
		close(g.done)
	}
}

func (x *gathers) nodeGone(node federation.NodeID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.waiting {
		g.settle(node)
	}
}

func (x *gathers) allGone() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.waiting {
		for node := range g.left {
			g.settle(node)
		}
	}
}

// gathered takes what another node answered.
func (r *Router) gathered(from federation.NodeID, msg *federation.Message) {
	r.gathers.answered(msg.Corr, from, append([]byte{}, msg.Text...), int(msg.Count))
}

// Ask asks one other node, which answers what Options.Answer there says. It
// fails with an *Error: not_found when that node is not there or does not know,
// unavailable when it cannot be reached or does not answer before ctx ends.
func (r *Router) Ask(ctx context.Context, node federation.NodeID, what, arg string) ([]byte, error) {
	if r.bus == nil {
		return nil, protocol.NewError(protocol.ErrNotFound, "this gateway is alone")
	}
	name, there := r.others.name(node)
	if !there {
		if !r.bus.Up() {
			return nil, protocol.NewError(protocol.ErrUnavailable, "the other nodes cannot be reached")
		}
		return nil, protocol.NewError(protocol.ErrNotFound, "no such node")
	}
	names := map[federation.NodeID]string{node: name}
	corr, g := r.gathers.begin(names)
	if err := r.bus.Send(node, &federation.Message{Kind: federation.KindQuery, Corr: corr, Name: what, ID: arg}); err != nil {
		r.gathers.answered(corr, node, nil, 0)
	}
	if silent := r.gathers.end(ctx, corr, g, names); len(silent) > 0 {
		return nil, protocol.NewError(protocol.ErrUnavailable, "node "+name+" does not answer")
	}
	if answer := g.answers[node]; len(answer) > 0 {
		return answer, nil
	}
	return nil, protocol.NewError(protocol.ErrNotFound, "node "+name+" does not know")
}

// AskAll asks every other node at once. The answers are by the nodes' names;
// silent are those that had not answered when ctx ended.
func (r *Router) AskAll(ctx context.Context, what, arg string) (answers map[string][]byte, silent []string) {
	if r.bus == nil {
		return nil, nil
	}
	names := r.others.all()
	corr, g := r.gathers.begin(names)
	if len(names) > 0 {
		if err := r.bus.SendAll(&federation.Message{Kind: federation.KindQuery, Corr: corr, Name: what, ID: arg}); err != nil {
			r.gathers.gone(g)
		}
	}
	silent = r.gathers.end(ctx, corr, g, names)
	answers = make(map[string][]byte, len(g.answers))
	for node, answer := range g.answers {
		answers[names[node]] = answer
	}
	return answers, silent
}

func (x *gathers) gone(g *gather) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for node := range g.left {
		g.settle(node)
	}
}

// queryFrom answers another node, on a goroutine of its own: an answer may be
// long.
func (r *Router) queryFrom(from federation.NodeID, msg *federation.Message) {
	if r.answeringNow.Add(1) > maxAnswering {
		r.answeringNow.Add(-1)
		return
	}
	corr, what, arg := msg.Corr, msg.Name, msg.ID
	r.answering.Go(func() {
		defer r.answeringNow.Add(-1)
		answer := r.answer(what, arg)
		_ = r.bus.Send(from, &federation.Message{Kind: federation.KindResult, Corr: corr, Text: answer})
	})
}
