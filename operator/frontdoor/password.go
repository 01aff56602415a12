package frontdoor

import (
	"net/http"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/agent"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// passwordVerifier is what the operator has published of a session's password; "" where
// there is none.
func passwordVerifier(s *vdi.VDISession) string {
	if s == nil || s.Status.Access == nil {
		return ""
	}
	return s.Status.Access.PasswordVerifier
}

// newNoDesktop answers at hosts of sessions in mode Password whoever has no login to
// the session's page.
func (d *Door) newNoDesktop() http.Handler {
	return agent.NoDesktop{
		IsPassword: func(r *http.Request, password string) bool {
			_, right := d.sessionOf(r, password)
			return right
		},
		Welcome: d.welcomeToPage,
		Absent:  func(w http.ResponseWriter, r *http.Request) { d.desktopUnavailable(w, directVisit(r)) },
		Logins:  d.Metrics.logins, Now: d.Now,
	}.Handler()
}

// maxHeaderBytes is how long the head of a request for a page may be: in mode Password
// as long as at an agent.
func (d *Door) maxHeaderBytes() int {
	if d.Access.Mode == wire.AccessPassword {
		return web.MaxHeaderBytes
	}
	return maxHeaderBytes
}

// sessionOf is the session at a request's host, if this is its password.
func (d *Door) sessionOf(r *http.Request, password string) (s *vdi.VDISession, right bool) {
	s, found, err := d.Known.ByHost(r.Context(), directVisit(r).host)
	if err != nil {
		d.Log.Error("a session cannot be looked up", "error", err.Error())
	}
	if err != nil || !found {
		s = nil
	}
	return s, wire.VerifyPassword(password, passwordVerifier(s))
}

// welcomeToPage opens a session's page, and only that: the desktop itself asks again.
func (d *Door) welcomeToPage(w http.ResponseWriter, r *http.Request) {
	v := directVisit(r)
	s, right := d.sessionOf(r, strings.TrimSpace(r.PostForm.Get(wire.FieldPassword)))
	if !right { // it ended, or was resumed, at this very moment
		d.redirect(w, d.origin(v.host)+"/", http.StatusSeeOther)
		return
	}
	d.openPage(w, v, s)
}

func (d *Door) openPage(w http.ResponseWriter, v visit, s *vdi.VDISession) {
	issued, err := d.Ended.Stamp(v.at.Context(), person("", string(s.UID)))
	if err != nil {
		d.serverError(w, v, "the list of ended logins cannot be read", err)
		return
	}
	expires := d.Now().Add(pageLifetime).Unix()
	login := ticket{
		Expires: expires, LoginIssued: issued.UnixMilli(), LoginExpires: expires, Host: v.host, SessionUID: string(s.UID), Login: random(),
	}
	sealed, err := d.Keys().seal(forDesktop, login)
	if err != nil {
		d.serverError(w, v, "a login cannot be sealed", err)
		return
	}
	recordIdentity(w, login)
	web.SetCookie(w, pageCookie, sealed, pageLifetime)
	d.redirect(w, d.origin(v.host)+"/", http.StatusSeeOther)
}
