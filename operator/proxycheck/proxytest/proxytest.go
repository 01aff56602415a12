// Package proxytest runs, for tests, a proxy that is not safe: Go's own reverse proxy,
// which Traefik is made of and which hands on what follows an HTTP/2 CONNECT.
package proxytest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy is a running proxy with a server behind it.
type Proxy struct {
	// Address is where it speaks TLS, with HTTP/2 and HTTP/1.1.
	Address string
	open    atomic.Int32
}

// Open is how many connections it has to the server.
func (p *Proxy) Open() int { return int(p.open.Load()) }

// Start runs a proxy before a server until the test ends. First may change what a
// request is before it is handed on, as a safe proxy does; nil changes nothing.
func Start(t testing.TB, server http.Handler, first func(*http.Request)) *Proxy {
	t.Helper()
	p, behind := &Proxy{}, httptest.NewServer(server)
	t.Cleanup(behind.Close)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = p.dial
	t.Cleanup(transport.CloseIdleConnections)
	forward := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: behind.Listener.Addr().String()})
		r.Out.Host = r.In.Host
	}}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first != nil {
			first(r)
		}
		forward.ServeHTTP(w, r)
	}))
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	p.Address = front.Listener.Addr().String()
	return p
}

func (p *Proxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p.open.Add(1)
	return &counted{Conn: conn, closed: sync.OnceFunc(func() { p.open.Add(-1) })}, nil
}

// counted is a connection that says when it has been closed.
type counted struct {
	net.Conn
	closed func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
