package agent

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func newListedWorld(t *testing.T, policy vdi.FileTransferPolicy) *world {
	return newWorld(t, func(c *Config) { c.Endpoints, c.FileTransfer = platform.EndpointsSelkies, policy })
}

// What the page of Selkies 2.1.0 asks for is served, and what files.go allows; the
// rest of its control endpoints are nobody's.
func TestEndpoints(t *testing.T) {
	type request struct{ method, path string }
	served := []request{
		{"GET", "/"},
		{"HEAD", "/"},
		{"GET", "/index.html"},
		{"GET", "/assets/index-1.js"},
		{"GET", "/src/selkies-core.js"},
		{"GET", "/codecs/libopus-wasm/index.js"},
		{"GET", "/jsdb/linux/0111-1420.json"},
		{"GET", "/manifest.json"},
		{"GET", "/favicon.ico"},
		{"GET", "/chunks/of-a-newer-version.wasm"},
		{"GET", "/api/status"},
		{"GET", "/api/turn"},
		{"GET", "/api/ws"},
		{"GET", "/api/webrtc/signaling/"},
	}
	up := []request{{"POST", "/api/upload"}}
	down := []request{
		{"GET", "/api/files/"},
		{"GET", "/api/files/plans/a%20b.pdf"},
		{"GET", "/api/files/plans/"},
		{"HEAD", "/api/files/a"},
		{"GET", "/api/print/job.pdf"},
		{"GET", "/api/screenshot"},
	}
	refused := map[request]int{
		{"GET", "/api/recording"}: 403, {"POST", "/api/recording"}: 403, {"DELETE", "/api/recording"}: 403,
		{"GET", "/api/sessions"}: 403, {"DELETE", "/api/sessions/1"}: 403, {"POST", "/api/tokens"}: 403, {"POST", "/api/switch"}: 403,
		{"GET", "/api/metrics"}: 403, {"GET", "/api/apps/metadata.yml"}: 403, {"GET", "/api/"}: 403, {"GET", "/api"}: 403, {"GET", "/api/new"}: 403,
		{"GET", "/API/Sessions"}: 403, {"GET", "/%61pi/sessions"}: 403, {"GET", "/api%2Fsessions"}: 403, {"GET", "//api/sessions"}: 403,
		{"GET", "/x/../api/sessions"}: 403, {"GET", "/api/sessions/../status"}: 403, {"GET", "/api/files/../status"}: 403, {"GET", "/api/./status"}: 403,
		{"POST", "/"}: 405, {"PUT", "/assets/index.js"}: 405, {"DELETE", "/any"}: 405, {"OPTIONS", "/"}: 405,
		{"GET", "/api/upload"}: 405, {"PUT", "/api/upload"}: 405, {"POST", "/api/status"}: 405, {"DELETE", "/api/files/a"}: 405, {"POST", "/api/websockets"}: 405,
	}
	for policy, denied := range map[vdi.FileTransferPolicy][]request{
		vdi.FileTransferBoth: nil, vdi.FileTransferUpload: down, vdi.FileTransferDownload: up, vdi.FileTransferNone: slices.Concat(up, down),
	} {
		t.Run(string(policy), func(t *testing.T) {
			w := newListedWorld(t, policy)
			header := map[string]string{"Cookie": w.login(), "Origin": testOrigin}
			for _, r := range slices.Concat(served, up, down) {
				want := http.StatusOK
				if slices.Contains(denied, r) {
					want = http.StatusForbidden
				}
				assert.Equal(t, want, w.ask(r.method, r.path, header, "").StatusCode, "%v", r)
			}
			before := w.desktop.requests()
			for r, want := range refused {
				got := w.ask(r.method, r.path, header, "").StatusCode
				if !uploads(policy) && !web.IsSafe(r.method) {
					want = http.StatusForbidden // nothing is taken at all
				} else if !downloads(policy) && isDownload(strings.ReplaceAll(r.path, "%2F", "/")) {
					want = http.StatusForbidden
				}
				assert.Equal(t, want, got, "%v", r)
			}
			assert.Equal(t, before, w.desktop.requests(), "one of them reached the desktop")
		})
	}
}

// A stream is one where the streamer has one, and nothing else is.
func TestEndpointsOfStreams(t *testing.T) {
	w := newListedWorld(t, vdi.FileTransferBoth)
	cookie := w.login()
	say(t, w.dial(cookie), "hello")
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
	for _, path := range []string{"/", "/ws", "/api/status", "/api/files/", "/api/sessions"} {
		status := w.raw("GET " + path + " HTTP/1.1\r\nHost: " + testHost + "\r\nCookie: " + cookie + "\r\nOrigin: " + testOrigin + "\r\n" + upgrade)
		assert.Equal(t, http.StatusForbidden, status, path)
	}
	assert.Equal(t, 1, w.desktop.requests())
}

// Of other programs nothing is known, so nothing is refused.
func TestNoListOfEndpoints(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Endpoints = platform.EndpointsAny })
	header := map[string]string{"Cookie": w.login(), "Origin": testOrigin}
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS"} {
		assert.Equal(t, http.StatusOK, w.ask(method, "/api/anything/../else", header, "").StatusCode, method)
	}
}

// Whoever only asks brings nothing along, whatever the program in the desktop.
func TestBodyOfASafeMethod(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.FileTransfer = vdi.FileTransferNone })
	head := " /x HTTP/1.1\r\nHost: " + testHost + "\r\nCookie: " + w.login() + "\r\n"
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		assert.Equal(t, http.StatusForbidden, w.raw(method+head+"Content-Length: 3\r\n\r\nabc"), method)
		assert.Equal(t, http.StatusForbidden, w.raw(method+head+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), method)
		assert.Zero(t, w.desktop.requests(), method)
	}
	assert.Equal(t, http.StatusOK, w.raw("GET"+head+"Content-Length: 0\r\n\r\n"))
	answers := w.answers("GET" + head + "Content-Length: 3\r\n\r\nabcGET" + head + "Connection: close\r\n\r\n")
	require.Len(t, answers, 1)
	assert.True(t, answers[0].Close, "what follows an unread body is nobody's")
}

// A file of the desktop does not run as a page of its host.
func TestFilesAreAttachments(t *testing.T) {
	w := newListedWorld(t, vdi.FileTransferBoth)
	header := map[string]string{"Cookie": w.login()}
	given := http.Header{}
	status := http.StatusOK
	w.desktop.handle = func(rw http.ResponseWriter, _ *http.Request) {
		for name := range given {
			rw.Header().Set(name, given.Get(name))
		}
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, "<script>")
	}
	for _, c := range []struct{ path, kind, disposition, want string }{
		{"/api/files/evil.html", "text/html", "", "attachment"},
		{"/api/files/evil.svg/", "image/svg+xml", "", "attachment"},
		{"/api/files/a.html", "text/html", `inline; filename="a.html"`, `attachment; filename="a.html"`},
		{"/api/files/a.pdf", "application/pdf", `attachment; filename="a.pdf"`, `attachment; filename="a.pdf"`},
		{"/api/print/job.pdf", "application/pdf", "inline", "attachment"},
		{"/api/screenshot", "image/png", "", "attachment"},
		{"/api/files/", "text/html; charset=utf-8", "", ""},
		{"/", "text/html", "", ""},
		{"/icon.png", "image/png", "", ""},
	} {
		given.Set("Content-Type", c.kind)
		given.Set("Content-Disposition", c.disposition)
		got := w.ask("GET", c.path, header, "")
		assert.Equal(t, c.want, got.Header.Get("Content-Disposition"), c.path)
		assert.Equal(t, c.want != "", got.Header.Get("X-Content-Type-Options") == "nosniff", c.path)
	}
	status = http.StatusNotFound
	given.Set("Content-Disposition", "")
	assert.Empty(t, w.ask("GET", "/api/files/gone", header, "").Header.Get("Content-Disposition"), "an error is shown")
}

func TestEndpointsIsAKnownWord(t *testing.T) {
	err := Config{
		Desktop: "127.0.0.1:1", Host: testHost, Session: "a/b", SessionUID: testUID, CredentialsDir: "x", Input: "none",
		MaxSessionAge: 1, Mode: wire.AccessPassword, Endpoints: "selkie",
	}.check()
	require.ErrorIs(t, err, ErrConfig)
	assert.ErrorContains(t, err, `--endpoints is "selkie"; give one of any, selkies`)
}
