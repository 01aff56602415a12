package agent

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

const acceptHTML = "text/html,application/xhtml+xml"

func TestLogin(t *testing.T) {
	w := newWorld(t, nil)

	page := w.ask(http.MethodGet, "/files?a=1", map[string]string{"Accept": acceptHTML}, "")
	assert.Equal(t, http.StatusUnauthorized, page.StatusCode)
	assert.Contains(t, page.body, "Your desktop")
	assert.Contains(t, page.body, `value="/files?a=1"`)
	assert.Contains(t, page.body, "kubectl get secret")
	assert.NotContains(t, page.body, "alice", "strangers do not learn whose desktop this is")
	assert.NotContains(t, page.Header.Get("Www-Authenticate"), "Basic", "a browser would open its own dialog")
	assert.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
	assert.Zero(t, w.desktop.requests(), "the desktop sees nobody before the login")

	wrong := w.post(wire.PathLogin, nil, url.Values{"password": {"wrong"}, "next": {"/files"}})
	assert.Equal(t, http.StatusUnauthorized, wrong.StatusCode)
	assert.Contains(t, wrong.body, "This is not the desktop&#39;s password.")
	assert.Empty(t, wrong.Cookies())

	right := w.post(wire.PathLogin, nil, url.Values{"password": {" " + testPassword + "\r\n"}, "next": {"/files?a=1"}})
	assert.Equal(t, http.StatusSeeOther, right.StatusCode)
	assert.Equal(t, "/files?a=1", right.Header.Get("Location"))
	require.Len(t, right.Cookies(), 1)
	c := right.Cookies()[0]
	assert.Equal(t, wire.CookieLogin, c.Name)
	assert.True(t, c.Secure && c.HttpOnly && c.Path == "/" && c.Domain == "" && c.SameSite == http.SameSiteLaxMode, "%v", c)
	assert.Equal(t, 3600, c.MaxAge)
	assert.NotContains(t, c.Value, testPassword)

	inside := w.ask(http.MethodGet, "/files", map[string]string{"Cookie": wire.CookieLogin + "=" + c.Value}, "")
	assert.Equal(t, http.StatusOK, inside.StatusCode)
	assert.Equal(t, "the desktop's page", inside.body)
}

func TestUnauthenticatedPrograms(t *testing.T) {
	w := newWorld(t, nil)
	for name, header := range map[string]map[string]string{
		"curl":          {"Accept": "*/*"},
		"a wrong login": {"Authorization": basic(testUser, "wrong")},
		"a wrong user":  {"Authorization": basic("root", testPassword)},
		"no basic auth": {"Authorization": "Bearer " + testPassword},
		"half a login":  {"Authorization": "Basic " + testPassword},
		"a made-up one": {"Cookie": wire.CookieLogin + "=v1.9999999999.ID.AAAA"},
	} {
		a := w.ask(http.MethodGet, "/", header, "")
		assert.Equal(t, http.StatusUnauthorized, a.StatusCode, name)
		assert.Contains(t, a.Header.Get("Www-Authenticate"), "Basic", name)
	}
	script := w.ask(http.MethodGet, "/", map[string]string{"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}, "")
	assert.Equal(t, http.StatusUnauthorized, script.StatusCode)
	assert.NotContains(t, script.Header.Get("Www-Authenticate"), "Basic")
	frame := w.ask(http.MethodGet, "/", map[string]string{"Accept": acceptHTML, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}, "")
	assert.Equal(t, http.StatusUnauthorized, frame.StatusCode)
	assert.NotContains(t, frame.body, "<form", "nobody enters a password in a frame")
	_, response, err := w.tryDial(map[string]string{"Origin": testOrigin})
	require.Error(t, err)
	assert.Equal(t, http.StatusUnauthorized, response.StatusCode)
	assert.Zero(t, w.desktop.requests())
}

func TestBasicAuth(t *testing.T) {
	w := newWorld(t, nil)
	login := map[string]string{"Authorization": basic(testUser, testPassword)}
	assert.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/", login, "").StatusCode)
	assert.Equal(t, http.StatusOK, w.ask(http.MethodPost, "/upload", login, "x").StatusCode, "programs send no origin")
	c, _, err := w.tryDial(login)
	require.NoError(t, err)
	say(t, c, "hello")
	require.NoError(t, c.CloseNow())
}

// A new password ends the logins, cookies and streams of the old one.
func TestRotation(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	stream := w.dial(cookie)
	say(t, stream, "hello")

	files := testFiles()
	files[wire.KeyPassword] = "another-password"
	w.secret.write(files)
	assert.EqualValues(t, closePolicy, closedWith(t, stream).Code)
	assert.Equal(t, http.StatusUnauthorized, w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie}, "").StatusCode)
	assert.Equal(t, http.StatusUnauthorized, w.ask(http.MethodGet, "/", map[string]string{"Authorization": basic(testUser, testPassword)}, "").StatusCode)
	assert.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/", map[string]string{"Authorization": basic(testUser, "another-password")}, "").StatusCode)
}

// A change that leaves the login as it is disturbs nobody; one that cannot be
// used leaves everything as it was.
func TestHarmlessChanges(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	stream := w.dial(cookie)

	files := testFiles()
	files[wire.KeyDesktopPassword] = "another-inner-password"
	w.secret.write(files)
	require.Eventually(t, func() bool {
		w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie}, "")
		_, password, _ := w.desktop.last(t).BasicAuth()
		return password == "another-inner-password"
	}, waitFor, lookEvery)
	w.secret.write(map[string]string{wire.KeyUsername: testUser})
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), "cannot be used") }, waitFor, lookEvery)
	say(t, stream, "still here")
	assert.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie}, "").StatusCode)
}

func TestLogout(t *testing.T) {
	w := newWorld(t, nil)
	mine, other := w.login(), w.login()
	myStream, otherStream := w.dial(mine), w.dial(other)
	say(t, myStream, "hello")

	forbidden := w.post(wire.PathLogout, map[string]string{"Cookie": mine, "Origin": "https://bob.vdi.example.com"}, nil)
	assert.Equal(t, http.StatusForbidden, forbidden.StatusCode)
	say(t, myStream, "still here")

	page := w.ask(http.MethodGet, wire.PathLogout, map[string]string{"Cookie": mine, "Accept": acceptHTML}, "")
	assert.Contains(t, page.body, `action="/.vdi/logout"`)
	a := w.post(wire.PathLogout, map[string]string{"Cookie": mine}, nil)
	assert.Equal(t, http.StatusSeeOther, a.StatusCode)
	require.Len(t, a.Cookies(), 1)
	assert.Negative(t, a.Cookies()[0].MaxAge)
	farewell := closedWith(t, myStream)
	assert.EqualValues(t, closePolicy, farewell.Code)
	assert.Equal(t, "you have logged out", farewell.Reason)
	assert.Equal(t, http.StatusUnauthorized, w.ask(http.MethodGet, "/", map[string]string{"Cookie": mine}, "").StatusCode, "a copy of the cookie is worthless")
	say(t, otherStream, "another login goes on")
}

// Streams end at once where the disk is slow; the answer says that the logout is kept.
func TestLogoutDoesNotWaitForTheDisk(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.StateDir = t.TempDir() })
	cookie := w.login()
	stream := w.dial(cookie)
	say(t, stream, "hello")
	disk := &w.agent.revoked.writing
	disk.Lock()
	answered := make(chan answer, 1)
	go func() { answered <- w.post(wire.PathLogout, map[string]string{"Cookie": cookie}, nil) }()
	assert.EqualValues(t, closePolicy, closedWith(t, stream).Code)
	assert.Equal(t, http.StatusUnauthorized, w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie}, "").StatusCode)
	assert.Empty(t, answered)
	disk.Unlock()
	assert.Equal(t, http.StatusSeeOther, (<-answered).StatusCode)
	assert.FileExists(t, filepath.Join(w.agent.config.StateDir, fileRevoked))
}

// A logout between the check of a request and its way to the desktop.
func TestLogoutInBetween(t *testing.T) {
	w := newWorld(t, nil)
	r := httptest.NewRequest(http.MethodGet, "https://"+testHost+"/", nil)
	r.Header.Set("Cookie", w.login())
	answer := httptest.NewRecorder()
	e := w.agent.begin(answer, r)
	v, denied := w.agent.visitorOf(e.request)
	require.Nil(t, denied)
	e.visitor = v
	require.NoError(t, w.agent.revoked.add(v.cookie))
	w.agent.forward(e)
	assert.Equal(t, http.StatusUnauthorized, answer.Code)
	assert.Zero(t, w.desktop.requests())
	assert.Zero(t, w.underWay())
}

func TestLogoutOfNobody(t *testing.T) {
	w := newWorld(t, nil)
	assert.Equal(t, http.StatusSeeOther, w.post(wire.PathLogout, nil, nil).StatusCode)
	assert.Equal(t, http.StatusForbidden, w.ask(http.MethodPost, wire.PathLogout, nil, "").StatusCode)
}

func TestLoginEndsWithItsAge(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, func(c *Config) { c.MaxSessionAge = 2 * time.Second })
	stream := w.dial(w.login())
	farewell := closedWith(t, stream)
	assert.EqualValues(t, closePolicy, farewell.Code)
	assert.Equal(t, "your login has ended", farewell.Reason)
}

func TestLoginFormIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	a := w.post(wire.PathLogin, nil, url.Values{"password": {strings.Repeat("a", maxForm)}})
	assert.Equal(t, http.StatusBadRequest, a.StatusCode)
	for _, header := range []map[string]string{{"Origin": "https://evil.example.com"}, {"Origin": "null"}, {"Origin": "http://" + testHost}} {
		a := w.post(wire.PathLogin, header, url.Values{"password": {testPassword}})
		assert.Equal(t, http.StatusForbidden, a.StatusCode, header)
		assert.Empty(t, a.Cookies())
	}
	assert.Equal(t, http.StatusForbidden, w.ask(http.MethodPost, wire.PathLogin, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "password="+testPassword).StatusCode)
}

// Guessing is answered slowly; the owner comes in all the same, even from the
// address of who guesses.
func TestGuessing(t *testing.T) {
	w := newWorld(t, nil)
	guess := func(from string) int {
		return w.post(wire.PathLogin, map[string]string{"X-Forwarded-For": from}, url.Values{"password": {"guess"}}).StatusCode
	}
	const guesses = 30
	limited := 0
	for range guesses {
		if guess("192.0.2.1") == http.StatusTooManyRequests {
			limited++
		}
	}
	assert.GreaterOrEqual(t, limited, guesses/3)
	assert.Equal(t, http.StatusUnauthorized, guess("192.0.2.2"), "another address has its own limit")
	assert.Equal(t, http.StatusUnauthorized, guess("192.0.2.1, 192.0.2.3"), "the last hop is the one the proxy saw")
	right := w.post(wire.PathLogin, map[string]string{"X-Forwarded-For": "192.0.2.1"}, url.Values{"password": {testPassword}})
	assert.Equal(t, http.StatusSeeOther, right.StatusCode)
}

func TestOpenRedirect(t *testing.T) {
	w := newWorld(t, nil)
	for _, next := range []string{"//evil.example.com", `/\evil.example.com`, "https://evil.example.com"} {
		a := w.post(wire.PathLogin, nil, url.Values{"password": {testPassword}, "next": {next}})
		assert.Equal(t, "/", a.Header.Get("Location"), next)
	}
	page := w.ask(http.MethodGet, `/"><script>alert(1)</script>`, map[string]string{"Accept": acceptHTML}, "")
	assert.NotContains(t, page.body, "<script>")
}

// TestUnreadAnswerEnds: an answer that its visitor does not read ends with the login.
func TestUnreadAnswerEnds(t *testing.T) {
	w := newWorld(t, nil)
	w.desktop.handle = func(answer http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := answer.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.session)
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /big HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", testHost, w.login())
	require.NoError(t, err)
	var passed int64
	require.Eventually(t, func() bool { // until the ways between are full
		before := passed
		passed = w.agent.metrics.bytes.out.Load()
		return passed > 0 && passed == before
	}, time.Minute, 200*time.Millisecond)
	files := testFiles()
	files[wire.KeyPassword] = "another-password"
	w.secret.write(files)
	require.Eventually(t, func() bool { return w.underWay() == 0 }, time.Minute, 10*time.Millisecond)
}
