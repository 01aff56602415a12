package agent

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/origin"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// refusal is why a request goes no further.
type refusal struct {
	status int
	// reason is the metric's label.
	reason string
	// sentence is for the visitor.
	sentence string
}

// Reasons of refusals, the values of the label reason of vdi_agent_denied_total.
const (
	reasonHost      = "host"
	reasonMethod    = "method"
	reasonFetch     = "cross-site"
	reasonOrigin    = "origin"
	reasonLogin     = "login"
	reasonStatement = "statement"
	reasonPassword  = "password"
	reasonLimited   = "rate"
	reasonStopping  = "stopping"
	reasonForm      = "form"
	reasonBody      = "body"
	reasonEndpoint  = "endpoint"
)

// anyHost is what somebody else has made sure of.
const anyHost = ""

// checkTarget refuses requests that were not meant for this session's host, and
// methods that mean something to proxies themselves or that nobody here knows.
func checkTarget(r *http.Request, host string) *refusal {
	if !httpserver.Serves(r.Method) {
		return &refusal{http.StatusMethodNotAllowed, reasonMethod, "This method is not allowed."}
	}
	if host != anyHost && origin.Host(r.Host) != host {
		return &refusal{http.StatusMisdirectedRequest, reasonHost, "This is not the desktop you are looking for: the host name is another one."}
	}
	return nil
}

// checkFetch refuses what other sites make a browser load, frame or send from
// here; following a link is allowed. Desktops of other users are the same site,
// so cookies alone do not tell them apart. Old browsers and command-line clients
// send no such headers (https://www.w3.org/TR/fetch-metadata/).
func checkFetch(r *http.Request) *refusal {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return nil
	}
	link := isSafe(r.Method) && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if link {
		return nil
	}
	return &refusal{http.StatusForbidden, reasonFetch, "Another site asked for this; open the desktop itself."}
}

// checkOrigin refuses WebSockets and changes that another site asks for.
// originRequired is off for visitors who are no browsers.
func checkOrigin(r *http.Request, originRequired bool) *refusal {
	if isSafe(r.Method) && len(r.Header["Upgrade"]) == 0 {
		return nil
	}
	origins := r.Header["Origin"]
	if len(origins) == 0 && !originRequired {
		return nil
	}
	if len(origins) == 1 && isOrigin(origins[0], r.Host) {
		return nil
	}
	return &refusal{http.StatusForbidden, reasonOrigin, "This did not come from the desktop's own page."}
}

// isOrigin says whether an Origin header names https://HOST, where the default
// port may be written or not.
func isOrigin(origin, host string) bool {
	withoutPort := func(s string) string { return strings.TrimSuffix(strings.ToLower(s), ":443") }
	return withoutPort(origin) == "https://"+withoutPort(host)
}

// checkBody refuses requests that ask for something and carry something all the
// same: programs in the desktop could take files that way, which checkFiles lets
// through by the method.
func checkBody(r *http.Request) *refusal {
	if !isSafe(r.Method) || r.ContentLength == 0 {
		return nil
	}
	return &refusal{http.StatusForbidden, reasonBody, "A request that only asks for something may carry nothing."}
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isWebSocket says whether a request asks for a WebSocket (RFC 6455 §4.1).
func isWebSocket(h http.Header) bool {
	return len(h["Upgrade"]) == 1 && strings.EqualFold(strings.TrimSpace(h["Upgrade"][0]), "websocket")
}

// isNavigation says whether a person's browser asks for a page.
func isNavigation(r *http.Request) bool {
	return r.Method == http.MethodGet && len(r.Header["Upgrade"]) == 0 && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// isBrowser says whether a request carries headers that only browsers send.
func isBrowser(h http.Header) bool { return h.Get("Sec-Fetch-Mode") != "" }

// localPath returns a path of this host to go to after a login; "/" for
// everything that could lead elsewhere or back to the agent's own pages.
func localPath(text string) string {
	const home = "/"
	if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || len(text) > maxPath {
		return home
	}
	// Browsers read a backslash as a slash and drop tabs and line ends.
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
		return home
	}
	target, err := url.Parse(text)
	if err != nil || target.Scheme != "" || target.Host != "" || isOwnPath(target.Path) {
		return home
	}
	return text
}

// maxPath is the longest path to come back to after a login, in bytes.
const maxPath = 2 << 10

func isOwnPath(path string) bool { return strings.HasPrefix(path+"/", wire.PathOwn) }

// sameHeader says whether a client or a proxy on the way may take one header's
// name for the other: case, hyphens and underscores do not count.
func sameHeader(name, other string) bool {
	return strings.EqualFold(strings.ReplaceAll(name, "_", "-"), strings.ReplaceAll(other, "_", "-"))
}

// onlyHeader returns the value of a header that must come exactly once, under
// exactly this name.
func onlyHeader(h http.Header, name string) (string, bool) {
	var names []string
	for n := range h {
		if sameHeader(n, name) {
			names = append(names, n)
		}
	}
	if !slices.Equal(names, []string{name}) || len(h[name]) != 1 {
		return "", false
	}
	return h[name][0], true
}
