package maintain

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
)

// proxyBefore is Go's own reverse proxy before a server. It hands on what follows a
// CONNECT, unless before takes it away.
func proxyBefore(t *testing.T, h http.Handler, before func(*http.Request)) string {
	t.Helper()
	behind := httptest.NewServer(h)
	t.Cleanup(behind.Close)
	target, err := url.Parse(behind.URL)
	require.NoError(t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before(r)
		forward.ServeHTTP(w, r)
	}))
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

func TestCheckProxy(t *testing.T) {
	t.Parallel()
	ours := httpserver.Guard(http.NotFoundHandler())
	passing := func(*http.Request) {}
	check := func(address string, patience time.Duration) (string, error) {
		var said bytes.Buffer
		j := job{out: &said, options: options{proxy: address, proxyHost: "auth.vdi.example.com"}}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := j.checkProxy(ctx)
		return said.String(), err
	}
	_, err := check(proxyBefore(t, ours, passing), time.Minute)
	require.ErrorIs(t, err, ErrRefused, "a second try cannot help")
	require.ErrorContains(t, err, proxycheck.Advice)

	said, err := check(proxyBefore(t, ours, func(r *http.Request) { r.Body = http.NoBody }), time.Minute)
	require.NoError(t, err)
	assert.Equal(t, "the proxy keeps what follows a CONNECT to itself\n", said)

	_, err = check(proxyBefore(t, http.NotFoundHandler(), passing), time.Second)
	require.ErrorIs(t, err, proxycheck.ErrNotOurs)
	require.ErrorContains(t, err, "check sessions.proxy")

	said, err = check("", time.Minute)
	require.NoError(t, err)
	assert.Contains(t, said, "the proxy was not asked")
}
