package router

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// SourceAPI is the src of messages that come through the HTTP API.
const SourceAPI = "@api"

// Command sends a command to a device and waits for the answer. It returns the
// envelope that a front end would receive. Command fails with a *protocol.Error
// (device_offline, device_disconnected, timeout, overloaded, bad_message), or with
// the error of ctx when ctx ends first; then the device may have carried out the
// command. In events the asker is the one that [events.WithAsker] put into ctx.
func (r *Router) Command(ctx context.Context, deviceID string, msg protocol.Message) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if msg.ID == "" {
		msg.ID = uuid.NewString()
	}
	msg.Dst = deviceID
	q := &apiRequest{r: r, who: events.AskerOf(ctx), outcome: make(chan outcome, 1)}
	q.who.Source = SourceAPI
	e, err := q.envelope(&msg)
	if err != nil {
		return nil, err
	}
	r.deliver(q, e, protocol.Destination{Kind: protocol.DstDevice, Name: []byte(deviceID)})
	select {
	case out := <-q.outcome:
		return out.result()
	case <-ctx.Done():
	}
	if q.command == nil || !q.command.takeFromTable() {
		return (<-q.outcome).result()
	}
	q.command.tellEnd(events.OutcomeAskerGone)
	return nil, ctx.Err()
}

// Delivery says how many sessions got a message to a user or to all front ends.
type Delivery struct {
	// Delivered counts the sessions that queued the message, on all nodes that
	// answered.
	Delivered int `json:"delivered"`
	// Silent has the labels of the nodes that did not answer in time, see
	// [NodeAnswer.Label].
	Silent []string `json:"silent_nodes,omitempty"`
	// Flooded counts the sessions of this node that did not queue the message,
	// because their queues are full of messages of the HTTP API.
	Flooded int `json:"flooded,omitempty"`
	// Unreachable: the other nodes could not be reached.
	Unreachable bool `json:"others_unreachable,omitempty"`
}

// Broadcast sends a message to every front end, on every node, and waits for
// the other nodes' counts, 2 s at most. The error is a *protocol.Error.
func (r *Router) Broadcast(ctx context.Context, msg protocol.Message) (Delivery, error) {
	return r.deliverCounted(ctx, &msg, protocol.Destination{Kind: protocol.DstFrontends})
}

// SendUser sends a message to every session of a user, on every node, and waits
// for the other nodes' counts, 2 s at most. The error is a *protocol.Error:
// not_found when the user has no session, unavailable when other nodes, which
// may have one, cannot be reached.
func (r *Router) SendUser(ctx context.Context, user string, msg protocol.Message) (Delivery, error) {
	del, err := r.deliverCounted(ctx, &msg, protocol.Destination{Kind: protocol.DstUser, Name: []byte(user)})
	switch {
	case err != nil || del.Delivered+del.Flooded > 0 || len(del.Silent) > 0:
		return del, err
	case del.Unreachable:
		return del, r.failure(protocol.ErrUnavailable, "no session of user "+user+" is connected to this node, and the other nodes cannot be reached")
	}
	return del, r.failure(protocol.ErrNotFound, "no session of user "+user+" is connected")
}

// deliverCounted delivers a message to a user or to all front ends, and counts
// the sessions that queued the message.
func (r *Router) deliverCounted(ctx context.Context, msg *protocol.Message, dst protocol.Destination) (Delivery, error) {
	q := &apiRequest{r: r}
	e, err := q.envelope(msg)
	if err != nil {
		return Delivery{}, err
	}
	del := Delivery{Unreachable: !r.bus.Up()}
	r.deliver(q, e, dst)
	del.Delivered, del.Flooded = q.receipt.sessions, q.receipt.flooded
	if q.query == nil {
		return del, nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	del.Silent = q.query.labels(r.queries.end(ctx, q.query), r.opts.Node)
	del.Delivered += q.query.count
	return del, nil
}

// failure counts an error and returns it.
func (r *Router) failure(code protocol.ErrorCode, message string) error {
	r.stats.countError(code)
	return protocol.NewError(code, message)
}

// apiRequest is a request of the HTTP API as a sender, and as the asker of its
// command. An apiRequest may command every device, because package httpapi has
// checked the rights already.
type apiRequest struct {
	r *Router
	// who is the asker in events.
	who events.Asker
	// outcome receives the outcome of the command, once.
	outcome chan outcome
	// command is the command that waits for its answer, nil for none.
	command *command
	// receipt counts the local sessions that got a message to a user or to all
	// front ends. query counts the sessions of other nodes; nil when no node has
	// to count.
	receipt receipt
	query   *query
}

// outcome is the end of a command: an answer or an error.
type outcome struct {
	text []byte
	err  *protocol.Error
}

func (o outcome) result() (json.RawMessage, error) {
	if o.err != nil {
		return nil, o.err
	}
	return o.text, nil
}

// envelope encodes and parses a message, so that the message passes the same
// checks as a message of a session.
func (q *apiRequest) envelope(msg *protocol.Message) (*protocol.Envelope, error) {
	text, err := msg.Append(nil)
	if err != nil {
		return nil, q.r.failure(protocol.ErrBadMessage, err.Error())
	}
	e := new(protocol.Envelope)
	if err := e.Parse(text); err != nil {
		return nil, q.r.failure(protocol.ErrBadMessage, err.Error())
	}
	return e, nil
}

func (q *apiRequest) source() string { return SourceAPI }

func (q *apiRequest) device() string { return "" }

func (q *apiRequest) session() *session.Session { return nil }

func (q *apiRequest) origin() origin { return originLocal }

func (q *apiRequest) account() session.Account { return accountOf(SourceAPI) }

func (q *apiRequest) mayCommand([]byte, *session.Session) *protocol.Error { return nil }

func (q *apiRequest) asker() asker { return q }

func (q *apiRequest) flush(to *session.Session) { to.Flush() }

func (q *apiRequest) refuse(code protocol.ErrorCode, message string, _ []byte) {
	q.fail(code, message, "")
}

func (q *apiRequest) delivered(to receipt, _ []byte) {
	q.receipt = to
	if to.err != nil && q.query != nil && to.user == nil {
		q.r.queries.abandon(q.query)
	}
}

func (q *apiRequest) beginCount(nodes map[federation.NodeID]string) uint64 {
	q.query = q.r.queries.begin(nodes)
	return q.query.corr
}

func (q *apiRequest) mayAsk(bool) *protocol.Error { return nil }

func (q *apiRequest) began(c *command) bool {
	q.command = c
	return true
}

func (q *apiRequest) ended(*command) {}

func (q *apiRequest) identity() events.Asker { return q.who }

func (q *apiRequest) answer(text []byte, _ bool) {
	q.outcome <- outcome{text: append([]byte(nil), text...)}
}

func (q *apiRequest) fail(code protocol.ErrorCode, message, _ string) {
	q.r.stats.countError(code)
	q.outcome <- outcome{err: protocol.NewError(code, message)}
}
