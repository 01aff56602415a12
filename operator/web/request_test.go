package web

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestIsNavigation(t *testing.T) {
	page := func(method string, headers ...string) bool {
		h := http.Header{"Accept": {"text/html,*/*"}}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return IsNavigation(method, h)
	}
	assert.True(t, page("GET"), "an old browser")
	assert.True(t, page("GET", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"))
	assert.True(t, page("HEAD", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"))
	assert.False(t, page("POST"))
	assert.False(t, page("OPTIONS"))
	assert.False(t, page("GET", "Upgrade", "websocket"))
	assert.False(t, page("GET", "Sec-Fetch-Mode", "websocket"))
	assert.False(t, page("GET", "Sec-Fetch-Mode", "cors"), "a script")
	assert.False(t, page("GET", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"))
	assert.False(t, page("GET", "Accept", "*/*"))
	twice := http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate", "cors"}}
	assert.False(t, IsNavigation("GET", twice), "in doubt")
}

func TestIsFrom(t *testing.T) {
	const own = "https://a.vdi.example.com:8443"
	for name, h := range map[string]http.Header{
		"an old browser":    {"Origin": {own}},
		"a current browser": {"Origin": {own}, "Sec-Fetch-Site": {"same-origin"}},
		"upper case":        {"Origin": {"https://A.vdi.example.com:8443"}},
		"a form sent again": {"Origin": {own}, "Sec-Fetch-Site": {"none"}},
	} {
		assert.True(t, IsFrom(h, own), name)
	}
	for name, h := range map[string]http.Header{
		"none":             {},
		"null":             {"Origin": {"null"}},
		"empty":            {"Origin": {""}},
		"sibling":          {"Origin": {"https://b.vdi.example.com:8443"}},
		"another port":     {"Origin": {"https://a.vdi.example.com"}},
		"http":             {"Origin": {"http://a.vdi.example.com:8443"}},
		"a path":           {"Origin": {own + "/"}},
		"longer":           {"Origin": {own + ".evil.example"}},
		"twice":            {"Origin": {own, own}},
		"same site":        {"Origin": {own}, "Sec-Fetch-Site": {"same-site"}},
		"cross site":       {"Origin": {own}, "Sec-Fetch-Site": {"cross-site"}},
		"no page, no form": {"Sec-Fetch-Site": {"none"}},
		"site in doubt":    {"Origin": {own}, "Sec-Fetch-Site": {"same-origin", "cross-site"}},
	} {
		assert.False(t, IsFrom(h, own), name)
	}
}

// The default port of https may be written or not.
func TestIsFromDefaultPort(t *testing.T) {
	for _, own := range []string{"https://a.example.com", "https://a.example.com:443"} {
		assert.True(t, IsFrom(http.Header{"Origin": {"https://a.example.com"}}, own), own)
		assert.True(t, IsFrom(http.Header{"Origin": {"https://a.example.com:443"}}, own), own)
		for _, other := range []string{"http://a.example.com", "http://a.example.com:443", "https://a.example.com:8443", "https://a.example.com:4430", "https://a.example.com:443:443"} {
			assert.False(t, IsFrom(http.Header{"Origin": {other}}, own), "%s, %s", other, own)
		}
	}
}

func TestOnlyHeader(t *testing.T) {
	const name = "X-Vdi-Statement"
	value, only := OnlyHeader(http.Header{name: {"a"}, "X-Other": {"b"}}, name)
	assert.True(t, only)
	assert.Equal(t, "a", value)
	for what, h := range map[string]http.Header{
		"none":               {},
		"twice":              {name: {"a", "a"}},
		"another case":       {"x-vdi-statement": {"a"}},
		"underscores":        {"X_vdi_statement": {"a"}},
		"beside underscores": {name: {"a"}, "X_vdi-Statement": {"b"}},
		"beside lower case":  {name: {"a"}, "x-vdi-statement": {"b"}},
	} {
		_, only := OnlyHeader(h, name)
		assert.False(t, only, what)
	}
}
