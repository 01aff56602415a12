package agent

import (
	"encoding/base64"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Nothing secret leaves the process: not in logs, metrics, activity or pages,
// whatever goes wrong.
func TestNoSecretLeaks(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	stream := w.dial(cookie)
	say(t, stream, "cw,"+testPassword)
	var shown []string
	keep := func(a answer) {
		text := a.body
		for name, values := range a.Header {
			text += name + strings.Join(values, "\n")
		}
		shown = append(shown, text)
	}
	login := map[string]string{"Authorization": basic(testUser, testPassword)}
	almost := url.Values{"password": {testPassword + "x"}, "next": {"/?token=" + testPassword}}
	keep(w.post(wire.PathLogin, nil, almost))
	keep(w.ask(http.MethodGet, "/missing?token="+testPassword, map[string]string{"Cookie": cookie}, ""))
	keep(w.ask(http.MethodGet, "/", map[string]string{"Authorization": basic(testPassword, testPassword)}, ""))
	keep(w.ask(http.MethodPost, "/", map[string]string{"Cookie": cookie, "Origin": "https://evil.example.com"}, testPassword))
	keep(w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie, "Host": "bob.vdi.example.com"}, ""))
	keep(w.ask(http.MethodGet, "/", login, ""))
	w.desktop.handle = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Www-Authenticate", "Basic")
		rw.WriteHeader(http.StatusUnauthorized)
	}
	keep(w.ask(http.MethodGet, "/", login, ""))
	require.NoError(t, w.desktop.server.Listener.Close())
	w.desktop.server.CloseClientConnections()
	keep(w.ask(http.MethodGet, "/?token="+testPassword, login, ""))
	keep(w.askStatus(wire.PathReady))
	keep(w.askStatus(wire.PathActivity))
	keep(w.askStatus(wire.PathMetrics))
	w.secret.write(map[string]string{wire.KeyUsername: "a:" + testPassword, wire.KeyPassword: testPassword, wire.KeyCookie: "short"})
	require.NoError(t, stream.CloseNow())
	require.Eventually(t, func() bool {
		return strings.Contains(w.log.String(), "cannot be used") && strings.Contains(w.log.String(), "stream closed")
	}, waitFor, lookEvery)

	shown = append(shown, w.log.String())
	key := string(testCookieKey)
	value := strings.TrimPrefix(cookie, wire.CookieLogin+"=")
	for _, text := range shown {
		for _, canary := range []string{
			testPassword, desktopPass, key, base64.StdEncoding.EncodeToString([]byte(key)), value, "token=",
			basic(testUser, testPassword), basic(desktopUser, desktopPass),
		} {
			// The visitor's own path to come back to is his own.
			assert.NotContains(t, strings.ReplaceAll(text, `value="/?token=`+testPassword, ""), canary)
		}
	}
	assert.Contains(t, w.log.String(), `"path":"/missing"`)
	assert.Contains(t, w.log.String(), `"login":"cookie","who":"`+testUser+`"`)
	assert.Contains(t, w.log.String(), "stream opened")
	assert.NotContains(t, w.log.String(), `"path":"/","login":"basic","who":"`+testPassword)
}

// The log says who and from where, one object per line.
func TestAccessLog(t *testing.T) {
	w := newWorld(t, nil)
	w.ask(http.MethodGet, "/a%0Ab"+strings.Repeat("c", 500)+"?secret=1", map[string]string{"X-Forwarded-For": "198.51.100.7, 192.0.2.1", "Authorization": basic(testUser, testPassword)}, "")
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), `"msg":"request"`) }, waitFor, lookEvery)
	line := w.log.String()
	for _, part := range []string{`"from":"192.0.2.1"`, `"peer":"127.0.0.1"`, `"method":"GET"`, `"path":"/a%0Abccc`, `"status":200`, `"bytesOut":18`, `"login":"basic","who":"desktop"`} {
		assert.Contains(t, line, part)
	}
	assert.NotContains(t, line, "secret")
	assert.Less(t, len(line), 1000)
}

func TestReadCredentials(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	key := file(string(testCookieKey))
	for name, c := range map[string]struct {
		files fstest.MapFS
		mode  wire.AccessMode
		want  string
	}{
		"all":              {fstest.MapFS{"username": file("u"), "password": file("p"), "cookie-key": key}, wire.AccessPassword, ""},
		"no password":      {fstest.MapFS{"username": file("u"), "cookie-key": key}, wire.AccessPassword, "the files username and password are required"},
		"blank password":   {fstest.MapFS{"username": file("u"), "password": file(" \n"), "cookie-key": key}, wire.AccessPassword, "the files username and password are required"},
		"short key":        {fstest.MapFS{"username": file("u"), "password": file("p"), "cookie-key": file("short")}, wire.AccessPassword, "cookie-key must hold at least 32"},
		"half a login":     {fstest.MapFS{"desktop-password": file("p")}, wire.AccessOIDC, "both of the files desktop-username and desktop-password"},
		"colon":            {fstest.MapFS{"desktop-username": file("a:b"), "desktop-password": file("p")}, wire.AccessOIDC, "must not hold a colon"},
		"OIDC needs none":  {fstest.MapFS{}, wire.AccessOIDC, ""},
		"cannot be opened": {fstest.MapFS{"username": &fstest.MapFile{Mode: fs.ModeDir}}, wire.AccessOIDC, "username"},
	} {
		_, err := readCredentials(c.mode)(c.files)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
	}
	got, err := readCredentials(wire.AccessPassword)(fstest.MapFS{
		"username": file("u\n"), "password": file("p\r\n"), "cookie-key": file(strings.Repeat("k", 31) + "\n"),
	})
	require.NoError(t, err)
	assert.Equal(t, credentials{username: "u", password: "p", cookieKey: []byte(strings.Repeat("k", 31) + "\n")}, got, "a key may end in any byte")
}

func TestConfig(t *testing.T) {
	good := Config{
		Desktop: "127.0.0.1:8080", CredentialsDir: "/etc/vdi/credentials", Host: testHost, Session: "team/alice", SessionUID: testUID,
		Mode: wire.AccessPassword, Input: "selkies", MaxSessionAge: time.Hour,
	}
	require.NoError(t, good.check())
	for flag, change := range map[string]func(*Config){
		"--desktop":            func(c *Config) { c.Desktop = "8080" },
		"--desktop-health":     func(c *Config) { c.DesktopHealth = "health" },
		"--host":               func(c *Config) { c.Host = testHost + ":443" },
		"--session":            func(c *Config) { c.Session = "alice" },
		"--session-uid":        func(c *Config) { c.SessionUID = "" },
		"--credentials-dir":    func(c *Config) { c.CredentialsDir = "" },
		"--max-session-age":    func(c *Config) { c.MaxSessionAge = 0 },
		"--input":              func(c *Config) { c.Input = "vnc" },
		"--mode":               func(c *Config) { c.Mode = "None" },
		"--statement-keys-dir": func(c *Config) { c.Mode = wire.AccessOIDC },
	} {
		c := good
		change(&c)
		_, err := New(c)
		require.ErrorIs(t, err, ErrConfig, flag)
		assert.ErrorContains(t, err, flag)
	}
}
