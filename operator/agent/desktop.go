package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
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
	transport       *http.Transport
	probe           *http.Client
}

func newDesktop(address, health string, login func() credentials) *desktop {
	dialer := &net.Dialer{Timeout: dialTimeout}
	// Proxy stays nil: no variable of the environment leads elsewhere.
	transport := &http.Transport{
		DialContext:        dialer.DialContext,
		DisableCompression: true, // what the browser asked for passes as it is
		MaxIdleConns:       idleConns, MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTimeout,
	}
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &desktop{
		address: address, health: health, credentials: login, transport: transport,
		probe: &http.Client{
			Timeout: readyTimeout, CheckRedirect: noRedirects,
			Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		},
	}
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

// open says whether the desktop's port is open.
func (d *desktop) open(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.address)
	if err != nil {
		return fmt.Errorf("the desktop does not listen on %s: %w", d.address, err)
	}
	return conn.Close()
}
