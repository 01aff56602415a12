// Package gpusharing keeps the way GPUs are shared and what is configured
// about it the same: it restarts the device plugin after a change of its
// configuration, compares what every node offers with the plan, and says so in
// a status ConfigMap, events and metrics. Where a GPU Operator already runs it
// also writes that configuration. It never touches a node, a pod or a session.
package gpusharing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

const (
	// FieldOwner of everything this controller writes.
	FieldOwner = "vdi-operator-gpu-sharing"
	// settle is how long a node may take to offer what a restarted plugin reports
	// to the kubelet before the difference is called one.
	settle = time.Minute
)

// Reconciler reconciles the whole cluster's GPU sharing at once.
type Reconciler struct {
	// Client reads from this controller's own cache and writes to the API server.
	Client client.Client
	// Live reads from the API server: only the status that is to be written.
	Live client.Reader
	// Settings of sharing, with defaults filled in.
	Settings platform.TimeSlicing
	// Namespace the operator runs in.
	Namespace string
	// Clock is the time; a fake one in tests.
	Clock clock.PassiveClock
	// Events take what changed.
	Events events.EventRecorder
	// Metrics show the last pass.
	Metrics *Metrics

	differsSince map[string]time.Time // by node and plan: when a difference was first seen
	// watchPolicy starts to watch the ClusterPolicy once its kind is served, and
	// says when to try again; nil where reads need no watch.
	watchPolicy func() (again time.Duration, err error)
}

// Reconcile brings configuration, device plugin and report up to date.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	again, err := r.ensurePolicyWatch()
	if err != nil {
		return ctrl.Result{}, err
	}
	p, err := r.observe(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	failed := errors.Join(r.writeConfig(ctx, p), r.writePolicy(ctx, p))
	p.plan(r.Settings)
	failed = errors.Join(failed, r.restartPlugin(ctx, p))
	status, err := r.readStatus(ctx)
	if err != nil {
		return ctrl.Result{}, errors.Join(failed, err)
	}
	before, now := plan.ParseReport(status.Data), r.Clock.Now()
	after := plan.ReportOf(p.problems, p.nodes, before, r.overdue(p, now))
	r.Metrics.show(after)
	err = r.writeStatus(ctx, status, before, after)
	return ctrl.Result{RequeueAfter: sooner(again, r.requeueAfter(now))}, errors.Join(failed, err)
}

// overdue says which nodes have differed from their plan for too long. What
// matches, or has another plan, is forgotten.
func (r *Reconciler) overdue(p *pass, now time.Time) map[string]bool {
	since, late := map[string]time.Time{}, map[string]bool{}
	for _, n := range p.nodes {
		if n.Problem != nil || n.AsPlanned() {
			continue
		}
		id := fmt.Sprint(n.Name, " ", plan.Amounts(n.Planned))
		began, known := r.differsSince[id]
		if !known {
			began = now
		}
		since[id] = began
		late[n.Name] = now.Sub(began) >= settle
	}
	r.differsSince = since
	return late
}

// requeueAfter is when the next difference is old enough to be reported.
func (r *Reconciler) requeueAfter(now time.Time) (again time.Duration) {
	for _, began := range r.differsSince {
		if rest := settle - now.Sub(began); rest > 0 {
			again = sooner(again, rest)
		}
	}
	return again
}

// sooner of two waits; zero means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
