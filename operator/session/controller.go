// Package session moves every VDISession towards its spec and reports what it saw. A pass
// takes the steps listed in [Reconciler.steps], of which each is marked read, pure or write;
// a session that is being deleted takes others. Decisions are pure functions (packages plan
// and homes, and accept.go). The status is computed from what was seen (package status) and
// patched once, only if it differs. Beside it there are write-ahead notes, each a write of
// its own, since an operator may die between any two: the finalizer before anything that
// needs an orderly end, and the reason of a stop or an end before it is carried out.
//
// Nothing is polled: a pass is caused by a watch event that matters or by one timer set to
// the next deadline.
//
// It builds no objects itself (package renderer does), must never patch a pod, and must
// never delete a home but in finalize.go (those left behind are package homes').
package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
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
	// Events records what happened, for people.
	Events events.EventRecorder
	// Metrics counts what happened.
	Metrics *Metrics

	memory
	policy  secrets.Policy
	indexed bool                    // the cache finds sessions and pods by claim
	freed   chan event.GenericEvent // claims that were released; nil without a manager
	// answered are sessions whose proxy or agent has answered; nil without a manager.
	answered chan event.GenericEvent
	// patient are the workers that wait for a proxy or an agent.
	patient chan struct{}
}

// Renderer makes a session's objects, of package renderer.
type Renderer interface {
	Render(renderer.Input) (renderer.Rendered, error)
}

// Reconcile moves one session towards its spec and reports what it saw.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &vdi.VDISession{}
	if err := r.Client.Get(ctx, req.NamespacedName, s); err != nil {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if r.superseded.isStale(req.NamespacedName, s.ResourceVersion, r.Clock.Now()) {
		return ctrl.Result{RequeueAfter: cacheLag}, nil
	}
	p := plan.NewPass(s, r.Clock.Now(), r.isOIDC())
	before, after := s.DeepCopy(), s
	err := take(ctx, p, r.steps(s)...)
	if v := p.StoppedBy; v != nil && v.Condition == vdi.ConditionAccepted && p.Starting() {
		r.releaseAllBut(ctx, p, "") // who is not accepted keeps no home from others
	}
	switch {
	case p.Gone(), isOutdated(err): // stale knowledge is not worth reporting
	case err == nil && p.IsFirstStart():
		r.firstStarts.remember(req.NamespacedName, p)
		p.LookAgainAfter(firstNews)
	default:
		var unwritten error
		after, unwritten = r.report(ctx, p, err)
		err = errors.Join(err, unwritten)
	}
	r.superseded.remember(req.NamespacedName, p.Replaced, r.Clock.Now())
	r.settled.remember(p, err)
	r.recordEvents(before, after, p)
	return resultOf(p.RequeueAfter, err)
}

// report writes what the pass saw, once and only if it differs, and returns the session as
// it is then. What could not be written is in no event either: the next pass does both.
func (r *Reconciler) report(ctx context.Context, p *plan.Pass, failed error) (*vdi.VDISession, error) {
	report := status.Of(p, failed)
	p.LookAgainAfter(report.RequeueAfter)
	if status.Equal(p.Session.Status, report.Status) {
		return p.Session, nil
	}
	after := p.Session.DeepCopy()
	after.Status = report.Status
	err := r.patchStatus(ctx, p.Session, after)
	switch {
	case apierrors.IsNotFound(err):
		return after, nil // it has just gone
	case err != nil:
		return p.Session, fmt.Errorf("write status: %w", err)
	}
	p.Wrote(p.Session, after)
	return after, nil
}

// steps are what a pass does, in order.
func (r *Reconciler) steps(s *vdi.VDISession) []step {
	if s.DeletionTimestamp != nil {
		return []step{
			r.observe,         // read:  the session's objects
			r.finalizeDesktop, // write: the URL dies first, then the desktop
			r.finalizeHome,    // write: the home only if its owner asked for that
			r.leaveHome,       // write: a home that stays says so, and for how long
			r.releaseHomes,    // write: another claim that it holds is free again
			r.releaseHost,     // write: the host's claim lets go of this session
			r.finalizeOrphans, // write: what the garbage collector let go of goes too
			r.finalizeDone,    // write: the session itself may go
		}
	}
	return []step{
		r.observe,         // read:  the session's objects
		r.resolveTemplate, // read:  the template
		r.decideLifecycle, // pure:  run, stop or end, and when to look again
		r.readActivity,    // read:  was it used? only where that decides
		r.confirmEnd,      // read:  the API server's time, where a run is over by ours
		r.end,             // write: an expired run ends or is suspended
		r.reconsider,      // write: used again before an idle stop: go on
		r.stop,            // write: delete the desktop of a session that should not run
		r.markForProxy,    // write: the label by which the proxy reads routes, where it is missing
		r.releaseHomes,    // write: a claim that it no longer uses is free again
		r.keepRegistered,  // write: the finalizer, of a desktop that has lost it
		r.clearFailed,     // write: a pod that ended by itself makes room for the next
		r.renewTURNLogin,  // write: the login at the TURN relay of a desktop that streams through it
		r.missHome,        // read:  a home that is gone, whose place nobody takes before the next start
		forTheNextStart( // what may be refused comes after all stops and ends
			r.accept,        // pure:  template, user, sizes, host in order
			r.chooseEncoder, // read:  what the GPUs of the nodes can do
			r.register,      // write: finalizer, before anything exists that needs it
			r.claimHost,     // write: hosts that are not unique by themselves
			r.render,        // pure:  the objects this session should have
			r.inspectClaims, // read:  the other claims that the template mounts, where it does
			r.inspectHome,   // write: is the home this user's, and free? then it is held
		),
		r.apply,       // write: create what is missing, put back what drifted
		r.prune,       // write: delete what is ours and no longer rendered
		r.findCause,   // read:  what keeps a start that is late
		r.verifyRoute, // read:  one request through the proxy
	}
}

// objects writes the session's objects.
func (r *Reconciler) objects() objects.Store {
	return objects.Store{Client: r.Client, Live: r.Live, Owner: FieldOwner}
}

// secrets writes the session's Secrets. Without admission policies the operator has the
// right to read them.
func (r *Reconciler) secrets() secrets.Store {
	return secrets.Store{Objects: r.objects(), MayRead: !r.Config.Admission.Enabled, Policy: &r.policy}
}

// resultOf sorts the outcome: a conflict is only stale knowledge and is looked
// at again soon; other errors are retried with growing distance.
func resultOf(lookAgain time.Duration, err error) (ctrl.Result, error) {
	switch {
	case err == nil:
		return ctrl.Result{RequeueAfter: lookAgain}, nil
	case errors.Is(err, errOutdated):
		return ctrl.Result{RequeueAfter: longestLag}, nil
	case objects.OnlyConflicts(err):
		return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
	default:
		return ctrl.Result{}, err
	}
}

// isOutdated reports whether a pass failed for no other reason than what it did not know.
func isOutdated(err error) bool { return errors.Is(err, errOutdated) || objects.OnlyConflicts(err) }

func (r *Reconciler) decideLifecycle(_ context.Context, p *plan.Pass) error {
	p.ForgetOldTroubles()
	p.Decide(p.Now)
	return nil
}

// patchSession changes metadata or spec of exactly the session that the pass knows.
func (r *Reconciler) patchSession(ctx context.Context, p *plan.Pass, change func(*vdi.VDISession)) error {
	before := p.Session.DeepCopy()
	change(p.Session)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, p.Session, patch, client.FieldOwner(FieldOwner)); err != nil {
		*p.Session = *before // it is as it was
		return err
	}
	p.Wrote(before, p.Session)
	return nil
}

// patchStatus writes what differs between two states of a session's status.
func (r *Reconciler) patchStatus(ctx context.Context, before, after *vdi.VDISession) error {
	r.written.Store(client.ObjectKeyFromObject(after), r.Clock.Now())
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return r.Client.Status().Patch(ctx, after, patch, client.FieldOwner(FieldOwner))
}

// errEnded ends a pass whose session the operator has just deleted.
var errEnded = errors.New("session ended")

// step is a part of a pass. It stops the pass by returning a *verdict.Verdict.
type step func(context.Context, *plan.Pass) error

// take takes the steps in order until one stops the pass or fails.
func take(ctx context.Context, p *plan.Pass, steps ...step) error {
	for _, step := range steps {
		err := step(ctx, p)
		var v *verdict.Verdict
		if errors.As(err, &v) {
			p.StoppedBy = v
			p.LookAgainAfter(v.Retry)
			return nil
		}
		if errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forTheNextStart takes the steps that a start needs. What stops one of them keeps
// a desktop from starting; one that lives, and one that is to stop, only report
// it: nothing that may be refused disturbs a desktop or holds up an end.
func forTheNextStart(steps ...step) step {
	return func(ctx context.Context, p *plan.Pass) error {
		for _, step := range steps {
			err := step(ctx, p)
			var v *verdict.Verdict
			if errors.As(err, &v) && p.MayBeRefused() {
				p.Refuse(v)
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
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

// confirm makes sure, once in a pass, that the session is what the cache shows, before
// something of it is taken away: caches may be late, and after a restore of the API
// server each of them takes up in its own time. A pass that has written the session
// knows it.
func (r *Reconciler) confirm(ctx context.Context, p *plan.Pass) error {
	if p.Confirmed || len(p.Replaced) > 0 {
		return nil
	}
	if _, err := r.current(ctx, p); err != nil {
		logf.FromContext(ctx).Info("nothing is taken away yet", "because", err.Error())
		return err
	}
	p.Confirmed = true
	return nil
}

// current is the session as the API server has it, if that is what the pass builds on.
func (r *Reconciler) current(ctx context.Context, p *plan.Pass) (*vdi.VDISession, error) {
	s := &vdi.VDISession{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.Session), s)
	switch {
	case apierrors.IsNotFound(err):
		return nil, errOutdated
	case err != nil:
		return nil, fmt.Errorf("make sure of the session: %w", err)
	case s.UID == p.Session.UID && s.ResourceVersion == p.Session.ResourceVersion:
		return s, nil // the same, also where another definition gives it other defaults
	case s.UID != p.Session.UID || (s.DeletionTimestamp == nil) != (p.Session.DeletionTimestamp == nil) || !equality.Semantic.DeepEqual(s.Spec, p.Session.Spec):
		return nil, errOutdated
	default:
		return s, nil
	}
}
