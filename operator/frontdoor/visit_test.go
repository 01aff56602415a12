package frontdoor

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func question(change func(http.Header)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://front-door:8081/auth", nil)
	for name, value := range map[string]string{
		"X-Forwarded-Host": "Alice.VDI.example.com:8443", "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/a%2Fb?c=d", "X-Forwarded-Proto": "https",
		"X-Forwarded-For": "192.0.2.7",
	} {
		r.Header.Set(name, value)
	}
	change(r.Header)
	return r
}

func TestToldVisit(t *testing.T) {
	v, clear := forwardedVisit(question(func(http.Header) {}))
	require.True(t, clear)
	assert.Equal(t, "alice.vdi.example.com", v.host)
	assert.Equal(t, "GET", v.method)
	assert.Equal(t, "/a%2Fb", v.path, "as it was sent")
	assert.Equal(t, "192.0.2.7", v.from)
	assert.Equal(t, url.Values{"c": {"d"}}, v.query)
}

// Everything that a proxy and we could read in two ways is refused.
func TestToldVisitRefusesTricks(t *testing.T) {
	for name, change := range map[string]func(http.Header){
		"host twice":          func(h http.Header) { h.Add("X-Forwarded-Host", "bob.vdi.example.com") },
		"hosts in one":        func(h http.Header) { h.Set("X-Forwarded-Host", "a.vdi.example.com, b.vdi.example.com") },
		"underscore":          func(h http.Header) { h["X_forwarded_host"] = []string{"bob.vdi.example.com"} },
		"mixed underscore":    func(h http.Header) { h["X-Forwarded_uri"] = []string{"/"} },
		"case":                func(h http.Header) { h["x-forwarded-host"] = []string{"bob.vdi.example.com"} },
		"underscore, another": func(h http.Header) { h["X_forwarded_prefix"] = []string{"/"} },
		"no host":             func(h http.Header) { h.Del("X-Forwarded-Host") },
		"no method":           func(h http.Header) { h.Del("X-Forwarded-Method") },
		"method twice":        func(h http.Header) { h.Add("X-Forwarded-Method", "POST") },
		"no target":           func(h http.Header) { h.Del("X-Forwarded-Uri") },
		"target twice":        func(h http.Header) { h.Add("X-Forwarded-Uri", "/.vdi/callback") },
		"whole address":       func(h http.Header) { h.Set("X-Forwarded-Uri", "https://evil.example/") },
		"plain http":          func(h http.Header) { h.Set("X-Forwarded-Proto", "http") },
		"two protocols":       func(h http.Header) { h.Add("X-Forwarded-Proto", "https") },
	} {
		_, clear := forwardedVisit(question(change))
		assert.False(t, clear, name)
	}
	v, clear := forwardedVisit(question(func(h http.Header) { h.Set("X-Forwarded-Proto", "wss") }))
	assert.True(t, clear)
	assert.NotEmpty(t, v.host)
}

func TestEncodedPathsAreNotOurs(t *testing.T) {
	for _, target := range []string{"/.vdi%2fcallback", "/%2evdi/callback", "/.vdi//callback", "/.vdi/../.vdi/callback", "/.VDI/callback", "/.vdi/callback/", "/.vdi/callback;x"} {
		v, clear := forwardedVisit(question(func(h http.Header) { h.Set("X-Forwarded-Uri", target) }))
		require.True(t, clear)
		assert.NotEqual(t, pathCallback, v.path, target)
	}
}

func TestIsNavigation(t *testing.T) {
	page := func(method string, headers ...string) visit {
		h := http.Header{"Accept": {"text/html,*/*"}}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return visit{method: method, header: h}
	}
	assert.True(t, page("GET").isNavigation())
	assert.True(t, page("HEAD", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document").isNavigation())
	assert.False(t, page("POST").isNavigation())
	assert.False(t, page("GET", "Sec-Fetch-Mode", "websocket").isNavigation())
	assert.False(t, page("GET", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe").isNavigation())
	assert.False(t, page("GET", "Accept", "*/*").isNavigation())
}

func TestIsFrom(t *testing.T) {
	const own = "https://a.vdi.example.com:8443"
	from := func(h http.Header) bool { return visit{header: h}.isFrom(own) }
	assert.True(t, from(http.Header{"Origin": {own}}))
	assert.True(t, from(http.Header{"Origin": {own}, "Sec-Fetch-Site": {"same-origin"}}))
	for name, h := range map[string]http.Header{
		"none":          {},
		"null":          {"Origin": {"null"}},
		"sibling":       {"Origin": {"https://b.vdi.example.com:8443"}},
		"another port":  {"Origin": {"https://a.vdi.example.com"}},
		"http":          {"Origin": {"http://a.vdi.example.com:8443"}},
		"longer":        {"Origin": {own + ".evil.example"}},
		"twice":         {"Origin": {own, own}},
		"same site":     {"Origin": {own}, "Sec-Fetch-Site": {"same-site"}},
		"site in doubt": {"Origin": {own}, "Sec-Fetch-Site": {"same-origin", "cross-site"}},
	} {
		assert.False(t, from(h), name)
	}
}

func backTo(target string) string { return visit{method: http.MethodGet, target: target}.backTo() }

func TestBackTo(t *testing.T) {
	for _, kept := range []string{"/", "/a?b=c", "/a%2Fb", "/?next=https://example.com"} {
		assert.Equal(t, kept, backTo(kept))
	}
	for _, dropped := range []string{
		"", "//evil.example", `/\evil.example`, "/\tevil", "https://evil.example/", "/.vdi/callback?code=x", "/.vdi", "/%2evdi/logout",
		"/" + strings.Repeat("a", maxPath), "/\r\nSet-Cookie: a=b", "/a%zz",
	} {
		assert.Equal(t, "/", backTo(dropped), dropped)
	}
	assert.Equal(t, "/", visit{method: http.MethodPost, target: "/a"}.backTo(), "a POST cannot be repeated")
}

// Wherever the path leads, it is a path of the same host, to a browser too.
func FuzzBackTo(f *testing.F) {
	for _, seed := range []string{"/", "//a", `/\a`, "/a?b#c", "/.vdi/x", "http://a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		at, err := url.Parse("https://a.example.com" + backTo(target))
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		if at.Host != "a.example.com" || strings.HasPrefix(at.Path, wire.PathOwn) || strings.HasPrefix(backTo(target), "//") {
			t.Fatalf("%q leads to %s", target, at)
		}
	})
}
