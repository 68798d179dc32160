package router

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

const (
	// maxAnswering bounds the questions of other nodes that are being answered at
	// one time; one more goes unanswered.
	maxAnswering = 8
	// queryTime bounds how long other nodes are waited for.
	queryTime = 2 * time.Second
)

// queries are scattered to other nodes and wait for their answers: questions,
// and messages to many whose receivers are counted.
type queries struct {
	// mu guards the rest; a leaf.
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*query
}

// query is one of them. Guarded by queries.mu until done is closed.
type query struct {
	// corr is the number that the nodes answer with. Static, as nodes is: the
	// names of those that were asked.
	corr  uint64
	nodes map[federation.NodeID]string
	// left are the nodes that have not answered yet.
	left    map[federation.NodeID]struct{}
	answers map[federation.NodeID][]byte
	count   int
	// done is closed when none is left.
	done chan struct{}
}

// begin starts to wait for nodes.
func (x *queries) begin(nodes map[federation.NodeID]string) *query {
	q := &query{nodes: nodes, left: make(map[federation.NodeID]struct{}, len(nodes)), answers: make(map[federation.NodeID][]byte), done: make(chan struct{})}
	for node := range nodes {
		q.left[node] = struct{}{}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.waiting == nil {
		x.waiting = make(map[uint64]*query)
	}
	x.last++
	q.corr = x.last
	x.waiting[q.corr] = q
	if len(q.left) == 0 {
		close(q.done)
	}
	return q
}

// end waits until all have answered or ctx ends, and returns who has not.
func (x *queries) end(ctx context.Context, q *query) (silent []federation.NodeID) {
	select {
	case <-q.done:
	case <-ctx.Done():
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.waiting, q.corr)
	for node := range q.nodes {
		if _, answered := q.answers[node]; !answered {
			silent = append(silent, node)
		}
	}
	return silent
}

// labels names nodes that a query was sent to. A name that another of these
// nodes has, or this one, which is called self, is followed by the node's id.
func (q *query) labels(nodes []federation.NodeID, self string) []string {
	having := map[string]int{self: 1}
	for _, name := range q.nodes {
		having[name]++
	}
	var labels []string
	for _, node := range nodes {
		label := q.nodes[node]
		if having[label] > 1 {
			label = fmt.Sprintf("%s#%08x", label, uint32(node))
		}
		labels = append(labels, label)
	}
	return labels
}

// answered notes a node's answer; nil text stands for none.
func (x *queries) answered(corr uint64, node federation.NodeID, text []byte, count int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	q := x.waiting[corr]
	if q == nil {
		return
	}
	if _, waiting := q.left[node]; !waiting {
		return
	}
	if text != nil {
		q.answers[node] = text
		q.count += count
	}
	q.settle(node)
}

// gone gives up waiting for a node, or with 0 for all.
func (x *queries) gone(node federation.NodeID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, q := range x.waiting {
		q.giveUp(node)
	}
}

// abandon gives up waiting for the answers to a query that could not be sent.
func (x *queries) abandon(q *query) {
	x.mu.Lock()
	defer x.mu.Unlock()
	q.giveUp(0)
}

// giveUp is gone for one query. The caller holds queries.mu.
func (q *query) giveUp(node federation.NodeID) {
	if node != 0 {
		q.settle(node)
		return
	}
	for node := range q.left {
		q.settle(node)
	}
}

// settle crosses a node off. The caller holds queries.mu.
func (q *query) settle(node federation.NodeID) {
	if _, waiting := q.left[node]; !waiting {
		return
	}
	delete(q.left, node)
	if len(q.left) == 0 {
		close(q.done)
	}
}

// Ask asks one other node, which answers what Options.Answer there says. It
// fails with a *protocol.Error: not_found when that node is not there or does
// not know, unavailable when it cannot be reached or does not answer before ctx
// ends.
func (r *Router) Ask(ctx context.Context, node federation.NodeID, what, arg string) ([]byte, error) {
	name, there := r.peers.name(node)
	if !there {
		if !r.bus.Up() {
			return nil, protocol.NewError(protocol.ErrUnavailable, "the other nodes cannot be reached")
		}
		return nil, protocol.NewError(protocol.ErrNotFound, "no such node")
	}
	q := r.queries.begin(map[federation.NodeID]string{node: name})
	if err := r.bus.Send(node, &federation.Message{Kind: federation.KindQuery, Corr: q.corr, Name: what, ID: arg}); err != nil {
		r.queries.abandon(q)
	}
	if silent := r.queries.end(ctx, q); len(silent) > 0 {
		return nil, protocol.NewError(protocol.ErrUnavailable, "node "+name+" does not answer")
	}
	if answer := q.answers[node]; len(answer) > 0 {
		return answer, nil
	}
	return nil, protocol.NewError(protocol.ErrNotFound, "node "+name+" does not know")
}

// NodeAnswer is what another node answered to AskAll.
type NodeAnswer struct {
	Node federation.NodeID
	// Label is the node's name, followed by # and its id in hexadecimal digits
	// where two nodes have the same name.
	Label string
	Text  []byte
}

// AskAll asks every other node at once. silent has the labels of those that had
// not answered when ctx ended.
func (r *Router) AskAll(ctx context.Context, what, arg string) (answers []NodeAnswer, silent []string) {
	q := r.queries.begin(r.peers.all())
	if len(q.nodes) > 0 {
		if err := r.bus.SendAll(&federation.Message{Kind: federation.KindQuery, Corr: q.corr, Name: what, ID: arg}); err != nil {
			r.queries.abandon(q)
		}
	}
	without := r.queries.end(ctx, q)
	for node, text := range q.answers {
		label := q.labels([]federation.NodeID{node}, r.opts.Node)[0]
		answers = append(answers, NodeAnswer{node, label, text})
	}
	return answers, q.labels(without, r.opts.Node)
}

// answerQuery answers another node, on a goroutine of its own: an answer may be
// long.
func (r *Router) answerQuery(from federation.NodeID, msg *federation.Message) {
	if r.answeringNow.Add(1) > maxAnswering {
		r.answeringNow.Add(-1)
		return
	}
	corr, what, arg := msg.Corr, msg.Name, msg.ID
	r.answering.Go(func() {
		defer r.answeringNow.Add(-1)
		_ = r.bus.Send(from, &federation.Message{Kind: federation.KindResult, Corr: corr, Text: r.answerTo(what, arg)})
	})
}

// answerTo answers a question of another node; nil for one that is unknown.
func (r *Router) answerTo(what, arg string) []byte {
	if text, known := r.answerStatus(what, arg); known {
		return text
	}
	if r.opts.Answer == nil {
		return nil
	}
	if text, known := r.opts.Answer(what, arg); known {
		return text
	}
	return nil
}
