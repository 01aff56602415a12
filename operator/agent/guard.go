package agent

import (
	"net/http"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
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
	if host != anyHost && web.Host(r.Host) != host {
		return &refusal{http.StatusMisdirectedRequest, reasonHost, "This is not the desktop you are looking for: the host name is another one."}
	}
	return nil
}

// checkFetch refuses what other sites make a browser load, frame or send from
// here; following a link is allowed. Desktops of other users are the same site,
// so cookies alone do not keep them apart. Old browsers and command-line clients
// send no such headers (https://www.w3.org/TR/fetch-metadata/).
func checkFetch(r *http.Request) *refusal {
	if !web.IsFromOtherPage(r.Header) {
		return nil
	}
	link := web.IsSafe(r.Method) && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if link {
		return nil
	}
	return &refusal{http.StatusForbidden, reasonFetch, "Another site asked for this; open the desktop itself."}
}

// checkOrigin refuses WebSockets and changes that another site asks for.
// originRequired is off for visitors who are no browsers.
func checkOrigin(r *http.Request, originRequired bool) *refusal {
	if web.IsSafe(r.Method) && len(r.Header["Upgrade"]) == 0 {
		return nil
	}
	if len(r.Header["Origin"]) == 0 && !originRequired {
		return nil
	}
	if web.IsFrom(r.Header, "https://"+r.Host) {
		return nil
	}
	return &refusal{http.StatusForbidden, reasonOrigin, "This did not come from the desktop's own page."}
}

// checkBody refuses requests that ask for something and carry something all the
// same: programs in the desktop could take files that way, which checkFiles lets
// through by the method.
func checkBody(r *http.Request) *refusal {
	if !web.IsSafe(r.Method) || r.ContentLength == 0 {
		return nil
	}
	return &refusal{http.StatusForbidden, reasonBody, "A request that only asks for something may carry nothing."}
}

// isBrowser reports whether a request carries headers that only browsers send.
func isBrowser(h http.Header) bool { return h.Get("Sec-Fetch-Mode") != "" }
