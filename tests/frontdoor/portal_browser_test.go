package frontdoor

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/chromium"
)

// TestPortalInTheBrowser: from the login to a desktop and to its end, in the real browser, with
// its scripts and without, on a narrow screen, in the light and in the dark.
func TestPortalInTheBrowser(t *testing.T) {
	for name, withoutScripts := range map[string]bool{"with scripts": false, "without scripts": true} {
		t.Run(name, func(t *testing.T) {
			w := newPortalWorld(t)
			two := int32(2)
			w.known.quotas = []vdi.VDIQuota{{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Running: &two}}}}
			tab := chromium.Open(t, "MAP *."+domain+" "+w.address)
			tab.Do(chromedp.EmulateViewport(320, 640), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: withoutScripts})
				return err
			}))
			j := journey{w, tab, withoutScripts, platform.SessionName(alice, "letters") + "." + domain}
			j.choose()
			j.use()
			j.remove()
			j.files()
		})
	}
}

// journey is what somebody does at the portal.
type journey struct {
	w              *world
	tab            chromium.Tab
	withoutScripts bool
	host           string // of the desktop that is made
}

// looks: the page fits the screen, and is kept as a picture in both colours.
func (j journey) looks(name string) {
	fitsScreen(j.tab)
	for _, scheme := range []string{"dark", "light"} {
		j.tab.Do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			return err
		}))
		j.tab.Screenshot("portal-" + name + "-" + scheme)
	}
}

// sees waits until a page shows something; without scripts somebody loads it again.
func (j journey) sees(text string) {
	if j.withoutScripts {
		j.tab.Do(chromedp.Reload())
	}
	j.tab.Shows(text)
}

// choose goes from the login to a new desktop.
func (j journey) choose() {
	tab := j.tab
	tab.Do(chromedp.Navigate(portal + "/"))
	tab.Do(chromedp.SendKeys("#name", "alice"), chromedp.SendKeys("#password", "alice's\r"))
	tab.Shows("alice-1")
	j.looks("list")
	tab.Do(chromedp.EmulateViewport(1024, 640))
	tab.Comes("document.querySelector('nav').getBoundingClientRect().width === document.documentElement.clientWidth")
	tab.Screenshot("portal-list-wide")
	tab.Do(chromedp.EmulateViewport(320, 640))
	tab.Presses("a[href='/new']")
	tab.Shows("Pictures and films.")
	tab.Comes("document.querySelector('img').naturalWidth > 0")
	j.looks("shelves")
	tab.Presses("a[href='/new/office']")
	tab.Shows("the same name finds them again")
	tab.Comes("document.querySelector('#timeZone').value === " + map[bool]string{true: "''", false: "Intl.DateTimeFormat().resolvedOptions().timeZone"}[j.withoutScripts])
	tab.Do(chromedp.SetValue("#name", "Letters"), chromedp.SetValue("#memory", "99"))
	tab.Presses("form[action='/new/office'] button")
	tab.Shows("This must be from 0.5 to 8.")
	j.looks("order")
	tab.Do(chromedp.SetValue("#memory", "2"))
	tab.Presses("form[action='/new/office'] button")
	tab.Comes("location.pathname.startsWith('/desktop/desks/')")
	tab.Shows("Waiting")
	require.Len(j.w.t, j.w.known.done(), 1)
}

// use waits for the desktop, keeps what is open open, and suspends and resumes it.
func (j journey) use() {
	tab, known := j.tab, j.w.known
	known.edit(j.host, func(s *vdi.VDISession) {
		hasHome(s)
		s.Status.Phase, s.Status.ExpiresAt, s.Status.ExpiryReason = vdi.PhaseRunning, &metav1.Time{Time: time.Now().Add(95 * time.Minute)}, vdi.StopExpired
	})
	j.sees("Open")
	if !j.withoutScripts {
		tab.Shows("(in 1 h 3") // 35 min, or 34
	}
	tab.Presses("details > summary")
	tab.Comes("document.querySelector('details').open")
	tab.Do(chromedp.Focus("details button"))
	known.edit(j.host, func(s *vdi.VDISession) { s.Spec.IdleTimeout = "30m" })
	j.sees("It is suspended after 30 min.")
	if !j.withoutScripts {
		tab.Comes("document.querySelector('details').open && document.activeElement === document.querySelector('details button')")
		j.looks("desktop")
		tab.Presses("details > form > button")
	} else {
		tab.Presses("details > summary")
		tab.Presses("details > form > button")
	}
	tab.Shows("Shutting down")
	known.edit(j.host, func(s *vdi.VDISession) { s.Status.Phase, s.Status.ExpiresAt = vdi.PhaseSuspended, nil })
	j.sees("Suspended.")
	tab.Presses("form[action$='/resume'] button")
	tab.Shows("Starting.")
}

// remove deletes the desktop, and comes back to the list.
func (j journey) remove() {
	tab := j.tab
	tab.Presses("a[href$='/delete']")
	tab.Shows("Its home is kept with its files.")
	j.looks("delete")
	tab.Presses("form[action$='/delete'] button")
	tab.Comes("location.pathname === '/'")
	tab.Shows("Being removed.")
	require.Equal(j.w.t, []string{"suspend", "resume", "delete"}, verbs(j.w.known.done()))
}

// files deletes what a desktop has left, and keeps it after all.
func (j journey) files() {
	tab, known := j.tab, j.w.known
	known.leave(platform.SessionName(alice, "thesis"), alice, map[string]string{wire.AnnotationDisplayName: "Thesis"})
	known.leave(platform.SessionName(alice, "renderings"), alice, map[string]string{wire.AnnotationDisplayName: "Renderings of the autumn term", wire.AnnotationRetainFor: "720h"})
	tab.Presses("a[href='/homes']")
	tab.Shows("They are kept.")
	const kept = "li:not(:has(form[action$='/keep'])) "
	tab.Presses(kept + "details > summary")
	j.looks("files")
	tab.Presses(kept + "form[action$='/discard'] button")
	tab.Comes("document.querySelectorAll('form[action$=keep]').length === 2")
	tab.Presses("form[action$='/keep'] button")
	tab.Comes("document.querySelectorAll('form[action$=keep]').length === 1")
	require.Equal(j.w.t, []string{"keep", "keep"}, verbs(known.done()))
}
