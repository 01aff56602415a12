package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/debian"
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

	tab := browser{t, chromium(t)}
	tab.do(chromedp.Navigate(s.Status.URL), chromedp.WaitVisible("input[type=password]"))
	tab.screenshot("login")
	tab.do(chromedp.SendKeys("input[type=password]", "wrong"+kb.Enter))
	tab.comes(`document.body.innerText.includes("not the desktop's password")`)
	tab.enter(s)
	tab.screenshot("desktop")

	tab.do(chromedp.MouseClickXY(terminalX, terminalY))
	for _, name := range []string{"first-picture", "second-picture"} {
		tab.paints(name)
	}
	tab.types("mkdir typed")
	require.Eventually(t, func() bool {
		return strings.Contains(inDesktop(t, s, "ls ~"), "typed")
	}, patience, time.Second, "what was typed in the browser is in the home")
	tab.screenshot("typed")

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
		answer, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
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
type browser struct {
	t   *testing.T
	tab context.Context
}

// chromium starts the real browser; it finds all desktops at the proxy.
func chromium(t *testing.T) context.Context {
	t.Helper()
	require.NoError(t, debian.Ensure(t.Context(), "chromium", "chromium"))
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // the tests run as root
		chromedp.Flag("host-resolver-rules", "MAP *."+install.Domain+":8443 "+platform.ProxyOnNode()),
		chromedp.Flag("disable-quic", true),
		chromedp.IgnoreCertErrors,
		chromedp.WindowSize(1024, 700),
	)
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	require.NoError(t, chromedp.Do(tab), "the browser starts, and ends with the tab")
	return tab
}

func (b browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

// comes waits until an expression is true in the page.
func (b browser) comes(expression string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		is, err := chromedp.Run(b.tab, chromedp.Evaluate[bool](expression))
		return err == nil && is
	}, patience, 200*time.Millisecond, expression)
}

// enter gives the session's password on the login page and waits for the picture.
func (b browser) enter(s *vdi.VDISession) {
	b.t.Helper()
	_, password, err := platform.Credentials(b.t.Context(), s)
	require.NoError(b.t, err)
	b.do(chromedp.SendKeys("input[type=password]", password+kb.Enter))
	b.comes(streams)
}

// types gives the desktop a line of text, key by key.
func (b browser) types(line string) {
	b.t.Helper()
	b.do(pressKeys(line + kb.Enter))
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

// screenshots is the folder for what the browser shows: VDI_SCREENSHOTS, else
// screenshots beside the tools.
func screenshots() (string, error) {
	if dir := os.Getenv("VDI_SCREENSHOTS"); dir != "" {
		return dir, nil
	}
	bin, err := cluster.BinDir()
	return filepath.Join(bin, "screenshots"), err
}

// screenshot keeps what the browser shows.
func (b browser) screenshot(name string) {
	b.t.Helper()
	dir, err := screenshots()
	require.NoError(b.t, err)
	require.NoError(b.t, os.MkdirAll(dir, 0o750))
	picture, err := chromedp.Run(b.tab, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}
