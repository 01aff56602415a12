package frontdoor

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// A person who follows a link to their desktop ends up there after the login,
// whichever replica answers each step.
func TestLoginOpensOnesOwnDesktop(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	answer := b.open(aliceURL+"/files?name=a%2Fb", alice)
	assert.Equal(t, aliceURL+"/files?name=a%2Fb", answer.Request.URL.String())
	assert.Contains(t, text(t, answer), "desktop of "+platform.Identity(alice)+" at /files?name=a%2Fb")
	assert.NotEmpty(t, b.cookie(aliceURL, "__Host-vdi"))
	assert.Empty(t, b.cookie(aliceURL, "__Host-vdi-browser"), "it has served its purpose")
	assert.Empty(t, b.cookie(aliceURL, "__Host-vdi-login"), "the login itself stays on its own host")
	assert.Empty(t, b.cookie("https://"+bobHost, "__Host-vdi"))

	log := w.log.String()
	assert.Contains(t, log, platform.Identity(alice))
	for _, secret := range []string{alice, b.cookie(aliceURL, "__Host-vdi"), b.cookie(auth, "__Host-vdi-login"), "code=", "name=a"} {
		assert.NotContains(t, log, secret)
	}
}

// Cookies are for one host, over TLS, out of reach of scripts.
func TestCookies(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	seen := 0
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		for _, c := range r.Response.Cookies() {
			if strings.HasPrefix(c.Name, "__Host-vdi") {
				seen++
				assert.True(t, c.Secure && c.HttpOnly && c.Path == "/" && c.Domain == "" && c.SameSite == http.SameSiteLaxMode, c.Name)
			}
		}
		return nil
	}
	text(t, b.open(aliceURL, alice))
	assert.GreaterOrEqual(t, seen, 4, "browser, flow, login, desktop")
}

func TestAnothersDesktopIsRefused(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	others := b.get("https://" + bobHost + "/")
	assert.Equal(t, http.StatusForbidden, others.StatusCode)
	assert.Equal(t, "auth."+domain, others.Request.URL.Host, "no code is made for it")
	page := text(t, others)
	assert.Contains(t, page, "This is not your desktop")
	none := b.get("https://" + nobody + "/")
	assert.Equal(t, http.StatusForbidden, none.StatusCode)
	assert.Equal(t, page, text(t, none), "no desktop looks like another's")

	stolen := b.cookie(aliceURL, "__Host-vdi")
	for _, host := range []string{bobHost, nobody} {
		if host == bobHost {
			answer := w.browser().get("https://"+host+"/", "Cookie", "__Host-vdi="+stolen)
			assert.Equal(t, http.StatusForbidden, answer.StatusCode)
			text(t, answer)
			answer = w.browser().get("https://"+host+"/ws", "Cookie", "__Host-vdi="+stolen, "Accept", "*/*", "Sec-Fetch-Mode", "websocket")
			assert.Equal(t, http.StatusForbidden, answer.StatusCode)
			text(t, answer)
		}
		for _, other := range []string{b.cookie(auth, "__Host-vdi-login")} {
			answer := w.browser().staying().get("https://"+host+"/", "Cookie", "__Host-vdi="+other)
			assert.Equal(t, http.StatusFound, answer.StatusCode, "a login of the other host is none here")
			text(t, answer)
		}
	}
}

// Who is not logged in gets the same answer for a desktop that runs, one that is
// suspended, and none.
func TestAnonymousLearnNothing(t *testing.T) {
	for _, mode := range []wire.AccessMode{wire.AccessOIDC, wire.AccessPassword} {
		w := newWorld(t, mode)
		w.known.edit(bobHost, func(s *vdi.VDISession) { s.Status.Phase = vdi.PhaseSuspended })
		hosts := []string{bobHost, nobody}
		if mode == wire.AccessOIDC {
			hosts = append(hosts, aliceHost) // in mode Password, its agent answers
		}
		var answers []string
		for _, host := range hosts {
			answer := w.browser().staying().get("https://" + host + "/")
			headers := answer.Header.Clone()
			for _, random := range []string{"Set-Cookie", "Location", "Date", "Content-Length"} {
				headers.Del(random)
			}
			location, err := url.Parse(answer.Header.Get("Location"))
			require.NoError(t, err)
			names := []string{}
			for _, c := range answer.Cookies() {
				names = append(names, c.Name)
			}
			body := formField.ReplaceAllString(text(t, answer), "FORM")
			answers = append(answers, strings.Join([]string{answer.Status, headers.Get("Content-Security-Policy"), location.Host + location.Path, strings.Join(names, ","), body}, "\n"))
		}
		for _, other := range answers[1:] {
			assert.Equal(t, answers[0], other, mode)
		}
		assert.NotContains(t, answers[0], "suspended")
	}
}

// atCallback logs in and stops where the browser would hand in the code.
func (b *browser) atCallback(address, email string) string {
	b.w.t.Helper()
	stop := *b
	client := *b.Client
	callback := ""
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/.vdi/callback" {
			callback = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	stop.Client = &client
	text(b.w.t, stop.open(address, email))
	require.NotEmpty(b.w.t, callback)
	return callback
}

func TestCodesAreForOneUseInOneBrowserOnOneHost(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	refused := func(b *browser, callback string, headers ...string) {
		t.Helper()
		answer := b.staying().get(callback, headers...)
		assert.Equal(t, http.StatusForbidden, answer.StatusCode)
		assert.Contains(t, text(t, answer), "Log in again")
		for _, c := range answer.Cookies() {
			assert.NotEqual(t, "__Host-vdi", c.Name)
		}
	}

	b := w.browser()
	callback := b.atCallback(aliceURL, alice)
	refused(w.browser(), callback)
	refused(w.browser(), callback, "Cookie", "__Host-vdi-browser="+strings.Repeat("A", 32))
	refused(b, strings.Replace(callback, aliceHost, bobHost, 1), "Cookie", "__Host-vdi-browser="+b.cookie(aliceURL, "__Host-vdi-browser"))
	refused(b, callback+"&code=x")
	refused(b, strings.Replace(callback, "code=", "code=A", 1))
	refused(b, aliceURL+"/.vdi/callback")

	mine := b.cookie(aliceURL, "__Host-vdi-browser")
	w.turn.Store(0)
	first := b.staying().get(callback)
	assert.Equal(t, http.StatusSeeOther, first.StatusCode)
	assert.Equal(t, aliceURL+"/", first.Header.Get("Location"))
	text(t, first)
	refused(w.browser(), callback)
	w.turn.Store(0) // the replica that took the code
	refused(w.browser(), callback, "Cookie", "__Host-vdi-browser="+mine)
	// The limit of codes that live in no database: at another replica, who holds
	// that browser's cookie, and with it the login, could use it again for 30 s.
	w.turn.Store(1)
	copied := w.browser().staying().get(callback, "Cookie", "__Host-vdi-browser="+mine)
	assert.Equal(t, http.StatusSeeOther, copied.StatusCode)
	text(t, copied)
	again := b.staying().get(callback)
	assert.Equal(t, http.StatusSeeOther, again.StatusCode, "who is logged in already goes on")
	text(t, again)

	late := w.browser()
	callback = late.atCallback(aliceURL, alice)
	w.pass(31 * time.Second)
	refused(late, callback)
}

// A code from somebody else's login does not log their victim in as them.
func TestLoginsCannotBePushedUponOthers(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	attacker := w.browser()
	link := attacker.staying().get(aliceURL + "/")
	text(t, link)
	victim := w.browser()
	text(t, victim.open(auth+"/login", alice))
	answer := victim.get(link.Header.Get("Location"))
	assert.Equal(t, http.StatusForbidden, answer.StatusCode, "the attacker's start is bound to the attacker's browser")
	text(t, answer)
	assert.Empty(t, victim.cookie(aliceURL, "__Host-vdi"))
}

func TestProvidersAnswersMustFit(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	refused := func(answer *http.Response, status int) {
		t.Helper()
		assert.Equal(t, status, answer.StatusCode)
		text(t, answer)
		for _, c := range answer.Cookies() {
			assert.NotEqual(t, "__Host-vdi-login", c.Name)
		}
	}
	// atReturn stops where the provider sends the browser back.
	atReturn := func(b *browser) string {
		client, at := *b.Client, ""
		client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Path == "/callback" && r.URL.Host == "auth."+domain {
				at = r.URL.String()
				return http.ErrUseLastResponse
			}
			return nil
		}
		stop := &browser{&client, w}
		text(t, stop.open(auth+"/login", alice))
		require.NotEmpty(t, at)
		return at
	}

	b := w.browser()
	at := atReturn(b)
	refused(w.browser().staying().get(at), http.StatusBadRequest)
	u, err := url.Parse(at)
	require.NoError(t, err)
	wrong := u.Query()
	wrong.Set("state", "x")
	refused(b.staying().get(auth+"/callback?"+wrong.Encode()), http.StatusBadRequest)
	wrong = u.Query()
	wrong.Set("iss", "https://evil.example")
	refused(b.staying().get(auth+"/callback?"+wrong.Encode()), http.StatusBadRequest)
	other := w.browser()
	otherURL, err := url.Parse(atReturn(other))
	require.NoError(t, err)
	mixed := u.Query()
	mixed.Set("code", otherURL.Query().Get("code"))
	refused(b.staying().get(auth+"/callback?"+mixed.Encode()), http.StatusBadGateway) // PKCE: the provider does not take it

	w.provider.LieAboutNonce("of another login")
	liar := w.browser()
	refused(liar.staying().get(atReturn(liar)), http.StatusForbidden)
	assert.Contains(t, w.log.String(), "nonce")

	denied := w.browser()
	form := denied.staying().get(auth + "/login")
	text(t, form)
	asked, err := url.Parse(form.Header.Get("Location"))
	require.NoError(t, err)
	assert.Equal(t, "S256", asked.Query().Get("code_challenge_method"))
	refused(denied.staying().get(auth+"/callback?error=access_denied&state="+asked.Query().Get("state")), http.StatusForbidden)
	late := w.browser()
	at = atReturn(late)
	w.pass(11 * time.Minute)
	refused(late.staying().get(at), http.StatusBadRequest)
}

func TestUnverifiedAddressIsRefused(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	w.known.add("mallory-1", mallory, vdi.PhaseRunning)
	b := w.browser()
	answer := b.open("https://mallory-1."+domain+"/", mallory)
	assert.Equal(t, http.StatusForbidden, answer.StatusCode)
	assert.Contains(t, text(t, answer), "confirm it there first")
	assert.Empty(t, b.cookie(auth, "__Host-vdi-login"))
	assert.Contains(t, w.log.String(), "has not verified")
	assert.NotContains(t, w.log.String(), mallory)
}

// After the login nobody is led away from the host they came from.
func TestNoOpenRedirect(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(auth+"/login", alice))
	for _, path := range []string{"//evil.example/", `/\evil.example/`, "/%5cevil.example", "/.vdi/callback?code=x", "/?next=https://evil.example"} {
		callback := w.browser()
		callback.Jar = b.Jar
		answer := callback.get(aliceURL + path)
		assert.Equal(t, aliceHost, answer.Request.URL.Host, path)
		text(t, answer)
	}
	for _, query := range []string{"to=https://evil.example", "to=%2F%2Fevil.example", "next=https://evil.example", "host=evil.example", "rd=https://evil.example"} {
		answer := b.staying().get(auth + "/login?" + query)
		if location := answer.Header.Get("Location"); location != "" {
			assert.True(t, strings.HasPrefix(location, auth+"/"), location)
		}
		text(t, answer)
	}
	// A ticket of ours for another purpose is no start.
	answer := b.staying().get(auth + "/login?to=" + b.cookie(auth, "__Host-vdi-login"))
	assert.Equal(t, http.StatusBadRequest, answer.StatusCode)
	text(t, answer)
}

// Old cookies count until their key is removed.
func TestKeyRotation(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	desktop := func() int {
		answer := b.staying().get(aliceURL + "/")
		text(t, answer)
		return answer.StatusCode
	}
	for _, step := range []struct {
		keys map[string]string
		want int
	}{
		{map[string]string{"1.key": "one", "next-2.key": "two"}, http.StatusOK},
		{map[string]string{"1.key": "one", "2.key": "two"}, http.StatusOK},
		{map[string]string{"2.key": "two"}, http.StatusFound},
	} {
		w.useKeys(step.keys)
		assert.Equal(t, step.want, desktop())
	}
}

// Agents that know the new key only accept nothing of the old one's.
func TestStatementsAreSignedByTheNewestKey(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	old := w.signing
	w.makeSigningKey()
	w.useKeys(map[string]string{"1.key": "one"})
	assert.NotEqual(t, old, w.signing)
	answer := b.get(aliceURL + "/")
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	text(t, answer)
}

// A logout ends the login in all replicas: copies of its cookies are worthless.
func TestLogout(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	for name, leave := range map[string]func(*browser) *http.Response{
		"at the list": func(b *browser) *http.Response {
			page := text(t, b.get(auth+"/"))
			return b.do(http.MethodPost, auth+"/logout", formOf(t, page), "Origin", auth)
		},
		"at the desktop": func(b *browser) *http.Response {
			return b.do(http.MethodPost, aliceURL+"/.vdi/logout", "", "Origin", aliceURL)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.browser()
			text(t, b.open(aliceURL, alice))
			desktop, login := b.cookie(aliceURL, "__Host-vdi"), b.cookie(auth, "__Host-vdi-login")
			text(t, leave(b))
			for range w.doors {
				answer := w.browser().staying().get(aliceURL+"/", "Cookie", "__Host-vdi="+desktop)
				assert.Equal(t, http.StatusFound, answer.StatusCode)
				text(t, answer)
				answer = w.browser().staying().get(auth+"/", "Cookie", "__Host-vdi-login="+login)
				assert.Contains(t, text(t, answer), "You are not logged in")
			}
		})
	}
}

func TestLogoutNeedsOnesOwnPage(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	page := text(t, b.get(auth+"/"))
	for _, origin := range []string{"https://" + bobHost, "null", ""} {
		for _, target := range []string{auth + "/logout", aliceURL + "/.vdi/logout"} {
			headers := []string{}
			if origin != "" {
				headers = []string{"Origin", origin}
			}
			answer := b.do(http.MethodPost, target, formOf(t, page), headers...)
			assert.Equal(t, http.StatusForbidden, answer.StatusCode)
			text(t, answer)
		}
	}
	answer := b.get(aliceURL + "/")
	assert.Contains(t, text(t, answer), "desktop of")
}

// The page that logs out in a frame is for the page after a logout alone.
func TestSignOutNeedsATicket(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	page := text(t, b.get(auth+"/"))
	answer := b.do(http.MethodPost, auth+"/logout", formOf(t, page), "Origin", auth)
	frame := frames.FindStringSubmatch(text(t, answer))
	require.NotNil(t, frame, "one frame, for the desktop that runs")
	assert.True(t, strings.HasPrefix(frame[1], aliceURL+"/.vdi/signout?logout="))
	assert.Contains(t, answer.Header.Get("Content-Security-Policy"), "frame-src "+aliceURL)
	for address, works := range map[string]bool{
		frame[1]:                   true,
		aliceURL + "/.vdi/signout": false,
		aliceURL + "/.vdi/signout?logout=" + b.cookie(aliceURL, "__Host-vdi"): false,
		strings.Replace(frame[1], aliceHost, bobHost, 1):                      false,
	} {
		answer := w.browser().get(address)
		assert.Equal(t, works, strings.Contains(text(t, answer), "fetch("), address)
		assert.Equal(t, http.StatusForbidden, answer.StatusCode, "never 2xx: the proxy would go on to the desktop")
		assert.Equal(t, works, strings.Contains(answer.Header.Get("Content-Security-Policy"), "frame-ancestors "+auth))
	}
	w.pass(61 * time.Second)
	assert.NotContains(t, text(t, w.browser().get(frame[1])), "fetch(")
}

var frames = regexp.MustCompile(`<iframe src="([^"]+)"`)

// The login ends by itself, and the agent is told when.
func TestLoginExpires(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	end := w.time().Add(8 * time.Hour)
	assert.Contains(t, text(t, b.open(aliceURL, alice)), "until "+seconds(end))
	w.pass(8*time.Hour + time.Second)
	answer := b.staying().get(aliceURL+"/", "Accept", "*/*")
	assert.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	text(t, answer)
}

// A session that took another's name and host is another's.
func TestHostPassesToNobody(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	w.known.edit(aliceHost, func(s *vdi.VDISession) { s.UID = "a later session" })
	answer := b.staying().get(aliceURL + "/")
	assert.Equal(t, http.StatusFound, answer.StatusCode, "the login was for the session before")
	text(t, answer)
	assert.Contains(t, text(t, b.get(aliceURL+"/")), "desktop of", "and is made anew without a word")
	w.known.edit(aliceHost, func(s *vdi.VDISession) { s.Spec.User = bob })
	answer = b.get(aliceURL + "/")
	assert.Equal(t, http.StatusForbidden, answer.StatusCode)
	text(t, answer)
}

// TestLookalikesTellNothing: what imitates the proxy is refused alike where a desktop runs and
// where none does; TestStrangersLearnNothing has it through the real proxy.
func TestLookalikesTellNothing(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	w.known.add("pause-1", alice, vdi.PhaseSuspended)
	w.suspend(pausedHost)
	for _, header := range []string{"X_Forwarded_Host", "X_forwarded_prefix", "X-Forwarded_Uri"} {
		for _, path := range []string{"/", "/.vdi/login", "/.vdi/callback?code=x"} {
			whole := func(host string) string {
				answer := w.browser().staying().get("https://"+host+path, header, "/", "Accept", "text/html")
				answer.Header.Del("Date")
				return fmt.Sprint(answer.Status, answer.Header, text(t, answer))
			}
			running := whole(aliceHost)
			require.Contains(t, running, "400 Bad Request")
			require.Equal(t, running, whole(pausedHost), "%s at %s", header, path)
			require.Equal(t, running, whole(emptyHost), "%s at %s", header, path)
		}
	}
}

// What a client says about itself in headers opens nothing.
func TestHeadersOpenNothing(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	for _, headers := range [][]string{
		{"X-Vdi-Statement", "eyJhbGciOiJub25lIn0.e30."},
		{"X-Forwarded-User", alice, "X-Auth-Request-Email", alice, "Remote-User", alice},
		{"Authorization", "Bearer x"},
		{"X_Forwarded_Host", aliceHost},
		{"X-Forwarded-Host", aliceHost, "X-Forwarded-Uri", "/"},
	} {
		answer := w.browser().staying().get("https://"+bobHost+"/", append(headers, "Accept", "*/*")...)
		assert.Contains(t, []int{http.StatusUnauthorized, http.StatusBadRequest}, answer.StatusCode, headers)
		text(t, answer)
		answer = b.staying().get("https://"+bobHost+"/", headers...)
		assert.NotEqual(t, http.StatusOK, answer.StatusCode)
		text(t, answer)
	}
}
