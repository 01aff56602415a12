package frontdoor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/web"
)

// heartbeat keeps proxies from closing a quiet stream, finds out that nobody
// listens any more, and that a login has ended meanwhile.
const heartbeat = 25 * time.Second

// change is one event for a page (server-sent events, HTML §9.2).
type change struct {
	// HTML replaces what the page shows.
	HTML string `json:"html"`
	// Running: the desktop answers at this address now.
	Running bool `json:"running"`
}

// events reports to a page of its user what changes. Watching starts and keeps nothing alive.
func (d *Door) events(w http.ResponseWriter, v visit, who caller) {
	if web.IsFromElsewhere(v.header) { // or a page elsewhere could use up what there is for this one
		d.forbidden(w, v)
		return
	}
	changed, stop, ok := d.Known.Follow(v.host)
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
	_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(who.login.Expires, 0))
	web.SetSecurityHeaders(w.Header())
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	d.Metrics.followers.Inc()
	defer d.Metrics.followers.Dec()
	d.follow(w, v, form, changed)
}

// follow ends when the browser goes, the login ends, or the session is gone.
func (d *Door) follow(w http.ResponseWriter, v visit, form string, changed <-chan struct{}) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	flush, last := http.NewResponseController(w), ""
	for {
		who, err := d.callerOf(v)
		if err != nil || who.standing != allowed {
			return
		}
		line, err := d.changeLine(v, who, form)
		if err != nil {
			d.Log.Error("a page cannot be kept up to date", "error", err.Error())
			return
		}
		if line != last {
			last = line
		} else {
			line = ": still here\n\n"
		}
		if _, err := fmt.Fprint(w, line); err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-v.at.Context().Done():
			return
		case <-d.Closing:
			return
		case <-changed:
		case <-beat.C:
		}
	}
}

func (d *Door) changeLine(v visit, who caller, form string) (string, error) {
	now, err := d.stateOf(v, who.session)
	if err != nil {
		return "", err
	}
	html, err := d.pages.render("fragment", page{State: now, Form: form, Door: d.door()})
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(change{HTML: string(html), Running: now.Running})
	if err != nil {
		return "", err
	}
	return "data: " + string(data) + "\n\n", nil
}
