package frontdoor

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/chromium"
)

// newTexts is somebody's seat where every text that a page shows is this one: their own name
// where it can be one, all of templates, sessions, quotas and the API server's answers.
func newTexts(t *testing.T, text string) *seat {
	t.Helper()
	w, user := newDesks(t), bob
	delete(w.known.sessions, bobHost)
	delete(w.known.offers, "bobs")
	named := strings.ReplaceAll(aliceAndBob(), fmt.Sprintf("%q", bob), fmt.Sprintf("%q", text))
	if _, err := people.Parse([]byte("people:\n" + named)); err == nil {
		w.list(named, 0, 1)
		user = text
	}
	two := int32(2)
	w.known.quotas = []vdi.VDIQuota{{ObjectMeta: metav1.ObjectMeta{Name: text}, Spec: vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Running: &two}}}}
	w.known.offer("shown", func(o *vdi.VDITemplate) {
		o.Spec.DisplayName, o.Spec.Description, o.Spec.Category, o.Spec.Deprecated, o.Spec.TimeZone = text, text, text, text, vdi.TimeZone(text)
		o.Spec.Icon, o.Status.Encoder = "data:image/svg+xml;base64,"+base64.StdEncoding.EncodeToString([]byte(picture)), vdi.EncoderOutcome(text)
	})
	for name, d := range map[string]struct {
		phase   vdi.Phase
		address string
	}{
		"runs": {vdi.PhaseRunning, text}, "opens": {vdi.PhaseRunning, aliceURL + "/" + text}, "leads": {vdi.PhaseRunning, "https://" + text},
		"fails": {vdi.PhaseFailed, text}, "waits": {vdi.PhasePending, text},
	} {
		w.known.add(name, user, d.phase)
		w.known.edit(name+"."+domain, func(s *vdi.VDISession) {
			s.Namespace, s.Spec.DisplayName, s.Spec.Template = "desks", text, text
			s.Status.Message, s.Status.URL, s.Status.ExpiresAt = text, d.address, &metav1.Time{Time: w.time().Add(time.Hour)}
			s.Status.WaitingFor, s.Status.StopReason = vdi.WaitingFor(text), vdi.StopReason(text)
			s.Status.Resources = &vdi.ResourcesStatus{CPU: text, Memory: text}
			s.Status.Runs = []vdi.RunRecord{{GPUHours: text, Why: vdi.StopReason(text)}}
		})
	}
	w.known.refuses = apierrors.NewForbidden(sessionsResource, text, errors.New(text))
	return w.seat("bob")
}

// shownTo are all pages with texts, and what live pages get.
func (s *seat) shownTo(t *testing.T, text string) map[string]string {
	t.Helper()
	pages := map[string]string{}
	keep := func(name string, status int, answer *httptest.ResponseRecorder) {
		require.Equal(t, status, answer.Code, name)
		pages[name] = answer.Body.String()
	}
	for _, address := range []string{"/", "/new", "/new/shown", "/desktop/desks/runs", "/desktop/desks/opens", "/desktop/desks/leads", "/desktop/desks/fails", "/desktop/desks/waits", "/desktop/desks/runs/delete"} {
		keep(address, http.StatusOK, s.asks(t, http.MethodGet, address, ""))
	}
	keep("a search", http.StatusOK, s.asks(t, http.MethodGet, "/new?q=zz"+url.QueryEscape(text), ""))
	wrong := url.Values{"name": {strings.Repeat("x", 70) + text}}
	for _, field := range []string{"gpu", "memory", "cpu", "homeSize", "timeZone"} {
		wrong.Set(field, text)
	}
	keep("a wrong wish", http.StatusUnprocessableEntity, s.does(t, "/new/shown", wrong))
	keep("a refusal", http.StatusForbidden, s.does(t, "/new/shown", url.Values{"name": {"fine"}}))
	keep("a login", http.StatusUnauthorized, s.typist().types(text+"zz", "wrong", "192.0.2.66"))
	for _, address := range []string{"/events", "/desktop/desks/fails/events"} {
		answer := s.asks(t, http.MethodGet, address, "")
		data, found := strings.CutPrefix(answer.Body.String(), "data: ")
		require.True(t, found && strings.Count(answer.Body.String(), "\n") == 2, "one event of one line: %q", answer.Body)
		var sent struct{ HTML string }
		require.NoError(t, json.Unmarshal([]byte(data), &sent))
		pages[address] = sent.HTML
	}
	return pages
}

// bones are what a browser makes of a page but for its texts: its elements, their attributes,
// to what kind of address they lead, and what it would run.
func bones(t *testing.T, page string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	var all strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			if n.Parent.Data == "script" || n.Parent.Data == "style" {
				fmt.Fprintln(&all, n.Data)
			}
			continue
		}
		var attributes []string
		for _, a := range n.Attr {
			kind := a.Key
			if slices.Contains([]string{"href", "src", "action", "formaction"}, a.Key) {
				scheme, _, found := strings.Cut(a.Val, ":")
				kind += fmt.Sprint(" ", found, " ", scheme[:min(len(scheme), 3)])
			}
			attributes = append(attributes, kind)
		}
		slices.Sort(attributes)
		fmt.Fprintln(&all, n.Type, n.DataAtom, attributes)
	}
	return all.String()
}

// naivePage puts a text where ours have some, and may read it as a template.
func naivePage(t *testing.T, text string) string {
	t.Helper()
	page := `<title>` + text + `</title><style>p { color: ` + text + ` }</style><a href="` + text + `" title='` + text + `'>` + text + `</a><input value="` + text + `"><!-- ` + text + ` -->`
	made := &strings.Builder{}
	if strings.Contains(text, "{{") {
		require.NoError(t, template.Must(template.New("").Parse(page)).Execute(made, nil))
		return made.String()
	}
	return page
}

// runs is what a page must not run.
const runs = `window.ran=1`

// scripts are texts that a page could take for something else than text.
var scripts = map[string]string{
	"a script": "<script>" + runs + "</script>", "a picture": `"><img src=/none onerror="` + runs + `">`, "a drawing, in single quotes": "'><svg/onload=" + runs + ">",
	"an attribute": `" onfocus="` + runs + `" autofocus="`, "an attribute, in single quotes": `' onfocus='` + runs + `' autofocus='`, "a style of its own": `" style="position:fixed;inset:0`,
	"an address that is a script": "javascript:" + runs, "an address in two cases": "JaVaScRiPt:" + runs, "an address that is a page": "data:text/html,<script>" + runs + "</script>",
	"the end of a style": "</style><script>" + runs + "</script>", "the end of a title": "</title><script>" + runs + "</script>", "the end of a script": "</script><script>" + runs + "</script>",
	"the end of a comment": "--><script>" + runs + "</script><!--", "a template's code": `{{"<script>"}}` + runs + `{{"</script>"}}`, "behind a line separator": "\u2028\u2029<script>" + runs + "</script>",
	"another base": `<base href="https://evil.example.com/">`, "another page": `<meta http-equiv="refresh" content="0;url=https://evil.example.com/">`, "a form of its own": `</form><form action="https://evil.example.com/"><button>Log in`,
	"a frame": `<iframe srcdoc="&lt;script&gt;` + runs + `&lt;/script&gt;"></iframe>`, "a template": "<template><script>" + runs + "</script></template>", "an event of its own": "\n\ndata: {\"html\": \"<b>x</b>\"}\n\n<b>",
}

// TestA57Texts: whatever templates, sessions, people and the API server say is text on every
// page, and in what live pages get.
func TestA57Texts(t *testing.T) {
	harmless := newTexts(t, "harmless").shownTo(t, "harmless")
	for name, text := range scripts {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			return ledger.Judge(bones(t, naivePage(t, text)) != bones(t, naivePage(t, "harmless")), ledger.Runtime, "it is text")
		}, func(t *testing.T) ledger.Outcome {
			var harm []string
			for page, shown := range newTexts(t, text).shownTo(t, text) {
				require.Contains(t, html.UnescapeString(harmless[page]), "harmless", page)
				if bones(t, harmless[page]) != bones(t, shown) {
					harm = append(harm, page)
				}
			}
			require.Empty(t, harm, "pages that are not the same but for their texts")
			return ledger.Blocked(ledger.Runtime, "it is text")
		})
	}
}

// stage is the portal as a browser sees it, with some of its guards taken away.
type stage struct {
	http.Handler
	cookie string
	// withoutPolicy: no page has one. inPages and inStreams: there the word "inject" is not escaped
	// but becomes a page's own code.
	withoutPolicy, inPages, inStreams bool
}

const injected = `"><img src="/none" onerror="` + runs + `"><svg onload="` + runs + `"></svg><script>` + runs + `</script><a id="injected" href="javascript:` + runs + `">x</a>`

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Header.Set("Cookie", s.cookie)
	s.Handler.ServeHTTP(&stageWriter{w, s}, r)
}

type stageWriter struct {
	http.ResponseWriter
	*stage
}

func (w *stageWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *stageWriter) WriteHeader(status int) {
	if w.withoutPolicy {
		w.Header().Del("Content-Security-Policy")
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *stageWriter) Write(p []byte) (int, error) {
	code := injected
	switch kind := w.Header().Get("Content-Type"); {
	case strings.HasPrefix(kind, "text/html") && w.inPages:
	case kind == "text/event-stream" && w.inStreams:
		code = strings.ReplaceAll(code, `"`, `\"`)
	default:
		code = "inject"
	}
	_, err := w.ResponseWriter.Write(bytes.ReplaceAll(p, []byte("inject"), []byte(code)))
	return len(p), err
}

// theatre is a browser before a stage that changes.
type theatre struct {
	chromium.Tab
	now atomic.Pointer[http.Handler]
}

func newTheatre(t *testing.T) *theatre {
	t.Helper()
	a := &theatre{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*a.now.Load()).ServeHTTP(w, r) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	a.Tab = chromium.Open(t, "MAP *."+domain+" "+server.Listener.Addr().String())
	return a
}

// opens opens an address, and reports whether something of the texts has run. What would run
// has done so when all pictures have come or failed.
func (a *theatre) opens(t *testing.T, address string, live func()) bool {
	t.Helper()
	a.Tab.T = t
	a.Do(chromedp.Navigate(portal + address))
	if live != nil {
		live()
	}
	a.Comes("document.readyState === 'complete' && [...document.images].every((i) => i.complete)")
	ran, err := chromedp.Run(a.Context, chromedp.Evaluate[bool]("window.ran === 1"))
	require.NoError(t, err)
	return ran
}

// follows presses the link that was injected, and reports whether that has run something.
func (a *theatre) follows(t *testing.T) bool {
	t.Helper()
	a.Comes("document.querySelector('#injected') !== null")
	ran, err := chromedp.Run(a.Context, chromedp.Evaluate[bool](`new Promise((seen) => {
		document.addEventListener("securitypolicyviolation", () => seen(window.ran === 1));
		document.querySelector("#injected").click();
		setTimeout(() => seen(true), 5000); // nobody has refused it
	})`, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	return ran
}

// plays shows all pages, those that are live until they have changed, and reports at which
// something has run.
func (a *theatre) plays(t *testing.T, s *seat, on stage, pages ...string) (ran []string) {
	t.Helper()
	on.Handler, on.cookie = s.h, s.cookie
	h := http.Handler(&on)
	a.now.Store(&h)
	for n, address := range pages {
		var live func()
		if address == "/" || strings.HasSuffix(address, "s") {
			live = func() {
				a.Comes("document.querySelector('[data-events]') !== null && document.querySelector('details, .state') !== null")
				changed := fmt.Sprintf("changed-%d", n)
				for _, name := range []string{"runs", "fails"} {
					s.known.edit(name+"."+domain, func(d *vdi.VDISession) {
						d.Status.Resources.CPU, d.Status.Message = changed+d.Status.Message, d.Status.Message+changed
					})
				}
				a.Shows(changed)
			}
		}
		if a.opens(t, address, live) || (on.inPages || on.inStreams) && a.follows(t) {
			ran = append(ran, address)
		}
	}
	return ran
}

// TestA57Browser: in the real browser nothing of it runs. What is escaped needs no policy, and
// the policy would stop what is not escaped, also in what live pages get.
func TestA57Browser(t *testing.T) {
	a := newTheatre(t)
	play := func(text string, on stage, pages ...string) ledger.Attempt {
		return func(t *testing.T) ledger.Outcome {
			ran := a.plays(t, newTexts(t, text), on, pages...)
			return ledger.Judge(len(ran) > 0, ledger.Runtime, "nothing runs")
		}
	}
	live := []string{"/", "/desktop/desks/runs", "/desktop/desks/fails"}
	all := append(slices.Clone(live), "/new", "/new/shown", "/desktop/desks/runs/delete", "/new?q=inject")
	inPages, inStreams := stage{withoutPolicy: true, inPages: true}, stage{withoutPolicy: true, inStreams: true}
	ledger.Try(t, "without the policy", play("inject", inPages, "/"), play("inject"+injected, stage{withoutPolicy: true}, all...))
	ledger.Try(t, "in pages that escape nothing", play("inject", inPages, "/new"), play("inject", stage{inPages: true, inStreams: true}, all...))
	ledger.Try(t, "in what live pages get, unescaped", play("inject", inStreams, "/desktop/desks/fails"), play("inject", stage{inStreams: true}, live...))
	a.showsIcons(t)
}

// naiveIcons serves a picture as it says it is.
type naiveIcons string

func (n naiveIcons) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/icon/") {
		http.NotFound(w, r)
		return
	}
	kind, data, _ := strings.Cut(strings.TrimPrefix(string(n), "data:"), ";base64,")
	w.Header().Set("Content-Type", cmp.Or(kind, "text/html"))
	read, _ := base64.StdEncoding.DecodeString(data)
	_, _ = w.Write(read)
}

// showsIcons: nor does a template's picture run anything, also when somebody opens it by itself.
func (a *theatre) showsIcons(t *testing.T) {
	t.Helper()
	s := newDesks(t).seat("alice")
	svg := func(inner string) string {
		return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8" ` + inner + `</svg>`
	}
	xhtml := `><foreignObject width="8" height="8"><body xmlns="http://www.w3.org/1999/xhtml"><img src="/none" onerror="` + runs + `"/></body></foreignObject>`
	for name, c := range map[string]struct{ kind, text string }{
		"a drawing with a script":         {"image/svg+xml", svg(">" + "<script>" + runs + "</script>")},
		"a drawing with an attribute":     {"image/svg+xml", svg(`onload="` + runs + `">`)},
		"a drawing with a page in it":     {"image/svg+xml", svg(xhtml)},
		"a page":                          {"text/html", "<script>" + runs + "</script>"},
		"a page that is XML":              {"application/xhtml+xml", `<html xmlns="http://www.w3.org/1999/xhtml"><script>` + runs + `</script></html>`},
		"a page, named with a line break": {"text/html\r\nX: y", "<script>" + runs + "</script>"},
	} {
		icon := "data:" + c.kind + ";base64," + base64.StdEncoding.EncodeToString([]byte(c.text))
		ledger.Try(t, "as a picture, "+name, func(t *testing.T) ledger.Outcome {
			h := http.Handler(naiveIcons(icon))
			a.now.Store(&h)
			return ledger.Judge(a.opens(t, "/icon/office", nil), ledger.Runtime, "nothing runs")
		}, func(t *testing.T) ledger.Outcome {
			s.known.offer("office", func(o *vdi.VDITemplate) { o.Spec.Icon = icon })
			h := http.Handler(&stage{Handler: s.h, cookie: s.cookie})
			a.now.Store(&h)
			if c.kind == "image/svg+xml" {
				require.Equal(t, c.text, s.asks(t, http.MethodGet, "/icon/office", "").Body.String(), "it is shown")
			}
			return ledger.Judge(a.opens(t, "/icon/office", nil), ledger.Runtime, "nothing runs")
		})
	}
}
