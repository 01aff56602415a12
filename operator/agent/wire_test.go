package agent

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answers sends bytes on one connection, and returns the final answers until the agent
// ends it.
func (w *world) answers(sent string) (all []*http.Response) {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.session)
	require.NoError(w.t, err)
	defer conn.Close()
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(waitFor)))
	_, err = io.WriteString(conn, sent)
	require.NoError(w.t, err)
	for from := bufio.NewReader(conn); ; {
		answer, err := http.ReadResponse(from, nil)
		if err != nil {
			require.NotErrorIs(w.t, err, os.ErrDeadlineExceeded, "the connection is held: %.200q", sent)
			return all
		}
		_, err = io.Copy(io.Discard, answer.Body)
		require.NoError(w.t, err)
		if answer.StatusCode >= http.StatusOK {
			all = append(all, answer)
		}
	}
}

// What follows a request that is not served is nobody's: the connection is the
// proxy's, and the bytes behind would be taken for the next visitor's request.
func TestNothingBehind(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	head := " HTTP/1.1\r\nHost: " + testHost + "\r\n"
	login := "Cookie: " + cookie + "\r\nOrigin: " + testOrigin + "\r\n"
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
	const evil = "/api/files/evil.desktop"
	smuggled := "POST " + evil + head + login + "Connection: close\r\nContent-Length: 0\r\n\r\n"
	w.desktop.handle = func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/unread" {
			rw.Header().Set("Connection", "close") // else net/http waits for the body first
			rw.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}
	for name, request := range map[string]string{
		"CONNECT":                    "CONNECT " + testHost + ":443" + head + "\r\n",
		"CONNECT, let in":            "CONNECT " + testHost + ":443" + head + login + "\r\n",
		"TRACE, let in":              "TRACE /" + head + login + "\r\n",
		"an unknown method, let in":  "PROPFIND /" + head + login + "\r\n",
		"a refused body":             "POST /" + head + "Content-Length: 3\r\n\r\nabc",
		"refused chunks":             "PUT /" + head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"a large refused body":       "POST /" + head + "Content-Length: " + strconv.Itoa(1<<20) + "\r\n\r\n" + strings.Repeat("a", 1<<20),
		"another origin's body":      "POST /" + head + "Cookie: " + cookie + "\r\nOrigin: https://evil.example.com\r\nContent-Length: 3\r\n\r\nabc",
		"another host":               "POST / HTTP/1.1\r\nHost: bob.vdi.example.com\r\nContent-Length: 3\r\n\r\nabc",
		"a refused stream":           "GET /ws" + head + upgrade + "\r\n",
		"another origin's stream":    "GET /ws" + head + "Cookie: " + cookie + "\r\nOrigin: https://evil.example.com\r\n" + upgrade + "\r\n",
		"another protocol, let in":   "GET /" + head + login + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"an unmet expectation":       "POST /" + head + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
		"an unknown expectation":     "POST /" + head + login + "Expect: a-miracle\r\nContent-Length: 3\r\n\r\nabc",
		"an own page that is not":    "POST /.vdi/x" + head + "Content-Length: 3\r\n\r\nabc",
		"an own page, with a body":   "GET /.vdi/login" + head + "Content-Length: 3\r\n\r\nabc",
		"a logout, with a body":      "POST /.vdi/logout" + head + "Origin: " + testOrigin + "\r\nContent-Length: 3\r\n\r\nabc",
		"a form that is none":        "POST /.vdi/login" + head + "Origin: " + testOrigin + "\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
		"a form that is too long":    "POST /.vdi/login" + head + "Origin: " + testOrigin + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("a", 9000),
		"a wrong password":           "POST /.vdi/login" + head + "Origin: " + testOrigin + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\npassword=a",
		"nobody":                     "GET /" + head + "\r\n",
		"a body the desktop left be": "POST /unread" + head + login + "Content-Length: " + strconv.Itoa(64<<20) + "\r\n\r\n" + strings.Repeat("a", 256<<10),
		"a small one, half there":    "POST /unread" + head + login + "Content-Length: " + strconv.Itoa(64<<10) + "\r\n\r\n",
	} {
		got := w.answers(request + smuggled)
		if assert.Len(t, got, 1, name) {
			assert.True(t, got[0].Close, "%s: the proxy must not use the connection again", name)
		}
		assert.Zero(t, w.desktop.requestsTo(evil), name)
	}
	for name, request := range map[string]string{
		"a page":     "GET /" + head + login + "\r\n",
		"an upload":  "POST /" + head + login + "Content-Length: 3\r\n\r\nabc",
		"chunks":     "PUT /" + head + login + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"login page": "GET /.vdi/logout" + head + login + "\r\n",
	} {
		assert.Len(t, w.answers(request+smuggled), 2, "%s: what is served and read costs no connection", name)
	}
	assert.NotZero(t, w.desktop.requestsTo(evil), "it works where it is a request")
}
