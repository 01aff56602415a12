package frontdoor

import (
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// The way from a desktop's host to the login and back:
//
//	HOST/path              → auth.DOMAIN/login?to=START   cookie on HOST names the browser
//	auth.DOMAIN            → identity provider and back   cookie on auth.DOMAIN
//	auth.DOMAIN            → HOST/.vdi/callback?code=CODE
//	HOST/.vdi/callback     → HOST/path                    cookie on HOST is the login
//
// START and CODE are sealed. A code is made only for a session of the very
// person who has just logged in, is good for one host, in the one browser that
// holds the cookie of the first step, for 30 seconds.

// startLogin sends people to the login and others away. It does so whether the
// host has a session or not, so that nobody learns which hosts exist.
func (d *Door) startLogin(w http.ResponseWriter, v visit) {
	if !v.isNavigation() {
		d.pages.message(w, v, http.StatusUnauthorized, "Log in", "Open this desktop in a browser to log in.")
		return
	}
	start, err := d.Keys().seal(forStart, ticket{
		Expires: d.Now().Add(startLifetime).Unix(), Host: v.host, Path: v.backTo(), Browser: d.browser(w, v),
	})
	if err != nil {
		d.serverError(w, v, "a login cannot be started", err)
		return
	}
	d.redirect(w, d.origin(d.ownHost)+doorLogin+"?"+url.Values{"to": {start}}.Encode(), http.StatusFound)
}

// handOff sends somebody who is logged in back to where they came from.
func (d *Door) handOff(w http.ResponseWriter, v visit, login, start ticket) {
	if start.Host == "" {
		d.redirect(w, d.origin(d.ownHost)+doorHome, http.StatusSeeOther)
		return
	}
	s, found, err := d.Known.ByHost(v.at.Context(), start.Host)
	switch {
	case err != nil:
		d.serverError(w, v, "a session cannot be looked up", err)
	case !found || s.Spec.User != login.User:
		d.Metrics.logins.WithLabelValues(string(stranger)).Inc()
		d.pages.show(w, http.StatusForbidden, "message.html", strangerPage(d.origin(d.ownHost)))
	default:
		d.sendCode(w, v, login, start, s)
	}
}

func (d *Door) sendCode(w http.ResponseWriter, v visit, login, start ticket, s *vdi.VDISession) {
	code, err := d.Keys().seal(d.purpose(forCode), ticket{
		Expires: d.Now().Add(codeLifetime).Unix(), Host: start.Host, Path: start.Path, Browser: start.Browser,
		SessionUID: string(s.UID), User: login.User, Entry: login.Entry, Groups: login.Groups, Login: login.Login, LoginIssued: login.LoginIssued, LoginExpires: login.LoginExpires, ID: random(),
	})
	if err != nil {
		d.serverError(w, v, "a code cannot be made", err)
		return
	}
	d.redirect(w, d.origin(start.Host)+pathCallback+"?"+url.Values{"code": {code}}.Encode(), http.StatusSeeOther)
}

// callback takes a code for a login on this host. A code that this replica has
// seen is refused; at another replica a second use needs the cookie that the
// first has deleted, so only the very browser that is logged in could try.
func (d *Door) callback(w http.ResponseWriter, v visit) {
	code, err := d.redeem(v)
	if err != nil {
		d.Metrics.logins.WithLabelValues("code").Inc()
		d.restartLogin(w, v)
		return
	}
	sealed, err := d.Keys().seal(d.purpose(forDesktop), ticket{
		Expires: code.LoginExpires, Host: v.host, SessionUID: code.SessionUID, User: code.User, Entry: code.Entry, Groups: code.Groups,
		Login: code.Login, LoginIssued: code.LoginIssued, LoginExpires: code.LoginExpires,
	})
	if err != nil {
		d.serverError(w, v, "a login cannot be sealed", err)
		return
	}
	recordIdentity(w, code)
	d.Metrics.logins.WithLabelValues("desktop").Inc()
	web.ClearCookie(w, browserCookie)
	web.SetCookie(w, wire.CookieLogin, sealed, time.Unix(code.LoginExpires, 0).Sub(d.Now()))
	d.redirect(w, d.origin(v.host)+code.Path, http.StatusSeeOther)
}

var errCode = errors.New("no valid code")

func (d *Door) redeem(v visit) (ticket, error) {
	browser, known := knownBrowser(v)
	codes := v.query["code"]
	if v.method != http.MethodGet || !known || len(codes) != 1 {
		return ticket{}, errCode
	}
	code, err := d.Keys().open(d.purpose(forCode), codes[0], d.Now())
	if err != nil || code.Host != v.host || code.Browser != browser || !d.used.firstUse(code) {
		return ticket{}, errCode
	}
	return code, nil
}

// restartLogin is for codes that are too late, used, or another browser's. Whoever
// is logged in here already, perhaps in another tab, just goes on.
func (d *Door) restartLogin(w http.ResponseWriter, v visit) {
	if who, err := d.callerOf(v); err == nil && who.standing == allowed {
		d.redirect(w, d.origin(v.host)+"/", http.StatusSeeOther)
		return
	}
	d.pages.show(w, http.StatusForbidden, "message.html", page{
		Title: "Log in again", Text: "This login is too old, was used already, or began in another browser.",
		Link: d.origin(v.host) + "/", LinkText: "Open the desktop again",
	})
}

// usedCodes are codes that were redeemed here and have not expired.
type usedCodes struct {
	now func() time.Time
	mu  sync.Mutex
	ids map[string]int64 // → expiry
}

func newUsedCodes(now func() time.Time) *usedCodes {
	return &usedCodes{now: now, ids: map[string]int64{}}
}

// firstUse reports whether a code comes for the first time. Only valid codes get here,
// so the list stays as small as the number of logins in half a minute.
func (u *usedCodes) firstUse(code ticket) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, expires := range u.ids {
		if expires <= u.now().Unix() {
			delete(u.ids, id)
		}
	}
	_, again := u.ids[code.ID]
	u.ids[code.ID] = code.Expires
	return !again
}
