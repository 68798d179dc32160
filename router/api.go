package router

import (
	"context"
	"encoding/json"
	"github.com/labgate/labgate/router/federation"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// SourceAPI is the src of messages that come through the HTTP API.
const SourceAPI = "api"

// Command sends a command to a device and waits for its answer, the envelope
// as a front end would receive it. It fails with an *Error (device_offline,
// device_disconnected, timeout, overloaded, bad_message) or with ctx's error;
// the command may have been carried out in the latter case.
func (r *Router) Command(ctx context.Context, deviceID string, msg protocol.Message) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if msg.ID == "" {
		msg.ID = uuid.NewString()
	}
	msg.Src, msg.Dst = SourceAPI, deviceID
	// Before it is pending: the deadline is set from a field of the message.
	text, err := msg.Append(nil)
	if err != nil {
		return nil, r.failure(protocol.ErrBadMessage, err.Error())
	}
	to := r.manager.ByDevice(deviceID)
	if to == nil {
		return r.commandElsewhere(ctx, deviceID, &msg, text)
	}
	answer := make(chan reply, 1)
	c := &command{r: r, link: to.Attachment().(*link), askedID: msg.ID, reply: answer}
	if err := c.enter(msg.TimeoutMS); err != nil {
		return nil, r.failure(err.Code, err.Message)
	}
	msg.ID = c.wireID
	if err := to.SendMessage(&msg, msg.Urgent); err != nil {
		if !c.leave() {
			rep := <-answer
			return rep.text, asError(rep.err)
		}
		return nil, r.failure(sendFailure(err, protocol.ErrDeviceOffline))
	}
	r.stats.Commands.Add(1)
	to.Flush()
	return awaitReply(ctx, answer, c.leave)
}

// commandElsewhere is Command for a device that is not connected here.
func (r *Router) commandElsewhere(ctx context.Context, deviceID string, msg *protocol.Message, text []byte) (json.RawMessage, error) {
	node, fail := r.awayFromHere([]byte(deviceID))
	if fail != nil {
		return nil, r.failure(fail.Code, fail.Message)
	}
	answer := make(chan reply, 1)
	c := &errand{r: r, node: node, name: errandName{device: deviceID, id: msg.ID}, reply: answer}
	if fail := c.enter(msg.TimeoutMS); fail != nil {
		return nil, r.failure(fail.Code, fail.Message)
	}
	err := r.bus.Send(node, &federation.Message{Kind: federation.KindCommand, Urgent: msg.Urgent, Name: deviceID, ID: msg.ID, Corr: c.corr, TimeoutMS: timeoutOf(msg.TimeoutMS), Text: text})
	if err != nil && c.leave() {
		fail := notSent(err)
		return nil, r.failure(fail.Code, fail.Message)
	}
	r.stats.Commands.Add(1)
	return awaitReply(ctx, answer, c.leave)
}

// awaitReply waits for the outcome of a command, or for ctx: then the command leaves
// its table, unless its outcome was first.
func awaitReply(ctx context.Context, outcome <-chan reply, leave func() bool) (json.RawMessage, error) {
	select {
	case rep := <-outcome:
		return rep.text, asError(rep.err)
	case <-ctx.Done():
		if !leave() {
			rep := <-outcome
			return rep.text, asError(rep.err)
		}
		return nil, ctx.Err()
	}
}

// Delivery is how far a message to many came.
type Delivery struct {
	// Delivered counts the sessions whose queue took it, on all nodes that said
	// so.
	Delivered int `json:"delivered"`
	// Silent names the nodes that did not say in time.
	Silent []string `json:"silent_nodes,omitempty"`
	// Unreachable says that the other nodes could not be reached.
	Unreachable bool `json:"others_unreachable,omitempty"`
}

// gatherTime bounds how long other nodes are waited for.
const gatherTime = 2 * time.Second

// Broadcast sends a message to every front end, on every node, and waits for
// the other nodes' counts, 2 s at most. The error is a *protocol.FieldError.
func (r *Router) Broadcast(ctx context.Context, msg protocol.Message) (Delivery, error) {
	n, text, err := r.sendFrom(&msg, *r.everyone.Load())
	del := Delivery{Delivered: n}
	if err != nil || r.bus == nil {
		return del, err
	}
	names := r.others.all()
	r.countElsewhere(ctx, &del, names, func(corr uint64) error {
		if len(names) == 0 {
			return nil
		}
		return r.bus.SendAll(&federation.Message{Kind: federation.KindToFrontends, Corr: corr, Urgent: msg.Urgent, Text: text})
	})
	return del, nil
}

// SendUser sends a message to every session of a user, on every node, and waits
// for the other nodes' counts, 2 s at most. The error is a
// *protocol.FieldError, or an *Error: not_found when the user has no session,
// unavailable when other nodes, which may have one, cannot be reached.
func (r *Router) SendUser(ctx context.Context, user string, msg protocol.Message) (Delivery, error) {
	r.mu.Lock()
	to := r.users[user]
	r.mu.Unlock()
	n, text, err := r.sendFrom(&msg, to)
	del := Delivery{Delivered: n}
	if err != nil {
		return del, err
	}
	if r.bus != nil {
		names := make(map[federation.NodeID]string)
		for _, node := range r.others.having([]byte(user)) {
			names[node], _ = r.others.name(node)
		}
		r.countElsewhere(ctx, &del, names, func(corr uint64) error {
			for node := range names {
				if err := r.bus.Send(node, &federation.Message{Kind: federation.KindToUser, Corr: corr, Name: user, Urgent: msg.Urgent, Text: text}); err != nil {
					r.gathers.answered(corr, node, nil, 0)
				}
			}
			return nil
		})
	}
	switch {
	case del.Delivered > 0 || len(del.Silent) > 0:
		return del, nil
	case del.Unreachable:
		return del, r.failure(protocol.ErrUnavailable, "no session of user "+user+" is connected to this node, and the other nodes cannot be reached")
	}
	return del, r.failure(protocol.ErrNotFound, "no session of user "+user+" is connected")
}

// countElsewhere has a message sent to other nodes and adds what they count.
func (r *Router) countElsewhere(ctx context.Context, del *Delivery, names map[federation.NodeID]string, send func(corr uint64) error) {
	del.Unreachable = !r.bus.Up()
	corr, g := r.gathers.begin(names)
	if err := send(corr); err != nil {
		r.gathers.gone(g)
	}
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	del.Silent = r.gathers.end(ctx, corr, g, names)
	del.Delivered += g.count
}

func (r *Router) sendFrom(msg *protocol.Message, to []*session.Session) (n int, text []byte, err error) {
	msg.Src = SourceAPI
	text, err = msg.Append(nil)
	if err != nil {
		return 0, nil, err
	}
	f := session.NewTextFrame(text)
	defer f.Release()
	return sendAll(to, f, msg.Urgent, nil, ""), text, nil
}

// AnnounceClosing tells every session that the gateway is about to close, and
// how long to wait before connecting again.
func (r *Router) AnnounceClosing(retryAfter time.Duration) {
	msg, err := protocol.NewMessage(protocol.TypeClosing, protocol.Closing{RetryAfterMS: retryAfter.Milliseconds()})
	if err != nil {
		return
	}
	text, err := msg.Append(nil)
	if err == nil {
		r.manager.Broadcast(text, nil)
	}
}

// failure counts an error and returns it.
func (r *Router) failure(code protocol.ErrorCode, message string) error {
	r.stats.countError(code)
	return protocol.NewError(code, message)
}

// asError keeps a nil *Error from becoming a non-nil error.
func asError(err *protocol.Error) error {
	if err == nil {
		return nil
	}
	return err
}
