package frontdoor

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// naiveDesks are pages of desktops as many are put online: whoever asks may do everything, by
// any request. Paths mean what they mean on a disk.
type naiveDesks struct {
	// gated: addresses that begin as Bob's desktop's do are refused, as they were sent.
	gated   bool
	mu      sync.Mutex
	changes []string
	made    []url.Values
}

func (n *naiveDesks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sent, _, _ := strings.Cut(r.RequestURI, "?")
	read, err := url.PathUnescape(sent)
	if err != nil || n.gated && strings.HasPrefix(sent, "/desktop/team/bob-1") {
		http.NotFound(w, r)
		return
	}
	read, _, _ = strings.Cut(strings.ReplaceAll(read, `\`, "/"), "\x00")
	parts := strings.Split(strings.ToLower(path.Clean("/"+read)), "/")[1:]
	r.URL.RawQuery = strings.TrimPrefix(r.RequestURI[len(sent):], "?")
	_ = r.ParseForm() // what cannot be read is not there
	switch {
	case len(parts) == 2 && parts[0] == "new":
		n.serveNew(w, r, parts[1])
	case len(parts) < 3 || parts[0] != "desktop" || parts[2] == "nob-1":
		http.NotFound(w, r)
	default:
		if len(parts) == 4 {
			n.changes = append(n.changes, parts[3]+" "+parts[2])
		}
		fmt.Fprint(w, "this is ", parts[2])
	}
}

func (n *naiveDesks) serveNew(w http.ResponseWriter, r *http.Request, template string) {
	switch template {
	case "bobs":
		http.Error(w, "the vault is for others", http.StatusForbidden)
	case "nothing":
		http.NotFound(w, r)
	default:
		n.changes, n.made = append(n.changes, "create of "+template), append(n.made, r.Form)
	}
}

// raw has one request answered in the caller's own thread, at an address as it was sent. A live
// page gets its first event.
func raw(t *testing.T, h http.Handler, method, address, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if strings.HasSuffix(address, "/events") {
		stop()
	}
	r := httptest.NewRequestWithContext(ctx, method, "/", strings.NewReader(body))
	r.RequestURI, r.Host = address, at(t, portal).Host
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer
}

// seat is a browser in which somebody is logged in, at one replica.
type seat struct {
	*world
	h http.Handler
	// cookie holds all of the browser's, browserCookie that one alone. form proves its forms.
	cookie, browserCookie, form string
}

// newDesks has Alice's desktops and Bob's, one of hers where people make them, and templates
// for her and for him.
func newDesks(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, wire.AccessLocal, func(w *world, _ *platform.Sessions) { w.known.portal = "desks" })
	w.list(aliceAndBob(), 0, 1)
	w.known.add("alice-2", alice, vdi.PhaseSuspended)
	w.known.add("alice-3", alice, vdi.PhaseRunning)
	w.known.edit("alice-3."+domain, func(s *vdi.VDISession) {
		s.Namespace = "desks"
		s.Status.ExpiresAt, s.Status.ExpiryReason = &metav1.Time{Time: w.time().Add(time.Hour)}, vdi.StopExpired
	})
	w.known.edit(bobHost, func(s *vdi.VDISession) { s.Spec.DisplayName = "The vault of Bob" })
	w.known.offer("office", func(o *vdi.VDITemplate) { o.Spec.DisplayName = "Office" })
	w.known.offer("bobs", func(o *vdi.VDITemplate) {
		o.Spec.DisplayName, o.Spec.Access.Users, o.Spec.Icon = "The vault", []string{bob}, "data:image/png;base64,AAAA"
	})
	return w
}

func (w *world) seat(name string) *seat {
	w.t.Helper()
	p := w.typist()
	s := &seat{world: w, h: p.h, browserCookie: p.cookie}
	for _, c := range p.types(name, name+"'s", "192.0.2.1").Result().Cookies() {
		if c.Name == "__Host-vdi-login" {
			s.cookie = p.cookie + "; " + c.Name + "=" + c.Value
		}
	}
	require.NotEmpty(w.t, s.cookie)
	s.form = valueOf(s.asks(w.t, http.MethodGet, "/", "").Body.String(), "form")
	require.NotEmpty(w.t, s.form)
	return s
}

func (s *seat) asks(t *testing.T, method, address, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return raw(t, s.h, method, address, body, append([]string{"Cookie", s.cookie, "Origin", portal}, headers...)...)
}

// does sends a form as its page does.
func (s *seat) does(t *testing.T, address string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	return s.asks(t, http.MethodPost, address, "form="+s.form+"&"+form.Encode())
}

// acts are all that forms can do for Alice, with their fields.
func (s *seat) acts(t *testing.T) map[string]url.Values {
	t.Helper()
	const desktop = "/desktop/desks/alice-3/"
	fields := url.Values{"uid": {"uid of alice-3"}, "fate": {valueOf(s.asks(t, http.MethodGet, desktop+"delete", "").Body.String(), "fate")}}
	require.NotEmpty(t, fields.Get("fate"))
	return map[string]url.Values{
		desktop + "extend": fields, desktop + "suspend": fields, desktop + "resume": fields, desktop + "delete": fields,
		"/new/office": {"name": {"Mine"}},
	}
}

// proofOfDesktop is the proof of a form on the page of one of Alice's desktops. Somehow both
// hosts have the same cookie of the browser.
func (s *seat) proofOfDesktop(t *testing.T) string {
	t.Helper()
	const host = "alice-2." + domain
	s.suspend(host)
	b := s.browser()
	text(t, b.enter("https://"+host+"/", "alice", "alice's"))
	page := ask(t, s.h, http.MethodGet, "https://"+host+"/", "", "Cookie", s.browserCookie+"; __Host-vdi="+b.cookie("https://"+host, "__Host-vdi"))
	form := valueOf(page.Body.String(), "form")
	require.NotEmpty(t, form, page.Body.String())
	return form
}

// TestA53ForgedForms: nothing is done for anybody but by a form of the portal, in the browser
// that shows it.
func TestA53ForgedForms(t *testing.T) {
	s := newDesks(t).seat("alice")
	acts, desktops := s.acts(t), s.proofOfDesktop(t)
	another := s.seat("alice").form
	for way, c := range map[string]struct {
		proof, method string
		inAddress     bool
		headers       []string
	}{
		"without a proof":                     {},
		"with a proof that was made up":       {proof: "v1." + strings.Repeat("A", 80)},
		"with half of a proof":                {proof: s.form[:len(s.form)/2]},
		"with the proof of another browser":   {proof: another},
		"with the proof of a desktop's page":  {proof: desktops},
		"by a page elsewhere":                 {proof: s.form, headers: []string{"Origin", "https://evil.example.com"}},
		"by a desktop's page, a same site":    {proof: s.form, headers: []string{"Origin", "https://" + bobHost, "Sec-Fetch-Site", "same-site"}},
		"by a page whose name begins as ours": {proof: s.form, headers: []string{"Origin", portal + ".evil.example.com"}},
		"by a page without TLS":               {proof: s.form, headers: []string{"Origin", "http://portal." + domain}},
		"by a page of no origin":              {proof: s.form, headers: []string{"Origin", "null"}},
		"by a program":                        {proof: s.form, headers: []string{"Origin", ""}},
		"with an Origin that lies":            {proof: s.form, headers: []string{"Sec-Fetch-Site", "same-site"}},
		"without the browser's cookie":        {proof: s.form, headers: []string{"Cookie", s.cookie[len(s.browserCookie)+2:]}},
		"by a link":                           {proof: s.form, method: http.MethodGet, inAddress: true},
		"by a link that says POST":            {proof: s.form + "&_method=POST", method: http.MethodGet, inAddress: true, headers: []string{"X-HTTP-Method-Override", "POST", "X-HTTP-Method", "POST"}},
		"by HEAD":                             {proof: s.form, method: http.MethodHead, inAddress: true},
		"by PUT":                              {proof: s.form, method: http.MethodPut},
		"by DELETE":                           {proof: s.form, method: http.MethodDelete},
		"by a method in lower case":           {proof: s.form, method: "post"},
		"by fields in the address":            {proof: s.form, inAddress: true},
		"by text that looks like fields":      {proof: s.form, headers: []string{"Content-Type", "text/plain"}},
	} {
		forge := func(t *testing.T, h http.Handler) {
			for address, fields := range acts {
				method, body := c.method, "form="+c.proof+"&"+fields.Encode()
				if method == "" {
					method = http.MethodPost
				}
				if c.inAddress {
					address, body = address+"?"+body, ""
				}
				raw(t, h, method, address, body, append([]string{"Cookie", s.cookie, "Origin", portal}, c.headers...)...)
			}
		}
		ledger.Try(t, way, func(t *testing.T) ledger.Outcome {
			n := &naiveDesks{}
			forge(t, n)
			return ledger.Judge(len(n.changes) == len(acts), ledger.Runtime, "not everything was done")
		}, func(t *testing.T) ledger.Outcome {
			forge(t, s.h)
			done := s.known.done()
			return ledger.Judge(len(done) > 0, ledger.Runtime, "nothing was done")
		})
	}
	for _, address := range []string{"/desktop/desks/alice-3/extend", "/desktop/desks/alice-3/suspend", "/desktop/desks/alice-3/resume", "/desktop/desks/alice-3/delete", "/new/office"} {
		require.Equal(t, http.StatusSeeOther, s.does(t, address, acts[address]).Code, address)
	}
	require.Equal(t, []string{"keep", "suspend", "resume", "delete", "create"}, verbs(s.known.done()), "the page's own forms do it all")
}

// portalPages are addresses of pages of every kind, with how they are answered.
var portalPages = map[string]int{
	"/": 200, "/new": 200, "/new?q=nothing": 200, "/new/office": 200, "/new/bobs": 404, "/desktop/desks/alice-3": 200, "/desktop/desks/alice-3/delete": 200,
	"/desktop/team/alice-1": 200, "/desktop/team/bob-1": 404, "/desktop/team/bob-1/delete": 303, "/icon/office": 404, "/nowhere": 404, "/login": 303,
}

// TestA53Frames: no other page shows the portal in a frame, where people press what they do
// not see.
func TestA53Frames(t *testing.T) {
	framed := func(h http.Header) bool {
		return h.Get("X-Frame-Options") != "DENY" && !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	}
	s := newDesks(t).seat("alice")
	for address, status := range portalPages {
		ledger.Try(t, address, func(t *testing.T) ledger.Outcome {
			return ledger.Judge(framed(raw(t, &naiveDesks{}, http.MethodGet, "/desktop/team/alice-1", "").Header()), ledger.Runtime, "it may not")
		}, func(t *testing.T) ledger.Outcome {
			answer := s.asks(t, http.MethodGet, address, "")
			require.Equal(t, status, answer.Code)
			return ledger.Judge(status != http.StatusSeeOther && framed(answer.Header()), ledger.Runtime, "it may not")
		})
	}
	refused := s.does(t, "/new/office", url.Values{})
	require.Equal(t, http.StatusUnprocessableEntity, refused.Code)
	require.False(t, framed(refused.Header()))
	require.False(t, framed(raw(t, s.h, http.MethodPost, "/new/office", "", "Cookie", s.cookie).Header()))
}

// TestA53Pictures: a desktop's page does not learn by pictures which templates its visitor may
// use.
func TestA53Pictures(t *testing.T) {
	shown := func(answer *httptest.ResponseRecorder) ledger.Outcome {
		harm := answer.Code == http.StatusOK && answer.Header().Get("Cross-Origin-Resource-Policy") != "same-origin"
		return ledger.Judge(harm, ledger.Runtime, "it is not shown")
	}
	ledger.Try(t, "a template's picture in a desktop's page", func(t *testing.T) ledger.Outcome {
		return shown(raw(t, &naiveDesks{}, http.MethodGet, "/desktop/team/alice-1", ""))
	}, func(t *testing.T) ledger.Outcome {
		return shown(newDesks(t).seat("bob").asks(t, http.MethodGet, "/icon/bobs", "", "Accept", "image/*", "Sec-Fetch-Site", "same-site", "Sec-Fetch-Dest", "image", "Sec-Fetch-Mode", "no-cors"))
	})
}

var proofs = regexp.MustCompile(`name="form" value="[^"]*"`)

// seen is an answer but for what is random in it, and for names that were asked for.
func seen(answer *httptest.ResponseRecorder, names ...string) string {
	all := fmt.Sprint(answer.Code, answer.Header(), proofs.ReplaceAllString(answer.Body.String(), ""))
	for _, name := range names {
		all = strings.ReplaceAll(all, name, "NAME")
	}
	return all
}

// alike judges answers about what is Bob's and about what there is not.
func alike(bobs, nobodys *httptest.ResponseRecorder, done []string) ledger.Outcome {
	text := bobs.Body.String() + fmt.Sprint(bobs.Header())
	harm := len(done) > 0 || strings.Contains(text, "vault") || strings.Contains(text, bob) || seen(bobs, "bob-1", "BOB-1", "bobs") != seen(nobodys, "nob-1", "NOB-1", "nothing")
	return ledger.Judge(harm, ledger.Runtime, fmt.Sprintf("%d, as for what is not there", bobs.Code))
}

// TestA54OthersDesktops: others' desktops cannot be seen, followed or changed, nor distinguished from
// none at all.
func TestA54OthersDesktops(t *testing.T) {
	s := newDesks(t).seat("alice")
	for what, c := range map[string]struct{ method, act, uid string }{
		"its page":                    {http.MethodGet, "", ""},
		"its page, by HEAD":           {http.MethodHead, "", ""},
		"its live page":               {http.MethodGet, "/events", ""},
		"whether to delete it":        {http.MethodGet, "/delete", ""},
		"to suspend it":               {http.MethodPost, "/suspend", "uid of bob-1"},
		"to resume it":                {http.MethodPost, "/resume", "uid of bob-1"},
		"to extend it":                {http.MethodPost, "/extend", "uid of bob-1"},
		"to delete it":                {http.MethodPost, "/delete", "uid of bob-1"},
		"to suspend it, as one's own": {http.MethodPost, "/suspend", "uid of alice-1"},
		"to delete it, as one's own":  {http.MethodPost, "/delete", "uid of alice-1"},
		"to suspend it, as none":      {http.MethodPost, "/suspend", ""},
	} {
		try := func(h http.Handler, done func() []string) ledger.Attempt {
			return func(t *testing.T) ledger.Outcome {
				body := "form=" + s.form + "&here=1&" + url.Values{"uid": {c.uid}, "fate": {"Its home, if it has one by now, is kept as its template says. You find it under “Your files”."}}.Encode()
				ask := func(name string) *httptest.ResponseRecorder {
					return raw(t, h, c.method, "/desktop/team/"+name+c.act, body, "Cookie", s.cookie, "Origin", portal)
				}
				return alike(ask("bob-1"), ask("nob-1"), done())
			}
		}
		ledger.Try(t, what, try(&naiveDesks{}, func() []string { return nil }), try(s.h, s.known.done))
	}
}

// naiveHomes are pages of left homes that go by the address alone.
func naiveHomes(s *seat) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, query, _ := strings.Cut(r.RequestURI, "?")
		r.URL.RawQuery = query
		_ = r.ParseForm() // what cannot be read is not there
		for _, name := range []string{path.Base(path.Dir(address)), r.Form.Get("files")} {
			for i := range s.known.claims {
				if c := &s.known.claims[i]; c.Name == wire.PrefixHome+name {
					fmt.Fprint(w, c.Annotations[wire.AnnotationDisplayName])
				}
			}
		}
	})
}

// TestA54OthersHomes: nor can the files that others' desktops have left be taken, deleted or kept.
func TestA54OthersHomes(t *testing.T) {
	s := newDesks(t).seat("alice")
	bobs, nobodys := platform.SessionName(bob, "secrets"), platform.SessionName(bob, "nothing")
	s.known.leave(bobs, bob, map[string]string{wire.AnnotationDisplayName: "The vault of Bob", wire.AnnotationRetainFor: "48h"})
	for what, c := range map[string]struct{ method, address, body string }{
		"to delete them":         {http.MethodPost, "/homes/NAME/discard", "uid=home+of+NAME"},
		"to keep them":           {http.MethodPost, "/homes/NAME/keep", "uid=home+of+NAME"},
		"to see them":            {http.MethodGet, "/homes/NAME/events", ""},
		"a form that has them":   {http.MethodGet, "/new/office?files=NAME", ""},
		"a desktop that has":     {http.MethodPost, "/new/office", "name=Mine&files=NAME"},
		"by another desk's name": {http.MethodPost, "/new/office", "name=secrets&files=NAME&homeSize=20"},
	} {
		try := func(h http.Handler, done func() []string) ledger.Attempt {
			return func(t *testing.T) ledger.Outcome {
				ask := func(name string) *httptest.ResponseRecorder {
					body := "form=" + s.form + "&" + strings.ReplaceAll(c.body, "NAME", name)
					return raw(t, h, c.method, strings.ReplaceAll(c.address, "NAME", name), body, "Cookie", s.cookie, "Origin", portal)
				}
				his, none := ask(bobs), ask(nobodys)
				harm := len(done()) > 0 || strings.Contains(his.Body.String(), "vault") || seen(his, bobs) != seen(none, nobodys)
				return ledger.Judge(harm, ledger.Runtime, fmt.Sprintf("%d, as for what is not there", his.Code))
			}
		}
		ledger.Try(t, what, try(naiveHomes(s), func() []string { return nil }), try(s.h, s.known.done))
	}
}

// TestA54Paths: nor by other ways to write their addresses.
func TestA54Paths(t *testing.T) {
	s := newDesks(t).seat("alice")
	for _, trick := range []string{
		"/desktop/team/alice-1/../bob-1", "/desktop/team/alice-1/%2e%2e/bob-1", "/desktop/team/alice-1/..%2fbob-1", "/desktop/team%2Fbob-1", "/desktop%2fteam%2fbob-1",
		"/desktop/team/%62ob-1", "//desktop/team/bob-1", "/desktop//team/bob-1", "/desktop/team//bob-1", "/./desktop/team/bob-1", "/desktop/./team/bob-1",
		"/DESKTOP/team/bob-1", "/desktop/TEAM/bob-1", "/desktop/team/BOB-1", "/desktop/desks/../team/bob-1", `/desktop\team\bob-1`, `/desktop/team/alice-1\..\bob-1`,
		"/new/../desktop/team/bob-1", "/icon/..%2fdesktop/team/bob-1", "/desktop/team/alice-1/suspend/../../bob-1",
	} {
		for _, end := range []string{"", "/", "/.", "%00", "%00.html", "/suspend", "/suspend/", "/delete%00"} {
			try := func(h http.Handler, done func() []string) ledger.Attempt {
				return func(t *testing.T) ledger.Outcome {
					method, body := http.MethodGet, ""
					if strings.Contains(end, "e") {
						method, body = http.MethodPost, "form="+s.form+"&uid=uid+of+bob-1&uid=uid+of+alice-1"
					}
					ask := func(address string) *httptest.ResponseRecorder {
						return raw(t, h, method, address, body, "Cookie", s.cookie, "Origin", portal)
					}
					nobodys := strings.NewReplacer("bob-1", "nob-1", "%62ob-1", "%6eob-1", "BOB-1", "NOB-1").Replace(trick)
					return alike(ask(trick+end), ask(nobodys+end), done())
				}
			}
			ledger.Try(t, trick+end, try(&naiveDesks{gated: true}, func() []string { return nil }), try(s.h, s.known.done))
		}
	}
}

// makes is the desktop that a form makes, which is taken away again.
func (s *seat) makes(t *testing.T, address string, form string) *vdi.VDISession {
	t.Helper()
	answer := s.asks(t, http.MethodPost, address, "form="+s.form+"&name=Mine&home=20&"+form)
	require.Equal(t, http.StatusSeeOther, answer.Code, answer.Body.String())
	require.Equal(t, []string{"create"}, verbs(s.known.done()))
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	host := platform.SessionName(alice, "mine") + "." + domain
	made := s.known.sessions[host]
	require.NotNil(t, made, "by its own name")
	delete(s.known.sessions, host)
	made.ResourceVersion, made.CreationTimestamp = "", metav1.Time{}
	return made
}

// TestA55ExtraFields: a form has no fields but those that its page shows.
func TestA55ExtraFields(t *testing.T) {
	s := newDesks(t).seat("alice")
	honest := s.makes(t, "/new/office", "")
	for _, extra := range []string{
		"user=bob@example.com", "User=bob@example.com", "spec.user=bob@example.com", "spec[user]=bob@example.com", "groups=admins", "spec.groups=admins", "template=bobs",
		"spec.template=bobs", "namespace=team", "metadata.namespace=team", "metadata.name=bob-1", "uid=1", "resourceVersion=1", "ownerReferences=x", "finalizers=x", "labels=x",
		"annotations=vdi", "metadata.annotations[vdi-platform.io/requested-by]=bob@example.com", "persistence.existingClaim=bobs", "existingClaim=bobs", "persistence.reclaimPolicy=Delete",
		"reclaimPolicy=Delete", "storageClassName=x", "runPolicy=Suspended", "idleTimeout=0s", "timeout=0s", "keepAliveUntil=2999-01-01T00:00:00Z", "expiresAt=2999-01-01T00:00:00Z",
		"image=evil", "env=A=b", "sidecars=x", "resources.gpu=64", "spec.resources.gpu=64", "priority=1000", "host=bob-1", "status.phase=Running", "name=Theirs", "home=900", "__proto__=x",
	} {
		ledger.Try(t, extra, func(t *testing.T) ledger.Outcome {
			n := &naiveDesks{}
			for _, form := range []string{"name=Mine&home=20", "name=Mine&home=20&" + extra} {
				raw(t, n, http.MethodPost, "/new/office", form)
			}
			return ledger.Judge(!reflect.DeepEqual(n.made[0], n.made[1]), ledger.Runtime, "the same desktop")
		}, func(t *testing.T) ledger.Outcome {
			inForm := s.makes(t, "/new/office", extra)
			inAddress := s.makes(t, "/new/office?"+extra, "")
			harm := !reflect.DeepEqual(honest, inForm) || !reflect.DeepEqual(honest, inAddress)
			return ledger.Judge(harm, ledger.Runtime, "the same desktop")
		})
	}
}

// TestA55TemplatesOfOthers: templates for others make nothing, and nobody learns that there
// are any.
func TestA55TemplatesOfOthers(t *testing.T) {
	s := newDesks(t).seat("alice")
	for way, c := range map[string]struct{ method, address, form string }{
		"its form":           {http.MethodGet, "/new/NAME", ""},
		"its form, by HEAD":  {http.MethodHead, "/new/NAME", ""},
		"a desktop of it":    {http.MethodPost, "/new/NAME", "&name=Mine"},
		"a wrong desktop":    {http.MethodPost, "/new/NAME", "&name=&gpu=x"},
		"by another address": {http.MethodPost, "/new/office/../NAME", "&name=Mine"},
	} {
		try := func(h http.Handler, done func() []string) ledger.Attempt {
			return func(t *testing.T) ledger.Outcome {
				ask := func(name string) *httptest.ResponseRecorder {
					return raw(t, h, c.method, strings.ReplaceAll(c.address, "NAME", name), "form="+s.form+c.form, "Cookie", s.cookie, "Origin", portal)
				}
				return alike(ask("bobs"), ask("nothing"), done())
			}
		}
		ledger.Try(t, way, try(&naiveDesks{}, func() []string { return nil }), try(s.h, s.known.done))
	}
	naive := func(t *testing.T) ledger.Outcome {
		n := &naiveDesks{}
		raw(t, n, http.MethodPost, "/new/office", "name=Mine")
		return ledger.Judge(len(n.made) > 0, ledger.Runtime, "nothing was made")
	}
	ledger.Try(t, "one that was for all when the form was shown", naive, func(t *testing.T) ledger.Outcome {
		require.Equal(t, http.StatusOK, s.asks(t, http.MethodGet, "/new/office", "").Code)
		s.known.offer("office", func(o *vdi.VDITemplate) { o.Spec.Access.Users = []string{bob} })
		s.does(t, "/new/office", url.Values{"name": {"Mine"}})
		return ledger.Judge(len(s.known.done()) > 0, ledger.Runtime, "nothing was made")
	})
	for _, address := range []string{"/icon/NAME", "/new?q=NAME", "/new?q=NAME+vault"} {
		bobs, nobodys := s.asks(t, http.MethodGet, strings.ReplaceAll(address, "NAME", "bobs"), ""), s.asks(t, http.MethodGet, strings.ReplaceAll(address, "NAME", "nothing"), "")
		require.Equal(t, seen(nobodys, "nothing"), seen(bobs, "bobs"), address)
	}
}
