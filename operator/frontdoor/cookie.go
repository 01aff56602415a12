package frontdoor

import (
	"net/http"
	"strings"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Cookies beside [wire.CookieLogin], with which their names begin.
const (
	// pageCookie is a login on a session's page in mode Password, where the agent
	// has a cookie of its own with the name above.
	pageCookie = wire.CookieLogin + "-page"
	// browserCookie makes one browser recognisable before and without a login.
	browserCookie = wire.CookieLogin + "-browser"
	// loginCookie is a login on the front door's own host.
	loginCookie = wire.CookieLogin + "-login"
	// knownCookie marks a browser in which somebody has logged in by a name and a password.
	knownCookie = wire.CookieLogin + "-known"
	// leftCookie marks a browser in which somebody has logged out: the next login asks
	// for the provider's own.
	leftCookie = wire.CookieLogin + "-left"
	// flowCookie begins the names of cookies that wait for the identity
	// provider's answer, one for each tab.
	flowCookie = wire.CookieLogin + "-flow-"
)

const (
	browserLifetime = 24 * time.Hour
	// leftLifetime is longer than a login at a provider usually holds.
	leftLifetime  = 30 * 24 * time.Hour
	knownLifetime = 365 * 24 * time.Hour
	// maxFlows bounds the cookies of logins that were begun and not ended.
	maxFlows = 8
)

// ticketIn returns the first valid ticket in the cookies of a name. Logins by our list of
// people count in no other access mode, and others not in that one, see [Door.purpose].
func (d *Door) ticketIn(v visit, name string, p purpose) (ticket, bool) {
	for _, c := range v.at.CookiesNamed(name) {
		if t, err := d.Keys().open(d.purpose(p), c.Value, d.Now()); err == nil {
			return t, true
		}
	}
	return ticket{}, false
}

// purpose is the one of a login's tickets in our access mode.
func (d *Door) purpose(p purpose) purpose {
	if d.Access.Mode == wire.AccessLocal && (p == forLogin || p == forDesktop || p == forCode) {
		return p.local()
	}
	return p
}

// browser returns the hash of the browser's cookie on this host, and gives it
// one where it has none.
func (d *Door) browser(w http.ResponseWriter, v visit) string {
	if hash, known := knownBrowser(v); known {
		return hash
	}
	value := random()
	web.SetCookie(w, browserCookie, value, browserLifetime)
	return digest(value)
}

func knownBrowser(v visit) (hash string, known bool) {
	if c, err := v.at.Cookie(browserCookie); err == nil && len(c.Value) == len(random()) {
		return digest(c.Value), true
	}
	return "", false
}

// hasLeft reports whether somebody has logged out in this browser, and nobody has logged
// in since.
func hasLeft(v visit) bool {
	_, err := v.at.Cookie(leftCookie)
	return err == nil
}

// flowName is the name of the cookie of the flow with this state.
func flowName(state string) string { return flowCookie + digest(state)[:12] }

// forgetFlows clears logins that were begun too often.
func forgetFlows(w http.ResponseWriter, v visit) {
	var begun []string
	for _, c := range v.at.Cookies() {
		if strings.HasPrefix(c.Name, flowCookie) {
			begun = append(begun, c.Name)
		}
	}
	if len(begun) < maxFlows {
		return
	}
	for _, name := range begun {
		web.ClearCookie(w, name)
	}
}
