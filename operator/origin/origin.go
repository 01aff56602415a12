// Package origin reads from a request which host was asked and who asked, for
// the agent and the front door alike: where they decide who comes in, they must
// not read the same header in two ways.
package origin

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Host is the host of a Host header in lower case, without its port; "" when it
// is malformed.
func Host(header string) string {
	host, port, err := net.SplitHostPort(header)
	if err != nil {
		return strings.ToLower(header)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return ""
	}
	return strings.ToLower(host)
}

// Address tells where a request came from: the last hop that the proxy tells,
// else the peer itself.
func Address(r *http.Request) string {
	hops := strings.Split(strings.Join(r.Header[wire.HeaderForwardedFor], ","), ",")
	if last := strings.TrimSpace(hops[len(hops)-1]); net.ParseIP(last) != nil {
		return last
	}
	return Peer(r)
}

// Peer is the address of who opened the connection, normally the proxy.
func Peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
