package agent

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// cookieType keeps cookies apart from whatever else the same key may sign
	// (RFC 8725 §3.11).
	cookieType = "vdi-agent-cookie+jwt"
	// cookieAlgorithm is the only one: what a cookie says about its own counts for
	// nothing (RFC 8725 §3.1).
	cookieAlgorithm = jose.HS256
	maxCookie       = 1 << 10 // bytes; a cookie has about 200
)

// cookie is what a login leaves in the browser: a compact JWS (RFC 7515) with
// HMAC-SHA256.
type cookie struct {
	// id names this login.
	id      string
	expires time.Time
}

// cookieClaims are its claims. The time is in milliseconds since 1970, which "exp"
// (RFC 7519 §4.1.4) is not: see [revoked.nextExpiry].
type cookieClaims struct {
	ID      string `json:"jti"`
	Expires int64  `json:"expMillis"`
}

// seal makes the value of a cookie. It holds for one session, host and password
// only, so a new password ends all logins.
func (c cookie) seal(login credentials, sessionUID, host string) (string, error) {
	key, err := cookieKey(login, sessionUID, host)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: cookieAlgorithm, Key: key}, (&jose.SignerOptions{}).WithType(cookieType))
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(cookieClaims{c.id, c.expires.UnixMilli()})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// openCookie returns the cookie in a value that was sealed with the same
// arguments and has not expired.
func openCookie(value string, login credentials, sessionUID, host string, now time.Time) (cookie, bool) {
	if len(value) > maxCookie || len(login.cookieKey) < minCookieKey {
		return cookie{}, false
	}
	c, valid := openSigned(value, login, sessionUID, host)
	if !valid {
		c, valid = openOldCookie(value, login, sessionUID, host)
	}
	return c, valid && now.Before(c.expires)
}

func openSigned(value string, login credentials, sessionUID, host string) (cookie, bool) {
	jws, err := jose.ParseSignedCompact(value, []jose.SignatureAlgorithm{cookieAlgorithm})
	if err != nil || jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType] != cookieType {
		return cookie{}, false
	}
	// One cookie has one spelling: the library decodes base64 less strictly than it writes it.
	if again, err := jws.CompactSerialize(); err != nil || again != value {
		return cookie{}, false
	}
	key, err := cookieKey(login, sessionUID, host)
	if err != nil {
		return cookie{}, false
	}
	verified, err := jws.Verify(key)
	if err != nil {
		return cookie{}, false
	}
	var claims cookieClaims
	err = json.Unmarshal(verified, &claims)
	return cookie{claims.ID, time.UnixMilli(claims.Expires)}, err == nil && claims.ID != ""
}

// cookieKey is derived from everything that a login depends on (HKDF, RFC 5869).
func cookieKey(login credentials, sessionUID, host string) ([]byte, error) {
	info := inParts(cookieType, login.username, login.password, sessionUID, host)
	return hkdf.Key(sha256.New, login.cookieKey, nil, string(info), sha256.Size)
}

// inParts precedes every part by its length, so that no two lists of parts look the same.
func inParts(parts ...string) (out []byte) {
	for _, part := range parts {
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}
