package proxycheck

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck/proxytest"
)

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
	passes, err := Passes(t.Context(), proxytest.Start(t, ours, nil).Address, "auth.vdi.example.com")
	require.NoError(t, err)
	assert.True(t, passes)

	safe := func(r *http.Request) {
		if r.Method == http.MethodConnect {
			r.Body = withheld{r.Context()}
		}
	}
	passes, err = Passes(t.Context(), proxytest.Start(t, ours, safe).Address, "auth.vdi.example.com")
	require.NoError(t, err)
	assert.False(t, passes)

	framed := func(r *http.Request) { // what Traefik's middleware buffering makes of it
		if r.Method == http.MethodConnect {
			r.ContentLength = 4
		}
	}
	passes, err = Passes(t.Context(), proxytest.Start(t, ours, framed).Address, "auth.vdi.example.com")
	require.NoError(t, err)
	assert.False(t, passes, "what has a length is nobody else's request")
}

// TestNotOurs: nothing is said of a proxy by the answers of others.
func TestNotOurs(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		http.StatusMethodNotAllowed: ErrNotOurs, http.StatusNotFound: ErrNotOurs, http.StatusNotImplemented: ErrNotOurs,
		http.StatusUnauthorized: ErrNotLetIn, http.StatusForbidden: ErrNotLetIn,
	} {
		_, err := Passes(t.Context(), proxytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "words", status)
		}), nil).Address, "auth.vdi.example.com")
		require.ErrorIs(t, err, want, status)
		require.ErrorIs(t, err, ErrNotOurs, status)
	}
	passes, err := Passes(t.Context(), proxytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotImplemented)
	}), nil).Address, "auth.vdi.example.com")
	require.NoError(t, err)
	assert.False(t, passes, "the proxy knows no CONNECT")
}

// TestHTTP1: a proxy that speaks HTTP/1.1 alone has no such hole.
func TestHTTP1(t *testing.T) {
	t.Parallel()
	only := httptest.NewTLSServer(http.HandlerFunc(refuses))
	defer only.Close()
	passes, err := Passes(t.Context(), only.Listener.Addr().String(), "auth.vdi.example.com")
	require.NoError(t, err)
	assert.False(t, passes)
}

// TestLeavesNothing: before a server that keeps its connections the question harms
// nobody who comes after it.
func TestLeavesNothing(t *testing.T) {
	t.Parallel()
	old := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			refuses(w, r)
		}
	})
	proxy := proxytest.Start(t, old, nil)
	transport := newTransport(proxy.Address, "auth.vdi.example.com")
	defer transport.CloseIdleConnections()
	for range 5 {
		_, err := Passes(t.Context(), proxy.Address, "auth.vdi.example.com")
		require.ErrorIs(t, err, ErrNotOurs)
		require.Eventually(t, func() bool { return proxy.Open() == 0 }, time.Minute, time.Millisecond, "the server ends the connection over what follows")
		answer, err := (&http.Client{Transport: transport}).Get("https://auth.vdi.example.com/")
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.Equal(t, http.StatusOK, answer.StatusCode)
	}
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
