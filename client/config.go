package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Config has the options that devices and front ends share. Only URL is
// required; the zero value of every other field selects a sensible default.
type Config struct {
	// URL is the gateway's address: ws://host:port, wss://, http:// or
	// https://, with an optional path, if a proxy serves the gateway below that
	// path. A URL whose path already contains /ws/device/ or /ws/frontend is
	// used unchanged.
	URL string

	// Token is sent as "Authorization: Bearer".
	Token string

	// TokenSource returns the token to present, and replaces Token. The client
	// calls TokenSource for each attempt to connect, and when the gateway says
	// that the present token is about to expire; the new token then replaces
	// the old one without a new connection. The new token must be for the same
	// role and name. With a TokenSource the client also reconnects after the
	// gateway has refused a token. The context ends when the token would come
	// too late. TokenSource runs on a goroutine of its own or on that of Dial.
	// Close waits for TokenSource, so return when the context ends.
	TokenSource func(context.Context) (string, error)

	// Header is added to the handshake request.
	Header http.Header

	// TLS configures wss:// and https://; nil means the system's roots.
	TLS *tls.Config

	// Dial makes the network connection; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Logger gets connects, disconnects and retries at info and warn level, and
	// panics of callbacks at error level. Nil logs panics to standard error and
	// nothing else.
	Logger *zerolog.Logger

	// Backoff is the pause before each reconnect.
	Backoff Backoff

	// HandshakeTimeout bounds one attempt to connect, up to and including the
	// gateway's welcome. 0 means 10 s.
	HandshakeTimeout time.Duration

	// WriteTimeout is how long one write may wait for the network; after that
	// the client closes the connection. 0 means 10 s.
	WriteTimeout time.Duration

	// FlushInterval is how long a telemetry frame may wait for further frames,
	// so that one system call writes several. Text never waits. 0 means 1 ms, a
	// negative value means that telemetry does not wait either.
	FlushInterval time.Duration

	// ReadLimit is the size in bytes of the largest message accepted from the
	// gateway; a larger one ends the connection. 0 means 8 MiB.
	ReadLimit int64

	// SendBuffer limits the messages that wait to be sent.
	SendBuffer SendBuffer

	// OnDisconnect is called when a connection has ended, with ErrClosed if
	// Close ended it, a *DisconnectError if the gateway did.
	OnDisconnect func(error)

	random func() float64 // for tests: in [0, 1), instead of rand.Float64
}

// SendBuffer limits the messages that were accepted and are not written to the
// network yet. Each message counts with its size plus 64 bytes.
type SendBuffer struct {
	Text      int // bytes of text; beyond it Send fails with ErrQueueFull. 0 means 1 MiB
	Telemetry int // bytes of telemetry; beyond it the oldest frames are dropped. 0 means 4 MiB
}

func (c Config) withDefaults() Config {
	c.Backoff = c.Backoff.withDefaults()
	setDefault(&c.HandshakeTimeout, 10*time.Second)
	setDefault(&c.WriteTimeout, 10*time.Second)
	setDefault(&c.FlushInterval, time.Millisecond)
	setDefault(&c.ReadLimit, 8<<20)
	setDefault(&c.SendBuffer.Text, 1<<20)
	setDefault(&c.SendBuffer.Telemetry, 4<<20)
	if c.random == nil {
		c.random = rand.Float64
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Logger == nil {
		l := zerolog.New(os.Stderr).Level(zerolog.ErrorLevel).With().Timestamp().Logger()
		c.Logger = &l
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// endpoint returns the URL to connect to. The tail is "device/ID", "frontend"
// or "frontend/USER", made of valid names, which need no escaping.
func endpoint(base, tail string, query url.Values) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("client: URL: %w; give ws://HOST:PORT", err)
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return "", fmt.Errorf("client: URL %q: the scheme must be ws, wss, http or https; give ws://HOST:PORT", base)
	}
	if u.Host == "" {
		return "", fmt.Errorf("client: URL %q has no host; give ws://HOST:PORT", base)
	}
	kind, _, _ := strings.Cut(tail, "/")
	switch {
	case strings.Contains(u.Path, "/ws/"+kind):
	case strings.Contains(u.Path, "/ws/device") || strings.Contains(u.Path, "/ws/frontend"):
		return "", fmt.Errorf("client: URL %q is not the endpoint of a %s; leave the path out", base, kind)
	default:
		u.Path = strings.TrimRight(u.Path, "/") + "/ws/" + tail
	}
	q := u.Query()
	for k, v := range query {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}
