package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/chromium"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// streams tells that the desktop's picture moves in the page of Selkies.
const streams = `(document.querySelector('#videoStream')?.videoWidth ?? 0) > 0 && window.fps > 0`

// A person's way in: the login page, the desktop in a real browser, commands
// typed there whose picture comes back and whose mark is in the home; and the
// open tab alone, without input, does not keep the GPU.
func TestInTheBrowser(t *testing.T) {
	s := session("browser", "grace@example.com", "plain-desktop")
	s.Spec.IdleTimeout = "60s"
	start(t, s)
	s = await(t, s, install.Running)

	tab := openBrowser(t)
	tab.Do(chromedp.Navigate(s.Status.URL), chromedp.WaitVisible("input[type=password]"))
	tab.Screenshot("login")
	tab.Do(chromedp.SendKeys("input[type=password]", "wrong"+kb.Enter))
	tab.Comes(`document.body.innerText.includes("not the desktop's password")`)
	tab.enter(s)
	tab.Screenshot("desktop")

	tab.Do(chromedp.MouseClickXY(terminalX, terminalY))
	for _, name := range []string{"first-picture", "second-picture"} {
		tab.paints(name)
	}
	tab.types("mkdir typed")
	require.Eventually(t, func() bool {
		return strings.Contains(inDesktop(t, s, "ls ~"), "typed")
	}, patience, time.Second, "what was typed in the browser is in the home")
	tab.Screenshot("typed")

	idle := await(t, s, suspended)
	assert.Equal(t, vdi.StopIdle, idle.Status.StopReason, "an open tab is no use")
	assert.Contains(t, kubectl(t, "events", "-n", s.Namespace, "--for", "vdisession/"+s.Name), "Nobody has used the desktop")
}

// A stranger with a login of another desktop, and one without, stay out of pages
// and streams, also past the proxy: nobody but the agent reaches the desktop.
func TestStrangersStayOut(t *testing.T) {
	s := session("closed", "heidi@example.com", "plain-desktop")
	start(t, s)
	s = await(t, s, install.Running)
	pod := podOf(t, s)
	inPod := func(port int) string {
		return fmt.Sprintf("http://%s:%d/", pod.Status.PodIP, port)
	}
	direct := func(url string) (int, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		request.Host = install.HostOf(s.Status.URL)
		answer, err := fromTheNode(t).Do(request)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	code, err := direct(inPod(8090))
	require.NoError(t, err, "the pod network is reachable from here")
	assert.Equal(t, http.StatusUnauthorized, code)
	_, err = direct(inPod(8080))
	require.ErrorContains(t, err, "connection refused", "the desktop listens on the pod's loopback alone")
	assert.Equal(t, http.StatusUnauthorized, get(t, s.Status.URL+"/api/websockets", "", "").Code)
	assert.Equal(t, http.StatusUnauthorized, get(t, s.Status.URL, "desktop", "guessed").Code)
	env := inDesktop(t, s, "env")
	_, password, err := platform.Credentials(t.Context(), s)
	require.NoError(t, err)
	assert.NotContains(t, env, password, "the visitor's password is not in the desktop")
}

// browser is one tab of the real browser.
type browser struct{ chromium.Tab }

// openBrowser starts the real browser; it finds all desktops at the proxy.
func openBrowser(t *testing.T) browser {
	t.Helper()
	return browser{chromium.Open(t, "MAP *."+install.Domain+":8443 "+platform.ProxyOnNode())}
}

// enter gives the session's password on the login page and waits for the picture.
func (b browser) enter(s *vdi.VDISession) {
	b.T.Helper()
	_, password, err := platform.Credentials(b.T.Context(), s)
	require.NoError(b.T, err)
	b.Do(chromedp.SendKeys("input[type=password]", password+kb.Enter))
	b.Comes(streams)
}

// types gives the desktop a line of text, key by key.
func (b browser) types(line string) {
	b.T.Helper()
	b.Do(pressKeys(line + kb.Enter))
}

// pressKeys is chromedp's KeyEvent as a keyboard does it: one event for the key
// and its text, so that a page that took the key does not get the text as well.
func pressKeys(keys string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for _, r := range keys {
			events := kb.Encode(r)
			down, up := events[0], events[len(events)-1]
			if len(events) == 3 {
				down.Type, down.Text, down.UnmodifiedText = "keyDown", events[1].Text, events[1].UnmodifiedText
			}
			for _, e := range []*input.DispatchKeyEventParams{down, up} {
				if _, err := cdp.Call(ctx, target, input.DispatchKeyEvent, *e); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
