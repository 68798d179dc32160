package server

import (
	"context"
	"encoding/json"
	"errors"
	"github.com/labgate/labgate/router/federation"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
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

// joinBus has the router take part in what goes on between the nodes.
func (s *Server) joinBus() error {
	if s.opts.Bus == nil {
		return nil
	}
	return s.router.Join()
}

// leaveBus gives up everything that this node holds, so that the other nodes
// know at once. What waits for them is refused from now on.
func (s *Server) leaveBus() {
	if s.opts.Bus != nil {
		s.router.Leave()
	}
}

// refuseHeldElsewhere refuses a device that another node holds, where the older
// connection is to stay. Two that come at the same moment at two nodes may both
// pass; then the newer stays.
func (s *Server) refuseHeldElsewhere(info *session.Info) error {
	if s.opts.Bus != nil && s.opts.RefuseDuplicate && info.Role == session.RoleDevice && s.router.HeldElsewhere(info.Name) {
		return session.ErrDuplicateDevice
	}
	return nil
}

// answerNode answers what another node asks of this one's server.
func (s *Server) answerNode(what, arg string) ([]byte, bool) {
	id, _ := uuid.Parse(arg)
	switch what {
	case askSessions:
		return encoded(s.pageOfSessions(id))
	case askSession:
		if sess := s.manager.Get(id); sess != nil {
			return encoded(s.statusOf(sess))
		}
	case askEnd:
		if s.manager.Remove(id, protocol.CloseKicked, "by the HTTP API of another node") == nil {
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
func (s *Server) pageOfSessions(after uuid.UUID) (page nodeSessions) {
	all := s.manager.Sessions()
	all = slices.DeleteFunc(all, func(sess *session.Session) bool { return compareIDs(sess.ID(), after) <= 0 })
	slices.SortFunc(all, func(a, b *session.Session) int { return compareIDs(a.ID(), b.ID()) })
	if page.More = len(all) > sessionPage; page.More {
		all = all[:sessionPage]
	}
	page.Sessions = make([]sessionStatus, len(all))
	for i, sess := range all {
		page.Sessions[i] = s.statusOf(sess)
	}
	return page
}

func compareIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }

// othersWith says what an answer may lack of the other nodes, some of which were
// silent.
func (s *Server) othersWith(silent []string) others {
	slices.Sort(silent)
	return others{Silent: silent, Unreachable: s.opts.Bus != nil && !s.opts.Bus.Up()}
}

// isLocal reports whether a session of that id would be on this node.
func (s *Server) isLocal(id uuid.UUID) bool {
	return s.opts.Bus == nil || federation.NodeOf(id) == s.opts.Bus.Self()
}

// remoteSessions gives add every session of the other nodes, and returns the
// names of those that did not tell of theirs in time.
func (s *Server) remoteSessions(ctx context.Context, add func(sessionStatus)) []string {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answers, silent := s.router.AskAll(ctx, askSessions, "")
	for node, answer := range answers {
		if !s.readPages(ctx, answer, add) {
			silent = append(silent, node)
		}
	}
	return silent
}

// readPages gives add the sessions of a page, and of all that follow it.
func (s *Server) readPages(ctx context.Context, answer []byte, add func(sessionStatus)) bool {
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
		if answer, err = s.router.Ask(ctx, federation.NodeOf(last), askSessions, last.String()); err != nil {
			return false
		}
	}
}

// remoteSession asks the node of a session for it; false when there is none.
func (s *Server) remoteSession(ctx context.Context, id uuid.UUID) (st sessionStatus, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := s.router.Ask(ctx, federation.NodeOf(id), askSession, id.String())
	if err != nil {
		return st, false, unlessNotFound(err)
	}
	err = json.Unmarshal(answer, &st)
	return st, err == nil, err
}

func (s *Server) endRemoteSession(ctx context.Context, id uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := s.router.Ask(ctx, federation.NodeOf(id), askEnd, id.String())
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

// writeReady answers /readyz: new connections are welcome here.
func (s *Server) writeReady(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.draining.Load():
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
	case s.opts.Bus != nil && !s.opts.Bus.Up():
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{
			"status": "isolated", "reason": "the other nodes cannot be reached through Redis; what is connected here goes on",
		})
	default:
		writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	}
}
