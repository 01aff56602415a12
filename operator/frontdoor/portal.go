package frontdoor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
)

// Paths of a person's pages on our own host, beside those of the login. What is not one of
// them, letter by letter, is not there.
const (
	doorEvents   = "/events"
	doorNew      = "/new"
	doorTemplate = "/new/"  // NAME of a template
	doorIcon     = "/icon/" // NAME of a template
	doorHomes    = "/homes"
	doorDesktop  = "/desktop/" // NAMESPACE/NAME of a session, and an act or the page about one
)

// Acts on a desktop, as they end their path.
const (
	actEvents  = "events"
	actSuspend = "suspend"
	actResume  = "resume"
	actExtend  = "extend"
	actDelete  = "delete"
	actRename  = "rename"
	actGrow    = "grow"
)

// settling is how long an answer waits until what was changed is seen here, too.
const settling = 2 * time.Second

// desktop is a session as its user sees it.
type desktop struct {
	// ID marks it on the page.
	ID string
	// Path is its own page's.
	Path, Title, Template, Namespace, Name, URL string
	State                                       state
	Acts                                        portal.Acts
	// Ends is when it ends by itself, zero for never, and End what happens then.
	Ends time.Time
	End  string
	// Idle is after what time without use it is suspended; "" where it never is.
	Idle string
	// Sizes it has, in words; Home what becomes of its files when it is deleted, and Suspending
	// what suspending does.
	Sizes, Home, Suspending string
	// HomeSize in GiB, "" where it has no home of its own, and why that is not so large yet.
	HomeSize, HomeRefused string
	// Elsewhere: it was made, and is deleted, elsewhere.
	Elsewhere bool
	Runs      []portal.Run
	UID       string
	// Form is the field that proves that a form is ours.
	Form string
	// Here: the page is about this desktop alone.
	Here bool
}

// servePortal serves a person's pages. Whoever is not logged in gets the login.
func (d *Door) servePortal(w http.ResponseWriter, v visit) bool {
	serve := d.portalPage(v)
	if serve == nil {
		return false
	}
	login, has, err := d.loginOf(v)
	switch {
	case err != nil:
		d.serverError(w, v, "a login cannot be checked", err)
	case !has && v.path == doorHome:
		d.welcomeStranger(w, v)
	case !has && v.isNavigation():
		d.redirect(w, doorHome, http.StatusSeeOther)
	case !has:
		d.pages.message(w, v, http.StatusUnauthorized, "Log in again", "Your login has ended, and nothing was changed.")
	case v.method == http.MethodPost && d.parseForm(w, v) != nil:
		d.forbidden(w, v)
	default:
		recordIdentity(w, login)
		serve(w, v, login)
	}
	return true
}

// pageOf serves a page to somebody who is logged in, and whose form, where the request has
// one, is one of ours.
type pageOf func(w http.ResponseWriter, v visit, login ticket)

// portalPage is nil where there is none.
func (d *Door) portalPage(v visit) pageOf {
	method := v.method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch method + " " + v.path {
	case "GET " + doorHome:
		return d.list
	case "GET " + doorEvents:
		return d.listEvents
	case "GET " + doorNew:
		return d.shelves
	case "GET " + doorHomes:
		return d.homes
	case "GET " + doorHomes + "/" + actEvents:
		return d.homesEvents
	case "POST /extend": // on pages of the release before
		return func(w http.ResponseWriter, _ visit, _ ticket) {
			d.redirect(w, d.origin(d.ownHost)+doorHome, http.StatusSeeOther)
		}
	}
	if name, is := strings.CutPrefix(v.path, doorTemplate); is {
		return map[string]pageOf{http.MethodGet: d.order(name), http.MethodPost: d.create(name)}[method]
	}
	if name, is := strings.CutPrefix(v.path, doorIcon); is && method == http.MethodGet {
		return d.icon(name)
	}
	if key, is := strings.CutPrefix(v.path, doorHomes+"/"); is && method == http.MethodPost {
		return d.homeAct(key)
	}
	if key, is := strings.CutPrefix(v.path, doorDesktop); is {
		return d.desktopPage(method, key)
	}
	return nil
}

// person is who is logged in.
func (d *Door) person(login ticket) portal.Person {
	return portal.Person{User: login.User, Groups: d.groupsOf(login)}
}

// list shows one's desktops.
func (d *Door) list(w http.ResponseWriter, v visit, login ticket) {
	form, err := d.form(w, v)
	if err != nil {
		d.serverError(w, v, "a form cannot be made", err)
		return
	}
	shown, err := d.listOf(v, login, form)
	if err != nil {
		d.serverError(w, v, "sessions cannot be listed", err)
		return
	}
	d.pages.show(w, http.StatusOK, "list.html", shown)
}

func (d *Door) listOf(v visit, login ticket, form string) (page, error) {
	ctx := v.at.Context()
	sessions, err := d.Known.ByUser(ctx, login.User)
	if err != nil {
		return page{}, err
	}
	shown := page{Title: "Your desktops", User: login.User, Form: form, Events: doorEvents}
	titles := d.titles(ctx)
	for i := range sessions {
		one, err := d.desktopOf(v, &sessions[i], titles, form)
		if err != nil {
			return page{}, err
		}
		shown.Desktops = append(shown.Desktops, one)
	}
	slices.SortFunc(shown.Desktops, func(a, b desktop) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)), strings.Compare(a.UID, b.UID))
	})
	shown.Shares = d.shares(ctx, d.person(login), nil, nil, sessions)
	return shown, nil
}

// desktopOf shows a session. Titles are those of templates, by name.
func (d *Door) desktopOf(v visit, s *vdi.VDISession, titles map[string]string, form string) (desktop, error) {
	now, err := d.stateOf(v, s)
	if err != nil {
		return desktop{}, err
	}
	one := desktop{
		ID: "d-" + string(s.UID), Path: doorDesktop + s.Namespace + "/" + s.Name, Title: portal.TitleOf(s), Namespace: s.Namespace, Name: s.Name,
		Template: cmp.Or(titles[s.Spec.Template], s.Spec.Template), State: now, Acts: portal.ActsOn(s, d.PortalNamespace),
		End: portal.EndWords(s), Sizes: sizesOf(s), Home: portal.HomeWords(s), Suspending: portal.SuspendWords(s), Runs: portal.RunsOf(s), UID: string(s.UID), Form: form,
		HomeSize: portal.HomeOf(s), HomeRefused: portal.GrowthRefused(s),
	}
	switch {
	case one.Acts.Open:
		one.URL, one.State.Text = s.Status.URL, "" // the button says it
	case now.Text == opensByItself:
		one.State.Text = "You can open it as soon as it answers."
	}
	one.Elsewhere = !one.Acts.Delete && s.DeletionTimestamp == nil
	one.Acts.Resume = now.CanResume && s.DeletionTimestamp == nil
	if end := s.Status.ExpiresAt; end != nil {
		one.Ends = end.Time
	}
	if idle := portal.IdleRule(s); idle > 0 {
		one.Idle = portal.Span(idle)
	}
	return one, nil
}

func sizesOf(s *vdi.VDISession) string {
	r := s.Status.Resources
	if r == nil {
		return ""
	}
	var parts []string
	if r.GPU != nil && *r.GPU > 0 {
		parts = append(parts, fmt.Sprintf("GPU slices: %d", *r.GPU))
	}
	if r.CPU != "" {
		parts = append(parts, "CPU cores: "+r.CPU)
	}
	if r.Memory != "" {
		parts = append(parts, "memory: "+portal.MemoryWords(r.Memory))
	}
	return strings.Join(parts, ", ")
}

// titles are what people call templates. A page of one's desktops is more than their names:
// it does without.
func (d *Door) titles(ctx context.Context) map[string]string {
	templates, _ := d.Catalogue.Templates(ctx) // the catalogue's own page says why not
	titles := map[string]string{}
	for i := range templates {
		titles[templates[i].Name] = portal.TitleOfTemplate(&templates[i])
	}
	return titles
}

// shares are a person's limits. A page that cannot show them shows the rest: the operator
// judges by them anyhow.
func (d *Door) shares(ctx context.Context, p portal.Person, t *vdi.VDITemplate, takes fairshare.Amounts, sessions []vdi.VDISession) []portal.Share {
	quotas, err := d.Catalogue.Quotas(ctx)
	var used *vdi.VDIUsage
	if err == nil && len(quotas) > 0 {
		used, err = d.Catalogue.Usage(ctx, p.User)
	}
	if err != nil {
		return nil
	}
	one := fairshare.Session{User: p.User, Groups: p.Groups}
	one.Namespace = d.PortalNamespace
	if t != nil {
		one.Template = t.Name
	}
	return portal.SharesOf(quotas, one, takes, sessions, used, d.Now())
}

// settle waits until one's sessions are as they must be after a change, as they are known
// here; not for long, since pages follow by themselves.
func (d *Door) settle(ctx context.Context, user string, settled func([]vdi.VDISession) bool) {
	changed, stop, ok := d.Known.FollowUser(user)
	if !ok {
		return
	}
	defer stop()
	patience := time.NewTimer(settling)
	defer patience.Stop()
	for {
		sessions, err := d.Known.ByUser(ctx, user)
		if err != nil || settled(sessions) {
			return
		}
		select {
		case <-changed:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
