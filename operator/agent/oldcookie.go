package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Cookies of the release before this one, "v2.EXPIRES.ID.MAC", where EXPIRES is in
// milliseconds since 1970. Logins of then go on; no new one is made in this form. Remove
// this file, and its tests, in the release after this one.

const oldCookieVersion = "v2"

// openOldCookie returns what is in a cookie of the old form, whether it has expired or
// not.
func openOldCookie(value string, login credentials, sessionUID, host string) (cookie, bool) {
	parts := strings.Split(value, ".")
	if len(parts) != 4 || parts[0] != oldCookieVersion {
		return cookie{}, false
	}
	mac, err := base64.RawURLEncoding.Strict().DecodeString(parts[3])
	if err != nil || !hmac.Equal(mac, oldCookieMAC(login, sessionUID, host, parts[1], parts[2])) {
		return cookie{}, false
	}
	milliseconds, err := strconv.ParseInt(parts[1], 10, 64)
	return cookie{id: parts[2], expires: time.UnixMilli(milliseconds)}, err == nil
}

func oldCookieMAC(login credentials, parts ...string) []byte {
	mac := hmac.New(sha256.New, login.cookieKey)
	_, _ = mac.Write(inParts(append([]string{oldCookieVersion, login.username, login.password}, parts...)...)) // a hash never fails
	return mac.Sum(nil)
}
