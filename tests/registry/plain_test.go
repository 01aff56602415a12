package registry

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
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

// TestForm: the charts take what can be pushed to, and nothing else.
func TestForm(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"vdi-operator": {"sessions": map[string]any{"domain": "vdi.example.com"}},
		"coturn":       {"realm": "turn.example.com"},
	} {
		c, err := loader.Load(filepath.Join("..", "..", "charts", name))
		require.NoError(t, err)
		for prefix, want := range map[string]bool{
			"": true, "registry.example.com": true, "registry.example.com/team/vdi": true, "localhost": true, "localhost:5000/a": true, "registry:5000": true,
			"10.0.0.5:5000": true, "team": false, "team/vdi": false, "registry.example.com/": false, "https://registry.example.com": false, "registry.example.com/UPPER": false,
		} {
			if prefix != "" {
				_, err := New(prefix, false)
				require.Equal(t, want, err == nil, prefix)
			}
			values["global"] = map[string]any{"imageRegistry": prefix}
			in, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "vdi", Namespace: "vdi-system", IsInstall: true}, nil)
			require.NoError(t, err, "%s: %s", name, prefix)
			_, err = engine.Render(c, in)
			if want {
				require.NoError(t, err, "%s: %s", name, prefix)
			} else {
				require.ErrorContains(t, err, "global.imageRegistry is \""+prefix+"\", which is no registry", name)
			}
		}
	}
}
