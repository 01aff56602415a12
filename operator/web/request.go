package web

import (
	"net/http"
	"slices"
	"strings"
)

// IsSafe reports whether a method only asks for something (RFC 9110 §9.2.1).
func IsSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// IsWebSocket reports whether a request asks for a WebSocket (RFC 6455 §4.1).
func IsWebSocket(h http.Header) bool {
	return len(h["Upgrade"]) == 1 && strings.EqualFold(strings.TrimSpace(h["Upgrade"][0]), "websocket")
}

// IsNavigation reports whether a person's browser asks for a page of its own, and not a
// script, a frame or a WebSocket, whose answer nobody would see and which must not begin
// a login. HEAD counts, since it is answered as GET is (RFC 9110 §9.3.2).
//
// Current browsers say what they ask for (https://www.w3.org/TR/fetch-metadata/). Accept
// alone does not do: frames and many scripts ask for text/html, too. It has to do for
// old browsers, which send no fetch metadata.
func IsNavigation(method string, h http.Header) bool {
	return (method == http.MethodGet || method == http.MethodHead) && len(h["Upgrade"]) == 0 &&
		strings.Contains(h.Get("Accept"), "text/html") &&
		isOrAbsent(h["Sec-Fetch-Mode"], "navigate") && isOrAbsent(h["Sec-Fetch-Dest"], "document")
}

// isOrAbsent: two values are in doubt.
func isOrAbsent(values []string, want string) bool {
	return len(values) == 0 || len(values) == 1 && values[0] == want
}

// IsFromElsewhere reports whether a current browser sends a request for another page than
// one of this host, or for none. Others do not say.
func IsFromElsewhere(h http.Header) bool { return !isOrAbsent(h["Sec-Fetch-Site"], "same-origin") }

// IsFromOtherPage reports whether a page elsewhere made a current browser send a request.
// What a person asks for without a page, as by an address or by reloading, no page can
// bring about.
func IsFromOtherPage(h http.Header) bool {
	return IsFromElsewhere(h) && !isOrAbsent(h["Sec-Fetch-Site"], "none")
}

// IsFrom reports whether a page of this origin, and no other, made a request. Hosts of
// other desktops are the same site, so SameSite cookies do not keep them apart. Whoever
// changes something, or opens a WebSocket, by a cookie must be asked this.
//
// A form that a person sends again, by reloading its answer, comes from no page, and its
// Origin is still the form's.
//
// It is stricter than net/http.CrossOriginProtection, which knows no WebSockets and takes
// requests without an Origin.
func IsFrom(h http.Header, origin string) bool {
	return !IsFromOtherPage(h) && len(h["Origin"]) == 1 && isSameOrigin(h["Origin"][0], origin)
}

// isSameOrigin compares two https origins, where the default port may be written or not.
func isSameOrigin(given, own string) bool {
	withoutPort := func(s string) string { return strings.TrimSuffix(strings.ToLower(s), ":443") }
	return withoutPort(given) == withoutPort(own)
}

// HeaderName is the name that whoever reads a header by way of CGI or WSGI may take it
// for: case, hyphens and underscores do not count there.
func HeaderName(name string) string {
	return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// OnlyHeader returns the value of a header that must come exactly once, under
// exactly this name, and beside none that could be taken for it.
func OnlyHeader(h http.Header, name string) (value string, only bool) {
	var names []string
	for n := range h {
		if HeaderName(n) == HeaderName(name) {
			names = append(names, n)
		}
	}
	if !slices.Equal(names, []string{name}) || len(h[name]) != 1 {
		return "", false
	}
	return h[name][0], true
}
