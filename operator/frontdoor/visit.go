package frontdoor

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// visit is one request of a browser, whether it came straight or the proxy
// asks about it.
type visit struct {
	// host is in lower case and without a port; "" when it is malformed.
	host   string
	method string
	// path is as it was sent: encoded forms of our own paths are not our paths.
	path  string
	query url.Values
	// target is path and query as they were sent.
	target string
	header http.Header
	// from is the address of the last hop before us that is named.
	from string
	// at is the request for cookies; its address and method say nothing in a
	// visit that the proxy asks about.
	at *http.Request
}

// directVisit is a request that the proxy passed on.
func directVisit(r *http.Request) visit {
	return newVisit(r, r.Host, r.Method, r.RequestURI)
}

// forwardedVisit is a request that the proxy asks about (forward auth). Each header
// about it must come exactly once, under exactly its name, and in one
// piece: what could be read in two ways is refused.
func forwardedVisit(r *http.Request) (visit, bool) {
	if imitatesProxy(r.Header) {
		return visit{}, false
	}
	fields := map[string]string{}
	for name, values := range r.Header {
		if strings.HasPrefix(name, wire.HeaderForwarded) && len(values) == 1 {
			fields[name] = values[0]
		}
	}
	host, method, target := fields[wire.HeaderForwardedHost], fields[wire.HeaderForwardedMethod], fields[wire.HeaderForwardedURI]
	secure := fields[wire.HeaderForwardedProto] == "https" || fields[wire.HeaderForwardedProto] == "wss"
	if host == "" || method == "" || !isPath(target) || !secure || strings.Contains(host, ",") {
		return visit{}, false
	}
	return newVisit(r, host, method, target), true
}

// imitatesProxy reports whether a header may be taken for one of the proxy's. The proxy
// replaces those of its own names alone.
func imitatesProxy(h http.Header) bool {
	for name := range h {
		if read := web.HeaderName(name); name != read && strings.HasPrefix(read, wire.HeaderForwarded) {
			return true
		}
	}
	return false
}

func isPath(target string) bool { return strings.HasPrefix(target, "/") }

// isUnambiguous reports whether [forwardedVisit] would take the visit if the proxy asked about it.
// What is refused where a desktop runs is refused where none does.
func (v visit) isUnambiguous() bool { return !imitatesProxy(v.header) && isPath(v.target) }

// maxParameters is how many a query may have; ours have fewer. Many short ones cost
// many times their length in memory.
const maxParameters = 64

func newVisit(r *http.Request, host, method, target string) visit {
	path, query, _ := strings.Cut(target, "?")
	values := url.Values{}
	if strings.Count(query, "&") < maxParameters {
		if parsed, err := url.ParseQuery(query); err == nil {
			values = parsed
		}
	}
	return visit{
		host: web.Host(host), method: method, path: path, query: values, target: target,
		header: r.Header, from: web.ClientIP(r), at: r,
	}
}

// backTo is the path to come back to after a login. Only a GET can be repeated.
func (v visit) backTo() string {
	if v.method != http.MethodGet {
		return "/"
	}
	return web.ReturnPath(v.target)
}

func (v visit) isNavigation() bool { return web.IsNavigation(v.method, v.header) }
