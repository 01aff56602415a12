package frontdoor

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
)

// purpose keeps tickets of one kind from being taken for another
// (RFC 8725 §3.11).
type purpose string

const (
	// forStart leads a visitor from a desktop's host to the login.
	forStart purpose = "vdi-start+jwe"
	// forFlow waits, in a cookie, for the identity provider's answer.
	forFlow purpose = "vdi-flow+jwe"
	// forLogin is a login on the front door's own host.
	forLogin purpose = "vdi-login+jwe"
	// forCode leads from the login back to a desktop's host.
	forCode purpose = "vdi-code+jwe"
	// forDesktop is a login on the host of one session.
	forDesktop purpose = "vdi-desktop+jwe"
	// forSignOut lets our own page of a logout close the streams of one desktop.
	forSignOut purpose = "vdi-signout+jwe"
	// forClose lets our own request after a logout at the identity provider close the
	// streams of one desktop.
	forClose purpose = "vdi-close+jwe"
	// forKnown marks a browser in which a name has logged in, on our own host.
	forKnown purpose = "vdi-known+jwe"
	// forForm proves that a form is one of ours, on one host in one browser.
	forForm purpose = "vdi-form+jwe"
)

// local is the purpose in mode Local of tickets that name a user: releases that know no such
// mode take none of them for their identity provider's.
func (p purpose) local() purpose { return "local-" + p }

// maxTicket bounds what is looked at, in bytes. Browsers keep cookies up to 4 KiB; a code
// travels in an address, with the path to come back to.
const maxTicket = 8 << 10

var errTicket = errors.New("no valid ticket")

// ticket is what the front door remembers in browsers and addresses instead of
// in memory, so that every replica knows it. Each purpose uses some fields.
type ticket struct {
	// Expires is in seconds since 1970.
	Expires int64 `json:"exp"`
	// Host is the one host that the ticket is good for; in one for a start or a
	// flow, the host to come back to.
	Host string `json:"host,omitempty"`
	// Path to come back to, with its query.
	Path string `json:"path,omitempty"`
	// Browser is the hash of a cookie, so that the ticket is good in that
	// browser alone.
	Browser string `json:"browser,omitempty"`
	// SessionUID is the session's, where the ticket is for one.
	SessionUID string `json:"uid,omitempty"`
	// User as the identity provider, or the list of people, names them; empty in mode
	// Password.
	User string `json:"user,omitempty"`
	// Entry is the one of the list of people by which the user logged in (mode Local). In
	// another mode nobody knows them by that.
	Entry string `json:"entry,omitempty"`
	// Groups are the user's when they logged in, see [packGroups].
	Groups string `json:"groups,omitempty"`
	// Login is the login's random name.
	Login string `json:"login,omitempty"`
	// LoginIssued is when the login began, in milliseconds since 1970, see
	// [ended.List.Stamp].
	LoginIssued int64 `json:"loginIat,omitempty"`
	// LoginExpires is when the login ends, in seconds since 1970.
	LoginExpires int64 `json:"loginExp,omitempty"`
	// ID makes a ticket for a single use recognisable.
	ID string `json:"jti,omitempty"`
	// State, Nonce and Verifier protect a flow (OpenID Connect Core §3.1.2.1, RFC 7636).
	State    string `json:"state,omitempty"`
	Nonce    string `json:"nonce,omitempty"`
	Verifier string `json:"verifier,omitempty"`
}

// endedLogin is the login behind a ticket, for the list of those that were ended.
func (t ticket) endedLogin() ended.Login {
	return ended.Login{Person: person(t.User, t.SessionUID), Name: t.Login, Issued: time.UnixMilli(t.LoginIssued), Until: time.Unix(t.LoginExpires, 0)}
}

// person is whose a login is: a user's, or in mode Password a session's.
func person(user, sessionUID string) string {
	if user != "" {
		return "user " + user
	}
	return "session " + sessionUID
}

// seal encrypts and authenticates a ticket: a compact JWE (RFC 7516) with
// AES-256-GCM. Nobody but the holders of the keys can read or make one.
func (k Keys) seal(p purpose, t ticket) (string, error) {
	encrypter, err := jose.NewEncrypter(jose.A256GCM,
		jose.Recipient{Algorithm: jose.DIRECT, Key: k.sealing[0]}, (&jose.EncrypterOptions{}).WithType(jose.ContentType(p)))
	if err != nil {
		return "", err
	}
	content, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	sealed, err := encrypter.Encrypt(content)
	if err != nil {
		return "", err
	}
	return sealed.CompactSerialize()
}

// open returns a ticket that one of the keys sealed for this purpose and that
// has not expired. Every error is errTicket: why does not concern who sent it.
func (k Keys) open(p purpose, text string, now time.Time) (ticket, error) {
	content, err := k.decrypt(p, text)
	if err != nil {
		return ticket{}, err
	}
	var t ticket
	if err := json.Unmarshal(content, &t); err != nil || !now.Before(time.Unix(t.Expires, 0)) {
		return ticket{}, errTicket
	}
	return t, nil
}

func (k Keys) decrypt(p purpose, text string) ([]byte, error) {
	if len(text) > maxTicket {
		return nil, errTicket
	}
	sealed, err := jose.ParseEncryptedCompact(text, []jose.KeyAlgorithm{jose.DIRECT}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil || sealed.Header.ExtraHeaders[jose.HeaderType] != string(p) {
		return nil, errTicket
	}
	for _, key := range k.sealing {
		if content, err := sealed.Decrypt(key); err == nil {
			return content, nil
		}
	}
	return nil, errTicket
}

// random is 160 bits as text that needs no escaping anywhere.
func random() string { return rand.Text() + rand.Text()[:6] }

// digest stands for a secret where the secret itself must not be.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
