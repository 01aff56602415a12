package proxycheck

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
)

// proxy is Go's own reverse proxy, which Traefik is made of and which passes on what
// follows a CONNECT. A safe one is what the fixed versions put before it.
func proxy(t *testing.T, backend http.Handler, before func(*http.Request)) string {
	t.Helper()
	behind := httptest.NewServer(backend)
	t.Cleanup(behind.Close)
	target, err := url.Parse(behind.URL)
	require.NoError(t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before != nil {
			before(r)
		}
		forward.ServeHTTP(w, r)
	}))
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

func refuses(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusMethodNotAllowed)
}

// withheld is a body that waits for a tunnel, which nobody grants here.
type withheld struct{ ctx context.Context }

func (w withheld) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, io.EOF
}

func (w withheld) Close() error { return nil }

func TestPasses(t *testing.T) {
	t.Parallel()
	ours := httpserver.Guard(http.HandlerFunc(refuses))
	passes, err := Passes(t.Context(), proxy(t, ours, nil), "auth.vdi.example.com")
	require.NoError(t, err)
	assert.True(t, passes)

	safe := func(r *http.Request) {
		if r.Method == http.MethodConnect {
			r.Body = withheld{r.Context()}
		}
	}
	passes, err = Passes(t.Context(), proxy(t, ours, safe), "auth.vdi.example.com")
	require.NoError(t, err)
	assert.False(t, passes)

	_, err = Passes(t.Context(), proxy(t, http.HandlerFunc(refuses), nil), "auth.vdi.example.com")
	require.ErrorIs(t, err, ErrNotOurs)
}

func TestNoProxy(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.HandlerFunc(refuses)) // speaks no TLS
	defer plain.Close()
	_, err := Passes(t.Context(), plain.Listener.Addr().String(), "auth.vdi.example.com")
	require.ErrorContains(t, err, "ask the proxy at")
	gone, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err = Passes(gone, plain.Listener.Addr().String(), "auth.vdi.example.com")
	require.Error(t, err)
}
