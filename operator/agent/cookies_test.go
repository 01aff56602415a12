package agent

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Only what this host alone can have set is the desktop's.
func TestCookiesForDesktop(t *testing.T) {
	for given, want := range map[string]string{
		"":                                  "",
		"sso=x; other-desktop=y; a":         "",
		"__Host-app-a=1; sso=x; __Host-b=2": "a=1; __Host-b=2",
		"a=1;__Host-app-b=2; ":              "b=2",
		"__Host-app-__Secure-a=1":           "__Secure-a=1",
		"__host-app-a=1; __HOST-b=2":        "", // an old browser would not have kept others from setting it
		"=__Host-app-a=1; =__Host-b":        "",
		"__Host-app-=1; __Host-app-":        "",
		"__Host-vdi=x; __Host-app-a=1":      "a=1",
		"__Host-vdi-page=x; __Host-VDI=x":   "",
		"__Host-app-__Host-vdi=x":           "",
		"__Host-app-__host-VDI-page=x":      "",
		"__Host-app-__Host-app-a=1":         "__Host-app-a=1",
		`__Host-app-a="x; sso=y"`:           `a="x`,
		"__Secure-a=1; x__Host-app-a=1":     "",
	} {
		assert.Equal(t, want, cookiesForDesktop([]string{given}), "%q", given)
	}
	assert.Equal(t, "a=1; b=2", cookiesForDesktop([]string{"__Host-app-a=1", "sso=x", "__Host-app-b=2"}))
}

func TestHostCookie(t *testing.T) {
	for given, want := range map[string]string{
		"a=1": "__Host-app-a=1; Path=/; Secure",
		"a=1; Domain=.vdi.example.com; Path=/lab; Max-Age=5; HttpOnly; SameSite=Lax": "__Host-app-a=1; Path=/; Secure; Max-Age=5; HttpOnly; SameSite=Lax",
		"a=1; DOMAIN = example.com; secure; ; path=/x":                               "__Host-app-a=1; Path=/; Secure",
		" a = 1=2 ;Partitioned":      "__Host-app-a=1=2; Path=/; Secure; Partitioned",
		"a=; Max-Age=0":              "__Host-app-a=; Path=/; Secure; Max-Age=0",
		"__Host-b=2; Path=/; Secure": "__Host-b=2; Path=/; Secure",
		"__Host-app-a=1":             "__Host-app-__Host-app-a=1; Path=/; Secure",
		"nameless":                   "",
		"=a":                         "",
		"__Host-vdi=x":               "",
		" __host-VDI-page=x; Path=/": "",
		"=__Host-vdi=x":              "",
	} {
		got, ok := hostCookie(given)
		assert.Equal(t, want, got, "%q", given)
		assert.Equal(t, want != "", ok, "%q", given)
	}
}

// What a desktop sets comes back to it under the name that it gave.
func TestCookiesComeBack(t *testing.T) {
	w := newWorld(t, nil)
	w.desktop.handle = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", "</style.css>")
		rw.Header().Set("Set-Cookie", "hint=1; Domain=vdi.example.com")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("Set-Cookie", "session=abc; Domain=vdi.example.com; Path=/lab; HttpOnly")
	}
	cookie := w.login()
	set := w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie}, "").Cookies()
	require.Len(t, set, 1)
	assert.Empty(t, set[0].Domain)
	assert.True(t, set[0].Secure && set[0].HttpOnly && set[0].Path == "/")
	w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie + "; " + set[0].Name + "=" + set[0].Value}, "")
	assert.Equal(t, []string{"session=abc"}, w.desktop.last(t).Header["Cookie"])
}

// Hints are sent before anybody has looked at the answer.
func TestNoCookiesInHints(t *testing.T) {
	for status, want := range map[int]string{http.StatusEarlyHints: "", http.StatusSwitchingProtocols: "a=1", http.StatusOK: "a=1"} {
		e := &exchange{ResponseWriter: httptest.NewRecorder()}
		e.Header().Set("Set-Cookie", "a=1")
		e.WriteHeader(status)
		assert.Equal(t, want, e.Header().Get("Set-Cookie"), status)
	}
}
