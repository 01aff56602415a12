package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	testHost     = "alice.vdi.example.com"
	testOrigin   = "https://" + testHost
	testUID      = "3f0e8a52-0f4d-4f7e-9d2e-3f4a5b6c7d8e"
	testUser     = "desktop"
	testPassword = "canary-visitor-password"
	desktopUser  = "inner"
	desktopPass  = "canary-desktop-password"
	waitFor      = time.Minute // ends a test that hangs; nothing is judged by it
	lookEvery    = 5 * time.Millisecond
)

var testCookieKey = []byte("canary-cookie-key-of-32-bytes-ab")

// secret writes a folder as the kubelet does: files behind a link that is
// swapped at once.
type secret struct {
	t       testing.TB
	dir     string
	version int
}

func newSecret(t testing.TB, files map[string]string) *secret {
	s := &secret{t: t, dir: t.TempDir()}
	s.write(files)
	return s
}

func (s *secret) write(files map[string]string) {
	s.t.Helper()
	s.version++
	data := filepath.Join(s.dir, "..version-"+strings.Repeat("i", s.version))
	require.NoError(s.t, os.Mkdir(data, 0o700))
	for name, content := range files {
		require.NoError(s.t, os.WriteFile(filepath.Join(data, name), []byte(content), 0o600))
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(s.dir, name)) // there from the version before
	}
	link := filepath.Join(s.dir, "..data_tmp")
	require.NoError(s.t, os.Symlink(filepath.Base(data), link))
	require.NoError(s.t, os.Rename(link, filepath.Join(s.dir, "..data")))
}

func testFiles() map[string]string {
	return map[string]string{
		wire.KeyUsername: testUser, wire.KeyPassword: testPassword + "\n", wire.KeyCookie: string(testCookieKey),
		wire.KeyDesktopUsername: desktopUser, wire.KeyDesktopPassword: desktopPass,
	}
}

// lines is a log that several goroutines write.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// world is an agent with its listeners and a desktop behind it, on loopback.
type world struct {
	t       testing.TB
	agent   *Agent
	desktop *fakeDesktop
	secret  *secret
	log     *lines
	session string // host:port of each listener
	status  string
	local   string
	client  *http.Client
	stop    context.CancelFunc
	done    chan error
}

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, desktop: newFakeDesktop(t), secret: newSecret(t, testFiles()), log: &lines{}, done: make(chan error, 1)}
	c := Config{
		Desktop: w.desktop.address(), DesktopHealth: "/api/health", CredentialsDir: w.secret.dir,
		Host: testHost, Session: "team/alice", SessionUID: testUID, Mode: wire.AccessPassword, Input: "selkies",
		MaxSessionAge: time.Hour, Log: slog.New(slog.NewJSONHandler(w.log, nil)),
	}
	if change != nil {
		change(&c)
	}
	var err error
	w.agent, err = New(c)
	require.NoError(t, err)
	w.serve()
	transport := &http.Transport{DisableCompression: true}
	w.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		w.stop()
		require.NoError(t, <-w.done)
		require.NoError(t, w.agent.Close())
	})
	return w
}

func (w *world) serve() {
	open := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(w.t, err)
		return l
	}
	l := Listeners{Session: open(), Status: open(), Local: open()}
	w.session, w.status, w.local = l.Session.Addr().String(), l.Status.Addr().String(), l.Local.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() { w.done <- w.agent.Serve(ctx, l) }()
}

// answer is an HTTP answer that was read to its end.
type answer struct {
	*http.Response
	body string
}

// ask sends a request to the session's listener. The header "Host" changes the
// host; names are sent as they are written.
func (w *world) ask(method, path string, header map[string]string, body string) answer {
	w.t.Helper()
	r, err := http.NewRequest(method, "http://"+w.session+path, strings.NewReader(body))
	require.NoError(w.t, err)
	r.Host = testHost
	for name, value := range header {
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header[name] = []string{value}
	}
	response, err := w.client.Do(r)
	require.NoError(w.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return answer{response, string(text)}
}

// askStatus asks the status listener.
func (w *world) askStatus(path string) answer {
	w.t.Helper()
	response, err := w.client.Get("http://" + w.status + path)
	require.NoError(w.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return answer{response, string(text)}
}

// post sends a form from the desktop's own page.
func (w *world) post(path string, header map[string]string, form url.Values) answer {
	w.t.Helper()
	all := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": testOrigin}
	for name, value := range header {
		all[name] = value
	}
	return w.ask(http.MethodPost, path, all, form.Encode())
}

// login returns the Cookie header of a visitor who gave the password.
func (w *world) login() string {
	w.t.Helper()
	a := w.post(wire.PathLogin, nil, url.Values{"password": {testPassword}})
	require.Equal(w.t, http.StatusSeeOther, a.StatusCode, a.body)
	for _, c := range a.Cookies() {
		if c.Name == wire.CookieLogin {
			return c.Name + "=" + c.Value
		}
	}
	w.t.Fatal("no cookie after the login")
	return ""
}

// dial opens a WebSocket with a cookie from the desktop's own page.
func (w *world) dial(cookie string) *websocket.Conn {
	w.t.Helper()
	c, _, err := w.tryDial(map[string]string{"Cookie": cookie, "Origin": testOrigin})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func (w *world) tryDial(header map[string]string) (*websocket.Conn, *http.Response, error) {
	h := http.Header{}
	for name, value := range header {
		h.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), waitFor)
	defer cancel()
	return websocket.Dial(ctx, "ws://"+w.session+"/api/websockets", &websocket.DialOptions{
		Host: testHost, HTTPHeader: h, HTTPClient: w.client, CompressionMode: websocket.CompressionContextTakeover,
	})
}

// fakeDesktop is a real web server that plays the streamer: a WebSocket that
// sends back what it gets, and a page that shows the headers it got.
type fakeDesktop struct {
	server *httptest.Server
	mu     sync.Mutex
	seen   []*http.Request
	health int
	// handle replaces the answers to everything but the health page.
	handle http.HandlerFunc
}

func newFakeDesktop(t testing.TB) *fakeDesktop {
	d := &fakeDesktop{health: http.StatusOK}
	d.server = httptest.NewServer(d)
	t.Cleanup(d.server.Close)
	return d
}

func (d *fakeDesktop) address() string { return d.server.Listener.Addr().String() }

func (d *fakeDesktop) setHealth(status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.health = status
}

func (d *fakeDesktop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	health, handle := d.health, d.handle
	if r.URL.Path != "/api/health" {
		d.seen = append(d.seen, r)
	}
	d.mu.Unlock()
	switch {
	case r.URL.Path == "/api/health":
		w.WriteHeader(health)
	case handle != nil:
		handle(w, r)
	case r.URL.Path == "/api/websockets":
		echo(w, r)
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "the desktop's page")
	}
}

// last is the latest request that the desktop saw.
func (d *fakeDesktop) last(t testing.TB) *http.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	require.NotEmpty(t, d.seen, "the desktop saw no request")
	return d.seen[len(d.seen)-1]
}

// requests is how many requests the desktop saw.
func (d *fakeDesktop) requests() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.seen)
}

// requestsTo is how many of them were for a path.
func (d *fakeDesktop) requestsTo(path string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.seen {
		if r.URL.Path == path {
			n++
		}
	}
	return n
}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// say sends a text and waits until it has come back, so that it has passed the
// agent.
func say(t testing.TB, c *websocket.Conn, text string) {
	t.Helper()
	require.NoError(t, sayTo(t.Context(), c, text))
}

func sayTo(ctx context.Context, c *websocket.Conn, text string) error {
	ctx, cancel := context.WithTimeout(ctx, waitFor)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return err
	}
	_, back, err := c.Read(ctx)
	if err == nil && string(back) != text {
		err = fmt.Errorf("%d bytes came back, not the %d that were sent", len(back), len(text))
	}
	return err
}

// underWay is how many exchanges with the desktop there are.
func (w *world) underWay() int {
	w.agent.exchanges.mu.Lock()
	defer w.agent.exchanges.mu.Unlock()
	return len(w.agent.exchanges.all)
}

// closedWith waits for the end of a WebSocket and returns its close frame.
func closedWith(t testing.TB, c *websocket.Conn) websocket.CloseError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		if err == nil {
			continue
		}
		var closed websocket.CloseError
		require.ErrorAs(t, err, &closed)
		return closed
	}
}
