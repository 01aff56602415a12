package registry

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlain: images and charts go the same way, and without TLS only where nobody listens
// in, or where somebody has said so.
func TestPlain(t *testing.T) {
	for prefix, want := range map[string]bool{
		"localhost:5000": true, "localhost/team": true, "127.0.0.1:5000": true, "127.1.2.3": true,
		"10.0.0.5:5000": false, "192.168.1.1/vdi": false, "registry.local:5000": false, "registry.example.com/vdi": false,
		"localhost.example.com": false,
	} {
		r, err := New(prefix, false)
		require.NoError(t, err)
		require.Equal(t, want, r.plain, prefix)
		r, err = New(prefix, true)
		require.NoError(t, err)
		require.True(t, r.plain, prefix)
	}
	require.True(t, loopback("[::1]:5000"))
}

// TestOnlyTLS: what answers no https at a private address gets no login and no image.
func TestOnlyTLS(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	r, err := New(strings.TrimPrefix(server.URL, "http://"), false)
	require.NoError(t, err)
	r.plain = false // as at 10.0.0.5
	_, err = r.digestOf(t.Context(), r.base.Tag("1"))
	require.ErrorContains(t, err, "PLAIN_HTTP=yes")
	require.False(t, asked)
}

// TestForm: the schemas of the charts take what can be pushed to, and nothing else. The
// operator's own is wider; in the umbrella both count.
func TestForm(t *testing.T) {
	for _, chart := range []string{"vdi-platform", "coturn"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "charts", chart, "values.schema.json"))
		require.NoError(t, err)
		var schema struct {
			Properties struct {
				Global struct {
					Properties struct {
						ImageRegistry struct{ Pattern string }
					}
				}
			}
		}
		require.NoError(t, json.Unmarshal(text, &schema))
		pattern := regexp.MustCompile(schema.Properties.Global.Properties.ImageRegistry.Pattern)
		for prefix, want := range map[string]bool{
			"registry.example.com": true, "registry.example.com/team/vdi": true, "localhost": true, "localhost:5000/a": true, "registry:5000": true,
			"10.0.0.5:5000": true, "team": false, "team/vdi": false, "registry.example.com/": false, "https://registry.example.com": false, "registry.example.com/UPPER": false,
		} {
			_, err := New(prefix, false)
			require.Equal(t, want, err == nil, prefix)
			require.Equal(t, want, pattern.MatchString(prefix), "%s: %s", chart, prefix)
		}
		require.True(t, pattern.MatchString(""), "none")
	}
}
