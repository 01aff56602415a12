package frontdoor

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/agent"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// Programs of the proxy: the one that the platform asks for, and one that hands on
// what follows a CONNECT (CVE-2026-71324).
const (
	safeProxy   = "traefik"
	unsafeProxy = "traefik-vulnerable"
)

// shared is the real proxy with its shared connections before the real agent of
// Alice's desktop, which asks for a password, and the real front door, which logs
// people in at a provider.
type shared struct {
	*edge
	desktop *noted
}

// noted is a desktop that notes what it is asked.
type noted struct {
	mu   sync.Mutex
	seen []string
}

func (n *noted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, r.Method+" "+r.URL.Path)
	fmt.Fprintf(w, "a desktop at %s", r.URL.RequestURI())
}

func (n *noted) requests() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string{}, n.seen...)
}

// unguarded is a server whose handler cannot give a connection up.
func unguarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&keeping{w}, r) })
}

// keeping has no Unwrap, so that nothing of the connection can be reached.
type keeping struct{ w http.ResponseWriter }

func (k *keeping) Header() http.Header { return k.w.Header() }

func (k *keeping) WriteHeader(status int) {
	k.w.Header().Del("Connection")
	k.w.WriteHeader(status)
}

func (k *keeping) Write(p []byte) (int, error) {
	k.w.Header().Del("Connection")
	return k.w.Write(p)
}

// as leaves a handler as it is.
func as(h http.Handler) http.Handler { return h }

const visitorPassword = "canary-visitor-password"

func newShared(t *testing.T, program string, guard func(http.Handler) http.Handler) *shared {
	t.Helper()
	s := &shared{newBareEdge(t, wire.AccessOIDC), &noted{}}
	serve := func(h http.Handler) string {
		server := httptest.NewServer(guard(h))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	desktop := httptest.NewServer(s.desktop)
	t.Cleanup(desktop.Close)
	a, err := passwordAgent(desktop.Listener.Addr().String(), visitorSecret(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	s.alice = serve(a.Session())
	s.runPlainProxy(program, serve(s.pages()))
	return s
}

// pages are those of the front door, by either replica.
func (e *edge) pages() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.replica().Pages().ServeHTTP(w, r) })
}

// runPlainProxy leads to Alice's agent, and otherwise to the front door's pages.
func (e *edge) runPlainProxy(program, pages string) {
	e.t.Helper()
	e.runProxy(program, fmt.Sprintf(`
http:
  routers:
    alice: {rule: "Host(`+"`%s`"+`)", priority: 100, service: alice, tls: {}}
    others: {rule: "HostRegexp(`+"`^[a-z0-9-]+[.]vdi[.]example[.]com$`"+`)", priority: 1, service: pages, tls: {}}
  services:
    alice: {loadBalancer: {servers: [{url: "http://%s"}]}}
    pages: {loadBalancer: {servers: [{url: "http://%s"}]}}
`, aliceHost, e.alice, pages))
}

// visitorSecret is the folder of a session's Secret.
func visitorSecret(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range map[string]string{
		"username": "desktop", "password": visitorPassword, "cookie-key": strings.Repeat("k", 32),
		"desktop-username": "inner", "desktop-password": "inner",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600))
	}
	return folder
}

// passwordAgent is the agent of Alice's desktop.
func passwordAgent(desktop, secret string) (*agent.Agent, error) {
	return agent.New(agent.Config{
		Desktop: desktop, CredentialsDir: secret, Host: aliceHost, Session: "team/alice-1",
		SessionUID: "uid of alice-1", Mode: wire.AccessPassword, Input: agent.InputRules()[0], MaxSessionAge: time.Hour,
		Log: slog.New(slog.DiscardHandler),
	})
}

// logIn is Alice's browser with her login at the desktop.
func (s *shared) logIn() *browser {
	s.t.Helper()
	b, home := s.browser(), s.url(aliceHost)
	form := url.Values{"password": {visitorPassword}, "next": {"/"}}.Encode()
	answer := b.do(http.MethodPost, home+"/.vdi/login", form, "Origin", home)
	require.Equal(s.t, "a desktop at /", text(s.t, answer))
	return b
}

// tunnel asks the proxy for a tunnel to a host by HTTP/2, and sends bytes behind.
func (s *shared) tunnel(host, behind string) {
	s.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols, TLSClientConfig: &tls.Config{ServerName: host, InsecureSkipVerify: true}, //nolint:gosec // the test's own server
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.address)
		},
	}
	defer transport.CloseIdleConnections()
	r := (&http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: host}, Host: host, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(behind)), ContentLength: -1,
	}).WithContext(s.t.Context())
	answer, err := transport.RoundTrip(r)
	require.NoError(s.t, err)
	require.GreaterOrEqual(s.t, answer.StatusCode, 400, "no tunnel")
	text(s.t, answer)
}

// origin is what a page of Alice's desktop says where it comes from.
func (s *shared) originHeader() string { return "Origin: " + s.url(aliceHost) + "\r\n" }

// TestA34ConnectSmuggling: bytes that a stranger sends behind an HTTP/2 CONNECT
// never become part of another visitor's request, whatever the proxy lets through.
func TestA34ConnectSmuggling(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, s *shared) ledger.Outcome{
		"a request with the owner's login": func(t *testing.T, s *shared) ledger.Outcome {
			owner := s.logIn()
			s.tunnel(aliceHost, "POST /api/files/evil.desktop HTTP/1.1\r\n"+s.originHeader()+"X-Junk: ")
			got := text(t, owner.get(s.url(aliceHost)+"/mine"))
			harm := strings.Contains(strings.Join(s.desktop.requests(), ","), "POST /api/files/evil.desktop")
			return ledger.Judge(harm, ledger.Runtime, "the owner sees "+got)
		},
		"the owner's request as a form": func(t *testing.T, s *shared) ledger.Outcome {
			owner := s.logIn()
			s.tunnel(aliceHost, "POST /.vdi/login HTTP/1.1\r\nHost: "+aliceHost+"\r\n"+s.originHeader()+
				"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n\r\n")
			got := text(t, owner.get(s.url(aliceHost)+"/mine"))
			return ledger.Judge(got != "a desktop at /mine", ledger.Runtime, "the owner sees "+got)
		},
		"the attacker's login for a stranger": func(t *testing.T, s *shared) ledger.Outcome {
			callback, cookies := s.halfLoggedIn(bob)
			s.tunnel("auth."+domain, "GET "+callback+" HTTP/1.1\r\nCookie: "+cookies+"\r\nX-Junk: ")
			victim := s.browser().staying()
			text(t, victim.get(s.url("auth."+domain)+"/"))
			return ledger.Judge(victim.cookie(s.url("auth."+domain), "__Host-vdi-login") != "", ledger.Runtime, "the visitor is logged in nowhere")
		},
		"the owner's cookies at the front door": func(t *testing.T, s *shared) ledger.Outcome {
			s.tunnel("auth."+domain, "POST /logout HTTP/1.1\r\nHost: auth."+domain+"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n\r\n")
			answer := s.browser().staying().get(s.url("auth."+domain) + "/")
			return ledger.Judge(!strings.Contains(text(t, answer), "You are not logged in"), ledger.Runtime, "the visitor sees the own page")
		},
	} {
		ledger.Try(t, name,
			func(t *testing.T) ledger.Outcome { t.Helper(); return do(t, newShared(t, unsafeProxy, unguarded)) },
			func(t *testing.T) ledger.Outcome { t.Helper(); return do(t, newShared(t, unsafeProxy, as)) })
		ledger.Try(t, name+", by a proxy that keeps it",
			func(t *testing.T) ledger.Outcome { t.Helper(); return do(t, newShared(t, unsafeProxy, unguarded)) },
			func(t *testing.T) ledger.Outcome { t.Helper(); return do(t, newShared(t, safeProxy, unguarded)) })
	}
}

// halfLoggedIn goes through a login up to the way back, which it leaves to another: a
// path with its query, and the cookies that it needs.
func (s *shared) halfLoggedIn(who string) (callback, cookies string) {
	s.t.Helper()
	b, door := s.browser(), s.url("auth."+domain)
	answer := b.get(door + "/login")
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/callback" && strings.HasPrefix(r.URL.String(), door) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	answer = b.logIn(answer, who)
	text(s.t, answer)
	back, err := answer.Location()
	require.NoError(s.t, err)
	var pairs []string
	for _, c := range b.Jar.Cookies(back) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	require.NotEmpty(s.t, pairs)
	return back.RequestURI(), strings.Join(pairs, "; ")
}

// TestNothingBehindThroughTraefik: whatever is sent behind requests that are refused,
// by either protocol and through either proxy, others get the answers to their own
// requests, and the desktop sees nothing that its owner did not ask.
func TestNothingBehindThroughTraefik(t *testing.T) {
	head := " HTTP/1.1\r\nHost: " + aliceHost + "\r\n"
	const evil = "/api/files/evil.desktop"
	smuggled := "POST " + evil + head + "Content-Length: 0\r\n\r\n"
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
	for _, program := range []string{safeProxy, unsafeProxy} {
		t.Run(program, func(t *testing.T) {
			s := newShared(t, program, as)
			owner := s.logIn()
			for name, sent := range map[string]string{
				"CONNECT":            "CONNECT " + aliceHost + ":443" + head + "\r\n" + smuggled,
				"TRACE":              "TRACE /" + head + "\r\n" + smuggled,
				"an unknown method":  "PROPFIND /" + head + "\r\n" + smuggled,
				"a body of it":       "PROPFIND /" + head + "Content-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled,
				"an expectation":     "POST /" + head + "Expect: 100-continue\r\nContent-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled,
				"another one":        "POST /" + head + "Expect: a-miracle\r\nContent-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled,
				"a refused upgrade":  "GET /ws" + head + upgrade + smuggled,
				"a refused body":     "POST /" + head + "Content-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled,
				"refused chunks":     "POST /" + head + "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(smuggled)), 16) + "\r\n" + smuggled + "\r\n0\r\n\r\n",
				"half a body":        "POST /" + head + "Content-Length: " + strconv.Itoa(2*len(smuggled)) + "\r\n\r\n" + smuggled,
				"a form not read":    "POST /.vdi/x" + head + "Content-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled,
				"CONNECT by HTTP/2":  "",
				"CONNECT, half over": "",
			} {
				switch {
				case sent != "":
					s.send(t, sent, strings.HasPrefix(name, "half"))
				case strings.HasSuffix(name, "over"):
					s.tunnel(aliceHost, "POST "+evil+" HTTP/1.1\r\n"+s.originHeader()+"X-Junk: ")
				default:
					s.tunnel(aliceHost, smuggled)
				}
				for i := range 4 {
					path := "/mine-" + strconv.Itoa(i)
					assert.Equal(t, "a desktop at "+path, text(t, owner.get(s.url(aliceHost)+path)), name)
				}
			}
			for _, seen := range s.desktop.requests() {
				assert.NotContains(t, seen, evil)
			}
		})
	}
}

// send writes bytes to the proxy by HTTP/1.1 and waits for the first answer, or goes
// away where the proxy waits for more before it answers.
func (s *shared) send(t *testing.T, sent string, goes bool) {
	t.Helper()
	conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: aliceHost, NextProtos: []string{"http/1.1"}, InsecureSkipVerify: true}) //nolint:gosec // the test's own server
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, sent)
	require.NoError(t, err)
	if goes {
		return
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, answer.StatusCode, 100)
}

// TestNothingBehindAtTheDoor: the front door answers one request, and nothing that is
// sent behind one that it does not serve.
func TestNothingBehindAtTheDoor(t *testing.T) {
	for _, mode := range []wire.AccessMode{wire.AccessPassword, wire.AccessOIDC} {
		w := newWorld(t, mode)
		for port, h := range map[string]http.Handler{"pages": w.replica().Pages(), "auth": w.replica().ForwardAuth()} {
			server := httpserver.New(h, slog.New(slog.DiscardHandler), 32<<10)
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			go func() { _ = server.Serve(listener) }()
			t.Cleanup(func() { require.NoError(t, server.Close()) })
			for _, host := range []string{aliceHost, nobody, "auth." + domain, "elsewhere.example.org"} {
				head := " HTTP/1.1\r\nHost: " + host + "\r\nX-Forwarded-Host: " + host + "\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Method: POST\r\nX-Forwarded-Uri: /\r\n"
				for name, request := range map[string]string{
					"CONNECT":               "CONNECT " + host + ":443" + head + "\r\n",
					"TRACE":                 "TRACE /" + head + "\r\n",
					"an unknown method":     "PROPFIND /" + head + "\r\n",
					"an expectation":        "POST /.vdi/resume" + head + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
					"an unknown one":        "POST /.vdi/resume" + head + "Expect: a-miracle\r\nContent-Length: 3\r\n\r\nabc",
					"a refused upgrade":     "GET /ws" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
					"a refusal":             "GET /nowhere" + head + "\r\n",
					"a refused body":        "POST /nowhere" + head + "Content-Length: 3\r\n\r\nabc",
					"refused chunks":        "PUT /" + head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
					"a forged form":         "POST /.vdi/login" + head + "Content-Length: 3\r\n\r\nabc",
					"a form of another way": "POST /logout" + head + "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
					"a body of a page":      "GET /" + head + "Accept: text/html\r\nContent-Length: 3\r\n\r\nabc",
				} {
					got := conversation(t, listener.Addr().String(), request+"GET /login"+head+"Accept: text/html\r\nConnection: close\r\n\r\n")
					if assert.Len(t, got, 1, "%s %s %s: %s", mode, port, host, name) {
						assert.True(t, got[0].Close, name)
					}
				}
			}
		}
	}
}

// conversation is what one connection answers.
func conversation(t *testing.T, address, sent string) (all []*http.Response) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, sent)
	require.NoError(t, err)
	for from := bufio.NewReader(conn); ; {
		answer, err := http.ReadResponse(from, nil)
		if err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection is held")
			return all
		}
		text(t, answer)
		if answer.StatusCode >= http.StatusOK {
			all = append(all, answer)
		}
	}
}

// TestProxyCheck: the check distinguishes the proxies, at an agent and at the front door.
func TestProxyCheck(t *testing.T) {
	for program, unsafe := range map[string]bool{safeProxy: false, unsafeProxy: true} {
		s := newShared(t, program, as)
		for _, host := range []string{aliceHost, "auth." + domain} {
			passes, err := proxycheck.Passes(t.Context(), s.address, host)
			require.NoError(t, err, program)
			assert.Equal(t, unsafe, passes, "%s at %s", program, host)
		}
	}
}
