package frontdoor

import (
	"context"
	"encoding/base64"
	"errors"
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
	"github.com/vdi-platform/vdi-platform/tests/oidc"
)

const aliceAccount = "id of " + alice

// report is the provider's own request.
func (w *world) report(token string) *http.Response {
	return w.browser().do(http.MethodPost, auth+"/backchannel-logout", url.Values{"logout_token": {token}}.Encode(), "Accept", "*/*")
}

// desktop asks for one's desktop as a program in its page does.
func (b *browser) desktop() int {
	answer := b.staying().get(aliceURL+"/", "Accept", "*/*")
	text(b.w.t, answer)
	return answer.StatusCode
}

// Who logs out at the provider is out here, in all browsers, and the streams of their
// desktops end. A login afterwards works at once, and others notice nothing.
func TestLogoutAtProviderEndsLoginsAndStreams(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	w.known.add("alice-2", alice, vdi.PhaseSuspended)
	one, two, other := w.browser(), w.browser(), w.browser()
	text(t, one.open(aliceURL, alice))
	text(t, two.open(aliceURL, alice))
	text(t, other.open("https://"+bobHost, bob))
	w.known.done()
	w.pass(time.Second)

	answer := w.report(w.provider.LogoutToken(t, aliceAccount, w.time(), nil))
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	assert.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
	assert.Empty(t, text(t, answer))
	assert.Equal(t, []string{"close streams of alice-1 for " + platform.Identity(alice)}, w.known.done())
	assert.Equal(t, http.StatusUnauthorized, one.desktop())
	assert.Equal(t, http.StatusUnauthorized, two.desktop())
	answer = other.get("https://" + bobHost + "/")
	assert.Contains(t, text(t, answer), "desktop of")

	w.pass(time.Second)
	assert.Contains(t, text(t, one.open(aliceURL, alice)), "desktop of")
	assert.NotContains(t, w.log.String(), "close=", "the ticket is in no log")
}

// The provider does not wait for the answer, and would not say it again: streams end all
// the same.
func TestClosingGoesOnWithoutTheProvider(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	text(t, w.browser().open(aliceURL, alice))
	w.known.done()
	ctx, hangUp := context.WithCancel(t.Context())
	w.known.holds = func(string) error {
		hangUp()
		return nil
	}
	form := url.Values{"logout_token": {w.provider.LogoutToken(t, aliceAccount, w.time(), nil)}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, auth+"/backchannel-logout", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err = w.browser().Do(r) //nolint:bodyclose // there is no answer
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool { return len(w.known.done()) == 1 }, 10*time.Second, 5*time.Millisecond)
}

// Where it is not known whose a desktop is, those that are known are closed, and the
// answer waits for that.
func TestClosingWaitsForThoseKnown(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	text(t, w.browser().open(aliceURL, alice))
	w.known.done()
	known := true
	w.known.holds = func(person string) error { // hold the first desktop of hers; the next cannot be judged
		if strings.HasSuffix(person, alice) && known {
			known = false
			return nil
		}
		if !known {
			return errors.New("the watch is gone")
		}
		return nil
	}
	w.known.add("alice-2", alice, vdi.PhaseRunning)
	answer := w.report(w.provider.LogoutToken(t, aliceAccount, w.time(), nil))
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	text(t, answer)
	assert.Len(t, w.known.done(), 1)
	assert.Contains(t, w.log.String(), "the watch is gone")
}

// What the provider did not send, or sent for another purpose, ends nothing.
func TestLogoutTokensMustFit(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	w.known.done()
	liar := oidc.Start(t, auth+"/callback")
	set := func(name string, value any) func(claims, _ map[string]any) {
		return func(claims, _ map[string]any) {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
	}
	for name, token := range map[string]string{
		"another's key":     liar.LogoutToken(t, aliceAccount, w.time(), set("iss", w.provider.Issuer)),
		"another's word":    liar.LogoutToken(t, aliceAccount, w.time(), nil),
		"for somebody else": w.provider.LogoutToken(t, aliceAccount, w.time(), set("aud", "another client")),
		"no event":          w.provider.LogoutToken(t, aliceAccount, w.time(), set("events", nil)),
		"another event":     w.provider.LogoutToken(t, aliceAccount, w.time(), set("events", map[string]any{"x": map[string]any{}})),
		"an ID token":       w.provider.LogoutToken(t, aliceAccount, w.time(), set("nonce", "x")),
		"nobody":            w.provider.LogoutToken(t, "", w.time(), nil),
		"old":               w.provider.LogoutToken(t, aliceAccount, w.time().Add(-11*time.Minute), set("exp", nil)),
		"expired":           w.provider.LogoutToken(t, aliceAccount, w.time(), set("exp", w.time().Add(-2*time.Minute).Unix())),
		"from the future":   w.provider.LogoutToken(t, aliceAccount, w.time().Add(5*time.Minute), nil),
		"without time":      w.provider.LogoutToken(t, aliceAccount, w.time(), set("iat", nil)),
		"unsigned":          "eyJhbGciOiJub25lIn0.e30.",
		"a long algorithm":  base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+strings.Repeat("x", 8<<10)+`"}`)) + ".e30.",
		"nothing":           "",
		"too long":          strings.Repeat("A", 17<<10),
	} {
		answer := w.report(token)
		assert.Equal(t, http.StatusBadRequest, answer.StatusCode, name)
		assert.Contains(t, text(t, answer), `"error":"invalid_request"`, name)
		assert.Equal(t, http.StatusOK, b.desktop(), name)
	}
	assert.NotContains(t, w.log.String(), strings.Repeat("x", 300), "strangers do not fill the log")
	token := w.provider.LogoutToken(t, aliceAccount, w.time(), nil)
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		answer := w.browser().do(method, auth+"/backchannel-logout?logout_token="+token, "")
		assert.NotEqual(t, http.StatusOK, answer.StatusCode)
		text(t, answer)
	}
	answer := w.browser().do(http.MethodPost, auth+"/backchannel-logout?logout_token="+token, "x=y")
	assert.Equal(t, http.StatusBadRequest, answer.StatusCode, "the token is in the body")
	text(t, answer)
	assert.Equal(t, http.StatusOK, b.desktop())
	assert.Empty(t, w.known.done())

	// A copy of a token that has served ends no login that begins later.
	text(t, w.report(token))
	assert.Equal(t, http.StatusUnauthorized, b.desktop())
	text(t, b.open(aliceURL, alice))
	w.known.done()
	answer = w.report(token)
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	text(t, answer)
	assert.Equal(t, http.StatusOK, b.desktop())
	assert.Empty(t, w.known.done(), "nor streams")
	assert.Contains(t, w.log.String(), "a logout of the identity provider ends nothing")
}

// The address by which the front door closes streams is of no use to others.
func TestClosingNeedsATicket(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	b := w.browser()
	text(t, b.open(aliceURL, alice))
	w.known.done()
	for _, ticket := range []string{"", "x", b.cookie(aliceURL, "__Host-vdi"), b.cookie(auth, "__Host-vdi-login")} {
		answer := w.browser().staying().do(http.MethodPost, aliceURL+"/.vdi/logout?close="+ticket, "", "Origin", aliceURL)
		assert.Equal(t, http.StatusForbidden, answer.StatusCode)
		text(t, answer)
	}
	assert.Empty(t, w.known.done())
}

// A name stays with the account that first logged in by it.
func TestNameStaysWithItsAccount(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	text(t, w.browser().open(aliceURL, alice))
	text(t, w.browser().open(aliceURL, alice))
	w.provider.Replace(oidc.Person{Email: alice, Account: "another account"})
	b := w.browser()
	answer := b.open(aliceURL, alice)
	assert.Equal(t, http.StatusForbidden, answer.StatusCode)
	assert.Contains(t, text(t, answer), "Your name belongs to another account")
	assert.Empty(t, b.cookie(auth, "__Host-vdi-login"))
	assert.Contains(t, w.log.String(), "forget-account")
	assert.NotContains(t, w.log.String(), alice)
}

// Names of people without a desktop are not kept: where everybody may register at the
// provider, they could fill the list. Those that are kept stay, also without a desktop.
func TestOnlyNamesWithDesktopsAreKept(t *testing.T) {
	w := newWorld(t, wire.AccessOIDC)
	const stranger = "stranger@example.com"
	for _, account := range []string{"one", "two"} {
		w.provider.Replace(oidc.Person{Email: stranger, Account: account})
		answer := w.browser().open(auth+"/login", stranger)
		assert.Equal(t, http.StatusOK, answer.StatusCode)
		text(t, answer)
	}
	assert.Empty(t, w.known.pins)

	text(t, w.browser().open(aliceURL, alice))
	assert.Len(t, w.known.pins, 1)
	w.known.mu.Lock()
	delete(w.known.sessions, aliceHost)
	w.known.mu.Unlock()
	w.provider.Replace(oidc.Person{Email: alice, Account: "another account"})
	answer := w.browser().open(auth+"/login", alice)
	assert.Equal(t, http.StatusForbidden, answer.StatusCode)
	text(t, answer)
}

var elsewhere = regexp.MustCompile(`href="([^"]+)"[^>]*>log out there, too`)

// At a shared computer, nobody gets in by the login of the one before.
func TestLogoutLeadsToProviderToo(t *testing.T) {
	for name, leave := range map[string]func(*browser){
		"at the list": func(b *browser) {
			page := text(t, b.get(auth+"/"))
			page = text(t, b.do(http.MethodPost, auth+"/logout", formOf(t, page), "Origin", auth))
			found := elsewhere.FindStringSubmatch(page)
			require.NotNil(t, found, page)
			assert.Equal(t, b.w.provider.Issuer+"/end_session?client_id="+oidc.ClientID, found[1])
		},
		"at the desktop": func(b *browser) {
			text(t, b.do(http.MethodPost, aliceURL+"/.vdi/logout", "", "Origin", aliceURL))
		},
	} {
		w := newWorld(t, wire.AccessOIDC)
		b := w.browser()
		prompt := func() string {
			answer := b.staying().get(auth + "/login")
			text(t, answer)
			asked, err := url.Parse(answer.Header.Get("Location"))
			require.NoError(t, err)
			require.NotEmpty(t, asked.Query().Get("state"), name)
			return asked.Query().Get("prompt")
		}
		assert.Empty(t, prompt(), "single sign-on, as long as nobody has left")
		text(t, b.open(aliceURL, alice))
		leave(b)
		assert.Equal(t, "login", prompt(), name)
		text(t, b.open(aliceURL, alice))
		leave(b)
		assert.Equal(t, "login", prompt(), name)
	}
}
