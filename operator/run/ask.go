package run

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
	"github.com/vdi-platform/vdi-platform/platform"
)

// askTimeout bounds one request to the proxy.
const askTimeout = 5 * time.Second

// serverTimeLifetime is how long one answer of the API server is carried on by our
// own clock: a thousand sessions may end in one second. Elapsed time is measured
// by the monotonic clock, which nobody sets.
const serverTimeLifetime = time.Second

// newServerTime returns a function that reads the API server's clock from the
// Date header of an answer (RFC 9110; resolution one second).
func newServerTime(cluster *rest.Config) (func(context.Context) (time.Time, error), error) {
	httpClient, err := rest.HTTPClientFor(cluster)
	if err != nil {
		return nil, fmt.Errorf("build client for the API server's time: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(cluster)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	url := base.JoinPath("version").String()
	c := &serverClock{ask: func(ctx context.Context) (time.Time, error) {
		answer, err := get(ctx, httpClient, url, nil)
		if err != nil {
			return time.Time{}, err
		}
		return http.ParseTime(answer.Header.Get("Date"))
	}}
	return c.now, nil
}

// serverClock shares one answer among all who ask at the same time.
type serverClock struct {
	ask func(context.Context) (time.Time, error)

	mutex    sync.Mutex
	server   time.Time // what the API server answered
	received time.Time // when, by our clock
}

func (c *serverClock) now(ctx context.Context) (time.Time, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if elapsed := time.Since(c.received); !c.server.IsZero() && elapsed < serverTimeLifetime {
		return c.server.Add(elapsed), nil
	}
	server, err := c.ask(ctx)
	if err != nil {
		return time.Time{}, err
	}
	c.server, c.received = server, time.Now()
	return server, nil
}

// newRouteProbe returns a function that asks the proxy for a session's page as a
// browser would, or nil when sessions.verifyRoute is off. It sends no secret: by the
// session's UID nobody learns more than whether its desktop answers.
func newRouteProbe(s platform.Sessions) proxycheck.Probe {
	if s.VerifyRoute != nil && !*s.VerifyRoute {
		return nil
	}
	c := proxycheck.Client(s.Proxy.Address)
	return func(ctx context.Context, q platform.RouteQuestion) error {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		answer, err := get(ctx, c, "https://"+q.Host+q.Path, http.Header{platform.QuestionHeader: {q.SessionUID}})
		if err != nil {
			return err
		}
		return routeError(answer.StatusCode)
	}
}

// routeError: 404 is the proxy that knows no such route, 502 to 504 is the proxy
// that does not get through, or the front door in the desktop's place.
func routeError(code int) error {
	switch code {
	case http.StatusNotFound, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("the proxy answered %d", code)
	default:
		return nil
	}
}

func get(ctx context.Context, c *http.Client, url string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	answer, err := c.Do(request)
	if err != nil {
		return nil, err
	}
	return answer, answer.Body.Close()
}
