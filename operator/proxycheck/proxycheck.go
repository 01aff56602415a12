// Package proxycheck asks the proxy before us whether it can be trusted with the
// connections that all visitors share. Whoever speaks HTTP/2 with an unsafe one gets
// bytes behind a CONNECT through to our servers, where they would be the beginning of
// another visitor's request (CVE-2026-71324: Traefik before 3.6.24, and 3.7.0 to
// 3.7.8). Our servers do not fall for it (package httpserver); others behind the same
// proxy may.
package proxycheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
)

// Timeout bounds one question.
const Timeout = 5 * time.Second

// Advice is what to do about a proxy that is not safe.
const Advice = "the proxy hands on what follows an HTTP/2 CONNECT (CVE-2026-71324), by which strangers act with the logins of others: update Traefik to 3.6.25, 3.7.11 or newer"

var (
	// ErrNotOurs means that whoever answered is no server of ours, so that nothing is
	// known of the proxy.
	ErrNotOurs = errors.New("no agent or front door of this version answered")
	// ErrNotLetIn is an ErrNotOurs of somebody on the way who refuses us.
	ErrNotLetIn = fmt.Errorf("%w, because somebody before it lets us not through", ErrNotOurs)

	errNoHTTP2 = errors.New("no HTTP/2")
)

// tries are how often a proxy is asked that seems safe: what it hands on may come
// late, and there may be several of it.
const tries = 3

// Passes reports whether the proxy at an address (host:port) hands on what follows a
// CONNECT for a host that a server of ours answers for, without waiting for its
// consent. A proxy that speaks no HTTP/2 does not. What it sends there is two blank
// lines: a server that would take them for a request ends the connection over them,
// so that they harm nobody.
func Passes(ctx context.Context, address, host string) (passes bool, err error) {
	for range tries {
		if passes, err = ask(ctx, address, host); passes || err != nil {
			break
		}
	}
	if errors.Is(err, errNoHTTP2) {
		return false, nil
	}
	return passes, err
}

// ask asks once, on a connection of its own.
func ask(ctx context.Context, address, host string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	transport := newTransport(address, host)
	defer transport.CloseIdleConnections()
	request := (&http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: host}, Host: host,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader("\r\n\r\n")), ContentLength: -1,
	}).WithContext(ctx)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return false, fmt.Errorf("ask the proxy at %s: %w", address, err)
	}
	defer answer.Body.Close()
	switch answer.Header.Get(httpserver.PayloadHeader) {
	case httpserver.PayloadArrived:
		return true, nil
	case httpserver.PayloadWithheld, httpserver.PayloadFramed:
		return false, nil
	}
	return false, judge(answer, address, host)
}

// judge says what an answer means that is none of our servers'.
func judge(answer *http.Response, address, host string) error {
	kind := ErrNotOurs
	switch answer.StatusCode {
	case http.StatusNotImplemented:
		// Traefik's own, without a word, where it knows no CONNECT at all.
		if n, _ := answer.Body.Read(make([]byte, 1)); n == 0 {
			return nil
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		kind = ErrNotLetIn
	}
	return fmt.Errorf("%w: %s through the proxy at %s says %s", kind, host, address, answer.Status)
}

// Client asks for the pages of hosts where the proxy listens (host:port), whatever their
// names resolve to, on a connection of its own each time, and follows no redirects. The
// certificate is not judged: it may be the proxy's own until the administrator's has been
// issued. So it must send nothing that is worth anything to whoever stands there instead.
func Client(address string) *http.Client {
	dialer := &net.Dialer{Timeout: Timeout}
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, address)
			},
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newTransport speaks HTTP/2 alone. It only wants to know who answers, so the
// certificate is not judged.
func newTransport(address, host string) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	dialer := &tls.Dialer{Config: &tls.Config{
		ServerName: host, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // see above
	}}
	return &http.Transport{
		Protocols: protocols,
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
				return nil, errors.Join(errNoHTTP2, conn.Close())
			}
			return conn, nil
		},
	}
}
