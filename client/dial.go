package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
)

// conn is one established connection: the handshake is done and the gateway
// has said welcome.
type conn struct {
	ws      *websocket.Conn
	net     *batchConn
	welcome protocol.Welcome
	cause   atomic.Pointer[error] // why this side closed the connection, if it did
}

// dial makes one attempt to connect, within HandshakeTimeout.
func dial(ctx context.Context, cfg *Config, address string) (*conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.HandshakeTimeout,
		fmt.Errorf("client: no welcome from the gateway within %v", cfg.HandshakeTimeout))
	defer cancel()
	c, err := handshake(ctx, cfg, address)
	if err != nil {
		return nil, err
	}
	c.ws.SetReadLimit(cfg.ReadLimit)
	if err := c.readWelcome(ctx); err != nil {
		c.ws.CloseNow()
		return nil, err
	}
	return c, nil
}

func handshake(ctx context.Context, cfg *Config, address string) (*conn, error) {
	// Each attempt has its own transport. Its dial function gives access to the
	// network connection below the WebSocket, and no connection stays behind in
	// a pool.
	var network atomic.Pointer[batchConn]
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   cfg.TLS.Clone(),
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, netw, addr string) (net.Conn, error) {
			c, err := cfg.Dial(ctx, netw, addr)
			if err != nil {
				return nil, err
			}
			b := newBatchConn(c, cfg.WriteTimeout)
			network.Store(b)
			return b, nil
		},
	}
	header := cfg.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	token, err := cfg.token(ctx)
	if err != nil {
		return nil, err
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	//nolint:bodyclose // of a refusal the library has read the body; else it is the connection
	ws, resp, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport: transport,
			// A redirect of the handshake is reported and not followed: to
			// follow it would send the token to an address that was not
			// configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:   header,
		Subprotocols: []string{protocol.Subprotocol},
	})
	switch {
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, refusal(resp)
	case err != nil:
		return nil, fmt.Errorf("client: cannot connect: %w", withCause(ctx, core(err)))
	case ws.Subprotocol() != protocol.Subprotocol:
		ws.CloseNow()
		return nil, fmt.Errorf("client: the server does not speak %s; is this a Labgate gateway?", protocol.Subprotocol)
	}
	return &conn{ws: ws, net: network.Load()}, nil
}

// readWelcome reads the first message.
func (c *conn) readWelcome(ctx context.Context) error {
	typ, raw, err := c.ws.Read(ctx)
	if err != nil {
		return fmt.Errorf("client: waiting for the gateway's welcome: %w", withCause(ctx, closeError(err)))
	}
	var e protocol.Envelope
	if typ != websocket.MessageText {
		return errors.New("client: the gateway's first message is not text")
	}
	if err := e.Parse(raw); err != nil {
		return fmt.Errorf("client: the gateway's first message: %w", err)
	}
	if string(e.Type) != protocol.TypeWelcome {
		return fmt.Errorf("client: the gateway's first message is %q, not %q", e.Type, protocol.TypeWelcome)
	}
	if err := json.Unmarshal(e.Payload, &c.welcome); err != nil {
		return fmt.Errorf("client: the gateway's welcome: %w", err)
	}
	return nil
}

// giveUp closes the connection from this side at once; reads and writes fail.
// The first cause counts.
func (c *conn) giveUp(cause error) {
	c.cause.CompareAndSwap(nil, &cause)
	c.net.Close()
}

// refusal reads the answer {"error":{"code","message"}} to a refused handshake.
// Any other body becomes the message unchanged.
func refusal(resp *http.Response) error {
	e := &RefusedError{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // a partial body is enough
	var answer struct{ Error protocol.Error }
	if json.Unmarshal(body, &answer) == nil && answer.Error.Code != "" {
		e.Code, e.Message = answer.Error.Code, answer.Error.Message
		return e
	}
	e.Message, _, _ = strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(body), "?")), "\n")
	if to := resp.Header.Get("Location"); to != "" {
		e.Message = "it is elsewhere: " + to
	}
	return e
}

// retryAfter parses the value of Retry-After in seconds (RFC 9110 section
// 10.2.3).
func retryAfter(value string) time.Duration {
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxAsked)
}

// closeError turns the library's error for a received close frame into ours.
func closeError(err error) error {
	if ce, ok := errors.AsType[websocket.CloseError](err); ok {
		return &DisconnectError{Code: protocol.CloseCode(ce.Code), Reason: ce.Reason}
	}
	return err
}

// core removes the outer layers of a handshake error, which only repeat the URL
// with its whole query.
func core(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// withCause replaces "context deadline exceeded" by the cause of the context,
// which says what took too long.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}
