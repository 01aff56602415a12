package agent

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

var (
	frontDoorKey = ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize)))
	newDoorKey   = ed25519.NewKeyFromSeed([]byte(strings.Repeat("b", ed25519.SeedSize)))
	aliceID      = platform.Identity("alice@example.com")
)

func publicPEM(t testing.TB, key ed25519.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// oidcWorld is a world behind a front door with frontDoorKey.
func oidcWorld(t testing.TB, change func(*Config)) (*world, *secret) {
	keys := newSecret(t, map[string]string{"2026-11.pem": publicPEM(t, frontDoorKey)})
	return newWorld(t, func(c *Config) {
		c.Mode, c.StatementKeysDir = wire.AccessOIDC, keys.dir
		if change != nil {
			change(c)
		}
	}), keys
}

func statement(t testing.TB, key ed25519.PrivateKey, change func(*platform.Statement)) string {
	t.Helper()
	now := time.Now()
	s := platform.Statement{
		SessionUID: testUID, Host: testHost, Identity: aliceID,
		IssuedAt: now.Unix(), Expires: now.Add(30 * time.Second).Unix(),
	}
	if change != nil {
		change(&s)
	}
	token, err := platform.SignStatement(key, s)
	require.NoError(t, err)
	return token
}

func TestStatement(t *testing.T) {
	w, _ := oidcWorld(t, nil)
	token := statement(t, frontDoorKey, nil)
	in := w.ask(http.MethodGet, "/", map[string]string{wire.HeaderStatement: token}, "")
	assert.Equal(t, http.StatusOK, in.StatusCode)
	assert.Empty(t, w.desktop.last(t).Header[wire.HeaderStatement], "the desktop could use it elsewhere")
	require.Eventually(t, func() bool {
		return strings.Contains(w.log.String(), `"login":"statement","who":"`+aliceID+`"`)
	}, waitFor, lookEvery)

	c, _, err := w.tryDial(map[string]string{wire.HeaderStatement: token, "Origin": testOrigin})
	require.NoError(t, err)
	defer c.CloseNow()
	say(t, c, "hello")
	_, response, err := w.tryDial(map[string]string{wire.HeaderStatement: token, "Origin": "https://bob.vdi.example.com"})
	require.Error(t, err)
	assert.Equal(t, http.StatusForbidden, response.StatusCode)

	out := w.post(wire.PathLogout, map[string]string{wire.HeaderStatement: token}, nil)
	assert.Equal(t, http.StatusSeeOther, out.StatusCode)
	assert.EqualValues(t, closePolicy, closedWith(t, c).Code)
}

func TestStatementRefused(t *testing.T) {
	w, _ := oidcWorld(t, nil)
	good := statement(t, frontDoorKey, nil)
	header := wire.HeaderStatement
	for name, given := range map[string]map[string]string{
		"none":              {},
		"empty":             {header: ""},
		"another key":       {header: statement(t, newDoorKey, nil)},
		"another session":   {header: statement(t, frontDoorKey, func(s *platform.Statement) { s.SessionUID = "other" })},
		"another host":      {header: statement(t, frontDoorKey, func(s *platform.Statement) { s.Host = "bob.vdi.example.com" })},
		"expired":           {header: statement(t, frontDoorKey, func(s *platform.Statement) { s.IssuedAt -= 60; s.Expires -= 60 })},
		"two in one":        {header: good + ", " + good},
		"underscore beside": {header: good, "X_Vdi_Statement": good},
		"mixed beside":      {header: good, "X-Vdi_Statement": good},
		"underscore alone":  {"X_VDI_STATEMENT": good},
		"another header":    {"X-Forwarded-User": aliceID, "Remote-User": aliceID},
		"the password":      {"Authorization": basic(testUser, testPassword)},
		"a cookie":          {"Cookie": wire.CookieLogin + "=" + sealed(t, cookie{"id", time.Now().Add(time.Hour)})},
	} {
		a := w.ask(http.MethodGet, "/", given, "")
		assert.Equal(t, http.StatusUnauthorized, a.StatusCode, name)
		assert.NotContains(t, a.body, good, name)
	}
	twice := w.raw("GET / HTTP/1.1\r\nHost: " + testHost + "\r\nX-Vdi-Statement: " + good + "\r\nx-vdi-statement: " + good + "\r\n\r\n")
	assert.Equal(t, http.StatusUnauthorized, twice)
	assert.Zero(t, w.desktop.requests())
	assert.Equal(t, http.StatusUnauthorized, w.post(wire.PathLogin, nil, nil).StatusCode, "there is no password to give")
	page := w.ask(http.MethodGet, "/", map[string]string{"Accept": acceptHTML}, "")
	assert.Contains(t, page.body, "front door")
	assert.NotContains(t, page.body, `type="password"`)
}

// The end of a login ends its streams, though each statement is short-lived.
func TestStatementLoginEnds(t *testing.T) {
	t.Parallel() // it waits
	w, _ := oidcWorld(t, nil)
	token := statement(t, frontDoorKey, func(s *platform.Statement) { s.LoginExpires = time.Now().Add(2 * time.Second).Unix() })
	c, _, err := w.tryDial(map[string]string{wire.HeaderStatement: token, "Origin": testOrigin})
	require.NoError(t, err)
	defer c.CloseNow()
	assert.EqualValues(t, closePolicy, closedWith(t, c).Code)

	aged, _ := oidcWorld(t, func(c *Config) { c.MaxSessionAge = time.Second })
	c, _, err = aged.tryDial(map[string]string{wire.HeaderStatement: statement(t, frontDoorKey, nil), "Origin": testOrigin})
	require.NoError(t, err)
	defer c.CloseNow()
	assert.EqualValues(t, closePolicy, closedWith(t, c).Code)
}

// A rotation first adds a key, then removes the old one; only what the old one
// had opened ends with it.
func TestStatementKeyRotation(t *testing.T) {
	w, keys := oidcWorld(t, nil)
	status := func(key ed25519.PrivateKey) int {
		return w.ask(http.MethodGet, "/", map[string]string{wire.HeaderStatement: statement(t, key, nil)}, "").StatusCode
	}
	dial := func(key ed25519.PrivateKey) *websocket.Conn {
		c, _, err := w.tryDial(map[string]string{wire.HeaderStatement: statement(t, key, nil), "Origin": testOrigin})
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.CloseNow() })
		return c
	}
	keys.write(map[string]string{"2026-11.pem": publicPEM(t, frontDoorKey), "2026-12.pem": publicPEM(t, newDoorKey)})
	require.Eventually(t, func() bool { return status(newDoorKey) == http.StatusOK }, waitFor, lookEvery)
	assert.Equal(t, http.StatusOK, status(frontDoorKey))
	byOld, byNew := dial(frontDoorKey), dial(newDoorKey)

	keys.write(map[string]string{"2026-12.pem": publicPEM(t, newDoorKey)})
	assert.EqualValues(t, closePolicy, closedWith(t, byOld).Code)
	assert.Equal(t, http.StatusUnauthorized, status(frontDoorKey))
	say(t, byNew, "goes on")
}

func TestStatementKeysRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"none": {}, "no PEM": {"a.pem": "key"}, "one good, one bad": {"a.pem": publicPEM(t, frontDoorKey), "b.pem": "key"},
	} {
		keys := newSecret(t, files)
		_, err := New(Config{
			Desktop: "127.0.0.1:8080", CredentialsDir: newSecret(t, testFiles()).dir, Host: testHost, Session: "team/alice", SessionUID: testUID,
			Mode: wire.AccessOIDC, Input: "none", MaxSessionAge: time.Hour, StatementKeysDir: keys.dir,
		})
		require.ErrorIs(t, err, ErrConfig, name)
		assert.ErrorContains(t, err, "--statement-keys-dir", name)
	}
}
