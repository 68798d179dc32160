package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Do runs one command on a new connection and returns the reply: a string, an
// int64, nil or a []any of these. The test fails on an error or without a
// reply.
func (s *Server) Do(args ...string) any {
	s.tb.Helper()
	v, err := s.do(args...)
	if err != nil {
		s.tb.Fatalf("redis on port %d: %v: %v", s.port, args, err)
	}
	return v
}

// Strings is Do for commands whose reply is a list of strings.
func (s *Server) Strings(args ...string) []string {
	s.tb.Helper()
	list, _ := s.Do(args...).([]any)
	out := make([]string, 0, len(list))
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// Try is Do for commands that may fail.
func (s *Server) Try(args ...string) (any, error) { return s.do(args...) }

func (s *Server) do(args ...string) (any, error) {
	const timeout = 5 * time.Second
	conn, err := net.DialTimeout("tcp", s.Addr(), timeout)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if s.tls != nil {
		conn = tls.Client(conn, &tls.Config{RootCAs: s.tls.pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
	}
	_ = conn.SetDeadline(time.Now().Add(timeout))
	r := bufio.NewReader(conn)
	if s.user != "" {
		if _, err := request(conn, r, "AUTH", adminName, adminPassword); err != nil {
			return nil, err
		}
	}
	return request(conn, r, args...)
}

func request(w io.Writer, r *bufio.Reader, args ...string) (any, error) {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return reply(r)
}

// reply reads one reply of RESP2.
func reply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("reply %q", line)
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, errors.New(rest)
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return nil, fmt.Errorf("reply %q: %w", line, err)
	}
	if n < 0 {
		return nil, nil
	}
	switch kind {
	case '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case '*':
		list := make([]any, n)
		for i := range list {
			if list[i], err = reply(r); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("reply %q", line)
}
