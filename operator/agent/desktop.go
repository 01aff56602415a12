package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/web"
)

const (
	// dialTimeout is long for the same pod.
	dialTimeout = 2 * time.Second
	// readyTimeout: a desktop that needs longer is not ready.
	readyTimeout = 2 * time.Second
	idleConns    = 16
	idleTimeout  = time.Minute
)

// desktop is the program that the agent stands before.
type desktop struct {
	address, health string
	credentials     func() credentials
	// shared keeps connections for what any visitor asks; own opens one from the
	// visitor's address and keeps none.
	shared, own *http.Transport
	byAddress   bool // it knows visitors by it
	probe       *http.Client
}

func newDesktop(address, health string, byAddress bool, login func() credentials) *desktop {
	dialer := &net.Dialer{Timeout: dialTimeout}
	// Proxy stays nil: no variable of the environment leads elsewhere.
	shared := &http.Transport{
		DialContext:        dialer.DialContext,
		DisableCompression: true, // what the browser asked for passes as it is
		MaxIdleConns:       idleConns, MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTimeout,
	}
	own := shared.Clone()
	own.DisableKeepAlives = true // the next visitor has another address
	own.DialContext = newSources(dialer).dial
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &desktop{
		address: address, health: health, credentials: login, shared: shared, own: own, byAddress: byAddress,
		probe: &http.Client{
			Timeout: readyTimeout, CheckRedirect: noRedirects,
			Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		},
	}
}

// RoundTrip implements http.RoundTripper. WebSockets and what a visitor sends come to
// Selkies from the visitor's own address, to others, which may serve 127.0.0.1 alone,
// from there: Selkies turns a second WebSocket from one address
// away within half a second, and finds by it the stream that an upload has to leave
// room for (selkies 2.1.0, websockets_mode.py, RECONNECT_DEBOUNCE_MS, and
// stream_server.py).
func (d *desktop) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.byAddress && (web.IsWebSocket(r.Header) || !web.IsSafe(r.Method)) {
		return d.own.RoundTrip(r)
	}
	return d.shared.RoundTrip(r)
}

// ready asks the desktop now; nil: it answered. Errors are sentences.
func (d *desktop) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if d.health == "" {
		return d.open(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+d.health, nil)
	if err != nil {
		return err
	}
	if login := d.credentials(); login.desktopPassword != "" {
		request.SetBasicAuth(login.desktopUsername, login.desktopPassword)
	}
	answer, err := d.probe.Do(request)
	if err != nil {
		return fmt.Errorf("the desktop does not answer on %s: %w", d.address, err)
	}
	answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the desktop answers %d on %s", answer.StatusCode, d.health)
	}
	return nil
}

// open reports whether the desktop's port is open.
func (d *desktop) open(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.address)
	if err != nil {
		return fmt.Errorf("the desktop does not listen on %s: %w", d.address, err)
	}
	return conn.Close()
}
