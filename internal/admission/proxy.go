package admission

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// proxies are the networks whose X-Forwarded-For is believed.
type proxies []netip.Prefix

// parseProxies reads addresses and networks in CIDR notation.
func parseProxies(list []string) (proxies, error) {
	all := make(proxies, 0, len(list))
	for _, text := range list {
		text = strings.TrimSpace(text)
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			all = append(all, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network; use for example 127.0.0.1 or 10.0.0.0/8", text)
		}
		if a := p.Addr(); a.Is4In6() {
			if p.Bits() < 96 {
				return nil, fmt.Errorf("%q covers more than IPv4; write it as an IPv4 network", text)
			}
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

func (p proxies) trust(addr netip.Addr) bool {
	for _, network := range p {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// ClientAddress replaces the address of a request by that of its client, when a
// trusted proxy names it. Call it before anything else looks at the request:
// limits, log and API need not know of proxies then.
func (a *Admission) ClientAddress(r *http.Request) { r.RemoteAddr = a.trusted.client(r) }

// client returns whom a request comes from: the peer's address and port as they
// are, or, behind trusted proxies, the address that the outermost of them saw.
// Each proxy adds whom it heard at the right end of X-Forwarded-For, so the
// rightmost hop that is not trusted is the last one that somebody trusted has
// vouched for; what stands left of it anybody can write. A hop that cannot be
// read ends the search at the proxy that passed it on. An empty element is no hop
// (RFC 9110 section 5.6.1).
func (p proxies) client(r *http.Request) string {
	if len(p) == 0 {
		return r.RemoteAddr
	}
	peer, ok := hostOf(r.RemoteAddr)
	if !ok || !p.trust(peer) {
		return r.RemoteAddr
	}
	client := r.RemoteAddr
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		if hop == "" {
			continue
		}
		addr, ok := hostOf(hop)
		if !ok {
			break
		}
		client = addr.String()
		if !p.trust(addr) {
			break
		}
	}
	return client
}

// hostOf reads an address with or without a port.
func hostOf(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		var port netip.AddrPort
		if port, err = netip.ParseAddrPort(text); err != nil {
			return netip.Addr{}, false
		}
		addr = port.Addr()
	}
	return addr.WithZone("").Unmap(), true
}

// addressKey is what connections are counted by: an IPv4 address, or the /64
// network of an IPv6 one, which belongs to one host as a rule.
type addressKey netip.Prefix

func keyOf(addr netip.Addr) addressKey {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	return addressKey(netip.PrefixFrom(addr, bits).Masked())
}

// peerOf returns the address of a connection's other end.
func peerOf(remote net.Addr) (netip.Addr, bool) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(tcp.IP)
	return addr.Unmap(), ok
}
