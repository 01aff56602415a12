// Package frontdoor is the way in to desktops that do not answer themselves, and
// the only place that knows people: it logs them in at the identity provider,
// answers the proxy who a visitor is and whose session they want (forward auth),
// and shows a page for a session that is suspended, starting, failed or gone.
//
// It keeps nothing in memory that another replica would need. It reads sessions
// from a watch and writes three fields of them, and it reads no Secret through the
// API. It must never start a desktop for a request that is not its user's press
// of a button.
package frontdoor

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Paths of our own pages, on every host, beside those of the wire.
const (
	pathCallback = wire.PathOwn + "callback"
	pathEvents   = wire.PathOwn + "events"
	pathResume   = wire.PathOwn + "resume"
	pathSignOut  = wire.PathOwn + "signout"
)

// Paths on the front door's own host.
const (
	doorHome     = "/"
	doorLogin    = "/login"
	doorCallback = "/callback"
	doorLogout   = "/logout"
	// doorBackChannel is where the identity provider itself reports a logout.
	doorBackChannel = "/backchannel-logout"
)

const (
	startLifetime = 10 * time.Minute
	// codeLifetime bounds how long a login takes from our own host to a desktop's.
	codeLifetime = 30 * time.Second
	formLifetime = 12 * time.Hour
	// pageLifetime is how long the password opens a session's page, on which a
	// desktop can be resumed and nothing else.
	pageLifetime = time.Hour
)

// Options are what a front door is made of.
type Options struct {
	Sessions platform.Sessions
	Access   platform.Access
	// LoginLifetime is how long a person's login holds, and with it every stream.
	LoginLifetime time.Duration
	// Provider is nil but in mode OIDC.
	Provider *Provider
	// People are those of mode Local; nil where their list cannot be used.
	People  func() *people.List
	Keys    func() Keys
	Known   Sessions
	Changer Changer
	// Catalogue is nil in mode Password, where nobody asks.
	Catalogue Catalogue
	// PortalNamespace is where sessions are made for people; "" for nowhere.
	PortalNamespace string
	Ended           Ended
	Now             func() time.Time
	Log             *slog.Logger
	Metrics         *Metrics
	// Closing ends the streams to open pages, so that they find another replica.
	Closing <-chan struct{}
}

// Ended knows logins that were ended before their time, in every replica.
type Ended interface {
	// Ended reports whether a login was ended.
	Ended(ctx context.Context, login ended.Login) (bool, error)
	// End ends a login.
	End(ctx context.Context, login ended.Login) error
	// Stamp returns when a new login of a person begins, so that it is after the end
	// of all earlier ones.
	Stamp(ctx context.Context, person string) (time.Time, error)
	// Pin binds a person's name to the account behind their first login, and reports
	// whether it is the same at later ones. A new name is bound only if it is to be kept.
	Pin(ctx context.Context, person string, account ended.Account, keep bool) (same bool, err error)
	// Holds reports whether a person's name belongs to an account.
	Holds(ctx context.Context, person string, account ended.Account) (bool, error)
	// Bind binds a person's name to an entry of the list of people, and reports whether it is
	// theirs. IsBound reports whether it is bound to that, and whether so late that the list
	// at hand may be older.
	Bind(ctx context.Context, person, entry string) (theirs bool, err error)
	IsBound(ctx context.Context, person, entry string) (bound, lately bool, err error)
	// Settle binds names to the entries that the list has now, and ends the logins of whoever
	// had another. It reports who that is, also beside an error.
	Settle(ctx context.Context, entries map[string]string) (changed func(person string) bool, err error)
	// EndAccount ends all logins of an account that began until a moment, and reports
	// whether that had not been written before.
	EndAccount(ctx context.Context, account ended.Account, until time.Time) (ended bool, err error)
}

// Door is a front door.
type Door struct {
	Options
	// ownHost is where people log in.
	ownHost string
	pages   *pages
	used    *usedCodes
	guesses *guesses
	// settled are the entries of the list that [Door.Settle] has settled last, by person;
	// unended: it has yet to end logins; others say whose streams it has yet to look for;
	// unclosed are sessions whose streams it has yet to close, and until when it tries.
	settled  map[string]string
	unended  bool
	others   []func(person string) bool
	unclosed map[types.UID]time.Time
	// noDesktop answers strangers in mode Password.
	noDesktop http.Handler
}

// New returns a front door.
func New(o Options) *Door {
	own := platform.Config{Sessions: o.Sessions, Access: o.Access}.LoginHost()
	d := &Door{Options: o, ownHost: own, pages: newPages(own, o.PortalNamespace != ""), used: newUsedCodes(o.Now), guesses: newGuesses(o.Now), unclosed: map[types.UID]time.Time{}}
	d.noDesktop = d.newNoDesktop()
	return d
}

// CallbackURL is where the identity provider sends people back to.
func CallbackURL(s platform.Sessions) string {
	return platform.URL(s, platform.AuthHost(s)) + doorCallback
}

// origin is the origin of a host's pages.
func (d *Door) origin(host string) string { return platform.URL(d.Sessions, host) }

// isSessionHost reports whether a host could be a session's.
func (d *Door) isSessionHost(host string) bool {
	label, under := strings.CutSuffix(host, "."+d.Sessions.Domain)
	return under && host != d.ownHost && host != platform.AuthHost(d.Sessions) && platform.ValidHost(host) && !strings.Contains(label, ".")
}

// standing is what a visitor is to a session.
type standing string

// Standings, also the values of the label result of
// vdi_frontdoor_forward_auth_total.
const (
	// allowed: the session is theirs.
	allowed standing = "allowed"
	// anonymous: nobody knows who they are, on this host.
	anonymous standing = "anonymous"
	// stranger: somebody is logged in, and the session is not theirs, or is none.
	stranger standing = "stranger"
)

// standingOf compares a login on a session's host with the session there, which is
// nil where there is none. The same host may belong to a later session of the
// same user: the login was for the one before.
func standingOf(login ticket, host string, s *vdi.VDISession) standing {
	switch {
	case s == nil || login.User != s.Spec.User:
		return stranger
	case login.Host != host || login.SessionUID != string(s.UID):
		return anonymous
	}
	return allowed
}

// caller is a visitor on a session's host.
type caller struct {
	standing standing
	// login is the one behind the standing, or, where ended says so, one that
	// counted before.
	login ticket
	ended bool
	// session is nil where the host has none.
	session *vdi.VDISession
}

// callerOf finds out who visits a session's host. An error means that it cannot
// be known now; then nobody comes in.
func (d *Door) callerOf(v visit) (caller, error) {
	ctx := v.at.Context()
	s, found, err := d.Known.ByHost(ctx, v.host)
	if err != nil {
		return caller{}, err
	}
	if !found {
		s = nil
	}
	login, has := d.ticketIn(v, d.hostCookie(), forDesktop)
	if !has {
		return caller{standing: anonymous, session: s}, nil
	}
	over, err := d.isOver(ctx, login)
	switch {
	case err != nil:
		return caller{}, err
	case over:
		return caller{standing: anonymous, login: login, ended: d.standingOf(login, v.host, s) == allowed, session: s}, nil
	}
	return caller{standing: d.standingOf(login, v.host, s), login: login, session: s}, nil
}

// isOver reports whether a login counts no more: it was ended, or, in mode Local, the entry
// of the list that it came by is not there any more.
func (d *Door) isOver(ctx context.Context, login ticket) (bool, error) {
	if ended, err := d.Ended.Ended(ctx, login.endedLogin()); ended || err != nil {
		return ended, err
	}
	if d.Access.Mode != wire.AccessLocal {
		return false, nil
	}
	listed, err := d.isListed(ctx, login)
	return !listed, err
}

func (d *Door) standingOf(login ticket, host string, s *vdi.VDISession) standing {
	if d.Access.Mode == wire.AccessPassword {
		return pageStandingOf(login, host, s)
	}
	return standingOf(login, host, s)
}

// pageStandingOf is standingOf for a login by password, which names no user.
func pageStandingOf(login ticket, host string, s *vdi.VDISession) standing {
	if s == nil || login.User != "" || login.Host != host || login.SessionUID != string(s.UID) {
		return anonymous
	}
	return allowed
}

// hostCookie is the cookie of a login on a session's host.
func (d *Door) hostCookie() string {
	if d.Access.Mode.LogsIn() {
		return wire.CookieLogin
	}
	return pageCookie
}

// form returns the hidden field that proves that a form is ours.
func (d *Door) form(w http.ResponseWriter, v visit) (string, error) {
	return d.Keys().seal(forForm, ticket{Expires: d.Now().Add(formLifetime).Unix(), Host: v.host, Browser: d.browser(w, v)})
}

const (
	formField = "form"
	maxForm   = 8 << 10 // bytes
)

var errForgery = errors.New("the form is not one of this page")

// parseForm reads a form that our own page on this very host, in this very
// browser, has sent. Each of the three signs would do in a current browser.
func (d *Door) parseForm(w http.ResponseWriter, v visit) error {
	if !web.IsFrom(v.header, d.origin(v.host)) {
		return errForgery
	}
	if d.hasLogin(v) {
		httpserver.LoggedIn(w)
	}
	v.at.Body = http.MaxBytesReader(w, v.at.Body, maxForm)
	if err := v.at.ParseForm(); err != nil {
		return errForgery
	}
	proof, err := d.Keys().open(forForm, v.at.PostForm.Get(formField), d.Now())
	browser, known := knownBrowser(v)
	if err != nil || !known || proof.Host != v.host || proof.Browser != browser {
		return errForgery
	}
	return nil
}

// hasLogin reports whether a visitor has a login that holds, on our own host or a
// session's.
func (d *Door) hasLogin(v visit) bool {
	name, purpose := d.hostCookie(), forDesktop
	if v.host == d.ownHost {
		name, purpose = loginCookie, forLogin
	}
	_, has, err := d.loginIn(v, name, purpose)
	return err == nil && has
}

// endLogin makes copies of a login worthless in all replicas.
func (d *Door) endLogin(ctx context.Context, login ticket) error {
	return d.Ended.End(ctx, login.endedLogin())
}
