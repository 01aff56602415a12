package agent

import (
	"net/http"
	"slices"
	"strings"
)

// trustedPrefixes begin names of headers in which proxies tell applications who
// the visitor is or where a request came from. A desktop that believed one of
// them would believe the visitor.
func trustedPrefixes() []string {
	return []string{
		"X-Vdi-", "X-Auth-", "X-Authenticated-", "X-Forwarded-", "X-Original-", "X-Remote-", "X-Rewrite-", "X-User", "X-Webauth-",
		"X-Email", "X-Groups", "X-Oidc-", "X-Real-Ip", "X-Goog-", "X-Amzn-Oidc-", "X-Ms-Client-", "X-Ssl-",
		"Cf-Access-", "Remote-", "Ssl-Client-", "Oidc-", "Forwarded", "Proxy", "True-Client-Ip", "X-Http-Method",
	}
}

// trusted says whether a header may have been meant for an application behind a
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
	if cookies := withoutCookie(h["Cookie"]); len(cookies) > 0 {
		h["Cookie"] = cookies
	} else {
		h.Del("Cookie")
	}
	if login.desktopPassword != "" {
		(&http.Request{Header: h}).SetBasicAuth(login.desktopUsername, login.desktopPassword)
	}
}

// withoutCookie returns Cookie headers without those of logins; the others stay
// byte for byte.
func withoutCookie(headers []string) (kept []string) {
	for _, header := range headers {
		pairs := slices.DeleteFunc(strings.Split(header, ";"), isOwnCookie)
		if rest := strings.TrimSpace(strings.Join(pairs, ";")); rest != "" {
			kept = append(kept, rest)
		}
	}
	return kept
}

// isOwnCookie judges one "name=value" of a Cookie or Set-Cookie header: names
// that begin with cookieName are the agent's and the front door's. Browsers may
// send a cookie without a name as "=__Host-vdi=…" or "__Host-vdi=…".
func isOwnCookie(pair string) bool {
	name := strings.TrimLeft(pair, "= \t")
	return len(name) >= len(cookieName) && strings.EqualFold(name[:len(cookieName)], cookieName)
}

// withoutSetCookie returns a desktop's Set-Cookie headers without those that
// would replace a login.
func withoutSetCookie(headers []string) []string {
	return slices.DeleteFunc(headers, isOwnCookie)
}
