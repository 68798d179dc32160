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
	// maxAnswering bounds the queries of other nodes that this node answers at the
	// same time. Further queries get no answer.
	maxAnswering = 8
	// queryTime bounds the time for which a caller waits for other nodes.
	queryTime = 2 * time.Second
)

// queries has this node's queries that wait for answers of other nodes. A message
// to a user or to all front ends is a query too when the nodes must answer with
// the number of sessions that got the message.
type queries struct {
	// mu guards the rest; a leaf.
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*query
}

// query is one query of this node. Guarded by queries.mu until done is closed.
type query struct {
	// corr is the query's number, which the nodes repeat in their answers. nodes
	// has the names of the nodes that were asked. Both are static.
	corr  uint64
	nodes map[federation.NodeID]string
	// left has the nodes whose answers the query still waits for.
	left    map[federation.NodeID]struct{}
	answers map[federation.NodeID][]byte
	// count is the sum of the session counts in the answers.
	count int
	// done is closed when left is empty.
	done chan struct{}
}

// begin registers a query that waits for the answers of nodes. The caller sends
// the query, and must call end.
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

// end waits until left is empty or ctx ends, and removes the query. It returns
// the nodes that have not answered.
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

// labels returns the labels of some nodes that the query was sent to. The label of
// a node is its name. When another of the query's nodes or this node, called self,
// has the same name, the node's id follows.
func (q *query) labels(nodes []federation.NodeID, self string) []string {
	uses := map[string]int{self: 1}
	for _, name := range q.nodes {
		uses[name]++
	}
	labels := make([]string, 0, len(nodes))
	for _, node := range nodes {
		label := q.nodes[node]
		if uses[label] > 1 {
			label = fmt.Sprintf("%s#%08x", label, uint32(node))
		}
		labels = append(labels, label)
	}
	return labels
}

// answered stores a node's answer to the query corr. When text is nil, the node
// will not answer, and the query only stops waiting for the node.
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
	q.stopWaiting(node)
}

// abandonNode stops all queries from waiting for a node, or with 0 for any node.
func (x *queries) abandonNode(node federation.NodeID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, q := range x.waiting {
		q.abandon(node)
	}
}

// abandon stops a query that could not be sent from waiting for any node.
func (x *queries) abandon(q *query) {
	x.mu.Lock()
	defer x.mu.Unlock()
	q.abandon(0)
}

// abandon stops the query from waiting for a node, or with 0 for any node. The
// caller holds queries.mu.
func (q *query) abandon(node federation.NodeID) {
	if node != 0 {
		q.stopWaiting(node)
		return
	}
	for node := range q.left {
		q.stopWaiting(node)
	}
}

// stopWaiting removes a node from left, and closes done when left is empty. The
// caller holds queries.mu.
func (q *query) stopWaiting(node federation.NodeID) {
	if _, waiting := q.left[node]; !waiting {
		return
	}
	delete(q.left, node)
	if len(q.left) == 0 {
		close(q.done)
	}
}

// Ask sends a query to another node and returns the answer of that node's
// Options.Answer. Ask fails with a *protocol.Error: not_found when the node is not
// on the bus or has no answer, unavailable when the node cannot be reached or does
// not answer before ctx ends.
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

// NodeAnswer is the answer of one node to AskAll.
type NodeAnswer struct {
	Node federation.NodeID
	// Label is the node's name, followed by # and its id in hexadecimal digits
	// where two nodes have the same name.
	Label string
	Text  []byte
}

// AskAll sends a query to all other nodes at once. silent has the labels of the
// nodes that had not answered when ctx ended.
func (r *Router) AskAll(ctx context.Context, what, arg string) (answers []NodeAnswer, silent []string) {
	q := r.queries.begin(r.peers.all())
	if len(q.nodes) > 0 {
		if err := r.bus.SendAll(&federation.Message{Kind: federation.KindQuery, Corr: q.corr, Name: what, ID: arg}); err != nil {
			r.queries.abandon(q)
		}
	}
	unanswered := r.queries.end(ctx, q)
	for node, text := range q.answers {
		label := q.labels([]federation.NodeID{node}, r.opts.Node)[0]
		answers = append(answers, NodeAnswer{node, label, text})
	}
	return answers, q.labels(unanswered, r.opts.Node)
}

// answerQuery answers a query of another node on a new goroutine, because the
// answer may be long and the bus must not wait.
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

// answerTo returns the answer to a query of another node, nil for an unknown
// query.
func (r *Router) answerTo(what, arg string) []byte {
	if what == askDescription {
		return r.registry.answerDescription(arg)
	}
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
