package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/labgate/labgate/internal/textfile"
)

// redisAddress says where Redis is and how to authenticate.
type redisAddress struct {
	network   string // tcp or unix
	addrs     []string
	user      string
	password  string
	masterSet string // "" without Sentinel
	// For the sentinels, which have users of their own.
	sentinelUser, sentinelPassword string
	tls                            *tls.Config // nil without TLS
}

// parseURL reads a Redis URL. Its errors contain no part of the URL that could be
// a password.
//
//	redis://[user:password@]host[:port]             a Redis, or a node of a Redis Cluster
//	rediss://…                                      the same with TLS
//	unix://[user:password@]/path/to/redis.sock
//	redis://host:port?addr=host:port&addr=…         more nodes of a Redis Cluster
//	redis://host:port?addr=…&master_set=NAME        sentinels, and the name of the master;
//	                                                sentinel_user, sentinel_password for them
func parseURL(s string) (*redisAddress, error) {
	u, err := url.Parse(s)
	if err != nil || s == "" {
		// The error of url.Parse contains parts of the URL.
		return nil, errors.New("cluster: Redis URL: not a URL; write redis://host:port, with / : @ ? # in a password percent-encoded")
	}
	a := &redisAddress{network: "tcp"}
	switch u.Scheme {
	case "redis":
	case "rediss":
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	case "unix":
		a.network = "unix"
	default:
		return nil, errors.New("cluster: Redis URL: the scheme must be redis, rediss (TLS) or unix")
	}
	if u.User != nil {
		a.user = u.User.Username()
		a.password, _ = u.User.Password()
	}
	if u.Opaque != "" || u.Fragment != "" {
		return nil, errors.New("cluster: Redis URL: write scheme://host:port, with # in a password percent-encoded")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("cluster: Redis URL: the part behind the ? is malformed")
	}
	if err := a.parameters(query); err != nil {
		return nil, err
	}
	if a.network == "unix" {
		if u.Path == "" || u.Host != "" {
			return nil, errors.New("cluster: Redis URL: unix needs the path of a socket: unix:///run/redis.sock")
		}
		if len(query["addr"]) > 0 || a.masterSet != "" {
			return nil, errors.New("cluster: Redis URL: unix names one Redis; remove addr and master_set")
		}
		a.addrs = []string{u.Path}
		return a, nil
	}
	if db := strings.Trim(u.Path, "/"); db != "" && db != "0" {
		return nil, errNoDatabases
	}
	for _, hostport := range append([]string{u.Host}, query["addr"]...) {
		addr, err := a.hostPort(hostport)
		if err != nil {
			return nil, err
		}
		a.addrs = append(a.addrs, addr)
	}
	return a, nil
}

// errNoDatabases refuses a database number: two installations with one prefix and
// different databases would receive each other's messages without seeing each
// other's keys.
var errNoDatabases = errors.New("cluster: Redis URL: only database 0 can be used, because publish/subscribe knows no databases; separate installations by the key prefix")

func (a *redisAddress) parameters(query url.Values) error {
	for name, values := range query {
		if name != "addr" && len(values) > 1 {
			return fmt.Errorf("cluster: Redis URL: the parameter %q is given twice", name)
		}
		switch name {
		case "addr":
		case "master_set":
			if a.masterSet = values[0]; a.masterSet == "" {
				return errors.New("cluster: Redis URL: master_set is empty; name the master that the sentinels watch")
			}
		case "sentinel_user":
			a.sentinelUser = values[0]
		case "sentinel_password":
			a.sentinelPassword = values[0]
		case "db":
			if values[0] != "0" {
				return errNoDatabases
			}
		default:
			return fmt.Errorf("cluster: Redis URL: unknown parameter %q; addr, master_set, sentinel_user and sentinel_password are known", name)
		}
	}
	if a.masterSet == "" && a.sentinelUser+a.sentinelPassword != "" {
		return errors.New("cluster: Redis URL: sentinel_user and sentinel_password need master_set, the name of the master that the sentinels watch")
	}
	return nil
}

func (a *redisAddress) hostPort(s string) (string, error) {
	port := "6379"
	if a.masterSet != "" {
		port = "26379"
	}
	u := url.URL{Host: s}
	host := u.Hostname()
	if p := u.Port(); p != "" {
		port = p
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", errors.New("cluster: Redis URL: a port is not from 1 to 65535")
	}
	if host == "" || strings.ContainsAny(host, "/@") {
		return "", errors.New("cluster: Redis URL: a host is missing or malformed; write host:port, with / : @ ? # in a password percent-encoded")
	}
	return net.JoinHostPort(host, port), nil
}

func (a *redisAddress) loadTLS(caFile, certFile, keyFile string) error {
	if caFile == "" && certFile == "" && keyFile == "" {
		return nil
	}
	if a.tls == nil {
		return errors.New("cluster: certificates are given, but the Redis URL is without TLS; write rediss://")
	}
	if caFile != "" {
		pem, err := readPEM(caFile)
		if err != nil {
			return fmt.Errorf("cluster: certificate authority of Redis: %w", err)
		}
		a.tls.RootCAs = x509.NewCertPool()
		if !a.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("cluster: certificate authority of Redis: %s has no certificate in PEM", caFile)
		}
	}
	if (certFile == "") != (keyFile == "") {
		return errors.New("cluster: a certificate for Redis needs both the certificate's and the key's file")
	}
	if certFile != "" {
		cert, err := readPEM(certFile)
		if err != nil {
			return fmt.Errorf("cluster: certificate for Redis: %w", err)
		}
		key, err := readPEM(keyFile)
		if err != nil {
			return fmt.Errorf("cluster: key of the certificate for Redis: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("cluster: certificate for Redis: %w", err)
		}
		a.tls.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// maxPEM limits the size of a PEM file, in bytes.
const maxPEM = 1 << 20

// readPEM reads a PEM file, without the byte-order mark of an editor.
func readPEM(path string) ([]byte, error) { return textfile.Read(path, maxPEM) }
