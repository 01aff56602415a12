package frontdoor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/debian"
	"github.com/vdi-platform/vdi-platform/tests/oidc"
)

// patience bounds how long the real browser may take on a busy machine.
const patience = 2 * time.Minute

// chromium starts the real browser, which finds all our hosts at this machine.
func chromium(t *testing.T) context.Context {
	t.Helper()
	require.NoError(t, debian.Ensure(t.Context(), "chromium", "chromium"))
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // the tests run as root
		chromedp.Flag("host-resolver-rules", "MAP *."+domain+" 127.0.0.1"),
		chromedp.IgnoreCertErrors,
		chromedp.WindowSize(900, 640),
	)
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(allocator, patience)
	t.Cleanup(cancel)
	tab, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	return tab
}

// page is one tab.
type page struct {
	t   *testing.T
	tab context.Context
}

func (p page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.tab, steps...))
}

// comes waits until an expression is true. It is asked from outside: the pages'
// own policy lets no text be run as a script.
func (p page) comes(expression string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		is, err := chromedp.Run(p.tab, chromedp.Evaluate[bool](expression))
		return err == nil && is
	}, patience, 20*time.Millisecond, expression)
}

func (p page) shows(words string) {
	p.t.Helper()
	p.comes(fmt.Sprintf("!!document.body && document.body.innerText.includes(%q)", words))
}

// screenshot keeps what the browser shows, where FRONTDOOR_SCREENSHOTS names a folder.
func (p page) screenshot(name string) {
	p.t.Helper()
	dir := os.Getenv("FRONTDOOR_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(p.tab, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// TestInTheBrowser: login, resume, a page that follows the session, and a logout
// that closes the streams of another tab, in the real browser with its rules for
// cookies, forms, frames and policies.
func TestInTheBrowser(t *testing.T) {
	e := newEdge(t)
	const second = "alice-2." + domain
	e.known.add("alice-2", alice, vdi.PhaseSuspended)
	e.suspend(second)
	e.known.edit(aliceHost, func(s *vdi.VDISession) { s.Status.URL = e.url(aliceHost) })
	tab := page{t, chromium(t)}
	tab.do(
		chromedp.Navigate(e.url(second)+"/"),
		chromedp.WaitVisible("#username"),
		chromedp.SendKeys("#username", alice), chromedp.SendKeys("#password", oidc.Password),
		chromedp.Click("button[type=submit]"),
	)
	tab.shows("Your desktop is suspended")
	tab.comes("getComputedStyle(document.querySelector('main')).backgroundColor === 'rgb(33, 36, 42)'") // the policy lets our style through
	tab.screenshot("suspended")
	tab.do(chromedp.Reload())
	tab.shows("Your desktop is suspended")
	require.Empty(t, e.known.done(), "a reload resumes nothing")

	tab.do(chromedp.Click("form[action='/.vdi/resume'] button"))
	tab.shows("about to start")
	require.Equal(t, []string{"resume alice-2"}, e.known.done())
	tab.comes("window.same = true")
	require.Eventually(t, e.known.isFollowed, patience, time.Millisecond, "the page listens")
	e.known.edit(second, func(s *vdi.VDISession) { s.Status.Phase, s.Status.WaitingFor = vdi.PhasePending, vdi.WaitingForGPU })
	tab.shows("You are next")
	tab.comes("window.same === true") // told, not loaded again
	tab.screenshot("waiting")

	other, closeOther := chromedp.NewContext(tab.tab)
	defer closeOther()
	desktop := page{t, other}
	desktop.do(chromedp.Navigate(e.url(aliceHost) + "/"))
	desktop.shows("a desktop at /")
	desktop.comes("!!(window.stream = new WebSocket('wss://' + location.host + '/ws'))")
	desktop.comes("(stream.onclose = (e) => { window.code = e.code }, stream.readyState === WebSocket.OPEN)")
	tab.do(chromedp.Navigate(e.url("auth."+domain) + "/"))
	tab.shows("alice-1")
	tab.screenshot("list")
	tab.do(chromedp.Click("form[action='/logout'] button"))
	tab.shows("Logged out")
	desktop.comes("window.code === 1008") // the logout closes the stream of the other tab
}
