package web

import (
	"net/http"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
)

// SetCookie hands a value to the browser. Lax, not Strict: whoever follows a link to a
// desktop from a mail stays logged in. So every change needs more than the cookie, see
// [IsFrom].
func SetCookie(w http.ResponseWriter, name, value string, lifetime time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(lifetime / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// ClearCookie takes a cookie out of the browser.
func ClearCookie(w http.ResponseWriter, name string) { SetCookie(w, name, "", -time.Second) }

// SetSecurityHeaders keeps an answer of our own out of caches, frames and other sites'
// hands; the desktop's are its own affair. The referrer policy is not "no-referrer":
// browsers would then send the origin "null" with forms
// (https://fetch.spec.whatwg.org/#origin-header).
func SetSecurityHeaders(h http.Header) {
	httpserver.Strict(h)
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin") // pages of desktops are of the same site
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// MaxHeaderBytes is how long the head of a request to a session's host may be, at the agent
// and, in mode Password, at the front door: nobody learns by it where a desktop runs.
const MaxHeaderBytes = 32 << 10

// maxLogged bounds what a visitor can write into one field of the log, in bytes.
const maxLogged = 256

// Truncate is a visitor's text as it may stand in the log.
func Truncate(text string) string { return text[:min(len(text), maxLogged)] }
