package agent

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// oldCookie is aCookie as an agent of the release before has made it.
const oldCookie = "v2.1800003600000.AN-ID.VV5xOvhZ5GHv3tv5Okum-_PgMre9DNFaCnm7zMhUqdQ"

// oldSealed is the value that such an agent would make.
func oldSealed(c cookie) string {
	expires := strconv.FormatInt(c.expires.UnixMilli(), 10)
	mac := oldCookieMAC(cookieLogin, testUID, testHost, expires, c.id)
	return strings.Join([]string{oldCookieVersion, expires, c.id, base64.RawURLEncoding.EncodeToString(mac)}, ".")
}

func TestOldCookie(t *testing.T) {
	assert.Equal(t, oldCookie, oldSealed(aCookie()))
	expectBound(t, oldCookie)
}

func TestOldCookieForged(t *testing.T) {
	parts := strings.Split(oldCookie, ".")
	for name, forged := range map[string]string{
		"longer":       strings.Join([]string{parts[0], "9999999999999", parts[2], parts[3]}, "."),
		"another id":   strings.Join([]string{parts[0], parts[1], "OTHER", parts[3]}, "."),
		"no MAC":       strings.Join(parts[:3], ".") + ".",
		"half a MAC":   oldCookie[:len(oldCookie)-20],
		"next version": "v3" + oldCookie[2:],
		"one more":     oldCookie + ".x",
		"padding":      oldCookie + "=",
		"other bits":   oldCookie[:len(oldCookie)-1] + string(oldCookie[len(oldCookie)-1]^1),
	} {
		_, ok := openCookie(forged, cookieLogin, testUID, testHost, cookieNow)
		assert.False(t, ok, name)
	}
}

// Whoever logged in at an agent of the release before comes in, until they log out: the
// next login has the new form.
func TestOldCookieComesIn(t *testing.T) {
	w := newWorld(t, nil)
	old := map[string]string{"Cookie": wire.CookieLogin + "=" + oldSealed(cookie{"AN-ID", time.Now().Add(time.Hour)})}
	assert.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/", old, "").StatusCode)
	forged := map[string]string{"Cookie": strings.Replace(old["Cookie"], "AN-ID", "MY-ID", 1)}
	assert.Equal(t, http.StatusUnauthorized, w.ask(http.MethodGet, "/", forged, "").StatusCode)
	assert.Equal(t, http.StatusSeeOther, w.post(wire.PathLogout, old, nil).StatusCode)
	assert.Equal(t, http.StatusUnauthorized, w.ask(http.MethodGet, "/", old, "").StatusCode, "a logout ends it")
	assert.NotContains(t, w.login(), wire.CookieLogin+"="+oldCookieVersion+".")
}
