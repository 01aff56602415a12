package frontdoor

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// Hosts as long as Alice's, of a suspended desktop and of none.
const (
	pausedHost = "pause-1." + domain
	emptyHost  = "empty-1." + domain
)

// newPasswordEdge is the real proxy before the front door and Alice's agent, in mode
// Password. Other hosts are served by absent.
func newPasswordEdge(t *testing.T, absent func(*edge) http.Handler) *edge {
	t.Helper()
	e := newBareEdge(t, wire.AccessPassword)
	desktop := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(desktop.Close)
	a, err := passwordAgent(desktop.Listener.Addr().String(), visitorSecret(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	e.alice, e.people = e.serveWith(a.Session(), 32<<10), e.serveWith(absent(e), 32<<10)
	e.runPlainProxy(safeProxy, e.people)
	return e
}

// asked are requests of somebody without a login. HOST is the host.
func asked() map[string]string {
	browser := "Accept: text/html,*/*\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
	form := func(path, fields, headers string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n%s\r\n%s", path, len(fields), headers, fields)
	}
	own := "Origin: https://HOST\r\n"
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("desktop:wrong")) + "\r\n"
	stream := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	requests := map[string]string{
		"login":                       form("/.vdi/login", "password=wrong&next=/a", own),
		"login, by a program":         form("/.vdi/login", "password=wrong", ""),
		"login, from elsewhere":       form("/.vdi/login", "password=wrong", "Origin: https://evil.example.com\r\n"),
		"login, unreadable":           form("/.vdi/login", "%zz", own),
		"login, too long":             form("/.vdi/login", strings.Repeat("a", 64<<10), own),
		"logout":                      form("/.vdi/logout", "", own),
		"logout, from elsewhere":      form("/.vdi/logout", "", ""),
		"close, as a front door does": form("/.vdi/logout?close=x", "", own),
		"resume":                      form("/.vdi/resume", "form=x", own+browser),
		"upload":                      form("/api/upload", "x", own),
		"a head that is too long":     "GET / HTTP/1.1\r\nHost: HOST\r\nCookie: " + strings.Repeat("a=b; ", 8<<10) + "\r\n\r\n",
		"a long one":                  "GET / HTTP/1.1\r\nHost: HOST\r\nAccept: text/html\r\nCookie: " + strings.Repeat("a=b; ", 5<<10) + "\r\n\r\n",
		"a made-up login":             "GET / HTTP/1.1\r\nHost: HOST\r\nCookie: __Host-vdi=v2.9999999999999.x.y; __Host-vdi-page=x; __Host-vdi-browser=y\r\n\r\n",
		"a made-up question":          "GET /api/health HTTP/1.1\r\nHost: HOST\r\n" + platform.QuestionHeader + ": 3f0e8a52-0f4d-4f7e-9d2e-3f4a5b6c7d8e\r\n\r\n",
		"a made-up statement":         "GET / HTTP/1.1\r\nHost: HOST\r\n" + wire.HeaderStatement + ": x.y.z\r\n\r\n",
		"a wrong password":            "GET / HTTP/1.1\r\nHost: HOST\r\n" + basic + "\r\n",
		"a service worker":            "GET /sw.js HTTP/1.1\r\nHost: HOST\r\nService-Worker: script\r\n\r\n",
		"a stream":                    "GET /api/websockets HTTP/1.1\r\nHost: HOST\r\n" + own + stream + "\r\n",
		"a stream, from elsewhere":    "GET /api/websockets HTTP/1.1\r\nHost: HOST\r\nOrigin: https://evil.example.com\r\n" + stream + "\r\n",
		"another protocol":            "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"a file of another site":      "GET /favicon.ico HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n\r\n",
		"a link":                      "GET /x?y HTTP/1.1\r\nHost: HOST\r\nAccept: text/html\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n",
		"a frame":                     "GET / HTTP/1.1\r\nHost: HOST\r\nAccept: text/html\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\r\n",
		"a script of its own":         "GET /a.js HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n\r\n",
		"a look-alike of the proxy's": "GET / HTTP/1.1\r\nHost: HOST\r\nX_Forwarded_Prefix: /a\r\n\r\n",
		"another look-alike, a page":  "GET /a HTTP/1.1\r\nHost: HOST\r\nX-Forwarded_Uri: /b\r\n" + browser + "\r\n",
		"no path at all":              "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n",
		"a body that is said to come": "GET / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	}
	paths := []string{
		"/", "/index.html", "/api/health", "/a%2fb?c=d", "//x", "/.vdi", "/.vdi/", "/.vdi/login", "/.vdi/logout", "/.vdi/events", "/.vdi/resume", "/.vdi/callback",
		"/.vdi/callback?code=x", "/.vdi/signout?logout=x", "/.vdi/x", "/%2evdi/login", "/.vdi/../x",
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PROPFIND", "TRACE"} {
			for kind, headers := range map[string]string{"program": "Accept: */*\r\n", "browser": browser} {
				requests[method+" "+path+" by a "+kind] = method + " " + path + " HTTP/1.1\r\nHost: HOST\r\n" + headers + "\r\n"
			}
		}
	}
	return requests
}

var (
	setBrowser = regexp.MustCompile(`__Host-vdi-browser=[A-Za-z0-9_-]+`)
	sealed     = regexp.MustCompile(`/login\?to=[A-Za-z0-9._-]+`)
)

// whole is an answer to a request as it comes, but for the time and what is random in
// it, whose length counts.
func (e *edge) whole(t *testing.T, host, request string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", e.address, &tls.Config{ServerName: host, InsecureSkipVerify: true}) //nolint:gosec // the test's own proxy
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, strings.ReplaceAll(request, "HOST", fmt.Sprintf("%s:%d", host, e.port)))
	require.NoError(t, err)
	method, _, _ := strings.Cut(request, " ")
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(t, err)
	body := text(t, answer)
	answer.Header.Del("Date")
	lines := []string{answer.Proto + " " + answer.Status, fmt.Sprint(answer.ContentLength, answer.TransferEncoding, answer.Close)}
	for name, values := range answer.Header {
		lines = append(lines, fmt.Sprint(name, values))
	}
	slices.Sort(lines)
	all := strings.ReplaceAll(strings.Join(append(lines, body), "\n"), host, "HOST")
	sameLength := func(random string) string { return fmt.Sprintf("%d bytes", len(random)) }
	return sealed.ReplaceAllStringFunc(setBrowser.ReplaceAllStringFunc(all, sameLength), sameLength)
}

// inOnePiece is how much of an answer a proxy made with net/http has in its hands when it
// gets the first byte, in bytes: a request's body whose end it has not noticed by then cuts
// what comes later.
const inOnePiece = 4 << 10

// TestStrangersLearnNothing: whole answers, through the real proxy.
func TestStrangersLearnNothing(t *testing.T) {
	for mode, open := range map[wire.AccessMode]func(*testing.T) *edge{
		wire.AccessPassword: func(t *testing.T) *edge { return newPasswordEdge(t, (*edge).pages) }, wire.AccessOIDC: newEdge,
	} {
		t.Run(string(mode), func(t *testing.T) {
			e := open(t)
			e.known.add("pause-1", alice, vdi.PhaseSuspended)
			e.suspend(pausedHost)
			for name, request := range asked() {
				running := e.whole(t, aliceHost, request)
				if strings.HasPrefix(request, "POST") {
					assert.LessOrEqual(t, len(running), inOnePiece, "%s: a proxy may cut what is longer", name)
				}
				assert.Equal(t, running, e.whole(t, pausedHost, request), name)
				assert.Equal(t, running, e.whole(t, emptyHost, request), name)
			}
		})
	}
}

// TestStrangersGuess: neither do many wrong passwords say more, of one host or of several.
func TestStrangersGuess(t *testing.T) {
	e := newPasswordEdge(t, (*edge).pages)
	guess := asked()["login"]
	for n := range 15 {
		running := e.whole(t, aliceHost, guess)
		if n < 10 {
			require.Contains(t, running, "401")
		}
		for _, host := range []string{pausedHost, emptyHost} {
			assert.Equal(t, running, e.whole(t, host, guess), n)
		}
	}
}

// TestA42WhoWorks: with a host for each person, strangers could list who is at work.
func TestA42WhoWorks(t *testing.T) {
	naive := func(*edge) http.Handler {
		return httpserver.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept"), "text/html") {
				w.Header().Set("Retry-After", "5")
				http.Error(w, "No desktop answers here now.", http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "The desktop at this address does not answer now. Log in to see why.")
		}))
	}
	without := newPasswordEdge(t, naive)
	edges := map[string]*edge{"mode Password": newPasswordEdge(t, (*edge).pages), "mode OIDC": newEdge(t)}
	for name, request := range map[string]string{"a program": "GET / by a program", "a browser": "GET / by a browser"} {
		for mode, with := range edges {
			differ := func(e *edge) ledger.Attempt {
				return func(t *testing.T) ledger.Outcome {
					e.known.add("pause-1", alice, vdi.PhaseSuspended)
					e.suspend(pausedHost)
					ask := asked()[request]
					return ledger.Judge(e.whole(t, aliceHost, ask) != e.whole(t, pausedHost, ask), ledger.Runtime, "the same, byte for byte")
				}
			}
			ledger.Try(t, "answers to "+name+", "+mode, differ(without), differ(with))
		}
	}
}

// TestA42CookieBomb: a desktop's page sets cookies for all hosts of the domain, and its
// visitor can come to none any more, unless the answer says to forget them.
func TestA42CookieBomb(t *testing.T) {
	locked := func(t *testing.T, answer string) ledger.Outcome {
		require.Contains(t, answer, "431")
		return ledger.Judge(!strings.Contains(answer, `Clear-Site-Data["cookies"]`), ledger.Runtime, "the browser forgets them")
	}
	bomb := asked()["a head that is too long"]
	plain := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	plain.Config.MaxHeaderBytes = 32 << 10
	plain.Start()
	t.Cleanup(plain.Close)
	without := newBareEdge(t, wire.AccessPassword)
	without.alice = plain.Listener.Addr().String()
	without.runPlainProxy(safeProxy, without.alice)
	with := newPasswordEdge(t, (*edge).pages)
	for name, host := range map[string]string{"where a desktop runs": aliceHost, "where none does": emptyHost} {
		ledger.Try(t, name,
			func(t *testing.T) ledger.Outcome { return locked(t, without.whole(t, host, bomb)) },
			func(t *testing.T) ledger.Outcome { return locked(t, with.whole(t, host, bomb)) })
	}
}
