package frontdoor

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Wrong passwords are answered this often; the limit protects the processor and
// the log. A password has 160 bits, so nobody finds it by trying, and the right
// one always comes in: nobody can lock the owner out.
const (
	wrongPasswordEvery = 100 * time.Millisecond
	wrongPasswordBurst = 50
)

// passwordVerifier is what the operator publishes instead of a session's
// password: its SHA-256 in base64.
func passwordVerifier(s *vdi.VDISession) string {
	if s == nil || s.Status.Access == nil {
		return ""
	}
	return s.Status.Access.PasswordVerifier
}

// verifies says whether a password is the one behind a verifier. It takes the
// same time whether there is a verifier or not.
func verifies(password, verifier string) bool {
	sum := sha256.Sum256([]byte(password))
	want, err := base64.StdEncoding.DecodeString(verifier)
	if err != nil || len(want) != len(sum) {
		none := [sha256.Size]byte{}
		subtle.ConstantTimeCompare(sum[:], none[:])
		return false
	}
	return subtle.ConstantTimeCompare(sum[:], want) == 1
}

// askPassword shows the login of mode Password, the same for every host.
func (d *Door) askPassword(w http.ResponseWriter, v visit, status int, problem string) {
	form, err := d.form(w, v)
	if err != nil {
		d.broken(w, v, "a form cannot be made", err)
		return
	}
	d.pages.show(w, status, "login.html", page{Title: "Your desktop", Error: problem, Form: form, Action: pathLogin})
}

// passwordLogin opens a session's page, and only that: the desktop itself asks
// again.
func (d *Door) passwordLogin(w http.ResponseWriter, v visit) {
	if err := d.submitted(w, v); err != nil {
		d.forged(w, v)
		return
	}
	s, found, err := d.Known.ByHost(v.at.Context(), v.host)
	if err != nil {
		d.broken(w, v, "a session cannot be looked up", err)
		return
	}
	if !found {
		s = nil
	}
	// A password is often pasted together with a blank or a line end.
	if !verifies(strings.TrimSpace(v.at.PostForm.Get("password")), passwordVerifier(s)) {
		d.wrongPassword(w, v)
		return
	}
	d.openPage(w, v, s)
}

func (d *Door) wrongPassword(w http.ResponseWriter, v visit) {
	if !d.attempts.AllowN(d.Now(), 1) {
		d.Metrics.logins.WithLabelValues("limited").Inc()
		d.askPassword(w, v, http.StatusTooManyRequests, "Too many wrong passwords were tried; wait a few seconds.")
		return
	}
	d.Metrics.logins.WithLabelValues("wrong").Inc()
	d.askPassword(w, v, http.StatusUnauthorized, "This is not the desktop's password.")
}

func (d *Door) openPage(w http.ResponseWriter, v visit, s *vdi.VDISession) {
	issued, err := d.Ended.Stamp(v.at.Context(), person("", string(s.UID)))
	if err != nil {
		d.broken(w, v, "the list of ended logins cannot be read", err)
		return
	}
	expires := d.Now().Add(pageLifetime).Unix()
	login := ticket{
		Expires: expires, LoginIssued: issued.UnixMilli(), LoginExpires: expires, Host: v.host, SessionUID: string(s.UID), Login: random(),
	}
	sealed, err := d.Keys().seal(forDesktop, login)
	if err != nil {
		d.broken(w, v, "a login cannot be sealed", err)
		return
	}
	note(w, login)
	d.Metrics.logins.WithLabelValues("accepted").Inc()
	setCookie(w, pageCookie, sealed, pageLifetime)
	d.redirect(w, d.origin(v.host)+"/", http.StatusSeeOther)
}
