package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labgate/labgate/protocol"
)

const (
	// renewalID is the id of gateway.renew; the link handles the answer itself.
	renewalID = "client-renewal"
	// renewPause is how long to wait after TokenSource has failed.
	renewPause = time.Second
)

// token returns the token for a handshake, "" for none.
func (c *Config) token(ctx context.Context) (token string, err error) {
	if c.TokenSource == nil {
		return c.Token, nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("client: TokenSource panicked: %v", v)
		}
	}()
	if token, err = c.TokenSource(ctx); err != nil {
		return "", fmt.Errorf("client: TokenSource: %w", err)
	}
	return token, nil
}

// worthRetrying reports whether a reconnect can succeed after err. With a
// TokenSource it can succeed after a refused token, because the next token is
// another.
func (l *link) worthRetrying(err error) bool {
	if l.cfg.TokenSource != nil {
		if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Status == http.StatusUnauthorized {
			return true
		}
		if closed, ok := errors.AsType[*DisconnectError](err); ok && closed.Code == protocol.CloseUnauthorized {
			return true
		}
	}
	return worthRetrying(err)
}

// noteRenewal handles the gateway's messages about the token, on the reading
// goroutine, and reports whether the message was the answer to a renewal of the
// link itself.
func (l *link) noteRenewal(e *protocol.Envelope, expiring chan<- time.Duration) bool {
	if l.cfg.TokenSource == nil {
		return false
	}
	if string(e.Type) == protocol.TypeTokenExpiring {
		var x protocol.Expiry
		if json.Unmarshal(e.Payload, &x) == nil && x.ExpiresInMS != nil {
			select {
			case expiring <- time.Duration(*x.ExpiresInMS) * time.Millisecond:
			default: // one is under way
			}
		}
		return false
	}
	if string(e.Re) != renewalID {
		return false
	}
	if string(e.Type) == protocol.TypeError {
		var p protocol.Error
		_ = json.Unmarshal(e.Payload, &p) // missing fields stay empty in the log
		l.log.Warn().Str("code", string(p.Code)).Str("reason", p.Message).Msg("the gateway does not take the new token")
	} else {
		l.log.Info().Msg("token renewed")
	}
	return true
}

// renew fetches and sends a new token each time when the present token is about
// to expire. renew is one of the connection's goroutines; ctx ends with the
// connection.
func (l *link) renew(ctx context.Context, expiring <-chan time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case left := <-expiring:
			limited, cancel := context.WithTimeout(ctx, left)
			l.renewWithin(limited)
			cancel()
		}
	}
}

// renewWithin tries until ctx ends. Without success the gateway closes the
// connection, and the next connection calls TokenSource again.
func (l *link) renewWithin(ctx context.Context) {
	for ctx.Err() == nil {
		token, err := l.cfg.token(ctx)
		var m protocol.Message
		if err == nil {
			m, err = protocol.NewMessage(protocol.TypeRenew, protocol.Renewal{Token: token})
		}
		if err == nil {
			m.ID = renewalID
			err = l.sendMessage(m)
		}
		if err == nil {
			return
		}
		l.log.Warn().Err(err).Msg("the token is about to expire and cannot be renewed; will try again")
		select {
		case <-ctx.Done():
		case <-time.After(renewPause):
		}
	}
}
