package frontdoor

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const portal = "https://portal." + domain

// listed is an entry of the list of people, with groups in YAML.
func listed(t *testing.T, name, user, password, groups string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	require.NoError(t, err)
	return fmt.Sprintf("- {name: %q, user: %q, hash: '%s', groups: %s}\n", name, user, hash, groups)
}

// list brings a list of people to some replicas.
func (w *world) list(entries string, replicas ...int) {
	w.t.Helper()
	list, err := people.Parse([]byte("people:\n" + entries))
	require.NoError(w.t, err)
	for _, n := range replicas {
		w.lists[n].Store(list)
		require.NoError(w.t, w.doors[n].Settle(w.t.Context()))
	}
}

// newLocalWorld has Alice and Bob on its list.
func newLocalWorld(t *testing.T) *world {
	w := newWorld(t, wire.AccessLocal)
	w.list(listed(t, "Alice", alice, "alice's", "[artists]")+listed(t, "bob", bob, "bob's", "[]"), 0, 1)
	return w
}

// typeIn fills in the login form of a page.
func (b *browser) typeIn(page *http.Response, name, password string, headers ...string) *http.Response {
	b.w.t.Helper()
	body := text(b.w.t, page)
	form := url.Values{"name": {name}, "password": {password}, "to": {valueOf(body, "to")}}
	return b.do(http.MethodPost, portal+"/login", formOf(b.w.t, body)+"&"+form.Encode(), append([]string{"Origin", portal}, headers...)...)
}

// valueOf is the value of a page's hidden field; "" for none.
func valueOf(page, field string) string {
	_, value, _ := strings.Cut(page, `name="`+field+`" value="`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}

// follow goes where a page sends the browser by itself.
func (b *browser) follow(page *http.Response) *http.Response {
	b.w.t.Helper()
	body := text(b.w.t, page)
	_, next, found := strings.Cut(body, `http-equiv="refresh" content="0;url=`)
	require.True(b.w.t, found, body)
	next, _, _ = strings.Cut(next, `"`)
	return b.get(portal + next)
}

// enter opens a desktop and logs in on the way.
func (b *browser) enter(address, name, password string) *http.Response {
	b.w.t.Helper()
	return b.follow(b.typeIn(b.get(address), name, password))
}

// A person comes from their desktop to the login and back, in every replica; others' stay
// closed, and so does everything after the logout.
func TestLocalLogin(t *testing.T) {
	w := newLocalWorld(t)
	b := w.browser()
	page := b.get(aliceURL + "/a?b=c")
	assert.Equal(t, "portal."+domain, page.Request.URL.Host)
	answer := b.follow(b.typeIn(page, " aLICE ", "alice's"))
	assert.Contains(t, text(t, answer), "desktop of "+platform.Identity(alice)+" at /a?b=c")
	assert.Contains(t, text(t, b.get(portal+"/")), "alice-1")
	assert.NotContains(t, text(t, b.get(portal+"/")), "bob-1")
	others := b.get("https://" + bobHost + "/")
	assert.Equal(t, http.StatusForbidden, others.StatusCode)
	text(t, others)

	w.known.done()
	list := text(t, b.get(portal+"/"))
	out := b.do(http.MethodPost, portal+"/logout", formOf(t, list), "Origin", portal)
	assert.Contains(t, text(t, out), "Logged out")
	assert.Contains(t, text(t, b.get(portal+"/")), `name="password"`)
	assert.Equal(t, http.StatusUnauthorized, b.desktop())
	assert.NotContains(t, w.log.String(), "alice's")
	assert.NotContains(t, w.log.String(), alice)
}

// auth.DOMAIN leads to the portal; there is no callback and no identity provider's logout.
func TestLocalHosts(t *testing.T) {
	w := newLocalWorld(t)
	answer := w.browser().staying().get(auth + "/callback?code=a&state=b")
	assert.Equal(t, portal+"/", answer.Header.Get("Location"))
	text(t, answer)
	for _, request := range []string{"GET /callback", "POST /backchannel-logout", "PUT /login"} {
		method, path, _ := strings.Cut(request, " ")
		answer := w.browser().do(method, portal+path, "")
		assert.Equal(t, http.StatusNotFound, answer.StatusCode, request)
		text(t, answer)
	}
}

// Words, status and cookies are the same for everybody who does not come in; the form must
// be one of this page in this browser.
func TestLocalRefusals(t *testing.T) {
	w := newLocalWorld(t)
	page := func(name, password string) (int, string) {
		b := w.browser()
		answer := b.typeIn(b.get(portal+"/login"), name, password)
		assert.Empty(t, b.cookie(portal, "__Host-vdi-login"), name)
		assert.Empty(t, b.cookie(portal, "__Host-vdi-known"), name)
		body := text(t, answer)
		body = strings.ReplaceAll(body, formOf(t, body)[len("form="):], "")
		return answer.StatusCode, strings.ReplaceAll(body, name, "")
	}
	status, wrong := page("alice", "bob's")
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Contains(t, wrong, "do not go together")
	for name, password := range map[string]string{"nobody": "x", "bob": strings.Repeat("x", 100), "ALICE": "alice's\x00alice's", "bob ": "alice's", "nobody else": "alice's"} {
		other, body := page(name, password)
		assert.Equal(t, status, other, name)
		assert.Equal(t, wrong, body, name)
	}
	b := w.browser()
	form := b.get(portal + "/login")
	for what, headers := range map[string][]string{
		"from elsewhere":  {"Origin", "https://evil.example.com"},
		"from a desktop":  {"Origin", aliceURL, "Sec-Fetch-Site", "same-site"},
		"without a page":  {"Sec-Fetch-Site", "none"},
		"another browser": nil,
	} {
		from := b
		if headers == nil {
			from, headers = w.browser(), []string{"Origin", portal}
		}
		body := text(t, b.get(portal+"/login"))
		answer := from.do(http.MethodPost, portal+"/login", formOf(t, body)+"&name=alice&password=alice%27s", headers...)
		assert.Equal(t, http.StatusForbidden, answer.StatusCode, what)
		assert.Empty(t, from.cookie(portal, "__Host-vdi-login"), what)
		text(t, answer)
	}
	text(t, form)
}

// Guesses of one name from one network are few; they keep nobody out elsewhere, and not even
// there in the browser in which she has logged in before.
func TestLocalGuesses(t *testing.T) {
	w := newLocalWorld(t)
	hers := w.browser()
	text(t, hers.enter(aliceURL, "alice", "alice's"))
	from := func(b *browser, name, password, address string) int {
		answer := b.typeIn(b.get(portal+"/login"), name, password, "X-Forwarded-For", address)
		text(t, answer)
		return answer.StatusCode
	}
	codes := map[int]int{}
	for range 15 { // at one replica: each counts for itself
		codes[from(w.browser(), "alice", "wrong", "192.0.2.1")]++
	}
	assert.Equal(t, map[int]int{http.StatusUnauthorized: 10, http.StatusTooManyRequests: 5}, codes)
	assert.Equal(t, http.StatusTooManyRequests, from(w.browser(), "ALICE", "alice's", "192.0.2.1"), "else it could be guessed")
	assert.Equal(t, http.StatusUnauthorized, from(w.browser(), "bob", "wrong", "192.0.2.1"))
	assert.Equal(t, http.StatusOK, from(w.browser(), "alice", "alice's", "192.0.2.2"))
	fresh := w.browser()
	fresh.Jar.SetCookies(at(t, portal), hers.Jar.Cookies(at(t, portal)))
	for _, c := range hers.Jar.Cookies(at(t, portal)) {
		if c.Name == "__Host-vdi-login" {
			fresh.Jar.SetCookies(at(t, portal), []*http.Cookie{{Name: c.Name, MaxAge: -1, Path: "/", Secure: true}})
		}
	}
	assert.Equal(t, http.StatusOK, from(fresh, "alice", "alice's", "192.0.2.1"), "her own browser")
	w.pass(11 * time.Second)
	assert.Equal(t, http.StatusUnauthorized, from(w.browser(), "alice", "wrong", "192.0.2.1"))
}

func at(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u
}

// Who leaves the list, or gets another password, is out everywhere as soon as one replica
// knows it: logins and streams end, and the replica that has the old list lets nobody in by
// it. Others notice nothing.
func TestLocalRemoval(t *testing.T) {
	w := newLocalWorld(t)
	w.known.add("carol-1", "carol", vdi.PhaseRunning)
	bobs, carols := listed(t, "bob", bob, "bob's", "[]"), listed(t, "carol", "carol", "carol's", "[]")
	w.list(listed(t, "Alice", alice, "alice's", "[artists]")+bobs+carols, 0, 1)
	hers, his, third := w.browser(), w.browser(), w.browser()
	text(t, hers.enter(aliceURL, "alice", "alice's"))
	text(t, his.enter("https://"+bobHost, "bob", "bob's"))
	text(t, third.enter("https://carol-1."+domain, "carol", "carol's"))
	w.known.done()
	w.pass(time.Second)

	w.list(bobs+listed(t, "carol", "carol", "another", "[]"), 0) // the first replica alone
	assert.ElementsMatch(t, []string{
		"close streams of alice-1 for " + platform.Identity(alice), "close streams of carol-1 for " + platform.Identity("carol"),
	}, w.known.done())
	for range 2 { // in both replicas
		assert.Equal(t, http.StatusUnauthorized, hers.desktop())
		assert.Contains(t, text(t, hers.get(portal+"/")), `name="password"`)
		assert.Contains(t, text(t, his.get("https://"+bobHost)), "desktop of")
	}
	for _, old := range [][2]string{{"alice", "alice's"}, {"carol", "carol's"}} {
		seen := map[int]bool{}
		for range 4 {
			b := w.browser()
			w.turn.Add(1) // the next replica gets the form
			answer := b.typeIn(b.get(portal+"/login"), old[0], old[1])
			text(t, answer)
			seen[answer.StatusCode] = true
			assert.Empty(t, b.cookie(portal, "__Host-vdi-login"))
		}
		assert.Equal(t, map[int]bool{http.StatusUnauthorized: true, http.StatusServiceUnavailable: true}, seen, old[0])
	}
	w.pass(time.Second)
	w.list(bobs+listed(t, "carol", "carol", "another", "[]"), 1)
	w.list(bobs+listed(t, "carol", "carol", "new", "[]"), 0, 1)
	assert.Contains(t, text(t, third.enter("https://carol-1."+domain, "carol", "new")), "desktop of")
}

// A replica that is late takes what another one knows better. What it has bound itself
// counts no longer than lists are under way: then the new password is in, and the login by
// the old one out, where the new list is.
func TestLocalLateReplica(t *testing.T) {
	w := newLocalWorld(t)
	tryAt := func(replica int64, password string) (*browser, int) {
		w.only.Store(replica)
		b := w.browser()
		answer := b.typeIn(b.get(portal+"/login"), "alice", password)
		text(t, answer)
		return b, answer.StatusCode
	}
	desktopAt := func(replica int64, b *browser) int {
		w.only.Store(replica)
		text(t, b.get(aliceURL))
		return b.desktop()
	}
	w.list(listed(t, "Alice", alice, "new", "[]"), 0)
	old, code := tryAt(2, "alice's") // nobody had bound her name before
	require.Equal(t, http.StatusOK, code)
	_, code = tryAt(1, "new")
	assert.Equal(t, http.StatusServiceUnavailable, code, "which of the two lists is the newer one?")
	assert.Equal(t, http.StatusOK, desktopAt(1, old))

	w.pass(ended.ListLag)
	assert.Equal(t, http.StatusUnauthorized, desktopAt(1, old), "the list here cannot be older any more")
	hers, code := tryAt(1, "new")
	require.Equal(t, http.StatusOK, code)
	assert.Equal(t, http.StatusOK, desktopAt(1, hers))
	assert.Equal(t, http.StatusOK, desktopAt(2, hers), "the late replica believes what was bound lately")
	assert.Equal(t, http.StatusOK, desktopAt(2, old), "and has the old list")
	_, code = tryAt(2, "alice's")
	assert.Equal(t, http.StatusServiceUnavailable, code)
	w.list(listed(t, "Alice", alice, "another", "[]"), 0, 1)
	for replica := range int64(2) {
		assert.Equal(t, http.StatusUnauthorized, desktopAt(replica+1, old))
		assert.Equal(t, http.StatusUnauthorized, desktopAt(replica+1, hers))
	}
}

// A login by the old list, just while another replica reads the new one: its stamp is after
// what ended all of hers, so that the name itself must be looked at again.
func TestLocalLeavesWhileLoggingIn(t *testing.T) {
	for what, list := range map[string]string{"she is gone": listed(t, "bob", bob, "bob's", "[]"), "another password": listed(t, "Alice", alice, "new", "[]")} {
		w := newLocalWorld(t)
		w.only.Store(2)
		text(t, w.browser().enter(aliceURL, "alice", "alice's")) // the name is hers already
		b := w.browser()
		page := b.get(portal + "/login")
		w.known.stamping = func() { w.list(list, 0) }
		answer := b.typeIn(page, "alice", "alice's")
		assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, what)
		assert.Contains(t, text(t, answer), "The list of people is just being changed", what)
		text(t, b.get(aliceURL))
		assert.Equal(t, http.StatusUnauthorized, b.desktop(), what)
	}
}

// What is written to end logins may be lost, or refused: the list at hand decides.
func TestLocalListDecides(t *testing.T) {
	w := newLocalWorld(t)
	b := w.browser()
	text(t, b.enter(aliceURL, "alice", "alice's"))
	require.Equal(t, http.StatusOK, b.desktop())
	w.pass(ended.ListLag)
	for n := range w.lists {
		list, err := people.Parse([]byte("people: []"))
		require.NoError(t, err)
		w.lists[n].Store(list) // and nothing is settled
	}
	assert.Equal(t, http.StatusUnauthorized, b.desktop())
}

// A replica that reads its old list again, as it does at each step of the kubelet's, ends
// nothing that began by the newer list of another.
func TestLocalOldListIsReadAgain(t *testing.T) {
	w := newWorld(t, wire.AccessLocal)
	w.list(listed(t, "alice", alice, "alice's", "[]"), 0, 1)
	text(t, w.browser().enter(aliceURL, "alice", "alice's"))
	w.pass(time.Second)
	w.list(listed(t, "alice", alice, "another", "[]"), 0)
	hers := w.browser()
	w.pass(time.Second)
	for hers.cookie(portal, "__Host-vdi-login") == "" { // until the first replica is asked
		w.turn.Add(1)
		text(t, hers.typeIn(hers.get(portal+"/login"), "alice", "another"))
	}
	w.pass(time.Second)
	require.NoError(t, w.doors[1].Settle(t.Context()))
	assert.Contains(t, text(t, hers.get(portal+"/")), "alice-1")
}

// Streams that cannot be closed when somebody leaves the list are tried again, as those of
// nobody else, for a while.
func TestLocalStreamsAreTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		later time.Duration
		want  []string
	}{
		"the proxy is back":    {time.Minute, []string{"close streams of alice-1 for " + platform.Identity(alice)}},
		"it was away too long": {time.Hour, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, wire.AccessLocal)
			bobs := listed(t, "bob", bob, "bob's", "[]")
			w.list(listed(t, "alice", alice, "alice's", "[]")+bobs, 0, 1)
			text(t, w.browser().enter(aliceURL, "alice", "alice's"))
			text(t, w.browser().enter("https://"+bobHost, "bob", "bob's"))
			without, err := people.Parse([]byte("people:\n" + bobs))
			require.NoError(t, err)
			w.lists[0].Store(without)
			w.away.Store(true)
			assert.ErrorContains(t, w.doors[0].Settle(t.Context()), "session team/alice-1: ask its agent")
			assert.ErrorContains(t, w.doors[0].Settle(t.Context()), "session team/alice-1: ask its agent", "nobody has left since")
			w.away.Store(false)
			w.pass(c.later)
			require.NoError(t, w.doors[0].Settle(t.Context()))
			require.NoError(t, w.doors[0].Settle(t.Context()))
			assert.Equal(t, c.want, w.known.done(), "once")
		})
	}
}

// Without a list nobody logs in, and who is logged in stays so.
func TestLocalWithoutList(t *testing.T) {
	w := newLocalWorld(t)
	b := w.browser()
	text(t, b.enter(aliceURL, "alice", "alice's"))
	for n := range w.lists {
		w.lists[n].Store(nil)
		require.NoError(t, w.doors[n].Settle(t.Context()))
	}
	assert.Contains(t, text(t, b.get(aliceURL)), "desktop of")
	answer := w.browser().get(portal + "/login")
	assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	assert.Contains(t, text(t, answer), "the list of people cannot be read. Ask an administrator")
}

// The groups of the list are written when she resumes, where it names any.
func TestLocalGroups(t *testing.T) {
	w := newLocalWorld(t)
	w.known.edit(aliceHost, func(s *vdi.VDISession) {
		s.Status.Phase, s.Spec.RunPolicy = vdi.PhaseSuspended, vdi.RunPolicySuspended
	})
	b := w.browser()
	body := text(t, b.enter(aliceURL, "alice", "alice's"))
	text(t, b.do(http.MethodPost, aliceURL+"/.vdi/resume", formOf(t, body), "Origin", aliceURL))
	assert.Equal(t, []string{"artists"}, w.known.resumed)
}

// The page of a suspended desktop says that the login has ended: it does not redirect to
// the portal, which the page's policy would stop in silence.
func TestLogoutOnAPageStaysOnItsHost(t *testing.T) {
	w := newLocalWorld(t)
	w.known.edit(aliceHost, func(s *vdi.VDISession) { s.Status.Phase = vdi.PhaseSuspended })
	b := w.browser()
	body := text(t, b.enter(aliceURL, "alice", "alice's"))
	answer := b.staying().do(http.MethodPost, aliceURL+"/.vdi/logout", formOf(t, body), "Origin", aliceURL)
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	assert.Contains(t, text(t, answer), `href="`+portal+`/"`)
	agent := b.staying().get(aliceURL + wire.PathLogin)
	assert.Equal(t, http.StatusForbidden, agent.StatusCode)
	assert.Contains(t, text(t, agent), "Logged out")
}

// Logins of another access mode are none: who is not on the list stays out.
func TestLocalTakesNoLoginOfOIDC(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	other := newLocalWorld(t)
	other.keys.Store(w.keys.Load())
	other.signing = w.signing
	b.w, b.Transport = other, other.browser().Transport
	assert.Equal(t, http.StatusUnauthorized, b.desktop())
}
