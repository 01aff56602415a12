package agent

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html"
	"net/http"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/web"
)

//go:embed pages
var pageFiles embed.FS

// pages are the agent's own: small, without scripts and without anything from
// elsewhere. They are filled in by hand, not by html/template: with that, the
// linker keeps every method of every type, which costs 3 MiB of memory beside
// each desktop.
type pages struct {
	style  string
	policy string // Content-Security-Policy: this style and nothing else
}

func newPages() *pages {
	style := part("style.css")
	sum := sha256.Sum256([]byte(style))
	return &pages{
		style: style,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
}

// part is one of the embedded files.
func part(name string) string {
	text, err := pageFiles.ReadFile("pages/" + name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return string(text)
}

// fill puts texts into the places of a part, escaped. Each place is filled once:
// what a text holds is never taken for a place.
func fill(name string, texts map[string]string) string {
	var pairs []string
	for place, text := range texts {
		pairs = append(pairs, "{"+place+"}", html.EscapeString(text))
	}
	return strings.NewReplacer(pairs...).Replace(part(name))
}

// login asks for the password; problem is why it asks again. It is the same for every
// desktop: strangers see it.
func (p *pages) login(w http.ResponseWriter, status int, next, problem string) {
	invalid, alert := "", ""
	if problem != "" {
		invalid, alert = ` aria-invalid="true" aria-describedby="problem"`, fill("problem.html", map[string]string{"problem": problem})
	}
	form := strings.NewReplacer("{invalid}", invalid, "{problem}", alert,
		"{next}", html.EscapeString(next)).Replace(part("login.html"))
	p.show(w, status, "Your desktop", "", form)
}

// logout asks before it does so: a link alone logs nobody out.
func (p *pages) logout(w http.ResponseWriter) {
	p.show(w, http.StatusOK, "Log out", "", part("logout.html"))
}

// message is a sentence: a page for people, a line for programs.
func (p *pages) message(w http.ResponseWriter, r *http.Request, status int, sentence string) {
	refresh := ""
	if status == http.StatusBadGateway {
		refresh = part("refresh.html")
		w.Header().Set("Retry-After", retryAfter)
	}
	if !web.IsNavigation(r.Method, r.Header) {
		web.SetSecurityHeaders(w.Header())
		http.Error(w, sentence, status)
		return
	}
	p.show(w, status, "Your desktop", refresh, fill("message.html", map[string]string{"text": sentence}))
}

// show writes a page; refresh and content are HTML.
func (p *pages) show(w http.ResponseWriter, status int, title, refresh, content string) {
	page := strings.NewReplacer("{title}", html.EscapeString(title), "{style}", p.style,
		"{refresh}", refresh, "{content}", content).Replace(part("page.html"))
	h := w.Header()
	web.SetSecurityHeaders(h)
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(page)) // a visitor who has gone needs no page
}
