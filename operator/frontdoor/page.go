package frontdoor

import (
	"crypto/subtle"
	"errors"
	"net/http"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/story"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Pages serves what people see: our own host, and the page of every session
// whose desktop does not answer itself.
func (d *Door) Pages() http.Handler {
	return d.logged(func(w http.ResponseWriter, r *http.Request) {
		v := directVisit(r)
		switch {
		case v.host == d.ownHost:
			d.serveOwnHost(w, v)
		case v.host == platform.AuthHost(d.Sessions): // where mode OIDC logs people in
			d.redirect(w, d.origin(d.ownHost)+doorHome, http.StatusSeeOther)
		case d.isSessionHost(v.host):
			d.sessionHost(w, v)
		default:
			d.pages.message(w, v, http.StatusMisdirectedRequest, "No desktop", "There is no desktop at this address.")
		}
	})
}

// sessionHost serves the host of a session. Strangers are answered as they are where a
// desktop runs: by the agent in mode Password, by [Door.ForwardAuth] where people log in here. So
// nobody learns where one does, or at which hosts there is a session.
func (d *Door) sessionHost(w http.ResponseWriter, v visit) {
	logsIn := d.Access.Mode.LogsIn()
	if logsIn && !v.isUnambiguous() {
		d.badRequest(w)
		return
	}
	if logsIn && (d.serveLoginStep(w, v) || d.nothingToClose(w, v)) {
		return
	}
	who, err := d.callerOf(v)
	switch {
	case err != nil:
		d.unavailable(w, v, err)
	case isQuestion(v, who.session):
		d.desktopUnavailable(w, v)
	case who.standing == allowed && (logsIn || v.method+" "+v.path != "POST "+wire.PathLogin):
		recordIdentity(w, who.login)
		d.serveSessionPage(w, v, who)
	case logsIn:
		recordIdentity(w, who.login)
		d.reject(w, v, who)
	default:
		d.noDesktop.ServeHTTP(w, v.at)
	}
}

// nothingToClose answers what closes streams where a desktop runs.
func (d *Door) nothingToClose(w http.ResponseWriter, v visit) bool {
	if !isCloseForUs(v) {
		return false
	}
	if _, ours := d.mayClose(w, v); ours {
		d.desktopUnavailable(w, v)
	}
	return true
}

// isQuestion reports whether the operator asks for the route of a session.
func isQuestion(v visit, s *vdi.VDISession) bool {
	asked := v.header[platform.QuestionHeader]
	return s != nil && s.UID != "" && len(asked) == 1 && subtle.ConstantTimeCompare([]byte(asked[0]), []byte(s.UID)) == 1
}

// serveSessionPage serves the session's page to its user.
func (d *Door) serveSessionPage(w http.ResponseWriter, v visit, who caller) {
	switch v.method + " " + v.path {
	case "GET " + pathEvents:
		d.events(w, v, who)
	case "POST " + pathResume:
		d.resume(w, v, who)
	case "POST " + wire.PathLogout:
		d.logOutOfPage(w, v)
	default:
		if v.isNavigation() {
			d.showState(w, v, who.session)
			return
		}
		d.desktopUnavailable(w, v)
	}
}

// desktopUnavailable says that no desktop answers, so that programs, and the operator, do not take
// us for one.
func (d *Door) desktopUnavailable(w http.ResponseWriter, v visit) {
	w.Header().Set("Retry-After", "5")
	d.pages.message(w, v, http.StatusServiceUnavailable, "Your desktop", "No desktop answers here now.")
}

func (d *Door) showState(w http.ResponseWriter, v visit, s *vdi.VDISession) {
	form, err := d.form(w, v)
	if err != nil {
		d.serverError(w, v, "a form cannot be made", err)
		return
	}
	now, err := d.stateOf(v, s)
	if err != nil {
		d.serverError(w, v, "a queue cannot be counted", err)
		return
	}
	shown := page{Title: now.Title, State: now, Form: form, Events: pathEvents, Door: d.door()}
	if now.Running {
		// The proxy has not heard of the route yet.
		shown.Refresh = 3
	}
	d.pages.show(w, http.StatusOK, "state.html", shown)
}

// door is the address of the list of one's desktops; "" where there is none.
func (d *Door) door() string {
	if d.Access.Mode.LogsIn() {
		return d.origin(d.ownHost) + doorHome
	}
	return ""
}

func (d *Door) stateOf(v visit, s *vdi.VDISession) (state, error) {
	now := describe(s)
	if (d.Access.OIDC.GroupsClaim != "" || d.Access.Mode == wire.AccessLocal) && waitsForGroups(s) {
		now.Text, now.CanResume = "It is for some people only. If your groups have changed since, log out, log in again and resume it.", true
	}
	if now.Queued && s.Status.Queue == nil { // else its place stands there
		pool, err := d.Known.InPool(v.at.Context(), story.PoolOf(s))
		if err != nil {
			return state{}, err
		}
		now.Ahead = len(story.Ahead(s, pool))
	}
	return now, nil
}

// resume starts a suspended desktop: for its user only, who pressed the button
// on this very page. Nothing else does.
func (d *Door) resume(w http.ResponseWriter, v visit, who caller) {
	if err := d.parseForm(w, v); err != nil {
		d.Metrics.resumes.WithLabelValues("forged").Inc()
		d.forbidden(w, v)
		return
	}
	err := d.Changer.Resume(v.at.Context(), who.session, d.groupsOf(who.login))
	d.Metrics.resumes.WithLabelValues(resultOf(err)).Inc()
	d.respondToChange(w, v, err, d.origin(v.host)+"/")
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return "accepted"
	case errors.Is(err, errGone):
		return "gone"
	}
	return "error"
}

// respondToChange answers how a change went: by the page that shows it.
func (d *Door) respondToChange(w http.ResponseWriter, v visit, err error, next string) {
	switch {
	case errors.Is(err, errGone):
		d.pages.message(w, v, http.StatusGone, "Your desktop", "This session is not there any more.")
	case err != nil:
		d.serverError(w, v, "a session cannot be changed", err)
	default:
		d.redirect(w, next, http.StatusSeeOther)
	}
}

// logOutOfPage ends a login on a session's page.
func (d *Door) logOutOfPage(w http.ResponseWriter, v visit) {
	if err := d.parseForm(w, v); err != nil {
		d.forbidden(w, v)
		return
	}
	if login, has := d.ticketIn(v, d.hostCookie(), forDesktop); has {
		recordIdentity(w, login)
		if err := d.endLogin(v.at.Context(), login); err != nil {
			d.serverError(w, v, "a logout cannot be written", err)
			return
		}
	}
	d.Metrics.logins.WithLabelValues("logout").Inc()
	web.ClearCookie(w, d.hostCookie())
	// What the desktop's page has left there is not for whoever logs in next.
	w.Header().Set(httpserver.HeaderClearSiteData, `"storage"`)
	if d.door() != "" {
		d.loggedOut(w, http.StatusOK)
		return
	}
	d.redirect(w, d.origin(v.host)+"/", http.StatusSeeOther)
}

// loggedOut answers a logout on a desktop's host. It leads to our own host by a link: a
// page's policy (form-action) also stops what its forms are redirected to, at another host.
func (d *Door) loggedOut(w http.ResponseWriter, status int) {
	d.pages.show(w, status, "message.html", page{
		Title: "Logged out", Text: "This desktop does not open with that login any more.", Link: d.door(), LinkText: "Your desktops",
	})
}

func (d *Door) forbidden(w http.ResponseWriter, v visit) {
	d.pages.message(w, v, http.StatusForbidden, "Try again", "This form is too old, or not of this page in this browser. Open the page again and repeat it there.")
}

// serverError logs what failed, and answers the person only that something did.
func (d *Door) serverError(w http.ResponseWriter, v visit, what string, err error) {
	d.Log.Error(what, "error", err.Error())
	d.pages.message(w, v, http.StatusServiceUnavailable, "Try again", "This did not work. Try again in a moment.")
}
