package run

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
	"github.com/vdi-platform/vdi-platform/platform"
)

// proxyCheckHolds is how long one answer about the proxy counts. It is asked for when
// a desktop has come up by way of the proxy, so that an idle platform asks nothing.
const proxyCheckHolds = time.Hour

// routeProbe asks the proxy for a session's page.
type routeProbe func(ctx context.Context, host, path string) error

// proxyCheck finds out whether the proxy is safe, and says so in a metric. It is no
// session's fault, so no session's status speaks of it.
type proxyCheck struct {
	passes func(ctx context.Context, host string) (bool, error)
	// host to ask for instead of a session's own; "" for that one.
	host   string
	log    logr.Logger
	now    func() time.Time
	hosts  chan string
	asked  time.Time // last answer
	unsafe *prometheus.GaugeVec
}

func newProxyCheck(c platform.Config) *proxyCheck {
	check := &proxyCheck{
		passes: func(ctx context.Context, host string) (bool, error) {
			return proxycheck.Passes(ctx, c.Sessions.Proxy.Address, host)
		},
		log: ctrl.Log.WithName("proxy"), now: time.Now, hosts: make(chan string, 1),
		unsafe: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vdi_proxy_unsafe",
			Help: "1 if the proxy hands on what follows an HTTP/2 CONNECT (CVE-2026-71324), so that strangers act with others' logins, else 0. Asked when a desktop has come up, at most once an hour; absent until the first answer.",
		}, nil),
	}
	if c.Access.Mode == platform.AccessOIDC {
		// The proxy lets nobody through to a desktop who has not logged in.
		check.host = platform.AuthHost(c.Sessions)
	}
	return check
}

// after returns the probe, after whose success the proxy can be asked.
func (c *proxyCheck) after(probe routeProbe) routeProbe {
	if probe == nil {
		return nil
	}
	return func(ctx context.Context, host, path string) error {
		err := probe(ctx, host, path)
		if err == nil {
			select {
			case c.hosts <- host:
			default: // one is enough
			}
		}
		return err
	}
}

// Start implements manager.Runnable.
func (c *proxyCheck) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case host := <-c.hosts:
			c.look(ctx, host)
		}
	}
}

func (c *proxyCheck) look(ctx context.Context, host string) {
	if !c.asked.IsZero() && c.now().Sub(c.asked) < proxyCheckHolds {
		return
	}
	if c.host != "" {
		host = c.host
	}
	passes, err := c.passes(ctx, host)
	if err != nil {
		c.log.Info("it is not known whether the proxy is safe", "host", host, "error", err.Error())
		return
	}
	c.asked = c.now()
	gauge := c.unsafe.WithLabelValues()
	gauge.Set(0)
	if passes {
		gauge.Set(1)
		c.log.Error(nil, proxycheck.Advice)
	}
}
