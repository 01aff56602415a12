package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const cookieVersion = "v2"

// cookie is what a login leaves in the browser: "v2.EXPIRES.ID.MAC", where
// EXPIRES is in milliseconds since 1970 and ID names this login.
type cookie struct {
	id      string
	expires time.Time
}

// seal makes the value of a cookie. It holds for one session, host and password
// only, so a new password ends all logins.
func (c cookie) seal(login credentials, sessionUID, host string) string {
	expires := strconv.FormatInt(c.expires.UnixMilli(), 10)
	mac := cookieMAC(login, sessionUID, host, expires, c.id)
	return strings.Join([]string{cookieVersion, expires, c.id, base64.RawURLEncoding.EncodeToString(mac)}, ".")
}

// openCookie returns the cookie in a value that was sealed with the same
// arguments and has not expired.
func openCookie(value string, login credentials, sessionUID, host string, now time.Time) (cookie, bool) {
	parts := strings.Split(value, ".")
	if len(parts) != 4 || parts[0] != cookieVersion || len(login.cookieKey) < minCookieKey {
		return cookie{}, false
	}
	mac, err := base64.RawURLEncoding.Strict().DecodeString(parts[3])
	if err != nil || !hmac.Equal(mac, cookieMAC(login, sessionUID, host, parts[1], parts[2])) {
		return cookie{}, false
	}
	milliseconds, err := strconv.ParseInt(parts[1], 10, 64)
	c := cookie{id: parts[2], expires: time.UnixMilli(milliseconds)}
	return c, err == nil && now.Before(c.expires)
}

// cookieMAC binds everything that a login depends on. Every part is preceded by
// its length, so that no two lists of parts look the same.
func cookieMAC(login credentials, parts ...string) []byte {
	mac := hmac.New(sha256.New, login.cookieKey)
	for _, part := range append([]string{cookieVersion, login.username, login.password}, parts...) {
		_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // a hash never fails
		_, _ = mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// setCookie hands a login to the browser. Lax, not Strict: whoever follows a
// link to the desktop from a mail stays logged in. What Lax would let through
// besides is refused by checkFetch and checkOrigin.
func setCookie(w http.ResponseWriter, value string, maxAge time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: wire.CookieLogin, Value: value, Path: "/", MaxAge: int(maxAge / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// clearCookie takes the login out of the browser.
func clearCookie(w http.ResponseWriter) { setCookie(w, "", -time.Second) }
