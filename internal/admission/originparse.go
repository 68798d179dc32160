package admission

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// webOrigin is the origin of a page (RFC 6454 section 4) in its normal form:
// scheme and host in lower case, IP addresses in their canonical form, and the
// port always there. Two values are equal when they are the same origin. The
// zero value is an opaque origin, which browsers send as "null".
type webOrigin struct{ scheme, host, port string }

// opaque reports whether the origin is that of a page that has none of its own:
// from a file, or in a sandboxed frame.
func (o webOrigin) opaque() bool { return o == webOrigin{} }

// String returns the origin as a browser sends it (RFC 6454 section 6.2).
func (o webOrigin) String() string {
	switch {
	case o.opaque():
		return "null"
	case o.port == defaultPorts[o.scheme]: // also where neither is any
		return o.scheme + "://" + o.host
	}
	return o.scheme + "://" + o.host + ":" + o.port
}

// defaultPorts are the ports that browsers leave away. A scheme that is not
// listed has none.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// parseOrigin reads an origin as browsers send it, and as people write it: in any
// letter case, with or without the default port, with or without a slash at the
// end. The error says what to write instead.
func parseOrigin(text string) (webOrigin, error) {
	if strings.EqualFold(text, "null") {
		return webOrigin{}, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case strings.ContainsAny(text, " \t"):
		return webOrigin{}, errors.New("an origin holds no spaces; separate several with commas")
	case !ok || !validScheme(scheme):
		return webOrigin{}, errors.New("the scheme is missing; write " + withScheme(text))
	}
	scheme = strings.ToLower(scheme)
	authority, path := rest, ""
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	switch {
	case scheme == "file":
		return webOrigin{}, errors.New("browsers send null as the origin of a file's page; write null, which also lets in sandboxed frames of every site")
	case scheme == "ws" || scheme == "wss":
		return webOrigin{}, fmt.Errorf("an origin is the address of the page, not of the gateway; write http%s://%s", scheme[2:], authority)
	case strings.Contains(authority, "*"):
		return webOrigin{}, errors.New("an origin with a wildcard matches nothing; list each origin, or write * alone to allow all")
	case strings.Contains(authority, "@"):
		_, host, _ := strings.Cut(authority, "@")
		return webOrigin{}, fmt.Errorf("an origin has no user name; write %s://%s", scheme, host)
	case path != "" && path != "/":
		return webOrigin{}, fmt.Errorf("an origin ends behind host and port; write %s://%s", scheme, authority)
	}
	host, port, err := splitAuthority(authority)
	if err != nil {
		return webOrigin{}, err
	}
	if port == "" {
		port = defaultPorts[scheme]
	}
	return webOrigin{scheme, host, port}, nil
}

// withScheme suggests how to write an origin whose scheme is missing.
func withScheme(text string) string {
	text = strings.Trim(text, "/")
	if _, _, err := splitAuthority(text); err != nil {
		return "for example https://lab.example"
	}
	return "https://" + text + ", or http://" + text + " if the page has no TLS"
}

// validScheme reports whether text has the form of RFC 3986 section 3.1.
func validScheme(text string) bool {
	for i, c := range []byte(text) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return false
		}
	}
	return text != ""
}

// splitAuthority splits host[:port] and normalises both. An IPv6 address has its
// brackets in the result. port is empty when there is none.
func splitAuthority(text string) (host, port string, err error) {
	host = text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
		if port != "" {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				return "", "", fmt.Errorf("%q is not a port; use 0 to 65535", port)
			}
			port = strconv.FormatUint(n, 10)
		}
	}
	host, err = normalHost(host)
	return host, port, err
}

// normalHost returns a host as browsers send it.
func normalHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !closed || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", fmt.Errorf("%q is not an IPv6 address in brackets; write for example [fd00::1]", host)
		}
		return normalIPv6(addr), nil
	}
	switch {
	case host == "":
		return "", errors.New("the host is missing; write for example https://lab.example")
	case strings.Contains(host, ":"):
		return "", fmt.Errorf("%q is not a host; write an IPv6 address in brackets, for example [fd00::1]", host)
	case strings.ContainsFunc(host, func(c rune) bool { return c > '~' }):
		return "", fmt.Errorf("browsers send the host %q in its ASCII form, which begins with xn--; open the page and copy location.origin from the browser's console", host)
	case strings.ContainsFunc(host, func(c rune) bool { return !hostByte(c) }):
		return "", fmt.Errorf("%q is not a host; use letters, digits and - . _", host)
	}
	host = strings.ToLower(host)
	if endsInNumber(host) {
		if addr, err := netip.ParseAddr(host); err != nil || !addr.Is4() {
			return "", fmt.Errorf("browsers do not send the address %q in this form; write four decimal numbers, for example 192.0.2.1", host)
		}
	}
	return host, nil
}

func hostByte(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_'
}

// endsInNumber reports whether browsers take a host for an IPv4 address, in
// whatever form it is written (URL Standard, ends-in-a-number checker).
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		last, digits = "0"+hex, "0123456789abcdef"
	}
	return last != "" && strings.Trim(last, digits) == ""
}

// normalIPv6 writes an address as browsers do: an IPv4 address in it in
// hexadecimal digits (URL Standard, IPv6 serializer), where netip writes dots.
func normalIPv6(addr netip.Addr) string {
	if !addr.Is4In6() {
		return "[" + addr.String() + "]"
	}
	b := addr.As16()
	return fmt.Sprintf("[::ffff:%x:%x]", uint16(b[12])<<8|uint16(b[13]), uint16(b[14])<<8|uint16(b[15]))
}
