package frontdoor

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

//go:embed pages
var pageFiles embed.FS

// page is what a template shows.
type page struct {
	Style  template.CSS
	Script template.JS
	Title  string
	Text   string
	// Next is where the browser goes on by itself; "" for nowhere.
	Next string
	// Link leads on; "" for none.
	Link, LinkText string
	// Elsewhere is where one logs out at the identity provider, "" for nowhere.
	Elsewhere string
	// Form is the field that proves that a form is ours.
	Form string
	// Name and Wrong are what was typed into the login, and why it did not do; To is where
	// it leads, sealed.
	Name, Wrong, To string
	// Refresh makes the browser ask again after so many seconds; 0: it does not.
	Refresh int
	State   state
	// Events is where the script gets changes; Door is the list of one's desktops.
	Events, Door string
	User         string
	Desktops     []desktop
	// Frames are addresses of hidden frames.
	Frames []string
}

// desktop is one line of the list of one's desktops.
type desktop struct {
	Name, Namespace, Template, Host, URL, State, Ends string
	CanExtend                                         bool
}

func sortDesktops(lines []desktop) {
	slices.SortFunc(lines, func(a, b desktop) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Namespace, b.Namespace))
	})
}

func strangerPage(door string) page {
	return page{
		Title: "This is not your desktop", Text: "It belongs to somebody else, or there is no desktop at this address.",
		Link: door + doorHome, LinkText: "Your desktops",
	}
}

// pages are small and hold everything they need: while a desktop runs, its host
// belongs to it, and there is no address for our files.
type pages struct {
	templates *template.Template
	style     template.CSS
	script    template.JS
	policy    string
}

func newPages() *pages {
	style, script := embedded("pages/style.css"), embedded("pages/page.js")
	return &pages{
		templates: template.Must(template.ParseFS(pageFiles, "pages/*.html")),
		style:     template.CSS(style), script: template.JS(script),
		policy: "default-src 'none'; style-src " + sourceOf(style) + "; script-src " + sourceOf(script) +
			"; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
}

func embedded(name string) string {
	text, err := pageFiles.ReadFile(name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return string(text)
}

// sourceOf allows exactly this text in a Content-Security-Policy.
func sourceOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (p *pages) render(name string, content page) ([]byte, error) {
	content.Style, content.Script = p.style, p.script
	var body bytes.Buffer
	err := p.templates.ExecuteTemplate(&body, name, content)
	return body.Bytes(), err
}

func (p *pages) show(w http.ResponseWriter, status int, name string, content page) {
	body, err := p.render(name, content)
	if err != nil {
		http.Error(w, "This page could not be made.", http.StatusInternalServerError)
		return
	}
	policy := p.policy
	if len(content.Frames) > 0 {
		policy += "; frame-src " + originsOf(content.Frames)
	}
	h := w.Header()
	web.SetSecurityHeaders(h)
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a visitor who has gone needs no page
}

// originsOf are the origins of addresses of our own making.
func originsOf(addresses []string) string {
	var origins []string
	for _, address := range addresses {
		origin, _, _ := strings.Cut(address, wire.PathOwn)
		origins = append(origins, origin)
	}
	return strings.Join(origins, " ")
}

// showFramed shows the page that logs out on a desktop's host, in a frame of one
// parent. No 2xx: the proxy would take that for leave to go on to the desktop.
func (p *pages) showFramed(w http.ResponseWriter, parent string) {
	script := embedded("pages/signout.js")
	h := w.Header()
	web.SetSecurityHeaders(h)
	h.Del("X-Frame-Options") // it knows no single parent; the policy does
	h.Set("Content-Security-Policy", "default-src 'none'; script-src "+sourceOf(script)+"; connect-src 'self'; base-uri 'none'; frame-ancestors "+parent)
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte("<!doctype html><title>Log out</title><script>" + script + "</script>\n"))
}

// message is a sentence: a page for people, a line for programs.
func (p *pages) message(w http.ResponseWriter, v visit, status int, title, sentence string) {
	if strings.Contains(v.header.Get("Accept"), "text/html") {
		p.show(w, status, "message.html", page{Title: title, Text: sentence})
		return
	}
	web.SetSecurityHeaders(w.Header())
	http.Error(w, sentence, status)
}
