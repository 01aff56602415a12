// Package session moves every VDISession towards its spec and reports what it saw. A pass
// gathers what the cache knows, asks for what the plan depends on beside that, carries the
// plan out, and reports: [Reconciler.pass]. All decisions are pure: package plan says what is
// done about a session, in which order. The status is computed from what was seen (package
// status) and patched once, only if it differs. Beside it there are write-ahead notes, each a
// write of its own, since an operator may die between any two: the finalizer before anything
// that needs an orderly end, and the reason of a stop or an end before it is carried out.
//
// Nothing is polled: a pass is caused by a watch event that matters or by one timer set to
// the next deadline.
//
// It builds no objects itself (package renderer does), must never patch a pod, and must
// never delete a home but by plan.DeleteHome (those left behind are package homes').
package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/hosts"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/background"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/session/status"
	"github.com/vdi-platform/vdi-platform/operator/turnlogin"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// FieldOwner is the operator's name in managed fields.
const FieldOwner = wire.Operator

// firstNews is when a new desktop is looked at whose pod has sent no news. The
// scheduler asks once a second whether a new home's volume is bound
// (BindPodVolumes in kubernetes' plugins/volumebinding/binder.go), so that at one
// second every such pod is about to have news.
const firstNews = 2 * time.Second

// Reconciler moves sessions towards their specs.
type Reconciler struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server itself; used where a stale answer could lose data, and
	// for what is not cached, as events.
	Live client.Reader
	// Renderer makes a session's objects.
	Renderer Renderer
	// Config are the platform's settings.
	Config platform.Config
	// Namespace is the operator's own, where host claims are kept.
	Namespace string
	// Clock is the time; a fake one in tests.
	Clock clock.PassiveClock
	// ServerTime asks the API server for its time. An end is confirmed against
	// it, so that a clock that jumps ends nothing.
	ServerTime func(context.Context) (time.Time, error)
	// Probe sends one request through the proxy with the session's host; nil
	// when sessions.verifyRoute is off.
	Probe func(ctx context.Context, q platform.RouteQuestion) error
	// Activity knows when a desktop was last used; nil when nobody but the
	// session's annotation does.
	Activity ActivitySource
	// StatementKeys are the front door's; nil in mode Password.
	StatementKeys StatementKeys
	// Relay is the TURN relay's shared secret; nil without a relay.
	Relay turnlogin.RelaySecret
	// Nodes knows what the nodes have; nil: nobody does.
	Nodes gpunodes.Reader
	// Leads reports whether nobody else can be leading: what quotas leave room for is given
	// only then. Nil: nobody else is there.
	Leads func() bool
	// Events records what happened, for people.
	Events events.EventRecorder
	// Metrics counts what happened.
	Metrics *Metrics

	memory
	policy  secrets.Policy
	indexed atomic.Bool             // the cache finds sessions and pods by claim
	freed   chan event.GenericEvent // claims that were released; nil without a manager
	waiting *background.Workers     // for proxies and agents; nil without a manager
	lost    chan struct{}           // there are runs of sessions that are gone; nil without a manager
}

// Renderer makes a session's objects, of package renderer.
type Renderer interface {
	Render(renderer.Input) (renderer.Rendered, error)
}

// StatementKeys are the public keys by which the front door signs statements, and which
// agents believe where it logs people in.
type StatementKeys interface {
	// Get returns them as they are now: file name to PEM; none while the front
	// door has not published any.
	Get() map[string]string
	// Changed says when they are others.
	Changed() <-chan event.GenericEvent
}

func (r *Reconciler) logsIn() bool { return r.Config.Access.Mode.LogsIn() }

// Reconcile moves one session towards its spec and reports what it saw.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if open, err := r.open(ctx); !open {
		return ctrl.Result{RequeueAfter: cacheLag}, err
	}
	s := &vdi.VDISession{}
	switch err := r.Client.Get(ctx, req.NamespacedName, s); {
	case apierrors.IsNotFound(err):
		r.forget(req.NamespacedName)
		r.wake(ctx, r.share.Forget(req.NamespacedName, r.Clock.Now()))
		r.lostRuns()
		return ctrl.Result{}, nil
	case err != nil: // what it has is not given to others for that
		return ctrl.Result{}, err
	}
	if r.superseded.isStale(req.NamespacedName, s.ResourceVersion, r.Clock.Now()) {
		return ctrl.Result{RequeueAfter: cacheLag}, nil
	}
	p := plan.NewPass(s, r.Clock.Now(), &r.Config)
	before, after := s.DeepCopy(), s
	a := r.asker()
	e := r.executor(a)
	err := r.pass(ctx, a, e, p)
	a.countRoom(ctx, p, err)
	switch {
	case p.Gone(), isOutdated(err): // stale knowledge is not worth reporting
	case err == nil && p.IsFirstStart():
		r.firstStarts.remember(req.NamespacedName, p)
		p.LookAgainAfter(firstNews)
	default:
		var unwritten error
		after, unwritten = r.report(ctx, e, p, err)
		err = errors.Join(err, unwritten)
	}
	r.superseded.remember(req.NamespacedName, p.Replaced, r.Clock.Now())
	r.settled.remember(p, err)
	r.recordEvents(before, after, p)
	r.lostRuns()
	return resultOf(p.RequeueAfter, err)
}

// pass gathers, asks, plans and carries out. A desktop that only the API server knew of is a
// new fact: the plan is made again.
func (r *Reconciler) pass(ctx context.Context, a asker, e *executor, p *plan.Pass) error {
	if err := a.gather(ctx, p); err != nil {
		return err
	}
	a.ask(ctx, p)
	err := r.carryOut(ctx, e, p)
	if errors.Is(err, errPodFound) {
		a.ask(ctx, p)
		err = r.carryOut(ctx, e, p)
	}
	return err
}

// report writes what the pass saw, once and only if it differs, and returns the session as
// it is then. What could not be written is in no event either: the next pass does both.
func (r *Reconciler) report(ctx context.Context, e *executor, p *plan.Pass, failed error) (*vdi.VDISession, error) {
	report := status.Of(p, failed)
	p.LookAgainAfter(report.RequeueAfter)
	if status.Equal(p.Session.Status, report.Status) {
		return p.Session, nil
	}
	after := p.Session.DeepCopy()
	after.Status = report.Status
	err := e.patchStatus(ctx, p.Session, after)
	switch {
	case apierrors.IsNotFound(err):
		return after, nil // it has just gone
	case err != nil:
		return p.Session, fmt.Errorf("write status: %w", err)
	}
	p.Wrote(p.Session, after)
	return after, nil
}

// executor makes the writes of a pass.
func (r *Reconciler) executor(ask asker) *executor {
	return &executor{
		sessionWriter: &sessionWriter{r.Client, r.Live, r.Clock, &r.memory},
		objects:       ask.homes.Objects, secrets: ask.secrets, homes: ask.homes, ask: ask,
		hosts: hosts.Claims{Objects: ask.homes.Objects, Namespace: r.Namespace},
		turn:  turnlogin.Logins{Secrets: ask.secrets, TURN: r.Config.Sessions.TURN, Relay: r.Relay, Known: &r.turnLogins},
		usage: r.usage(),
	}
}

// objects reads and writes the session's objects.
func (r *Reconciler) objects() objects.Store {
	return objects.Store{Client: r.Client, Live: r.Live, Owner: FieldOwner}
}

// secrets are the session's Secrets. Without admission policies the operator has the
// right to read them.
func (r *Reconciler) secrets() secrets.Store {
	return secrets.Store{Objects: r.objects(), MayRead: !r.Config.Admission.Enabled, Policy: &r.policy}
}

// homes are the claims of homes.
func (r *Reconciler) homes() homes.Claims {
	users := homes.Users{Cache: r.Client, Live: r.Live, OnClaim: r.sessions().onClaim}
	return homes.Claims{Objects: r.objects(), Users: users, Known: &r.homesKnown, Freed: r.wakeWaiting}
}

// resultOf sorts the outcome: a conflict is only stale knowledge and is looked
// at again soon; other errors are retried with growing distance.
func resultOf(lookAgain time.Duration, err error) (ctrl.Result, error) {
	switch {
	case err == nil:
		return ctrl.Result{RequeueAfter: lookAgain}, nil
	case errors.Is(err, errUsed):
		return ctrl.Result{RequeueAfter: cacheLag}, nil
	case errors.Is(err, errOutdated), errors.Is(err, errLease):
		return ctrl.Result{RequeueAfter: longestLag}, nil
	case objects.OnlyConflicts(err):
		return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
	default:
		return ctrl.Result{}, err
	}
}

// isOutdated reports whether a pass failed for no other reason than what it did not know.
func isOutdated(err error) bool {
	return errors.Is(err, errOutdated) || errors.Is(err, errUsed) || errors.Is(err, errLease) || objects.OnlyConflicts(err)
}

// recordEvents reports what this pass changed: events for people, metrics for graphs.
func (r *Reconciler) recordEvents(before, after *vdi.VDISession, p *plan.Pass) {
	for _, e := range status.Events(before, after, p) {
		r.Events.Eventf(after, nil, e.Type, e.Reason, e.Action, "%s", verdict.Shorten(e.Note, status.MaxNote))
	}
	if p.LetGo && p.HomeKept != nil { // where people look who wonder why it is still there
		r.Events.Eventf(p.HomeKept.Claim, after, corev1.EventTypeNormal, "HomeKept", "Keep", "%s", verdict.Shorten(p.HomeKept.Note(after), status.MaxNote))
	}
	r.Metrics.observe(before, after, p)
}

// errOutdated ends a pass that knows its session as it no longer is. What is known
// otherwise is not worth reporting either; the cache will come up with the rest.
var errOutdated = errors.New("the cache is behind the API server")
