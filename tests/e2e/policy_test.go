package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// fromThePage are what somebody who controls the page could send: a file, and
// the wish for one. The answer is the status of each.
const fromThePage = `(async () => {
  const file = {method: 'POST', body: 'from the browser', headers: {'X-Upload-Path': 'note.txt'}};
  const up = await fetch('/api/upload', file), down = await fetch('/api/files/note.txt');
  return [up.status, down.status];
})()`

// secondSocket opens the stream once more, sends a text for the desktop's
// clipboard, and answers with the settings that the desktop gives its pages, or
// with nothing: Selkies turns a page away that comes again too soon.
const secondSocket = `new Promise((resolve) => {
  const socket = new WebSocket('wss://' + location.host + '/api/websockets');
  socket.onclose = () => resolve('');
  socket.onmessage = (m) => {
    if (typeof m.data !== 'string' || !m.data.startsWith('{')) return;
    const message = JSON.parse(m.data);
    if (message.type !== 'server_settings') return;
    socket.send('cw,' + btoa('from the browser'));
    resolve(JSON.stringify(message.settings));
  };
})`

// withinThePod are the same wishes, sent to Selkies itself with its own login.
const withinThePod = `python3 - <<'END'
import base64, os, urllib.request, urllib.error
login = base64.b64encode(f"{os.environ['SELKIES_BASIC_AUTH_USER']}:{os.environ['SELKIES_BASIC_AUTH_PASSWORD']}".encode()).decode()
for path, body in (("/api/upload", b"from the pod"), ("/api/files/", None)):
    request = urllib.request.Request("http://127.0.0.1:8080" + path, body, {"Authorization": "Basic " + login, "X-Upload-Path": "pod.txt"})
    try:
        print(urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as e:
        print(e.code)
END`

// settings are those that Selkies gives its pages.
type settings map[string]struct {
	Value  any  `json:"value"`
	Locked bool `json:"locked"`
}

// A template that lets nothing pass has desktops that let nothing pass: not by
// their page, not by who controls the page, and not by Selkies itself. The same
// wishes are granted by a template that says nothing.
func TestPolicyHolds(t *testing.T) {
	sealedTemplate(t)
	open, sealed := scratch("open", "ivan@example.com", "plain-desktop"), scratch("sealed", "judy@example.com", "sealed-desktop")
	start(t, open)
	start(t, sealed)
	open, sealed = await(t, open, install.Running), await(t, sealed, install.Running)

	tab := visit(t, open)
	assert.Equal(t, []int{http.StatusOK, http.StatusOK}, tab.answers(fromThePage))
	assert.Equal(t, "from the browser", inDesktop(t, open, "cat ~/Desktop/note.txt"))
	assert.Equal(t, "200\n200", inDesktop(t, open, withinThePod))
	given := tab.settings()
	assert.Equal(t, true, given["clipboard_enabled"].Value)
	assert.Equal(t, []any{"upload", "download"}, given["file_transfers"].Value)
	tab.sidebar("sidebar-open", "CLIPBOARD", "FILES")

	tab = visit(t, sealed)
	assert.Equal(t, []int{http.StatusForbidden, http.StatusForbidden}, tab.answers(fromThePage))
	assert.Equal(t, "403\n403", inDesktop(t, sealed, withinThePod), "Selkies refuses too")
	assert.Empty(t, strings.TrimSpace(inDesktop(t, sealed, "ls ~/Desktop")))
	given = tab.settings()
	assert.Equal(t, false, given["clipboard_enabled"].Value)
	assert.Empty(t, given["file_transfers"].Value)
	for _, off := range []string{"audio_enabled", "microphone_enabled", "printing_enabled"} {
		assert.Equal(t, false, given[off].Value, off)
		assert.True(t, given[off].Locked, off)
	}
	require.Eventually(t, func() bool {
		return strings.Contains(kubectl(t, "logs", "-n", sealed.Namespace, sealed.Name, "-c", "selkies"), "inbound clipboard disabled")
	}, patience, time.Second, "the text for the clipboard was refused")
	assert.NotContains(t, kubectl(t, "logs", "-n", open.Namespace, open.Name, "-c", "selkies"), "inbound clipboard disabled")
	tab.sidebar("sidebar-sealed")
}

// sealedTemplate is the plain desktop, and nothing may pass.
func sealedTemplate(t *testing.T) {
	t.Helper()
	template, err := install.Template()
	require.NoError(t, err)
	template.ObjectMeta = metav1.ObjectMeta{Name: "sealed-desktop"}
	template.Spec.Policy = vdi.TemplatePolicy{Clipboard: vdi.ClipboardNone, FileTransfer: vdi.FileTransferNone, Audio: new(false)}
	require.NoError(t, platform.Client.Create(t.Context(), template))
	t.Cleanup(func() { assert.NoError(t, platform.Client.Delete(context.Background(), template)) })
}

// visit opens a desktop in a browser of its own.
func visit(t *testing.T, s *vdi.VDISession) browser {
	t.Helper()
	tab := openBrowser(t)
	tab.Do(chromedp.Navigate(s.Status.URL), chromedp.WaitVisible("input[type=password]"))
	tab.enter(s)
	return tab
}

func (b browser) answers(script string) []int {
	b.T.Helper()
	codes, err := chromedp.Run(b.Context, chromedp.Evaluate[[]int](script, chromedp.EvalAwaitPromise))
	require.NoError(b.T, err)
	return codes
}

func (b browser) settings() settings {
	b.T.Helper()
	var text string
	require.Eventually(b.T, func() (came bool) {
		var err error
		text, err = chromedp.Run(b.Context, chromedp.Evaluate[string](secondSocket, chromedp.EvalAwaitPromise))
		return err == nil && text != ""
	}, patience, time.Second, "the desktop gives its settings")
	var given settings
	require.NoError(b.T, json.Unmarshal([]byte(text), &given))
	return given
}

// sidebar opens the page's own, which has the parts for what may pass, or none
// of them.
func (b browser) sidebar(name string, parts ...string) {
	b.T.Helper()
	b.Do(chromedp.Click(".toggle-handle"))
	b.Comes(`document.querySelector(".sidebar").getBoundingClientRect().left >= 0 && document.body.innerText.includes("SHORTCUTS")`)
	text, err := chromedp.Run(b.Context, chromedp.Evaluate[string](`document.body.innerText`))
	require.NoError(b.T, err)
	b.Screenshot(name)
	for _, part := range []string{"CLIPBOARD", "FILES"} {
		assert.Equal(b.T, len(parts) > 0, strings.Contains(text, part), "%s in %s", part, name)
	}
}
