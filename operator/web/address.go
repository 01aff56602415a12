// Package web is what the agent and the front door must do alike with browsers: which
// host was asked and by whom, whether a page of one's own asks, where a login may lead
// back to, how a cookie is set, which headers guard an answer, and how many wrong
// passwords are answered. Where two programs decide who comes in, they must not read the
// same header in two ways.
//
// It must know no session, no login, no password and no Kubernetes client: the agent runs
// beside every desktop. Connections and their limits are httpserver's.
package web

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

// ClientIP is where a request came from: the last hop that the proxy names, else the
// peer itself. Hops before that are the visitor's own claim.
func ClientIP(r *http.Request) string {
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
