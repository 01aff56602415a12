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

// ErrNotOurs means that whoever answered is no server of ours, so that nothing is
// known of the proxy.
var ErrNotOurs = errors.New("no agent or front door of this version answered")

// Passes reports whether the proxy at an address (host:port) hands on what follows a
// CONNECT for a host that a server of ours answers for, without waiting for its
// consent. What it sends there is one blank line.
func Passes(ctx context.Context, address, host string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	transport := newTransport(address, host)
	defer transport.CloseIdleConnections()
	request := (&http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: host}, Host: host,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader("\r\n")), ContentLength: -1,
	}).WithContext(ctx)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return false, fmt.Errorf("ask the proxy at %s: %w", address, err)
	}
	defer answer.Body.Close()
	switch answer.Header.Get(httpserver.PayloadHeader) {
	case httpserver.PayloadArrived:
		return true, nil
	case httpserver.PayloadWithheld:
		return false, nil
	}
	if answer.StatusCode == http.StatusNotImplemented { // RFC 9110 §9.1: it knows no CONNECT at all
		return false, nil
	}
	return false, fmt.Errorf("%w: %s through the proxy at %s says %s", ErrNotOurs, host, address, answer.Status)
}

// newTransport speaks HTTP/2 alone. It only wants to know who answers, so the
// certificate is not judged.
func newTransport(address, host string) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Protocols: protocols, TLSHandshakeTimeout: Timeout,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
	}
}
