package agent

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// NoDesktop is for hosts in mode Password where no desktop answers: the front door
// serves it there. It answers strangers by the very code of an agent, so that nobody
// learns at which hosts there is a desktop, or a session at all.
type NoDesktop struct {
	// IsPassword reports whether a password is the one of the session at a request's host.
	// It takes the same time whether there is such a session or not.
	IsPassword func(r *http.Request, password string) bool
	// Welcome answers whoever has just sent the password with the login form.
	Welcome http.HandlerFunc
	// Absent answers whoever shows the password and wants the desktop.
	Absent http.HandlerFunc
	// Logins counts passwords by result.
	Logins *prometheus.CounterVec
	Now    func() time.Time
}

// Handler serves strangers. Its answers are logged by whoever calls it.
func (n NoDesktop) Handler() http.Handler {
	log := slog.New(slog.DiscardHandler)
	a := &Agent{
		config: Config{Mode: wire.AccessPassword, Host: anyHost, Now: n.Now, Log: log}, log: log,
		attempts: web.NewAttempts(n.Now, attemptBurst, attemptEvery), exchanges: newExchanges(), pages: newPages(), metrics: newMetrics(),
		isPassword: n.IsPassword,
		admit:      func(e *exchange) { n.Absent(e, e.request) },
		welcome:    func(e *exchange, _ string) { n.Welcome(e, e.request) },
	}
	a.metrics.logins = n.Logins
	a.visitorOf = func(r *http.Request) (visitor, *refusal) {
		_, password, given := r.BasicAuth()
		if !given {
			return visitor{}, noLogin()
		}
		return visitor{login: loginBasic}, a.checkPassword(r, a.isPassword(r, password))
	}
	return http.HandlerFunc(a.serve)
}
