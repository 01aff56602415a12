package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var (
	cookieNow   = time.Unix(1_800_000_000, 0)
	cookieLogin = credentials{username: testUser, password: testPassword, cookieKey: testCookieKey}
)

func TestCookie(t *testing.T) {
	c := cookie{"AN-ID", cookieNow.Add(time.Hour)}
	value := c.seal(cookieLogin, testUID, testHost)
	opened, ok := openCookie(value, cookieLogin, testUID, testHost, cookieNow)
	assert.True(t, ok)
	assert.Equal(t, c, opened)

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
	_, ok = openCookie(value, cookieLogin, testUID, testHost, cookieNow.Add(time.Hour))
	assert.False(t, ok, "it has expired")
}

func TestCookieForged(t *testing.T) {
	value := cookie{"AN-ID", cookieNow.Add(time.Hour)}.seal(cookieLogin, testUID, testHost)
	parts := strings.Split(value, ".")
	for name, forged := range map[string]string{
		"empty":        "",
		"longer":       strings.Join([]string{parts[0], "9999999999", parts[2], parts[3]}, "."),
		"another id":   strings.Join([]string{parts[0], parts[1], "OTHER", parts[3]}, "."),
		"no MAC":       strings.Join(parts[:3], ".") + ".",
		"half a MAC":   value[:len(value)-20],
		"next version": "v3" + value[2:],
		"one more":     value + ".x",
		"padding":      value + "=",
		"other bits":   value[:len(value)-1] + string(value[len(value)-1]^1),
	} {
		_, ok := openCookie(forged, cookieLogin, testUID, testHost, cookieNow)
		assert.False(t, ok, name)
	}
}

// Nobody without the key makes a cookie that opens.
func FuzzOpenCookie(f *testing.F) {
	good := cookie{"AN-ID", cookieNow.Add(time.Hour)}.seal(cookieLogin, testUID, testHost)
	f.Add(good)
	f.Add("")
	f.Add("v2.1.a.AAAA")
	f.Add(strings.Replace(good, "v1", "v2", 1))
	f.Fuzz(func(t *testing.T, value string) {
		_, ok := openCookie(value, cookieLogin, testUID, testHost, cookieNow)
		assert.Equal(t, value == good, ok)
	})
}
