package agent

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Kinds of logins, as the access log names them.
const (
	loginCookie    = "cookie"
	loginBasic     = "basic"
	loginStatement = "statement"
)

// visitor is somebody whose login was checked.
type visitor struct {
	login string
	// name is for the log: the login's user name, or the identity of a statement.
	name string
	// key is the same for everything that came by one login.
	key string
	// until is when the login ends, and every stream with it.
	until time.Time
	// cookie is the login's, if it came by one.
	cookie cookie
	// signedBy is the key behind a statement.
	signedBy string
}

// visitorByPassword accepts a cookie of ours, else basic auth with the session's
// password.
func (a *Agent) visitorByPassword(r *http.Request) (visitor, *refusal) {
	login, now := a.credentials.Get(), a.config.Now()
	for _, c := range r.CookiesNamed(wire.CookieLogin) {
		opened, valid := openCookie(c.Value, login, a.config.SessionUID, a.config.Host, now)
		if valid && !a.revoked.contains(opened) {
			return visitor{login: loginCookie, name: login.username, key: loginCookie + ":" + opened.id, until: opened.expires, cookie: opened}, nil
		}
	}
	username, password, given := r.BasicAuth()
	if !given {
		return visitor{}, noLogin()
	}
	rightUser, rightPassword := same(username, login.username), a.isPassword(r, password)
	if denied := a.checkPassword(r, rightUser && rightPassword); denied != nil {
		return visitor{}, denied
	}
	return visitor{login: loginBasic, name: login.username, key: loginBasic + ":" + web.ClientIP(r), until: now.Add(a.config.MaxSessionAge)}, nil
}

func noLogin() *refusal {
	return &refusal{http.StatusUnauthorized, reasonLogin, "Log in with this desktop's password."}
}

// attemptBurst wrong passwords are answered at once, then one each attemptEvery.
const (
	attemptBurst = 10
	attemptEvery = time.Second
)

// checkPassword answers one attempt. The right password always comes in: it has
// 160 bits, so the limit is there for the processor and the log, and must not
// give anybody a way to lock the owner out.
func (a *Agent) checkPassword(r *http.Request, right bool) *refusal {
	if right {
		return nil
	}
	if !a.attempts.Allow(web.Host(r.Host) + " " + web.ClientIP(r)) { // of hosts there may be several, see NoDesktop
		a.metrics.logins.WithLabelValues(resultLimited).Inc()
		return &refusal{http.StatusTooManyRequests, reasonLimited, "Too many wrong passwords came from this address; wait a few seconds."}
	}
	a.metrics.logins.WithLabelValues(resultWrong).Inc()
	return &refusal{http.StatusUnauthorized, reasonPassword, "This is not the desktop's password."}
}

func (a *Agent) isOwnPassword(_ *http.Request, password string) bool {
	return same(password, a.credentials.Get().password)
}

// same compares in a time that depends on neither text.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// visitorByStatement accepts what the front door says about a visitor.
func (a *Agent) visitorByStatement(r *http.Request) (visitor, *refusal) {
	denied := &refusal{http.StatusUnauthorized, reasonStatement, "Open this desktop through its front door, which asks who you are."}
	token, found := web.OnlyHeader(r.Header, wire.HeaderStatement)
	if !found {
		return visitor{}, denied
	}
	now := a.config.Now()
	for _, key := range a.statementKeys.Get() {
		s, err := platform.VerifyStatement(token, []ed25519.PublicKey{key}, a.config.SessionUID, a.config.Host, now)
		if err == nil {
			return a.statementVisitor(s, key, now), nil
		}
	}
	return visitor{}, denied
}

func (a *Agent) statementVisitor(s platform.Statement, key ed25519.PublicKey, now time.Time) visitor {
	until := now.Add(a.config.MaxSessionAge)
	if end := time.Unix(s.LoginExpires, 0); s.LoginExpires != 0 && end.Before(until) {
		until = end
	}
	return visitor{login: loginStatement, name: s.Identity, key: loginStatement + ":" + s.Identity, until: until, signedBy: string(key)}
}

// credentialsChanged ends what the old password had opened.
func (a *Agent) credentialsChanged(before, after credentials) {
	if a.config.Mode != wire.AccessPassword || before.sameLogin(after) {
		return
	}
	a.log.Info("the login has changed; all streams end")
	a.exchanges.end(everybody, ending{closePolicy, "the password has changed"})
}

// statementKeysChanged ends what came in by a key that is trusted no more.
func (a *Agent) statementKeysChanged(before, after []ed25519.PublicKey) {
	if slices.EqualFunc(before, after, func(x, y ed25519.PublicKey) bool { return x.Equal(y) }) {
		return
	}
	gone := func(e *exchange) bool {
		return !slices.ContainsFunc(after, func(key ed25519.PublicKey) bool { return string(key) == e.visitor.signedBy })
	}
	a.log.Info("the statement keys have changed", "keys", len(after))
	a.exchanges.end(gone, ending{closePolicy, "the front door's key has changed"})
}
