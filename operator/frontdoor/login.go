package frontdoor

import (
	"errors"
	"net/http"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// serveOwnHost serves our own host: login, logout and a person's pages.
func (d *Door) serveOwnHost(w http.ResponseWriter, v visit) {
	if !d.Access.Mode.LogsIn() {
		d.pages.message(w, v, http.StatusNotFound, "Your desktops", "Open the address of your desktop; each has a password of its own.")
		return
	}
	switch v.method + " " + v.path {
	case "GET " + doorLogin:
		d.login(w, v)
	case "POST " + doorLogout:
		d.logout(w, v)
	default:
		if !d.servePortal(w, v) {
			d.serveLoginOfMode(w, v)
		}
	}
}

// serveLoginOfMode serves what a login takes at an identity provider, or here.
func (d *Door) serveLoginOfMode(w http.ResponseWriter, v visit) {
	switch string(d.Access.Mode) + " " + v.method + " " + v.path {
	case "OIDC GET " + doorCallback:
		d.finishLogin(w, v)
	case "OIDC POST " + doorBackChannel:
		d.backChannelLogout(w, v)
	case "Local POST " + doorLogin:
		d.checkLogin(w, v)
	default:
		d.pages.message(w, v, http.StatusNotFound, "Your desktops", "There is no such page.")
	}
}

// loginOf is the login on our own host, if there is one that still holds.
func (d *Door) loginOf(v visit) (login ticket, has bool, err error) {
	return d.loginIn(v, loginCookie, forLogin)
}

// loginIn is the login in a cookie, if there is one that still holds.
func (d *Door) loginIn(v visit, name string, p purpose) (login ticket, has bool, err error) {
	login, has = d.ticketIn(v, name, p)
	if !has {
		return ticket{}, false, nil
	}
	over, err := d.isOver(v.at.Context(), login)
	return login, err == nil && !over, err
}

// login begins a login, or goes on at once where there is one.
func (d *Door) login(w http.ResponseWriter, v visit) {
	var start ticket
	if to := v.query.Get("to"); to != "" {
		var err error
		if start, err = d.Keys().open(forStart, to, d.Now()); err != nil {
			d.pages.message(w, v, http.StatusBadRequest, "Log in again", "This address is too old; open the desktop again.")
			return
		}
	}
	login, has, err := d.loginOf(v)
	switch {
	case err != nil:
		d.serverError(w, v, "a login cannot be checked", err)
	case has:
		recordIdentity(w, login)
		d.handOff(w, v, login, start)
	case d.Access.Mode == wire.AccessLocal:
		d.askPassword(w, v, http.StatusOK, v.query.Get("to"), "")
	default:
		_, ended := d.ticketIn(v, loginCookie, forLogin)
		d.askProvider(w, v, start, ended || hasLeft(v))
	}
}

// askProvider sends the browser to the identity provider, after a logout for a login
// afresh. What must match the answer stays in a cookie of this browser, one for each tab.
func (d *Door) askProvider(w http.ResponseWriter, v visit, start ticket, afresh bool) {
	f := newFlow()
	address, err := d.Provider.address(v.at.Context(), f, afresh)
	if err != nil {
		d.providerFailed(w, v, err)
		return
	}
	sealed, err := d.Keys().seal(forFlow, ticket{
		Expires: d.Now().Add(startLifetime).Unix(), Host: start.Host, Path: start.Path, Browser: start.Browser,
		State: f.state, Nonce: f.nonce, Verifier: f.verifier,
	})
	if err != nil {
		d.serverError(w, v, "a login cannot be started", err)
		return
	}
	forgetFlows(w, v)
	web.SetCookie(w, flowName(f.state), sealed, startLifetime)
	d.redirect(w, address, http.StatusFound)
}

// finishLogin takes the identity provider's answer.
func (d *Door) finishLogin(w http.ResponseWriter, v visit) {
	state := v.query.Get("state")
	begun, found := d.ticketIn(v, flowName(state), forFlow)
	issuer := v.query.Get("iss") // RFC 9207
	if !found || state == "" || begun.State != state || issuer != "" && issuer != d.Access.OIDC.IssuerURL {
		d.Metrics.logins.WithLabelValues("state").Inc()
		d.pages.show(w, http.StatusBadRequest, "message.html", page{
			Title: "Log in again", Text: "This login did not begin in this browser, or took too long.",
			Link: d.origin(d.ownHost) + doorLogin, LinkText: "Log in",
		})
		return
	}
	web.ClearCookie(w, flowName(state))
	if v.query.Get("error") != "" || v.query.Get("code") == "" {
		d.Metrics.logins.WithLabelValues("denied").Inc()
		d.pages.message(w, v, http.StatusForbidden, "Not logged in", "The identity provider did not log you in.")
		return
	}
	who, err := d.Provider.user(v.at.Context(), flow{begun.State, begun.Nonce, begun.Verifier}, v.query.Get("code"))
	if err != nil {
		d.providerFailed(w, v, err)
		return
	}
	sessions, err := d.Known.ByUser(v.at.Context(), who.user)
	if err != nil {
		d.serverError(w, v, "sessions cannot be listed", err)
		return
	}
	// Where everybody may register at the provider, names of those who have nothing here
	// could fill the list.
	same, err := d.Ended.Pin(v.at.Context(), person(who.user, ""), who.account, len(sessions) > 0)
	switch {
	case err != nil:
		d.serverError(w, v, "the account of a login cannot be compared", err)
	case !same:
		d.otherAccount(w, v, who)
	default:
		d.completeLogin(w, v, who, begun)
	}
}

// otherAccount refuses somebody whose name was another account's before: the desktops
// and homes of that name are not theirs.
func (d *Door) otherAccount(w http.ResponseWriter, v visit, who identity) {
	d.Metrics.logins.WithLabelValues("account").Inc()
	d.Log.Warn("a login is refused: the name belongs to another account at the identity provider; if it shall pass to this one, run: vdi-frontdoor forget-account NAME",
		"identity", platform.Identity(who.user))
	d.pages.message(w, v, http.StatusForbidden, "Not logged in",
		"Your name belongs to another account here, perhaps of somebody who had it before you, or of your own before it was made anew. Ask an administrator.")
}

// providerFailed logs why, and answers the person what to do.
func (d *Door) providerFailed(w http.ResponseWriter, v visit, err error) {
	d.Log.Warn("login failed", "error", err.Error())
	if errors.Is(err, errIdentity) {
		d.Metrics.logins.WithLabelValues("identity").Inc()
		d.pages.message(w, v, http.StatusForbidden, "Not logged in",
			"The identity provider's answer does not say for sure who you are. If your e-mail address is new, confirm it there first; else ask an administrator.")
		return
	}
	d.Metrics.logins.WithLabelValues("provider").Inc()
	d.pages.message(w, v, http.StatusBadGateway, "Not logged in", "The identity provider does not answer as it should. Try again; if that does not help, ask an administrator.")
}

// completeLogin logs a person in on our own host and sends them on.
func (d *Door) completeLogin(w http.ResponseWriter, v visit, who identity, start ticket) {
	issued, err := d.Ended.Stamp(v.at.Context(), person(who.user, ""))
	if err != nil {
		d.serverError(w, v, "the list of ended logins cannot be read", err)
		return
	}
	if login, ok := d.grantLogin(w, v, who, issued); ok {
		d.handOff(w, v, login, start)
	}
}

// grantLogin gives the browser a login on our own host that begins at a moment.
func (d *Door) grantLogin(w http.ResponseWriter, v visit, who identity, issued time.Time) (login ticket, ok bool) {
	groups, err := packGroups(who.user, who.groups)
	if err := errors.Join(who.groupsErr, err); err != nil { // they can log in all the same
		d.Log.Warn("the groups of a login are not what they should be", "error", err.Error(), "identity", platform.Identity(who.user))
	}
	expires := d.Now().Add(d.LoginLifetime).Unix()
	login = ticket{Expires: expires, LoginIssued: issued.UnixMilli(), LoginExpires: expires, Host: v.host, User: who.user, Entry: who.entry, Groups: groups, Login: random()}
	sealed, err := d.Keys().seal(d.purpose(forLogin), login)
	if err != nil {
		d.serverError(w, v, "a login cannot be sealed", err)
		return ticket{}, false
	}
	recordIdentity(w, login)
	d.Metrics.logins.WithLabelValues("accepted").Inc()
	web.ClearCookie(w, leftCookie)
	web.SetCookie(w, loginCookie, sealed, d.LoginLifetime)
	return login, true
}

// welcomeStranger is our own host's first page for whoever is not logged in.
func (d *Door) welcomeStranger(w http.ResponseWriter, v visit) {
	if d.Access.Mode == wire.AccessLocal {
		d.askPassword(w, v, http.StatusOK, "", "")
		return
	}
	d.pages.show(w, http.StatusOK, "message.html", page{
		Title: "Your desktops", Text: "You are not logged in.", Link: doorLogin, LinkText: "Log in",
	})
}

// logout ends the login in all replicas, on our own host and on all desktops'.
func (d *Door) logout(w http.ResponseWriter, v visit) {
	if err := d.parseForm(w, v); err != nil {
		d.forbidden(w, v)
		return
	}
	login, has, err := d.loginOf(v)
	var frames []string
	if err == nil && has {
		recordIdentity(w, login)
		frames, err = d.end(v, login)
	}
	if err == nil && !has && login.Entry != "" { // another replica may have a list in which it counts
		err = d.endLogin(v.at.Context(), login)
	}
	if err != nil {
		d.serverError(w, v, "a logout cannot be written", err)
		return
	}
	d.Metrics.logins.WithLabelValues("logout").Inc()
	web.ClearCookie(w, loginCookie)
	web.SetCookie(w, leftCookie, "1", leftLifetime)
	d.pages.show(w, http.StatusOK, "message.html", page{
		Title: "Logged out", Text: "No desktop opens with this login any more.", Link: doorLogin, LinkText: "Log in again", Frames: frames,
		Elsewhere: d.elsewhere(v),
	})
}

// elsewhere is where one logs out at the identity provider, "" where there is none.
func (d *Door) elsewhere(v visit) string {
	if d.Provider == nil {
		return ""
	}
	return d.Provider.logoutAddress(v.at.Context())
}

// end ends a login, and returns the frames that close this browser's streams.
func (d *Door) end(v visit, login ticket) ([]string, error) {
	if err := d.endLogin(v.at.Context(), login); err != nil {
		return nil, err
	}
	sessions, err := d.Known.ByUser(v.at.Context(), login.User)
	if err != nil {
		return nil, err
	}
	return d.framesFor(login, sessions)
}
