package frontdoor

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/agent"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// edge is the real proxy before the real front door and the real agents of two
// desktops, Alice's and Bob's.
type edge struct {
	*world
	port int
	// alice and bob are the agents' own addresses, past the proxy, and people is the
	// front door's.
	alice, bob, people string
}

func (e *edge) url(host string) string { return fmt.Sprintf("https://%s:%d", host, e.port) }

// newBareEdge has an address for the proxy, which does not run yet.
func newBareEdge(t *testing.T, mode wire.AccessMode) *edge {
	t.Helper()
	port, err := cluster.FreePort()
	require.NoError(t, err)
	e := &edge{port: port}
	e.world = newWorld(t, mode, func(w *world, s *platform.Sessions) {
		w.clock, w.address, s.ExternalPort = time.Now, "127.0.0.1:"+strconv.Itoa(e.port), int32(e.port)
	})
	return e
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	e := newBareEdge(t, wire.AccessOIDC)
	e.alice, e.bob = e.runAgent("alice-1"), e.runAgent("bob-1")
	e.people = e.serve(e.pages())
	auth := e.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.replica().ForwardAuth().ServeHTTP(w, r) }))
	e.runTraefik(fmt.Sprintf(`
http:
  routers:
    alice: {rule: "Host(`+"`%s`"+`)", priority: 100, service: alice, middlewares: [door], tls: {}}
    bob: {rule: "Host(`+"`%s`"+`)", priority: 100, service: bob, middlewares: [door], tls: {}}
    others: {rule: "HostRegexp(`+"`^[a-z0-9-]+[.]vdi[.]example[.]com$`"+`)", priority: 1, service: pages, tls: {}}
  middlewares:
    door: {forwardAuth: {address: "http://%s/auth", authResponseHeaders: [X-Vdi-Statement]}}
  services:
    alice: {loadBalancer: {servers: [{url: "http://%s"}]}}
    bob: {loadBalancer: {servers: [{url: "http://%s"}]}}
    pages: {loadBalancer: {servers: [{url: "http://%s"}]}}
`, aliceHost, bobHost, auth, e.alice, e.bob, e.people))
	return e
}

// serve serves as the front door does.
func (e *edge) serve(h http.Handler) string { return e.serveWith(h, 64<<10) }

func (e *edge) serveWith(h http.Handler, maxHeaderBytes int) string {
	e.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(e.t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(e.t, err)
	server := httpserver.New(h, slog.New(slog.DiscardHandler), maxHeaderBytes)
	go func() { _ = server.Serve(listener) }()
	e.t.Cleanup(func() { require.NoError(e.t, server.Close()) })
	return listener.Addr().String()
}

// runAgent runs a session's agent before a desktop that echoes.
func (e *edge) runAgent(label string) string {
	e.t.Helper()
	desktop := httptest.NewServer(http.HandlerFunc(echo))
	e.t.Cleanup(desktop.Close)
	keys := e.t.TempDir()
	der, err := x509.MarshalPKIXPublicKey(e.signing)
	require.NoError(e.t, err)
	require.NoError(e.t, os.WriteFile(filepath.Join(keys, "1.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	a, err := agent.New(agent.Config{
		Desktop: desktop.Listener.Addr().String(), CredentialsDir: e.t.TempDir(), Host: label + "." + domain,
		Session: "team/" + label, SessionUID: "uid of " + label, Mode: wire.AccessOIDC, StatementKeysDir: keys,
		Input: agent.InputRules()[0], MaxSessionAge: 12 * time.Hour, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(e.t, err)
	server := httptest.NewServer(a.Session())
	e.t.Cleanup(func() {
		server.Close()
		require.NoError(e.t, a.Close())
	})
	return server.Listener.Addr().String()
}

// echo is a desktop that shows its visitor's headers, or repeats what is typed.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		fmt.Fprintf(w, "a desktop at %s sees %v", r.URL.RequestURI(), r.Header)
		return
	}
	stream, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer func() { _ = stream.CloseNow() }()
	for {
		kind, typed, err := stream.Read(r.Context())
		if err != nil || stream.Write(r.Context(), kind, typed) != nil {
			return
		}
	}
}

func (e *edge) runTraefik(routes string) { e.runProxy(safeProxy, routes) }

func (e *edge) runProxy(program, routes string) {
	e.t.Helper()
	bin, err := cluster.BinDir()
	require.NoError(e.t, err)
	file := filepath.Join(e.t.TempDir(), "routes.yaml")
	require.NoError(e.t, os.WriteFile(file, []byte(routes), 0o600))
	var log bytes.Buffer
	traefik := exec.Command(filepath.Join(bin, program), "--entryPoints.websecure.address="+e.address, "--providers.file.filename="+file,
		"--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=WARN")
	traefik.Stdout, traefik.Stderr = &log, &log
	require.NoError(e.t, traefik.Start(), "run 'make tools' at the top of the repository")
	e.t.Cleanup(func() {
		require.NoError(e.t, traefik.Process.Kill())
		_ = traefik.Wait() // killed
		if e.t.Failed() {
			e.t.Log(log.String())
		}
	})
	b := e.browser()
	require.Eventually(e.t, func() bool {
		answer, err := b.Get(e.url("auth."+domain) + "/")
		// The proxy's own 404 has no such header.
		return err == nil && answer.Body.Close() == nil && (answer.StatusCode != http.StatusNotFound || answer.Header.Get("Referrer-Policy") != "")
	}, time.Minute, 20*time.Millisecond, "the proxy knows its routes")
}

// stream opens a WebSocket as the page of an origin does.
func (e *edge) stream(b *browser, host, origin string, cookies ...string) (*websocket.Conn, int) {
	e.t.Helper()
	headers := http.Header{"Origin": {origin}, "Sec-Fetch-Mode": {"websocket"}}
	for _, cookie := range cookies {
		headers.Add("Cookie", cookie)
	}
	stream, answer, err := websocket.Dial(e.t.Context(), strings.Replace(e.url(host), "https", "wss", 1)+"/ws", &websocket.DialOptions{HTTPClient: b.Client, HTTPHeader: headers})
	if err != nil {
		require.NotNil(e.t, answer, "%v", err)
		return nil, answer.StatusCode
	}
	e.t.Cleanup(func() { _ = stream.CloseNow() })
	return stream, answer.StatusCode
}

// TestThroughTraefik: the way of OIDC mode through the real proxy to the real
// agent, and the ways around it.
func TestThroughTraefik(t *testing.T) {
	e := newEdge(t)
	home := e.url(aliceHost)
	b := e.browser()
	answer := b.open(home+"/files?a=b", alice)
	assert.Equal(t, home+"/files?a=b", answer.Request.URL.String())
	seen := text(t, answer)
	assert.Contains(t, seen, "a desktop at /files?a=b")
	for _, hidden := range []string{"__Host-vdi=", "X-Vdi-Statement", "X-Forwarded-Uri"} {
		assert.NotContains(t, seen, hidden)
	}
	stolen := "__Host-vdi=" + b.cookie(home, "__Host-vdi")

	t.Run("streams", func(t *testing.T) {
		stream, _ := e.stream(b, aliceHost, home)
		require.NotNil(t, stream)
		require.NoError(t, stream.Write(t.Context(), websocket.MessageText, []byte("ls")))
		_, typed, err := stream.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "ls", string(typed))
		_, status := e.stream(e.browser(), aliceHost, home)
		assert.Equal(t, http.StatusUnauthorized, status, "nobody's stream")
		_, status = e.stream(b, aliceHost, e.url(bobHost))
		assert.Equal(t, http.StatusForbidden, status, "a page of Bob's desktop in Alice's browser")
		_, status = e.stream(e.browser(), bobHost, e.url(bobHost), stolen)
		assert.Equal(t, http.StatusForbidden, status, "Alice's cookie at Bob's host")
	})

	t.Run("another's desktop", func(t *testing.T) {
		answer := b.get(e.url(bobHost) + "/")
		assert.Equal(t, http.StatusForbidden, answer.StatusCode)
		assert.Contains(t, text(t, answer), "This is not your desktop")
	})

	t.Run("headers", func(t *testing.T) {
		good := e.statement(stolen)
		for _, headers := range [][]string{
			{"X-Vdi-Statement", good},
			{"X_Vdi_Statement", good, "X-Forwarded-User", alice},
			{"X-Forwarded-Host", aliceHost, "X-Forwarded-Uri", "/.vdi/login"},
			{"X_Forwarded_Host", aliceHost},
			{"Connection", "X-Vdi-Statement, X-Forwarded-Host"},
		} {
			answer := e.browser().staying().get(e.url(bobHost)+"/", append(headers, "Accept", "*/*")...)
			assert.Contains(t, []int{http.StatusUnauthorized, http.StatusBadRequest, http.StatusForbidden}, answer.StatusCode, headers[0])
			text(t, answer)
			answer = e.browser().staying().get(e.url(bobHost)+"/", append(headers, "Accept", "*/*", "Cookie", stolen)...)
			assert.Contains(t, []int{http.StatusUnauthorized, http.StatusBadRequest, http.StatusForbidden}, answer.StatusCode, headers[0])
			text(t, answer)
		}
		answer := b.staying().get(home+"/", "X-Vdi-Statement", "x", "X-Vdi-Statement", "y")
		assert.Equal(t, http.StatusOK, answer.StatusCode, "the proxy replaces what a client says")
		assert.NotContains(t, text(t, answer), "Statement")
	})

	t.Run("past the proxy", func(t *testing.T) {
		good := e.statement(stolen)
		for name, c := range map[string]struct {
			address, host string
			headers       []string
			want          int
		}{
			"shown that it works":  {e.alice, aliceHost, []string{"X-Vdi-Statement", good}, http.StatusOK},
			"no statement":         {e.alice, aliceHost, []string{"Cookie", stolen}, http.StatusUnauthorized},
			"at Bob's agent":       {e.bob, bobHost, []string{"X-Vdi-Statement", good}, http.StatusUnauthorized},
			"at Bob's, Alice's":    {e.bob, aliceHost, []string{"X-Vdi-Statement", good}, http.StatusMisdirectedRequest},
			"twice":                {e.alice, aliceHost, []string{"X-Vdi-Statement", good, "X-Vdi-Statement", good}, http.StatusUnauthorized},
			"beside an underscore": {e.alice, aliceHost, []string{"X-Vdi-Statement", good, "X_vdi_statement", good}, http.StatusUnauthorized},
		} {
			assert.Equal(t, c.want, e.direct(c.address, c.host, c.headers...), name)
		}
	})

	t.Run("suspended", func(t *testing.T) {
		e.known.add("alice-2", alice, vdi.PhaseSuspended)
		e.suspend("alice-2." + domain)
		answer := b.get(e.url("alice-2."+domain) + "/")
		page := text(t, answer)
		assert.Contains(t, page, "Your desktop is suspended")
		origin := e.url("alice-2." + domain)
		assert.Empty(t, e.known.done())
		text(t, b.do(http.MethodPost, origin+"/.vdi/resume", formOf(t, page), "Origin", origin))
		assert.Equal(t, []string{"resume alice-2"}, e.known.done())
	})

	t.Run("logout closes streams", func(t *testing.T) {
		stream, _ := e.stream(b, aliceHost, home)
		require.NotNil(t, stream)
		answer := b.do(http.MethodPost, home+"/.vdi/logout", "", "Origin", home)
		assert.Equal(t, home+wire.PathLogin, answer.Request.URL.String(), "a redirect to another host would be stopped by the page's policy")
		page := text(t, answer)
		assert.Contains(t, page, "Logged out")
		assert.Contains(t, page, `href="`+e.url("auth."+domain)+`/"`)
		_, _, err := stream.Read(t.Context())
		assert.Equal(t, websocket.StatusPolicyViolation, websocket.CloseStatus(err), "%v", err)
		assert.Empty(t, b.cookie(home, "__Host-vdi"))
		_, status := e.stream(e.browser(), aliceHost, home, stolen)
		assert.Equal(t, http.StatusUnauthorized, status, "a copy of the cookie")
	})
}

// statement is what the front door says to Alice's agent about a cookie.
func (e *edge) statement(cookie string) string {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.url(aliceHost)+"/", nil)
	require.NoError(e.t, err)
	r.Header.Set("Cookie", cookie)
	good := e.ask(r).Header().Get(wire.HeaderStatement)
	require.NotEmpty(e.t, good)
	return good
}

// direct asks an agent past the proxy.
func (e *edge) direct(address, host string, headers ...string) int {
	e.t.Helper()
	target := url.URL{Scheme: "http", Host: address, Path: "/"}
	r, err := http.NewRequestWithContext(context.WithoutCancel(e.t.Context()), http.MethodGet, target.String(), nil)
	require.NoError(e.t, err)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(e.t, err)
	text(e.t, answer)
	return answer.StatusCode
}
