package registry

import (
	"net/http"
	"net/http/httptest"
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
