package agent

import (
	"crypto/rand"
	"net/http"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const maxForm = 4 << 10 // bytes

// serveOwnPage serves the agent's own pages.
func (a *Agent) serveOwnPage(e *exchange) {
	r := e.request
	switch r.Method + " " + r.URL.Path {
	case "GET " + wire.PathLogout, "HEAD " + wire.PathLogout:
		a.pages.logout(e)
	case "POST " + wire.PathLogout:
		a.logout(e)
	case "GET " + wire.PathLogin, "HEAD " + wire.PathLogin:
		a.loginPage(e)
	case "POST " + wire.PathLogin:
		a.login(e)
	default:
		a.notFound(e)
	}
}

// notFound asks whoever is a stranger for a login first: what there is to see is not
// for them.
func (a *Agent) notFound(e *exchange) {
	if _, denied := a.visitorOf(e.request); denied != nil {
		a.refuse(e, denied)
		return
	}
	a.pages.message(e, e.request, http.StatusNotFound, "There is no such page.")
}

// loginPage needs no page for who is logged in already.
func (a *Agent) loginPage(e *exchange) {
	if _, denied := a.visitorOf(e.request); denied == nil || a.config.Mode != wire.AccessPassword {
		redirect(e, "/")
		return
	}
	a.pages.login(e, http.StatusOK, "/", "")
}

// login exchanges the password for a cookie.
func (a *Agent) login(e *exchange) {
	r := e.request
	if a.config.Mode != wire.AccessPassword {
		a.notFound(e)
		return
	}
	if denied := checkOrigin(r, true); denied != nil {
		a.refuse(e, denied)
		return
	}
	r.Body = http.MaxBytesReader(e.ResponseWriter, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		a.refuse(e, &refusal{http.StatusBadRequest, reasonForm, "The form could not be read; open the page again."})
		return
	}
	next := web.ReturnPath(r.PostForm.Get("next"))
	// A password is often pasted together with a blank or a line end.
	denied := a.checkPassword(r, a.isPassword(r, strings.TrimSpace(r.PostForm.Get(wire.FieldPassword))))
	if denied != nil {
		a.deny(e, denied)
		a.pages.login(e, denied.status, next, denied.sentence)
		return
	}
	a.metrics.logins.WithLabelValues(resultAccepted).Inc()
	a.welcome(e, next)
}

// grantLogin gives a visitor a cookie.
func (a *Agent) grantLogin(e *exchange, next string) {
	login := a.credentials.Get()
	c := cookie{id: rand.Text(), expires: a.revoked.nextExpiry(a.config.MaxSessionAge)}
	sealed, err := c.seal(login, a.config.SessionUID, a.config.Host)
	if err != nil {
		a.log.Error("a login cannot be sealed", "error", err.Error())
		a.pages.message(e, e.request, http.StatusServiceUnavailable, "You could not be logged in; try again in a moment.")
		return
	}
	e.visitor = visitor{login: loginCookie, name: login.username}
	web.SetCookie(e, wire.CookieLogin, sealed, a.config.MaxSessionAge)
	a.activity.recordUse()
	redirect(e, next)
}

// logout takes the login out of the browser, makes copies of it worthless, and
// ends everything that came by it.
func (a *Agent) logout(e *exchange) {
	v, denied := a.visitorOf(e.request)
	if forbidden := checkOrigin(e.request, v.login != loginBasic); forbidden != nil {
		a.refuse(e, forbidden)
		return
	}
	if denied == nil {
		e.visitor = v
		if v.login == loginCookie {
			a.revoked.revoke(v.cookie)
		}
		a.exchanges.end(func(other *exchange) bool { return other.visitor.key == v.key }, ending{closePolicy, "you have logged out"})
		if v.login == loginCookie { // the disk may be slow, and nothing but the answer waits for it
			a.logSaveError(a.revoked.save())
		}
	}
	web.ClearCookie(e, wire.CookieLogin)
	// What the desktop's page has left there is not for whoever logs in next.
	e.Header().Set(httpserver.HeaderClearSiteData, `"storage"`)
	redirect(e, wire.PathLogin) // which is the front door's "/" in OIDC mode
}

// redirect makes the browser GET a path of this host.
func redirect(e *exchange, path string) {
	web.SetSecurityHeaders(e.Header())
	e.Header().Set("Location", path)
	e.WriteHeader(http.StatusSeeOther)
}
