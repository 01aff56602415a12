package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	cookieNow   = time.Unix(1_800_000_000, 0)
	cookieLogin = credentials{username: testUser, password: testPassword, cookieKey: testCookieKey}
)

// sealed is the value of a cookie for the tests' session.
func sealed(t testing.TB, c cookie) string {
	t.Helper()
	value, err := c.seal(cookieLogin, testUID, testHost)
	require.NoError(t, err)
	return value
}

func aCookie() cookie { return cookie{"AN-ID", cookieNow.Add(time.Hour)} }

// expectBound tries a cookie's value with everything that a login depends on changed.
func expectBound(t *testing.T, value string) {
	t.Helper()
	opened, ok := openCookie(value, cookieLogin, testUID, testHost, cookieNow)
	assert.True(t, ok)
	assert.Equal(t, aCookie(), opened)

	changed := func(change func(*credentials)) credentials {
		login := cookieLogin
		change(&login)
		return login
	}
	for name, login := range map[string]credentials{
		"another password": changed(func(c *credentials) { c.password = "other" }),
		"another user":     changed(func(c *credentials) { c.username = "other" }),
		"another key":      changed(func(c *credentials) { c.cookieKey = []byte(strings.Repeat("k", minCookieKey)) }),
		"no key":           changed(func(c *credentials) { c.cookieKey = nil }),
		"moved boundary":   changed(func(c *credentials) { c.username, c.password = testUser+testPassword[:1], testPassword[1:] }),
	} {
		_, ok := openCookie(value, login, testUID, testHost, cookieNow)
		assert.False(t, ok, name)
	}
	_, ok = openCookie(value, cookieLogin, "another session", testHost, cookieNow)
	assert.False(t, ok)
	_, ok = openCookie(value, cookieLogin, testUID, "bob.vdi.example.com", cookieNow)
	assert.False(t, ok)
	_, ok = openCookie(value, cookieLogin, testUID+testHost[:1], testHost[1:], cookieNow)
	assert.False(t, ok)
	_, ok = openCookie(value, cookieLogin, testUID, testHost, cookieNow.Add(time.Hour))
	assert.False(t, ok, "it has expired")
}

func TestCookie(t *testing.T) {
	value := sealed(t, aCookie())
	expectBound(t, value)
	assert.NotContains(t, value, testPassword)
	assert.Less(t, len(value), maxCookie/2)
}

func encoded(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestCookieForged(t *testing.T) {
	value := sealed(t, aCookie())
	parts := strings.Split(value, ".")
	with := func(n int, text string) string {
		changed := append([]string{}, parts...)
		changed[n] = text
		return strings.Join(changed, ".")
	}
	for name, forged := range map[string]string{
		"empty":               "",
		"longer":              with(1, encoded(`{"jti":"AN-ID","expMillis":9999999999999}`)),
		"another id":          with(1, encoded(`{"jti":"OTHER","expMillis":1800003600000}`)),
		"no signature":        with(2, ""),
		"half a signature":    value[:len(value)-20],
		"one part more":       value + ".x",
		"padding":             value + "=",
		"a blank":             value + " ",
		"other bits":          value[:len(value)-1] + string(value[len(value)-1]^1),
		"another header":      with(0, encoded(`{"alg":"HS256","typ":"vdi-statement+jwt"}`)),
		"header spelt anew":   with(0, encoded(`{"typ":"`+cookieType+`","alg":"HS256"}`)),
		"too long":            value + strings.Repeat("a", maxCookie),
		"signed by something": parts[0] + "." + parts[1] + "." + encoded(strings.Repeat("s", 32)),
	} {
		_, ok := openCookie(forged, cookieLogin, testUID, testHost, cookieNow)
		assert.False(t, ok, name)
	}
}

// TestCookieAlgorithm: a cookie has no say in how it is checked (RFC 8725 §2.1).
func TestCookieAlgorithm(t *testing.T) {
	claims, err := json.Marshal(cookieClaims{"AN-ID", cookieNow.Add(time.Hour).UnixMilli()})
	require.NoError(t, err)
	derived, err := cookieKey(cookieLogin, testUID, testHost)
	require.NoError(t, err)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	sign := func(algorithm jose.SignatureAlgorithm, key any, kind jose.ContentType) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType(kind))
		require.NoError(t, err)
		signed, err := signer.Sign(claims)
		require.NoError(t, err)
		value, err := signed.CompactSerialize()
		require.NoError(t, err)
		return value
	}
	long := append(derived, derived...)
	for name, value := range map[string]string{
		"none":                     encoded(`{"alg":"none","typ":"`+cookieType+`"}`) + "." + encoded(string(claims)) + ".",
		"none, with a signature":   encoded(`{"alg":"none","typ":"`+cookieType+`"}`) + "." + encoded(string(claims)) + "." + encoded("x"),
		"a longer hash":            sign(jose.HS512, long, cookieType),
		"a signature of one's own": sign(jose.EdDSA, private, cookieType),
		"another type":             sign(jose.HS256, derived, "vdi-statement+jwt"),
		"the key itself":           sign(jose.HS256, testCookieKey, cookieType),
	} {
		_, ok := openCookie(value, cookieLogin, testUID, testHost, cookieNow)
		assert.False(t, ok, name)
	}
	_, ok := openCookie(sign(jose.HS256, derived, cookieType), cookieLogin, testUID, testHost, cookieNow)
	assert.True(t, ok, "the test signs as the agent does")
}

// Nobody without the key makes a cookie that opens.
func FuzzOpenCookie(f *testing.F) {
	good := sealed(f, aCookie())
	f.Add(good)
	f.Add(oldCookie)
	f.Add("")
	f.Add("v2.1.a.AAAA")
	f.Add(strings.Replace(good, "e", "E", 1))
	f.Fuzz(func(t *testing.T, value string) {
		_, ok := openCookie(value, cookieLogin, testUID, testHost, cookieNow)
		assert.Equal(t, value == good || value == oldCookie, ok)
	})
}

// BenchmarkOpenCookie is what every request of a visitor costs.
func BenchmarkOpenCookie(b *testing.B) {
	value := sealed(b, aCookie())
	for b.Loop() {
		openCookie(value, cookieLogin, testUID, testHost, cookieNow)
	}
}
