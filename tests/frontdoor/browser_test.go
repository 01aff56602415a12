package frontdoor

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/chromium"
	"github.com/vdi-platform/vdi-platform/tests/oidc"
)

// patience bounds how long the real browser may take on a busy machine.
const patience = 2 * time.Minute

// TestInTheBrowser: login, resume, a page that follows the session, and a logout
// that closes the streams of another tab, in the real browser with its rules for
// cookies, forms, frames and policies.
func TestInTheBrowser(t *testing.T) {
	e := newEdge(t)
	const second = "alice-2." + domain
	e.known.add("alice-2", alice, vdi.PhaseSuspended)
	e.suspend(second)
	e.known.edit(aliceHost, func(s *vdi.VDISession) { s.Status.URL = e.url(aliceHost) })
	tab := chromium.Open(t, "MAP *."+domain+" 127.0.0.1")
	tab.Do(
		chromedp.Navigate(e.url(second)+"/"),
		chromedp.WaitVisible("#username"),
		chromedp.SendKeys("#username", alice), chromedp.SendKeys("#password", oidc.Password),
		chromedp.Click("button[type=submit]"),
	)
	tab.Shows("Your desktop is suspended")
	tab.Comes("['rgb(33, 36, 42)', 'rgb(255, 255, 255)'].includes(getComputedStyle(document.querySelector('main')).backgroundColor)") // the policy lets our style through
	tab.Screenshot("suspended")
	tab.Do(chromedp.Reload())
	tab.Shows("Your desktop is suspended")
	require.Empty(t, e.known.done(), "a reload resumes nothing")

	tab.Presses("form[action='/.vdi/resume'] button")
	tab.Shows("about to start")
	require.Equal(t, []string{"resume alice-2"}, e.known.done())
	tab.Comes("window.same = true")
	require.Eventually(t, e.known.isFollowed, patience, time.Millisecond, "the page listens")
	e.known.edit(second, func(s *vdi.VDISession) { s.Status.Phase, s.Status.WaitingFor = vdi.PhasePending, vdi.WaitingForGPU })
	tab.Shows("You are next")
	tab.Comes("window.same === true") // told, not loaded again
	tab.Screenshot("waiting")

	desktop := tab.Another()
	desktop.Do(chromedp.Navigate(e.url(aliceHost) + "/"))
	desktop.Shows("a desktop at /")
	desktop.Comes("!!(window.stream = new WebSocket('wss://' + location.host + '/ws'))")
	desktop.Comes("(stream.onclose = (e) => { window.code = e.code }, stream.readyState === WebSocket.OPEN)")
	tab.Do(chromedp.Navigate(e.url("auth."+domain) + "/"))
	tab.Shows("alice-1")
	tab.Screenshot("list")
	tab.Presses("form[action='/logout'] button")
	tab.Shows("Logged out")
	desktop.Comes("window.code === 1008") // the logout closes the stream of the other tab
}
