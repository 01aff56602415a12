package agent

import (
	"net/http"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// deny notes a refusal in log and metrics.
func (a *Agent) deny(e *exchange, denied *refusal) {
	e.refused = denied.reason
	a.metrics.denied.WithLabelValues(denied.reason).Inc()
}

// refuse answers a request that goes no further: people get a page, and where a
// password is missing the login page; programs get a sentence.
func (a *Agent) refuse(e *exchange, denied *refusal) {
	a.deny(e, denied)
	r, h := e.request, e.Header()
	switch denied.status {
	case http.StatusUnauthorized:
		h.Set("Www-Authenticate", a.challenge(r))
		if web.IsNavigation(r.Method, r.Header) && a.config.Mode == wire.AccessPassword {
			a.pages.login(e, denied.status, web.ReturnPath(r.URL.RequestURI()), "")
			return
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	}
	a.pages.message(e, r, denied.status, denied.sentence)
}

// retryAfter is in seconds.
const retryAfter = "5"

// challenge is what the answer 401 asks for. Browsers get one that they do not
// know: at "Basic" they would open a dialog of their own over the page.
func (a *Agent) challenge(r *http.Request) string {
	if a.config.Mode == wire.AccessPassword && !isBrowser(r.Header) && !web.IsNavigation(r.Method, r.Header) {
		return `Basic realm="desktop", charset="UTF-8"`
	}
	return `Vdi-Login realm="desktop"`
}
