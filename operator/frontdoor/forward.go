package frontdoor

import (
	"net/http"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// ForwardAuth answers the proxy's question, before each request to a session's
// host, whether the visitor may go on. An answer from 200 to 299 lets them, with
// the statement that the agent wants to see; the proxy hands every other answer
// to the browser. So nothing here but the statement is answered with 2xx, and
// every Location is absolute (Traefik resolves others against our own address).
//
// The proxy's address alone may reach it: a NetworkPolicy says so.
func (d *Door) ForwardAuth() http.Handler {
	return d.logged(func(w http.ResponseWriter, r *http.Request) {
		v, unambiguous := forwardedVisit(r)
		switch {
		case !d.Access.Mode.LogsIn():
			d.refuse(w, v, http.StatusForbidden, "off", "Forward auth is for access.mode OIDC and Local.")
		case !unambiguous:
			d.badRequest(w)
		case !d.isSessionHost(v.host):
			d.refuseStranger(w, v)
		case d.serveLoginStep(w, v):
		case isCloseForUs(v):
			d.closeForUs(w, v)
		default:
			d.authorize(w, v)
		}
	})
}

// badRequest answers what could be read in two ways.
func (d *Door) badRequest(w http.ResponseWriter) {
	d.refuse(w, visit{}, http.StatusBadRequest, "malformed", "The proxy's question cannot be read without doubt.")
}

// serveLoginStep serves the steps of logins and logouts on a session's host, and reports
// whether this was one.
func (d *Door) serveLoginStep(w http.ResponseWriter, v visit) bool {
	switch v.path {
	case pathCallback:
		d.callback(w, v)
	case pathSignOut:
		d.signOut(w, v)
	case wire.PathLogin:
		// Where an agent sends people after a logout.
		d.loggedOut(w, http.StatusForbidden) // no 2xx, see [Door.ForwardAuth]
		d.Metrics.forwardAuth.WithLabelValues("login").Inc()
	default:
		return false
	}
	return true
}

// refuse answers the proxy, in words for the person behind it.
func (d *Door) refuse(w http.ResponseWriter, v visit, status int, result, sentence string) {
	d.Metrics.forwardAuth.WithLabelValues(result).Inc()
	d.pages.message(w, v, status, "Your desktop", sentence)
}

func (d *Door) authorize(w http.ResponseWriter, v visit) {
	who, err := d.callerOf(v)
	if err != nil {
		d.unavailable(w, v, err)
		return
	}
	recordIdentity(w, who.login)
	switch {
	case v.path == wire.PathLogout && v.method == http.MethodPost && (who.standing == allowed || who.ended):
		d.logoutThroughAgent(w, v, who)
	case who.standing == allowed:
		d.allow(w, v, who)
	default:
		d.reject(w, v, who)
	}
}

// unavailable answers when a visitor cannot be judged; then nobody comes in.
func (d *Door) unavailable(w http.ResponseWriter, v visit, err error) {
	d.Log.Error("a visitor cannot be judged", "error", err.Error())
	d.refuse(w, v, http.StatusServiceUnavailable, "error", "It cannot be known now whose desktop this is; try again in a moment.")
}

// reject answers whoever may not go on, whether a desktop runs there or not.
func (d *Door) reject(w http.ResponseWriter, v visit, who caller) {
	if who.standing == stranger {
		d.refuseStranger(w, v)
		return
	}
	d.Metrics.forwardAuth.WithLabelValues(string(anonymous)).Inc()
	d.startLogin(w, v)
}

// allow answers who the visitor is and whose session this is.
func (d *Door) allow(w http.ResponseWriter, v visit, who caller) {
	now := d.Now()
	statement, err := platform.SignStatement(d.Keys().signing[0], platform.Statement{
		SessionUID: string(who.session.UID), Host: v.host, Identity: platform.Identity(who.login.User),
		IssuedAt: now.Unix(), Expires: now.Add(platform.MaxStatementAge).Truncate(time.Second).Unix(), LoginExpires: who.login.LoginExpires,
	})
	if err != nil {
		d.Log.Error("a statement cannot be signed", "error", err.Error())
		d.refuse(w, v, http.StatusServiceUnavailable, "error", "It cannot be said now whose desktop this is; try again in a moment.")
		return
	}
	d.Metrics.forwardAuth.WithLabelValues(string(allowed)).Inc()
	httpserver.LetIn(w)
	web.SetSecurityHeaders(w.Header())
	w.Header().Set(wire.HeaderStatement, statement)
	w.WriteHeader(http.StatusOK)
}

// logoutThroughAgent ends the login everywhere and lets the request go on to
// the agent, which closes this person's streams and clears the cookie. A login
// that has ended still does that much. Only the desktop's own page may ask for
// it; the agent checks that, too.
func (d *Door) logoutThroughAgent(w http.ResponseWriter, v visit, who caller) {
	if !web.IsFrom(v.header, d.origin(v.host)) {
		d.refuse(w, v, http.StatusForbidden, "forged", "This did not come from the desktop's own page.")
		return
	}
	if who.ended {
		d.allow(w, v, who)
		return
	}
	if err := d.endLogin(v.at.Context(), who.login); err != nil {
		d.Log.Error("a logout cannot be written", "error", err.Error())
		d.refuse(w, v, http.StatusServiceUnavailable, "error", "The logout could not be completed; try again in a moment.")
		return
	}
	d.Metrics.logins.WithLabelValues("logout").Inc()
	d.allow(w, v, who)
}

// refuseStranger says the same about other people's desktops and about none.
func (d *Door) refuseStranger(w http.ResponseWriter, v visit) {
	d.Metrics.forwardAuth.WithLabelValues(string(stranger)).Inc()
	d.pages.show(w, http.StatusForbidden, "message.html", strangerPage(d.origin(d.ownHost)))
}

// redirect sends the browser to an absolute address.
func (d *Door) redirect(w http.ResponseWriter, address string, status int) {
	web.SetSecurityHeaders(w.Header())
	w.Header().Set("Location", address)
	w.Header().Set("Content-Length", "0") // also to HEAD, whose answer says else nothing of it
	w.WriteHeader(status)
}
