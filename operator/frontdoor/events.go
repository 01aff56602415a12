package frontdoor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
)

// heartbeat keeps proxies from closing a quiet stream, finds out that nobody
// listens any more, and that a login has ended meanwhile.
const heartbeat = 25 * time.Second

// renderPause is between two looks of a page: changes that come quickly are shown at once.
const renderPause = 300 * time.Millisecond

// change is one event for a page (server-sent events, HTML §9.2).
type change struct {
	// HTML replaces what the page shows.
	HTML string `json:"html"`
	// Running: the desktop answers at this address now.
	Running bool `json:"running"`
}

// errOver: a page is not kept up to date any more: the login has ended, or what it shows is gone.
var errOver = errors.New("the page is over")

// live is a page that is kept up to date.
type live struct {
	// expires is when the login behind it does.
	expires time.Time
	// follow signals that it may show something else.
	follow func() (changed <-chan struct{}, stop func(), ok bool)
	// now is what it shows; form proves that its forms are ours.
	now func(form string) (change, error)
}

// events keeps the page of a session's host up to date. Watching starts and keeps nothing alive.
func (d *Door) events(w http.ResponseWriter, v visit, who caller) {
	d.stream(w, v, live{
		expires: time.Unix(who.login.Expires, 0),
		follow:  func() (<-chan struct{}, func(), bool) { return d.Known.Follow(v.host) },
		now: func(form string) (change, error) {
			who, err := d.callerOf(v)
			if err != nil || who.standing != allowed {
				return change{}, errOver
			}
			return d.stateChange(v, who.session, form)
		},
	})
}

func (d *Door) stateChange(v visit, s *vdi.VDISession, form string) (change, error) {
	now, err := d.stateOf(v, s)
	if err != nil {
		return change{}, err
	}
	html, err := d.pages.render("fragment", page{State: now, Form: form, Door: d.door()})
	return change{HTML: string(html), Running: now.Running}, err
}

// listEvents keeps the list of one's desktops up to date.
func (d *Door) listEvents(w http.ResponseWriter, v visit, login ticket) {
	d.streamOfUser(w, v, login, func(form string) (change, error) {
		shown, err := d.listOf(v, login, form)
		if err != nil {
			return change{}, err
		}
		html, err := d.pages.render("desktops", shown)
		return change{HTML: string(html)}, err
	})
}

// desktopEvents keeps the page of a desktop up to date.
func (d *Door) desktopEvents(w http.ResponseWriter, v visit, login ticket, s *vdi.VDISession) {
	name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	d.streamOfUser(w, v, login, func(form string) (change, error) {
		s, found, err := d.ofUser(v.at.Context(), login.User, name)
		if err != nil {
			return change{}, err
		}
		template, shown := "gone", page{}
		if found {
			template = "desktop"
			if shown.Desktop, err = d.desktopOf(v, s, d.titles(v.at.Context()), form); err != nil {
				return change{}, err
			}
			shown.Desktop.Here = true
		}
		html, err := d.pages.render(template, shown)
		return change{HTML: string(html)}, err
	})
}

// streamOfUser keeps a page up to date that shows one's sessions.
func (d *Door) streamOfUser(w http.ResponseWriter, v visit, login ticket, now func(form string) (change, error)) {
	d.stream(w, v, live{
		expires: time.Unix(login.Expires, 0),
		follow:  func() (<-chan struct{}, func(), bool) { return d.Known.FollowUser(login.User) },
		now: func(form string) (change, error) {
			if _, has, err := d.loginOf(v); err != nil || !has {
				return change{}, errOver
			}
			return now(form)
		},
	})
}

// stream reports what changes to a page of whoever is logged in.
func (d *Door) stream(w http.ResponseWriter, v visit, l live) {
	if v.method != http.MethodGet || web.IsFromElsewhere(v.header) { // or a page elsewhere could use up what there is for this one
		d.forbidden(w, v)
		return
	}
	changed, stop, ok := l.follow()
	if !ok {
		d.pages.message(w, v, http.StatusTooManyRequests, "Your desktop", "This page is open too often.")
		return
	}
	defer stop()
	browser, _ := knownBrowser(v) // the stream's forms are good in this one alone
	form, err := d.Keys().seal(forForm, ticket{Expires: d.Now().Add(formLifetime).Unix(), Host: v.host, Browser: browser})
	if err != nil {
		d.serverError(w, v, "a form cannot be made", err)
		return
	}
	httpserver.LetIn(w)
	// A page that reads nothing must not outlast its login either. Fails only where there
	// is no connection.
	_ = http.NewResponseController(w).SetWriteDeadline(l.expires)
	web.SetSecurityHeaders(w.Header())
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	d.Metrics.followers.Inc()
	defer d.Metrics.followers.Dec()
	d.follow(w, v, changed, func() (change, error) { return l.now(form) })
}

// follow ends when the browser goes, or what it follows is over.
func (d *Door) follow(w http.ResponseWriter, v visit, changed <-chan struct{}, now func() (change, error)) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	flush, last := http.NewResponseController(w), ""
	for {
		shown, err := now()
		if err != nil {
			if !errors.Is(err, errOver) {
				d.Log.Error("a page cannot be kept up to date", "error", err.Error())
			}
			return
		}
		data, err := json.Marshal(shown)
		if err != nil {
			d.Log.Error("a page cannot be kept up to date", "error", err.Error())
			return
		}
		line := "data: " + string(data) + "\n\n"
		if line != last {
			last = line
		} else {
			line = ": still here\n\n"
		}
		if _, err := fmt.Fprint(w, line); err != nil || flush.Flush() != nil {
			return
		}
		if !d.awaits(v, changed, beat.C) || !d.awaits(v, nil, time.After(renderPause)) {
			return
		}
	}
}

// awaits waits for one of two signals; nothing comes any more where the browser has gone.
func (d *Door) awaits(v visit, changed <-chan struct{}, beat <-chan time.Time) bool {
	select {
	case <-v.at.Context().Done():
		return false
	case <-d.Closing:
		return false
	case <-changed:
	case <-beat:
	}
	return true
}
