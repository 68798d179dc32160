package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// What nodes ask each other's servers, with the argument that goes with it.
const (
	// askSessions: a page of the sessions, by id, behind the session of that id,
	// or from the first one on.
	askSessions = "sessions"
	// askSession: the session of that id.
	askSession = "session"
	// askEnd: to close it with 4008.
	askEnd = "end_session"
)

const (
	// askTime is how long other nodes are waited for.
	askTime = 2 * time.Second
	// sessionPage is how many sessions a node tells of at a time: encoding them
	// holds up whatever else comes from other nodes, about a millisecond.
	sessionPage = 500
)

// nodeSessions is the answer to askSessions.
type nodeSessions struct {
	Sessions []sessionStatus `json:"sessions"`
	More     bool            `json:"more,omitempty"`
}

// AnswerNode answers what another node asks of this one's server.
func (a *API) AnswerNode(what, arg string) ([]byte, bool) {
	id, _ := uuid.Parse(arg)
	switch what {
	case askSessions:
		return encoded(a.pageOfSessions(id))
	case askSession:
		if sess := a.sessions.Get(id); sess != nil {
			return encoded(a.describe(sess))
		}
	case askEnd:
		if a.sessions.Remove(id, protocol.CloseKicked, "by the HTTP API of another node") == nil {
			return []byte("{}"), true
		}
	}
	return nil, false
}

func encoded(v any) ([]byte, bool) {
	text, err := json.Marshal(v)
	return text, err == nil
}

// pageOfSessions lists the sessions behind after.
func (a *API) pageOfSessions(after uuid.UUID) (page nodeSessions) {
	all := a.sessions.Sessions()
	all = slices.DeleteFunc(all, func(sess *session.Session) bool { return compareIDs(sess.ID(), after) <= 0 })
	slices.SortFunc(all, func(a, b *session.Session) int { return compareIDs(a.ID(), b.ID()) })
	if page.More = len(all) > sessionPage; page.More {
		all = all[:sessionPage]
	}
	page.Sessions = make([]sessionStatus, len(all))
	for i, sess := range all {
		page.Sessions[i] = a.describe(sess)
	}
	return page
}

func compareIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }

// missingNodes says of which other nodes an answer may lack something.
type missingNodes struct {
	// Silent names the nodes that did not answer in time (router.NodeAnswer.Label).
	Silent []string `json:"silent_nodes,omitempty"`
	// Unreachable says that this node is by itself.
	Unreachable bool `json:"others_unreachable,omitempty"`
}

// missing says what an answer may lack of the other nodes, some of which were
// silent.
func (a *API) missing(silent []string) missingNodes {
	slices.Sort(silent)
	return missingNodes{Silent: silent, Unreachable: !a.bus.Up()}
}

// isLocal reports whether a session of that id would be on this node.
func (a *API) isLocal(id uuid.UUID) bool {
	return a.alone() || federation.NodeOf(id) == a.bus.Self()
}

// remoteSessions gives add every session of the other nodes, and returns the
// labels of those that did not tell of theirs in time.
func (a *API) remoteSessions(ctx context.Context, add func(sessionStatus)) []string {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answers, silent := a.router.AskAll(ctx, askSessions, "")
	for _, answer := range answers {
		if !a.readPages(ctx, answer.Text, add) {
			silent = append(silent, answer.Label)
		}
	}
	return silent
}

// readPages gives add the sessions of a page, and of all that follow it.
func (a *API) readPages(ctx context.Context, answer []byte, add func(sessionStatus)) bool {
	for {
		var page nodeSessions
		if json.Unmarshal(answer, &page) != nil {
			return false
		}
		for _, st := range page.Sessions {
			add(st)
		}
		if !page.More || len(page.Sessions) == 0 {
			return true
		}
		last, err := uuid.Parse(page.Sessions[len(page.Sessions)-1].Session)
		if err != nil {
			return false
		}
		if answer, err = a.router.Ask(ctx, federation.NodeOf(last), askSessions, last.String()); err != nil {
			return false
		}
	}
}

// remoteSession asks the node of a session for it; false when there is none.
func (a *API) remoteSession(ctx context.Context, id uuid.UUID) (st sessionStatus, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := a.router.Ask(ctx, federation.NodeOf(id), askSession, id.String())
	if err != nil {
		return st, false, unlessNotFound(err)
	}
	err = json.Unmarshal(answer, &st)
	return st, err == nil, err
}

func (a *API) endRemoteSession(ctx context.Context, id uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := a.router.Ask(ctx, federation.NodeOf(id), askEnd, id.String())
	return unlessNotFound(err)
}

// unlessNotFound drops the error that says that there is no such node, or no
// such session on it.
func unlessNotFound(err error) error {
	var known *protocol.Error
	if errors.As(err, &known) && known.Code == protocol.ErrNotFound {
		return nil
	}
	return err
}
