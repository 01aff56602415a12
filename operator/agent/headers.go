package agent

import (
	"net/http"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// trustedPrefixes begin names of headers in which proxies inform applications who
// the visitor is or where a request came from. A desktop that believed one of
// them would believe the visitor.
func trustedPrefixes() []string {
	return []string{
		"X-Vdi-", "X-Auth-", "X-Authenticated-", wire.HeaderForwarded, "X-Original-", "X-Remote-", "X-Rewrite-", "X-User", "X-Webauth-",
		"X-Email", "X-Groups", "X-Oidc-", "X-Real-Ip", "X-Goog-", "X-Amzn-Oidc-", "X-Ms-Client-", "X-Ssl-",
		"Cf-Access-", "Remote-", "Ssl-Client-", "Oidc-", "Forwarded", "Proxy", "True-Client-Ip", "X-Http-Method",
	}
}

// trusted reports whether a header may have been meant for an application behind a
// proxy. Names with an underscore are, too: CGI and WSGI read them as the name
// with a hyphen.
func trusted(name string) bool {
	canonical := http.CanonicalHeaderKey(name)
	return strings.Contains(name, "_") ||
		slices.ContainsFunc(trustedPrefixes(), func(prefix string) bool { return strings.HasPrefix(canonical, prefix) })
}

// forDesktop removes from a visitor's headers what the desktop must not see, and
// adds the desktop's own login.
func forDesktop(h http.Header, login credentials) {
	for name := range h {
		if trusted(name) {
			delete(h, name)
		}
	}
	h.Del("Authorization")
	// Compressed frames could not be read, and input would not be seen.
	h.Del("Sec-Websocket-Extensions")
	h.Del("Cookie2") // RFC 2965, which old programs still read
	if cookies := cookiesForDesktop(h["Cookie"]); cookies != "" {
		h["Cookie"] = []string{cookies}
	} else {
		h.Del("Cookie")
	}
	if login.desktopPassword != "" {
		(&http.Request{Header: h}).SetBasicAuth(login.desktopUsername, login.desktopPassword)
	}
}
