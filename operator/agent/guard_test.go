package agent

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestHost(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	for host, want := range map[string]int{
		testHost: http.StatusOK, testHost + ":8443": http.StatusOK, "ALICE.vdi.example.com": http.StatusOK,
		"bob.vdi.example.com": http.StatusMisdirectedRequest, "127.0.0.1": http.StatusMisdirectedRequest,
		testHost + ".": http.StatusMisdirectedRequest, testHost + ":x": http.StatusMisdirectedRequest,
		testHost + ".evil.example.com": http.StatusMisdirectedRequest, "x" + testHost: http.StatusMisdirectedRequest,
	} {
		a := w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie, "Host": host}, "")
		assert.Equal(t, want, a.StatusCode, host)
	}
	assert.Equal(t, testHost, strings.ToLower(web.Host(w.desktop.last(t).Host)), "the desktop sees the session's host")
}

// raw sends the bytes of a request and returns the status of the answer.
func (w *world) raw(request string) int {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.session)
	require.NoError(w.t, err)
	defer conn.Close()
	_, err = conn.Write([]byte(request))
	require.NoError(w.t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(w.t, err)
	defer answer.Body.Close()
	return answer.StatusCode
}

func TestRequestTricks(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	login := "Cookie: " + cookie + "\r\n"
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"another host in the target": {"GET http://bob.vdi.example.com/ HTTP/1.1\r\nHost: " + testHost + "\r\n" + login + "\r\n", 421},
		"CONNECT":                    {"CONNECT " + testHost + ":443 HTTP/1.1\r\nHost: " + testHost + "\r\n" + login + "\r\n", 405},
		"TRACE":                      {"TRACE / HTTP/1.1\r\nHost: " + testHost + "\r\n" + login + "\r\n", 405},
		"an unknown method":          {"PROPFIND / HTTP/1.1\r\nHost: " + testHost + "\r\n" + login + "\r\n", 405},
		"no host":                    {"GET / HTTP/1.0\r\n" + login + "\r\n", 421},
		"two hosts":                  {"GET / HTTP/1.1\r\nHost: " + testHost + "\r\nHost: bob.vdi.example.com\r\n" + login + "\r\n", 400},
		"two lengths":                {"POST / HTTP/1.1\r\nHost: " + testHost + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		"large header":               {"GET / HTTP/1.1\r\nHost: " + testHost + "\r\nA: " + strings.Repeat("a", 2*web.MaxHeaderBytes) + "\r\n\r\n", 431},
		"blank in a header's name":   {"GET / HTTP/1.1\r\nHost: " + testHost + "\r\nCookie : " + cookie + "\r\n\r\n", 400},
		"own path, encoded":          {"GET /%2evdi/login HTTP/1.1\r\nHost: " + testHost + "\r\n\r\n", 200},
		"own path, not there":        {"GET /.vdi/../ HTTP/1.1\r\nHost: " + testHost + "\r\n" + login + "\r\n", 404},
		"in":                         {"GET / HTTP/1.1\r\nHost: " + testHost + "\r\n" + login + "\r\n", 200},
	} {
		assert.Equal(t, c.want, w.raw(c.request), name)
	}
	assert.Equal(t, 1, w.desktop.requests())
}

func TestOrigin(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		for origin, want := range map[string]int{
			testOrigin: http.StatusOK, testOrigin + ":443": http.StatusOK,
			"": http.StatusForbidden, "null": http.StatusForbidden, "https://bob.vdi.example.com": http.StatusForbidden,
			"http://" + testHost: http.StatusForbidden, testOrigin + ":8443": http.StatusForbidden, testOrigin + ".evil.example.com": http.StatusForbidden,
			testOrigin + "/": http.StatusForbidden,
		} {
			header := map[string]string{"Cookie": cookie}
			if origin != "" {
				header["Origin"] = origin
			}
			assert.Equal(t, want, w.ask(method, "/", header, "").StatusCode, "%s from %q", method, origin)
		}
	}
	port := w.ask(http.MethodPost, "/", map[string]string{"Cookie": cookie, "Host": testHost + ":8443", "Origin": testOrigin + ":8443"}, "")
	assert.Equal(t, http.StatusOK, port.StatusCode, "the proxy's port may be another")
	crossed := w.ask(http.MethodPost, "/", map[string]string{"Authorization": basic(testUser, testPassword), "Origin": "https://evil.example.com"}, "")
	assert.Equal(t, http.StatusForbidden, crossed.StatusCode, "a browser sends remembered basic auth for other sites, too")
}

func TestWebSocketOrigin(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	say(t, w.dial(cookie), "hello")
	for _, origin := range []string{"", "null", "https://bob.vdi.example.com", "https://evil.example.com"} {
		header := map[string]string{"Cookie": cookie}
		if origin != "" {
			header["Origin"] = origin
		}
		_, response, err := w.tryDial(header)
		require.Error(t, err, origin)
		assert.Equal(t, http.StatusForbidden, response.StatusCode, origin)
	}
}

// Desktops of other users are the same site: their pages may link here, but not
// load, frame or send anything.
func TestCrossSite(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	for name, c := range map[string]struct {
		site, mode, dest string
		want             int
	}{
		"address bar":   {"none", "navigate", "document", http.StatusOK},
		"own page":      {"same-origin", "no-cors", "script", http.StatusOK},
		"a link":        {"cross-site", "navigate", "document", http.StatusOK},
		"front door":    {"same-site", "navigate", "document", http.StatusOK},
		"a frame":       {"same-site", "navigate", "iframe", http.StatusForbidden},
		"a script":      {"same-site", "no-cors", "script", http.StatusForbidden},
		"a fetch":       {"cross-site", "cors", "empty", http.StatusForbidden},
		"a websocket":   {"same-site", "websocket", "websocket", http.StatusForbidden},
		"an odd header": {"whatever", "navigate", "object", http.StatusForbidden},
	} {
		header := map[string]string{"Cookie": cookie, "Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode, "Sec-Fetch-Dest": c.dest}
		assert.Equal(t, c.want, w.ask(http.MethodGet, "/", header, "").StatusCode, name)
	}
	form := map[string]string{"Cookie": cookie, "Origin": testOrigin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
	assert.Equal(t, http.StatusForbidden, w.ask(http.MethodPost, "/", form, "").StatusCode)
}

func TestStripped(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	header := map[string]string{
		"Cookie": "__Host-app-a=1; " + cookie + "; sso=forged; __Host-b=2", "Authorization": "Bearer secret", "Accept-Language": "de", "X-Custom": "kept",
		"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "http",
	}
	claims := []string{
		"X-Vdi-Statement", "x-vdi-identity", "X-VDI-Anything", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Prefix", "Remote-User", "REMOTE_USER",
		"X-Auth-Request-User", "X-Auth-User", "X-Remote-User", "X_Forwarded_User", "X-Forwarded_User", "x_vdi_statement", "Forwarded", "X-Real-Ip",
		"X-Original-Url", "X-Webauth-User", "Cf-Access-Jwt-Assertion", "Proxy", "X-Http-Method-Override", "HTTP_HOST",
	}
	for _, name := range claims {
		header[name] = "forged"
	}
	require.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/", header, "").StatusCode)
	got := w.desktop.last(t).Header
	for name, values := range got {
		assert.False(t, slices.Contains(values, "forged"), name)
	}
	assert.Equal(t, []string{"a=1; __Host-b=2"}, got["Cookie"])
	username, password, _ := w.desktop.last(t).BasicAuth()
	assert.Equal(t, desktopUser+":"+desktopPass, username+":"+password)
	assert.Equal(t, "de", got.Get("Accept-Language"))
	assert.Equal(t, "kept", got.Get("X-Custom"))
	assert.Equal(t, []string{"192.0.2.9"}, got["X-Forwarded-For"])
	assert.Equal(t, []string{testHost}, got["X-Forwarded-Host"])
	assert.Equal(t, []string{"https"}, got["X-Forwarded-Proto"])
}

// A request may not name our headers as hop-by-hop, so that they get lost.
func TestConnectionHeaderTrick(t *testing.T) {
	w := newWorld(t, nil)
	status := w.raw("GET / HTTP/1.1\r\nHost: " + testHost + "\r\nCookie: " + w.login() + "\r\nConnection: close, Authorization, X-Forwarded-Proto\r\n\r\n")
	require.Equal(t, http.StatusOK, status)
	_, password, _ := w.desktop.last(t).BasicAuth()
	assert.Equal(t, desktopPass, password)
	assert.Equal(t, "https", w.desktop.last(t).Header.Get("X-Forwarded-Proto"))
}

func TestDesktopWithoutLogin(t *testing.T) {
	w := newWorld(t, nil)
	files := testFiles()
	delete(files, wire.KeyDesktopUsername)
	delete(files, wire.KeyDesktopPassword)
	w.secret.write(files)
	cookie := w.login()
	require.Eventually(t, func() bool {
		w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie}, "")
		return w.desktop.last(t).Header["Authorization"] == nil
	}, waitFor, lookEvery)
	w.ask(http.MethodGet, "/", map[string]string{"Authorization": basic(testUser, testPassword)}, "")
	assert.Empty(t, w.desktop.last(t).Header["Authorization"], "the visitor's login is not handed on")
}

func TestWebSocketIsReadable(t *testing.T) {
	w := newWorld(t, nil)
	say(t, w.dial(w.login()), "hello")
	got := w.desktop.last(t).Header
	assert.Empty(t, got["Sec-Websocket-Extensions"])
	assert.Equal(t, testOrigin, got.Get("Origin"))
	assert.Empty(t, got["Cookie"])
	_, password, _ := w.desktop.last(t).BasicAuth()
	assert.Equal(t, desktopPass, password)
	say(t, w.dial("sso=1; "+w.login()+"; __Host-app-a=1"), "hello")
	assert.Equal(t, []string{"a=1"}, w.desktop.last(t).Header["Cookie"])
}

func TestNoOtherProtocol(t *testing.T) {
	w := newWorld(t, nil)
	a := w.ask(http.MethodGet, "/", map[string]string{"Authorization": basic(testUser, testPassword), "Connection": "Upgrade", "Upgrade": "h2c"}, "")
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Empty(t, w.desktop.last(t).Header["Upgrade"])
}

// What the desktop says about logins and our cookie does not reach the visitor.
func TestAnswerStripped(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	w.desktop.handle = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Add("Set-Cookie", wire.CookieLogin+"=planted; Path=/; Secure")
		rw.Header().Add("Set-Cookie", "other=1")
		if r.URL.Path == "/closed" {
			rw.Header().Set("Www-Authenticate", `Basic realm="inner"`)
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}
	open := w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie}, "")
	assert.Equal(t, []string{"__Host-app-other=1; Path=/; Secure"}, open.Header["Set-Cookie"])
	closed := w.ask(http.MethodGet, "/closed", map[string]string{"Cookie": cookie}, "")
	assert.Equal(t, http.StatusBadGateway, closed.StatusCode)
	assert.Empty(t, closed.Header["Www-Authenticate"])
	assert.Contains(t, w.log.String(), errDesktopLogin.Error())
}

// Many kinds of nonsense: every one is answered, nobody comes in, nothing breaks.
func TestRandomRequests(t *testing.T) {
	w := newWorld(t, nil)
	before := steady(t, w)
	const requests, workers = 10_000, 8
	results := make(chan int, workers)
	for worker := range workers {
		go func() {
			in := 0
			for i := range requests / workers {
				if w.randomRequest(worker*requests + i) {
					in++
				}
			}
			results <- in
		}()
	}
	for range workers {
		assert.Zero(t, <-results, "somebody came in")
	}
	assert.Zero(t, w.desktop.requests())
	assert.NotContains(t, w.log.String(), "panic")
	w.expectSteady(t, before)
	assert.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/", map[string]string{"Cookie": w.login()}, "").StatusCode)
}

// randomRequest reports whether the answer let somebody in.
func (w *world) randomRequest(seed int) bool {
	random := newRandom(seed)
	conn, err := net.Dial("tcp", w.session)
	if err != nil {
		return false
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", random.of("GET", "POST", "PUT", "OPTIONS", "HEAD", "BREW", random.text()),
		random.of("/", "/.vdi/login", "/.vdi/logout", "/.vdi/"+random.text(), "*", "/"+random.text(), "http://"+random.text()),
		random.of(testHost, random.text(), "bob.vdi.example.com"))
	for range random.IntN(12) {
		fmt.Fprintf(conn, "%s: %s\r\n", random.of("Cookie", "Authorization", "Upgrade", "Origin", "X-Vdi-Statement", "Content-Length", "Transfer-Encoding",
			"Sec-Fetch-Site", "Sec-Fetch-Mode", "Accept", "X-Forwarded-For", "Sec-WebSocket-Key", random.text()),
			random.of(wire.CookieLogin+"="+random.text(), "Basic "+random.text(), "websocket", testOrigin, "chunked", "10", acceptHTML, random.text()))
	}
	fmt.Fprintf(conn, "\r\n%s", random.text())
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	cookies := answer.Cookies()
	return answer.StatusCode == http.StatusSwitchingProtocols || answer.StatusCode == http.StatusOK && answer.Header.Get("Cache-Control") != "no-store" ||
		len(cookies) > 0 && cookies[0].MaxAge >= 0
}
