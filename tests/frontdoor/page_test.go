package frontdoor

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func seconds(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

func (w *world) suspend(host string) {
	w.known.edit(host, func(s *vdi.VDISession) {
		s.Status.Phase, s.Spec.RunPolicy = vdi.PhaseSuspended, vdi.RunPolicySuspended
	})
}

// enter gives a browser the login of a session's page in either mode.
func (w *world) enter(b *browser) string {
	w.t.Helper()
	if w.provider != nil {
		return text(w.t, b.open(aliceURL, alice))
	}
	return text(w.t, b.do(http.MethodPost, aliceURL+"/.vdi/login", "password="+password, "Origin", aliceURL))
}

func modes(t *testing.T, test func(t *testing.T, w *world)) {
	for _, mode := range []wire.AccessMode{wire.AccessOIDC, wire.AccessPassword} {
		t.Run(string(mode), func(t *testing.T) { test(t, newWorld(t, mode)) })
	}
}

func TestResume(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.suspend(aliceHost)
		b := w.browser()
		page := w.enter(b)
		assert.Contains(t, page, "Your desktop is suspended")
		for _, url := range []string{"/", "/.vdi/resume", "/?resume=1", "/.vdi/events"} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut} {
				if url == "/.vdi/events" && method == http.MethodGet {
					continue // see TestEvents
				}
				text(t, b.do(method, aliceURL+url, ""))
			}
		}
		assert.Empty(t, w.known.done(), "a look resumes nothing")
		answer := b.do(http.MethodPost, aliceURL+"/.vdi/resume", formOf(t, page), "Origin", aliceURL, "Sec-Fetch-Site", "same-origin")
		assert.Equal(t, http.StatusOK, answer.StatusCode)
		assert.Contains(t, text(t, answer), "about to start")
		assert.Equal(t, []string{"resume alice-1"}, w.known.done())
	})
}

// Without any one of origin, token, browser and login, nothing is resumed.
func TestResumeCannotBeForged(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.suspend(aliceHost)
		w.suspend(bobHost)
		b, other := w.browser(), w.browser()
		page := w.enter(b)
		otherPage := w.enter(other)
		anonymous := w.browser()
		if w.provider == nil {
			text(t, anonymous.get(aliceURL+"/"))
		}
		form := formOf(t, page)
		strangers := map[string]bool{"login taken away": true, "form of another host": true, "no login": true, "another's session": true}
		for name, attempt := range map[string]func() *http.Response{
			"no origin": func() *http.Response { return b.do(http.MethodPost, aliceURL+"/.vdi/resume", form) },
			"sibling": func() *http.Response {
				return b.do(http.MethodPost, aliceURL+"/.vdi/resume", form, "Origin", "https://"+bobHost)
			},
			"same site": func() *http.Response {
				return b.do(http.MethodPost, aliceURL+"/.vdi/resume", form, "Origin", aliceURL, "Sec-Fetch-Site", "same-site")
			},
			"no token": func() *http.Response {
				return b.do(http.MethodPost, aliceURL+"/.vdi/resume", "x=y", "Origin", aliceURL)
			},
			"token in the address": func() *http.Response {
				return b.do(http.MethodPost, aliceURL+"/.vdi/resume?"+form, "x=y", "Origin", aliceURL)
			},
			"token of another browser": func() *http.Response {
				return b.do(http.MethodPost, aliceURL+"/.vdi/resume", formOf(t, otherPage), "Origin", aliceURL)
			},
			"login taken away": func() *http.Response {
				cookie := "__Host-vdi-browser=" + b.cookie(aliceURL, "__Host-vdi-browser")
				return w.browser().do(http.MethodPost, aliceURL+"/.vdi/resume", form, "Origin", aliceURL, "Cookie", cookie)
			},
			"form of another host": func() *http.Response {
				cookie := "__Host-vdi-browser=" + b.cookie(aliceURL, "__Host-vdi-browser")
				return w.browser().do(http.MethodPost, "https://"+bobHost+"/.vdi/resume", form, "Origin", "https://"+bobHost, "Cookie", cookie)
			},
			"no login": func() *http.Response {
				return anonymous.do(http.MethodPost, aliceURL+"/.vdi/resume", form, "Origin", aliceURL)
			},
			"another's session": func() *http.Response {
				return b.do(http.MethodPost, "https://"+bobHost+"/.vdi/resume", form, "Origin", "https://"+bobHost)
			},
		} {
			answer := attempt()
			want := http.StatusForbidden
			if strangers[name] { // as where a desktop runs
				want = http.StatusUnauthorized
			}
			assert.Equal(t, want, answer.StatusCode, name)
			text(t, answer)
			assert.Empty(t, w.known.done(), name)
		}
	})
}

// Programs of the session's user, and the operator, learn that no desktop answers; others
// do not.
func TestProgramsAreNotFooled(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.suspend(aliceHost)
		user := w.browser()
		w.enter(user)
		uid := func(of string) []string { return []string{platform.QuestionHeader, of, "Accept", "*/*"} }
		basic := func(of string) []string {
			return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("desktop:"+of)), "Accept", "*/*"}
		}
		for _, path := range []string{"/", "/ws", "/api/health"} {
			ask := func(b *browser, host string, headers ...string) int {
				answer := b.staying().get("https://"+host+path, headers...)
				text(t, answer)
				assert.Equal(t, answer.StatusCode == http.StatusServiceUnavailable, answer.Header.Get("Retry-After") != "")
				return answer.StatusCode
			}
			assert.Equal(t, http.StatusServiceUnavailable, ask(user, aliceHost, "Accept", "*/*"))
			assert.Equal(t, http.StatusServiceUnavailable, ask(w.browser(), aliceHost, uid("uid of alice-1")...))
			assert.Equal(t, http.StatusUnauthorized, ask(w.browser(), aliceHost, uid("uid of bob-1")...))
			assert.Equal(t, http.StatusUnauthorized, ask(w.browser(), aliceHost, append(uid("uid of alice-1"), uid("uid of alice-1")...)...))
			assert.Equal(t, http.StatusUnauthorized, ask(w.browser(), nobody, uid("")...))
			assert.Equal(t, http.StatusUnauthorized, ask(w.browser(), nobody, "Accept", "*/*"))
			if w.provider == nil {
				assert.Equal(t, http.StatusServiceUnavailable, ask(w.browser(), aliceHost, basic(password)...))
				assert.Equal(t, http.StatusUnauthorized, ask(w.browser(), nobody, basic(password)...))
				assert.Equal(t, http.StatusUnauthorized, ask(w.browser(), aliceHost, basic("wrong")...))
			}
		}
	})
}

func TestPagesAreSealedOff(t *testing.T) {
	w := newWorld(t, wire.AccessPassword)
	w.suspend(aliceHost)
	w.known.edit(aliceHost, func(s *vdi.VDISession) {
		s.Status.Phase, s.Status.Message, s.Spec.RunPolicy = vdi.PhaseFailed, `<script>alert(1)</script>`, vdi.RunPolicyRunning
	})
	b := w.browser()
	page := w.enter(b)
	assert.NotContains(t, page, "<script>alert")
	assert.Contains(t, page, "&lt;script&gt;alert(1)")
	for _, elsewhere := range []string{"http://", "https://", "src=", "@import", "url("} {
		assert.NotContains(t, page, elsewhere)
	}
	h := b.get(aliceURL + "/").Header
	policy := h.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "script-src 'sha256-", "style-src 'sha256-"} {
		assert.Contains(t, policy, part)
	}
	assert.NotContains(t, policy, "unsafe")
	assert.Equal(t, "no-store", h.Get("Cache-Control"))
}

func TestWrongPassword(t *testing.T) {
	w := newWorld(t, wire.AccessPassword)
	w.suspend(aliceHost)
	b := w.browser()
	try := func(host, word string) (int, string) {
		answer := b.do(http.MethodPost, "https://"+host+"/.vdi/login", "password="+word, "Origin", "https://"+host)
		return answer.StatusCode, text(t, answer)
	}
	status, known := try(aliceHost, "wrong")
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Contains(t, known, "This is not the desktop")
	status, unknown := try(nobody, "wrong")
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Equal(t, known, unknown)
	status, _ = try(nobody, password)
	assert.Equal(t, http.StatusUnauthorized, status)
	w.known.edit(aliceHost, func(s *vdi.VDISession) { s.Status.Access = nil })
	status, _ = try(aliceHost, password)
	assert.Equal(t, http.StatusUnauthorized, status, "no verifier, no login")
	status, _ = try(aliceHost, "")
	assert.Equal(t, http.StatusUnauthorized, status)
	for status = 0; status != http.StatusTooManyRequests; {
		status, _ = try(nobody, "wrong")
	}
	w.known.add("alice-1", alice, vdi.PhaseSuspended)
	status, page := try(aliceHost, password)
	assert.Equal(t, http.StatusOK, status, "nobody can lock the owner out")
	assert.NotContains(t, page, "password")
	assert.NotContains(t, w.log.String(), password)
}

// The password of one session opens the page of that one only.
func TestPageLoginIsForOneSession(t *testing.T) {
	w := newWorld(t, wire.AccessPassword)
	w.suspend(aliceHost)
	w.suspend(bobHost)
	b := w.browser()
	w.enter(b)
	stolen := b.cookie(aliceURL, "__Host-vdi-page")
	require.NotEmpty(t, stolen)
	page := text(t, w.browser().get("https://"+bobHost+"/", "Cookie", "__Host-vdi-page="+stolen))
	assert.Contains(t, page, `name="password"`)
	w.known.edit(aliceHost, func(s *vdi.VDISession) { s.UID = "a later session" })
	assert.Contains(t, text(t, b.get(aliceURL+"/")), `name="password"`)
}

// An open page is told what changes, and opens the desktop when it answers.
func TestEvents(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.suspend(aliceHost)
		b := w.browser()
		w.enter(b)
		stream := b.get(aliceURL+"/.vdi/events", "Accept", "text/event-stream")
		defer stream.Body.Close()
		require.Equal(t, "text/event-stream", stream.Header.Get("Content-Type"))
		lines := bufio.NewScanner(stream.Body)
		next := func() (told struct {
			HTML    string
			Running bool
		},
		) {
			for lines.Scan() {
				if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
					require.NoError(t, json.Unmarshal([]byte(data), &told))
					return told
				}
			}
			require.FailNow(t, "the stream ended")
			return told
		}
		assert.Contains(t, next().HTML, "Your desktop is suspended")
		w.known.edit(aliceHost, func(s *vdi.VDISession) {
			s.Spec.RunPolicy, s.Status.Phase, s.Status.WaitingFor = vdi.RunPolicyRunning, vdi.PhasePending, vdi.WaitingForGPU
			s.CreationTimestamp = metav1.NewTime(w.time())
		})
		assert.Contains(t, next().HTML, "You are next")
		w.known.edit(bobHost, func(s *vdi.VDISession) { s.Status.WaitingFor = vdi.WaitingForGPU })
		assert.Contains(t, next().HTML, "One desktop is ahead of you")
		assert.Empty(t, w.known.done(), "to watch starts nothing")
		w.known.edit(aliceHost, func(s *vdi.VDISession) { s.Status.Phase, s.Status.WaitingFor = vdi.PhaseRunning, "" })
		assert.True(t, next().Running)
		w.pass(9 * time.Hour)
		w.known.edit(aliceHost, func(*vdi.VDISession) {})
		for lines.Scan() { // ends with the login
		}
		require.NoError(t, lines.Err())
	})
}

func TestEventsAreForTheUser(t *testing.T) {
	w := newWorld(t, wire.AccessPassword)
	w.suspend(aliceHost)
	for _, host := range []string{aliceHost, nobody} {
		answer := w.browser().get("https://"+host+"/.vdi/events", "Accept", "text/event-stream")
		assert.Equal(t, http.StatusUnauthorized, answer.StatusCode)
		text(t, answer)
	}
}

func TestListOfOnesDesktops(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	ends := w.time().Add(time.Hour).UTC().Truncate(time.Second)
	for _, host := range []string{aliceHost, bobHost} {
		w.known.edit(host, func(s *vdi.VDISession) {
			s.Status.ExpiresAt, s.Status.ExpiryReason = &metav1.Time{Time: ends}, vdi.StopExpired
		})
	}
	b := w.browser()
	page := text(t, b.open(auth+"/login", alice))
	assert.Contains(t, page, `href="`+aliceURL+`"`)
	assert.NotContains(t, page, "bob")
	extend := func(name, origin string) string {
		answer := b.do(http.MethodPost, auth+"/desktop/team/"+name+"/extend", formOf(t, page)+"&uid="+url.QueryEscape("uid of "+name), "Origin", origin)
		text(t, answer)
		return fmt.Sprint(answer.StatusCode, answer.Request.URL.Path)
	}
	assert.Equal(t, "200/", extend("bob-1", auth), "as one that is not there")
	assert.Equal(t, "200/", extend("nobody-1", auth))
	assert.Equal(t, "403/desktop/team/alice-1/extend", extend("alice-1", aliceURL))
	assert.Empty(t, w.known.done())
	assert.Equal(t, "200/", extend("alice-1", auth))
	assert.Equal(t, []string{"keep alice-1 until " + ends.Add(time.Hour).Format(time.RFC3339)}, w.known.done())
}

// Metrics name nobody.
func TestMetricsNameNobody(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	text(t, w.browser().open(aliceURL, alice))
	families, err := w.registry.Gather()
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, family := range families {
		seen[family.GetName()] = true
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				assert.Equal(t, "result", label.GetName())
				assert.NotContains(t, label.GetValue(), "alice")
			}
		}
	}
	assert.True(t, seen["vdi_frontdoor_logins_total"] && seen["vdi_frontdoor_forward_auth_total"], seen)
}
