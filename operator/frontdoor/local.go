package frontdoor

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// In mode Local people log in here, by a name and a password from a list, see package
// people. Behind the login everything is as in mode OIDC, where the identity provider's
// answer stands in the place of the list.

// isListed reports whether a login came by an entry that the list has. Another entry that
// the name was bound to lately may be in a list that is only on its way here, see
// [ended.ListLag]; without a list, what the name was bound to counts.
func (d *Door) isListed(ctx context.Context, login ticket) (bool, error) {
	list := d.People()
	if p, known := list.ByUser(login.User); known && p.Account() == login.Entry {
		return true, nil
	}
	bound, lately, err := d.Ended.IsBound(ctx, person(login.User, ""), login.Entry)
	return bound && (lately || list == nil), err
}

// Fields of the login's form.
const (
	fieldName = "name"
	fieldTo   = "to"
)

// askPassword shows the login page; to is where it leads, sealed.
func (d *Door) askPassword(w http.ResponseWriter, v visit, status int, to, wrong string) {
	form, err := d.form(w, v)
	if err != nil {
		d.serverError(w, v, "a form cannot be made", err)
		return
	}
	if d.People() == nil {
		status, wrong = http.StatusServiceUnavailable, "Nobody can log in now: the list of people cannot be read. Ask an administrator."
	}
	d.pages.show(w, status, "login.html", page{Title: "Log in", Form: form, To: to, Name: v.at.PostForm.Get(fieldName), Wrong: wrong})
}

// checkLogin takes a name and a password. What is typed and what is answered lets nobody
// learn which names there are: neither words nor time depend on it.
func (d *Door) checkLogin(w http.ResponseWriter, v visit) {
	if err := d.parseForm(w, v); err != nil {
		d.Metrics.logins.WithLabelValues("forged").Inc()
		d.forbidden(w, v)
		return
	}
	typed := v.at.PostForm
	name, to := strings.TrimSpace(typed.Get(fieldName)), typed.Get(fieldTo)
	guess := d.guessOf(v, name)
	p, err := d.checkPassword(v, guess, name, typed.Get(wire.FieldPassword))
	if err == nil {
		err = d.welcome(w, v, guess, p, to)
	}
	if err == nil {
		return
	}
	answer, known := loginAnswers[err]
	if !known {
		d.Metrics.logins.WithLabelValues("error").Inc()
		d.serverError(w, v, "a login cannot be completed", err)
		return
	}
	d.Metrics.logins.WithLabelValues(answer.result).Inc()
	d.askPassword(w, v, answer.status, to, answer.sentence)
}

// Why somebody is not logged in.
var (
	errUnusable = errors.New("there is no list of people")
	errLimited  = errors.New("too many wrong passwords")
	errBusy     = errors.New("too many passwords at a time")
	errWrong    = errors.New("wrong name or password")
	errStale    = errors.New("this replica's list is not the latest")
)

// loginAnswers are what a person reads then; result is a label's value.
var loginAnswers = map[error]struct {
	status           int
	result, sentence string
}{
	errUnusable: {http.StatusServiceUnavailable, "unusable", ""}, // the page says it anyway
	errLimited:  {http.StatusTooManyRequests, "limited", "Too many wrong passwords came from your network. Wait a minute and try again."},
	errBusy:     {http.StatusServiceUnavailable, "busy", "Too many people log in at this moment. Try again in a few seconds."},
	errWrong:    {http.StatusUnauthorized, "wrong", "This name and this password do not go together."},
	errStale:    {http.StatusServiceUnavailable, "stale", "The list of people is just being changed. Try again in a few minutes."},
}

// checkPassword returns whose name and password these are.
func (d *Door) checkPassword(v visit, g guess, name, password string) (people.Person, error) {
	list := d.People()
	switch {
	case list == nil:
		return people.Person{}, errUnusable
	case !d.guesses.left(g):
		return people.Person{}, errLimited
	}
	done, err := d.guesses.turn(v.at.Context(), g)
	if err != nil {
		return people.Person{}, err
	}
	defer done()
	if !d.guesses.count(g) {
		return people.Person{}, errLimited
	}
	p, right := list.Check(name, password)
	if !right {
		return people.Person{}, errWrong
	}
	d.guesses.giveBack(g)
	return p, nil
}

// welcome logs a person in and sends them on.
func (d *Door) welcome(w http.ResponseWriter, v visit, g guess, p people.Person, to string) error {
	ctx, who := v.at.Context(), identity{user: p.User, entry: p.Account()}
	issued, theirs, err := d.begins(ctx, who)
	switch {
	case err != nil:
		return err
	case !theirs:
		d.Log.Warn("a login is refused for now: another replica has, or had a moment ago, another entry in its list of people", "identity", platform.Identity(who.user))
		return errStale
	}
	if err := d.remember(w, g, p); err != nil {
		return err
	}
	if _, ok := d.grantLogin(w, v, who, issued); ok {
		d.goOn(w, v, to)
	}
	return nil
}

// begins is when a login by an entry of the list does, where the name is theirs. The stamp is
// after what ended all of theirs: the name is looked at behind it, too, since what ended them in
// between may have given it to another entry.
func (d *Door) begins(ctx context.Context, who identity) (issued time.Time, theirs bool, err error) {
	name := person(who.user, "")
	if theirs, err = d.Ended.Bind(ctx, name, who.entry); err != nil || !theirs {
		return time.Time{}, false, err
	}
	if issued, err = d.Ended.Stamp(ctx, name); err != nil {
		return time.Time{}, false, err
	}
	theirs, _, err = d.Ended.IsBound(ctx, name, who.entry)
	return issued, theirs, err
}

// goOn leads to where a login was asked for. To a desktop's host it leads by a page: what
// a form is redirected to at another host, the page's policy (form-action) stops.
func (d *Door) goOn(w http.ResponseWriter, v visit, to string) {
	start, err := d.Keys().open(forStart, to, d.Now())
	if err != nil || start.Host == "" {
		d.redirect(w, d.origin(d.ownHost)+doorHome, http.StatusSeeOther)
		return
	}
	next := doorLogin + "?" + url.Values{fieldTo: {to}}.Encode()
	d.pages.show(w, http.StatusOK, "message.html", page{Title: "Logged in", Text: "Your desktop opens now.", Next: next, Link: next, LinkText: "Open it"})
}

// remember marks a browser in which somebody knew their password: guesses from elsewhere do
// not count against them there. It is one browser however often, until the password changes.
func (d *Door) remember(w http.ResponseWriter, g guess, p people.Person) error {
	id := cmp.Or(g.browser, random())
	known, err := d.Keys().seal(forKnown, ticket{Expires: d.Now().Add(knownLifetime).Unix(), Host: d.ownHost, User: p.User, Entry: p.Account(), ID: id})
	if err != nil {
		return err
	}
	web.SetCookie(w, knownCookie, known, knownLifetime)
	return nil
}
