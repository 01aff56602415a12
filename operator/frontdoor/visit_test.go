package frontdoor

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	v, unambiguous := forwardedVisit(question(func(http.Header) {}))
	require.True(t, unambiguous)
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
		_, unambiguous := forwardedVisit(question(change))
		assert.False(t, unambiguous, name)
	}
	v, unambiguous := forwardedVisit(question(func(h http.Header) { h.Set("X-Forwarded-Proto", "wss") }))
	assert.True(t, unambiguous)
	assert.NotEmpty(t, v.host)
}

func TestEncodedPathsAreNotOurs(t *testing.T) {
	for _, target := range []string{"/.vdi%2fcallback", "/%2evdi/callback", "/.vdi//callback", "/.vdi/../.vdi/callback", "/.VDI/callback", "/.vdi/callback/", "/.vdi/callback;x"} {
		v, unambiguous := forwardedVisit(question(func(h http.Header) { h.Set("X-Forwarded-Uri", target) }))
		require.True(t, unambiguous)
		assert.NotEqual(t, pathCallback, v.path, target)
	}
}

// A login leads back to what can be asked again.
func TestBackTo(t *testing.T) {
	assert.Equal(t, "/a?b=c", visit{method: http.MethodGet, target: "/a?b=c"}.backTo())
	assert.Equal(t, "/", visit{method: http.MethodGet, target: "//evil.example"}.backTo())
	assert.Equal(t, "/", visit{method: http.MethodPost, target: "/a"}.backTo(), "a POST cannot be repeated")
}
