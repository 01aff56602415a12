package agent

import (
	"net/http"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Cookies whose name begins with hostPrefix were set by this very host: browsers
// take them from nobody else (RFC 6265bis §4.1.3.2). Of all others nothing
// shows whose they are. A cookie for a parent domain, of another application of the
// company or of another desktop, comes along under any name that it likes. So no
// other reaches the desktop; its own get appPrefix on their way out and lose it on
// their way in.
const (
	hostPrefix = "__Host-"
	appPrefix  = hostPrefix + "app-"
)

// cookiesForDesktop is the Cookie header of the cookies that are the desktop's.
func cookiesForDesktop(headers []string) string {
	var kept []string
	for _, header := range headers {
		for pair := range strings.SplitSeq(header, ";") {
			pair = strings.Trim(pair, " \t")
			if own, isApp := strings.CutPrefix(pair, appPrefix); isApp {
				if own != "" && own[0] != '=' {
					kept = append(kept, own)
				}
			} else if strings.HasPrefix(pair, hostPrefix) && !isOwnCookie(pair) {
				kept = append(kept, pair) // by the page's script, or with the prefix from the start
			}
		}
	}
	return strings.Join(slices.DeleteFunc(kept, isOwnCookie), "; ")
}

// isOwnCookie judges one "name=value" of a Cookie or Set-Cookie header: names
// that begin with wire.CookieLogin are the agent's and the front door's. Browsers may
// send a cookie without a name as "=__Host-vdi=…" or "__Host-vdi=…".
func isOwnCookie(pair string) bool {
	name := strings.TrimLeft(pair, "= \t")
	return len(name) >= len(wire.CookieLogin) && strings.EqualFold(name[:len(wire.CookieLogin)], wire.CookieLogin)
}

// cookiesForVisitor makes a desktop's cookies such as come back to it, and takes
// out those that would replace a login.
func cookiesForVisitor(h http.Header) {
	var kept []string
	for _, header := range h["Set-Cookie"] {
		if own, ok := hostCookie(header); ok {
			kept = append(kept, own)
		}
	}
	h.Del("Set-Cookie")
	if len(kept) > 0 {
		h["Set-Cookie"] = kept
	}
}

// hostCookie is a Set-Cookie header under a name with hostPrefix, and with what
// browsers ask of such a one: for this host and all its paths, over TLS.
func hostCookie(header string) (string, bool) {
	pair, attributes, _ := strings.Cut(header, ";")
	name, value, named := strings.Cut(pair, "=")
	name = strings.Trim(name, " \t")
	if !named || name == "" || isOwnCookie(name) {
		return "", false
	}
	if !strings.HasPrefix(name, hostPrefix) || strings.HasPrefix(name, appPrefix) {
		name = appPrefix + name
	}
	out := []string{name + "=" + strings.Trim(value, " \t"), "Path=/", "Secure"}
	for attribute := range strings.SplitSeq(attributes, ";") {
		attribute = strings.Trim(attribute, " \t")
		key, _, _ := strings.Cut(attribute, "=")
		switch strings.ToLower(strings.Trim(key, " \t")) {
		case "", "domain", "path", "secure":
		default:
			out = append(out, attribute)
		}
	}
	return strings.Join(out, "; "), true
}
