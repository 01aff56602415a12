package frontdoor

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
	"github.com/vdi-platform/vdi-platform/operator/web"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

//go:embed pages
var pageFiles embed.FS

// page is what a template shows.
type page struct {
	// Style is that of all pages, PortalStyle what a person's own add: strangers get little.
	Style, PortalStyle template.CSS
	Script             template.JS
	Title              string
	Text               string
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
	// Desktops are one's own, Desktop is the one that a page is about.
	Desktops []desktop
	Desktop  desktop
	// Shares are what one has of one's limits.
	Shares []portal.Share
	// Makes: desktops are made here. Any: there is something to choose from, whatever Search
	// finds of it, in Shelves.
	Makes, Any bool
	Search     string
	Shelves    []portal.Shelf
	Order      order
	// Homes are those without a desktop; Home is the session whose home a new desktop takes back.
	Homes []home
	Home  string
	// Frames are addresses of hidden frames.
	Frames []string
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
	templates          *template.Template
	style, portalStyle template.CSS
	script             template.JS
	policy             string
	// ownHost has a page to go on from.
	ownHost string
	// makes: people make desktops here.
	makes bool
}

func newPages(ownHost string, makes bool) *pages {
	style, portalStyle, script := embedded("pages/style.css"), embedded("pages/portal.css"), embedded("pages/page.js")
	return &pages{
		templates: template.Must(template.New("pages").Funcs(template.FuncMap{"iso": iso, "when": when}).ParseFS(pageFiles, "pages/*.html")),
		ownHost:   ownHost, makes: makes,
		style: template.CSS(style), portalStyle: template.CSS(portalStyle), script: template.JS(script),
		policy: "default-src 'none'; style-src " + sourceOf(style) + " " + sourceOf(portalStyle) + "; script-src " + sourceOf(script) +
			"; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
}

// iso is a moment for programs, and when for people without a script, which shows it in their
// own time zone.
func iso(at time.Time) string  { return at.UTC().Format(time.RFC3339) }
func when(at time.Time) string { return at.UTC().Format("2 January 2006, 15:04 UTC") }

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
	content.Style, content.PortalStyle, content.Script, content.Makes = p.style, p.portalStyle, p.script, p.makes
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
		shown := page{Title: title, Text: sentence}
		if v.host == p.ownHost {
			shown.Link, shown.LinkText = doorHome, "Your desktops"
		}
		p.show(w, status, "message.html", shown)
		return
	}
	web.SetSecurityHeaders(w.Header())
	http.Error(w, sentence, status)
}
