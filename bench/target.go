package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// target is a resolved gateway address.
type target struct {
	addr netip.AddrPort
	host string // for the Host header
	path string // prefix of the endpoints, without a slash at its end
}

// parseTarget resolves raw and refuses addresses beyond loopback unless
// allowRemote is set: a load generator must not hit a lab's network by accident.
func parseTarget(ctx context.Context, option, raw string, allowRemote bool) (target, error) {
	if raw == "" {
		return target{}, &optionError{option, "is missing; give the gateway's address, http://127.0.0.1:8080"}
	}
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, &optionError{option, err.Error()}
	}
	switch u.Scheme {
	case "http", "ws":
	case "https", "wss":
		return target{}, &optionError{option, "TLS is not supported by the load generator; give a plain http:// address"}
	default:
		return target{}, &optionError{option, fmt.Sprintf("scheme %q; use http:// or ws://", u.Scheme)}
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return target{}, &optionError{option, "takes scheme, host, port and path only"}
	}
	port := 80
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return target{}, &optionError{option, fmt.Sprintf("port %q must lie between 1 and 65535", p)}
		}
	}
	ip, err := resolve(ctx, u.Hostname())
	if err != nil {
		return target{}, &optionError{option, err.Error()}
	}
	if !ip.IsLoopback() && !allowRemote {
		return target{}, &optionError{option, fmt.Sprintf("%s is not loopback; add --allow-remote if this network is meant to be loaded", ip)}
	}
	return target{addr: netip.AddrPortFrom(ip, uint16(port)), host: u.Host, path: strings.TrimRight(u.EscapedPath(), "/")}, nil
}

// resolve prefers IPv4, whose loopback network has addresses to spare.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			return ip.Unmap(), nil
		}
	}
	return ips[0], nil
}

// sourceAddrs lists n local addresses to connect to dst from; none when dst is
// not in 127.0.0.0/8, and the kernel chooses.
func sourceAddrs(dst netip.Addr, n int) []netip.Addr {
	if !dst.Is4() || !dst.IsLoopback() {
		return nil
	}
	addrs := make([]netip.Addr, n)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)})
	}
	return addrs
}
