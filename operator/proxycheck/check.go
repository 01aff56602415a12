package proxycheck

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/vdi-platform/vdi-platform/platform"
)

// holds is how long one answer about the proxy counts. It is asked for when
// a desktop has come up by way of the proxy, so that an idle platform asks nothing.
const holds = time.Hour

// Probe asks the proxy for a session's page.
type Probe func(ctx context.Context, q platform.RouteQuestion) error

// Check finds out whether the proxy is safe, and says so in a metric. It is no
// session's fault, so no session's status speaks of it.
type Check struct {
	passes func(ctx context.Context, host string) (bool, error)
	// host to ask for instead of a session's own; "" for that one.
	host   string
	log    logr.Logger
	now    func() time.Time
	hosts  chan string
	asked  time.Time // last answer
	unsafe *prometheus.GaugeVec
}

// NewCheck returns a check of the proxy that the settings name.
func NewCheck(c platform.Config) *Check {
	check := &Check{
		passes: func(ctx context.Context, host string) (bool, error) {
			return Passes(ctx, c.Sessions.Proxy.Address, host)
		},
		log: ctrl.Log.WithName("proxy"), now: time.Now, hosts: make(chan string, 1),
		unsafe: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vdi_proxy_unsafe",
			Help: "1 if the proxy hands on what follows an HTTP/2 CONNECT (CVE-2026-71324), so that strangers act with others' logins, else 0. Asked when a desktop has come up, at most once an hour, of few connections: of several proxies it may miss one. Absent until the first answer.",
		}, nil),
	}
	if c.Access.Mode.LogsIn() {
		// The proxy lets nobody through to a desktop who has not logged in.
		check.host = c.LoginHost()
	}
	return check
}

// After returns the probe, after whose success the proxy can be asked.
func (c *Check) After(probe Probe) Probe {
	if probe == nil {
		return nil
	}
	return func(ctx context.Context, q platform.RouteQuestion) error {
		err := probe(ctx, q)
		if err == nil {
			select {
			case c.hosts <- q.Host:
			default: // one is enough
			}
		}
		return err
	}
}

// Start implements manager.Runnable.
func (c *Check) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case host := <-c.hosts:
			c.Look(ctx, host)
		}
	}
}

// Metrics is vdi_proxy_unsafe.
func (c *Check) Metrics() prometheus.Collector { return c.unsafe }

// Look asks the proxy, unless it has answered within the last hour. The host is that
// of a session whose desktop has just been reached through it.
func (c *Check) Look(ctx context.Context, host string) {
	if !c.asked.IsZero() && c.now().Sub(c.asked) < holds {
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
		c.log.Error(nil, Advice)
	}
}
