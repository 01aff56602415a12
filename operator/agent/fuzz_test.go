package agent

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// FuzzRequest: whatever comes in, nobody gets past the agent without a login, and
// nothing breaks.
func FuzzRequest(f *testing.F) {
	host := "Host: " + testHost + "\r\n"
	for _, request := range []string{
		"GET / HTTP/1.1\r\n" + host + "\r\n",
		"POST /.vdi/login HTTP/1.1\r\n" + host + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\npassword=a",
		"GET /.vdi/../ HTTP/1.1\r\n" + host + "Cookie: " + wire.CookieLogin + "=AAAA.BBBB\r\n\r\n",
		"GET /ws HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\n" + host + "Authorization: Basic ZGVza3RvcDo=\r\n\r\n",
		"GET http://evil.example.com/ HTTP/1.1\r\n" + host + "X-Vdi-Statement: a.b.c\r\nX_Vdi_Statement: a\r\n\r\n",
	} {
		f.Add(request)
	}
	w := newWorld(f, nil)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return // the server answers these itself
		}
		r.RemoteAddr = "192.0.2.1:1234"
		answer := httptest.NewRecorder()
		w.agent.Session().ServeHTTP(answer, r)
		require.NotEqual(t, http.StatusSwitchingProtocols, answer.Code)
		require.Zero(t, w.desktop.requests(), "the desktop was reached")
		for _, cookie := range answer.Result().Cookies() {
			require.False(t, cookie.Name == wire.CookieLogin && cookie.MaxAge >= 0 && cookie.Value != "", "somebody was logged in")
		}
	})
}

// FuzzHeaders: no header of a visitor's that names a person, and no login of the
// agent's, reaches the desktop, however it is written.
func FuzzHeaders(f *testing.F) {
	for _, name := range []string{"X-Forwarded-User", "x_vdi_statement", "Remote_User", "Cookie", "Authorization", "Sec-WebSocket-Extensions", "Proxy"} {
		f.Add(name, "forged; "+wire.CookieLogin+"=x", "a=1; ="+wire.CookieLogin+"=y;__host-VDI-page")
	}
	login := credentials{desktopUsername: desktopUser, desktopPassword: desktopPass}
	f.Fuzz(func(t *testing.T, name, value, cookie string) {
		h := http.Header{name: {value}, http.CanonicalHeaderKey(name): {value}, "Cookie": {cookie, value}, "Authorization": {value}}
		forDesktop(h, login)
		for left := range h {
			require.False(t, trusted(left), left)
		}
		username, password, _ := (&http.Request{Header: h}).BasicAuth()
		require.Equal(t, desktopUser+desktopPass, username+password)
		require.Len(t, h["Authorization"], 1)
		for _, c := range (&http.Request{Header: h}).Cookies() {
			require.False(t, strings.HasPrefix(strings.ToLower(c.Name), strings.ToLower(wire.CookieLogin)), c.Name)
		}
	})
}
