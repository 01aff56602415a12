// Package session moves every VDISession towards its spec and reports what it
// saw. Everything is read first, decided in pure functions, written at the end;
// the status is computed from what was seen and patched once, only if it
// differs. Nothing is polled: a pass is caused by a watch event that matters or
// by one timer set to the next deadline.
//
// It must not render (package renderer does), must never patch a pod, and must
// never delete a home but in finalize.go (those left behind are package homes').
package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// FieldOwner is the operator's name in managed fields.
const FieldOwner = wire.Operator

// deniedRetry is how often a denied write is tried again: a quota that is raised
// sends no event to us.
const deniedRetry = time.Minute

// firstNews is when a new desktop is looked at whose pod has sent no news. The
// scheduler asks once a second whether a new home's volume is bound
// (BindPodVolumes in kubernetes' plugins/volumebinding/binder.go), so that at one
// second every such pod is about to have news.
const firstNews = 2 * time.Second

// Reconciler moves sessions towards their specs.
type Reconciler struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server itself; used only where a stale answer could lose data.
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
	Relay RelaySecret
	// Nodes knows what the nodes have; nil: nobody does.
	Nodes gpunodes.Reader
	// Events tells what happened.
	Events events.EventRecorder
	// Metrics counts what happened.
	Metrics *Metrics

	memory
	// policySeen: the admission policy on the operator's account is in force.
	policySeen atomic.Bool
	indexed    bool                    // the cache finds sessions and pods by claim
	freed      chan event.GenericEvent // claims that were released; nil without a manager
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
	p := &pass{session: s, now: r.Clock.Now(), oidc: r.isOIDC()}
	before := s.DeepCopy()
	err := p.run(ctx, r.steps(s)...)
	if h := p.halted; h != nil && h.condition == vdi.ConditionAccepted && p.starting() {
		r.releaseAllBut(ctx, p, "") // who is not accepted keeps no home from others
	}
	switch {
	case p.gone(), isOutdated(err): // stale knowledge is not worth telling
	case err == nil && p.isFirstStart():
		r.untold.remember(req.NamespacedName, p)
		p.look(firstNews)
	default:
		err = errors.Join(err, r.report(ctx, p, before, err))
	}
	r.superseded.remember(req.NamespacedName, p.replaced, r.Clock.Now())
	r.settled.note(p, err)
	r.tell(before, s, p)
	return resultOf(p.lookAgain, err)
}

// report writes what the pass saw. What could not be written is not told either:
// the next look does both.
func (r *Reconciler) report(ctx context.Context, p *pass, before *vdi.VDISession, failed error) error {
	p.session.Status = statusOf(p, before.Status, failed)
	version := p.session.ResourceVersion
	err := r.patchStatus(ctx, before, p.session)
	if err != nil {
		p.session.Status = before.Status
		return err
	}
	p.wrote(version)
	return nil
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
		r.end,             // write: an expired run, confirmed against the server's time
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

// gone tells whether the session left the cluster during the pass.
func (p *pass) gone() bool {
	return p.ended || (p.session.DeletionTimestamp != nil &&
		!controllerutil.ContainsFinalizer(p.session, wire.Finalizer))
}

// resultOf sorts the outcome: a conflict is only stale knowledge and is looked
// at again soon; other errors are retried with growing distance.
func resultOf(lookAgain time.Duration, err error) (ctrl.Result, error) {
	switch {
	case err == nil:
		return ctrl.Result{RequeueAfter: lookAgain}, nil
	case errors.Is(err, errOutdated):
		return ctrl.Result{RequeueAfter: longestLag}, nil
	case onlyConflicts(err):
		return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
	default:
		return ctrl.Result{}, err
	}
}

// isOutdated tells whether a pass failed for no other reason than what it did not know.
func isOutdated(err error) bool { return errors.Is(err, errOutdated) || onlyConflicts(err) }

func onlyConflicts(err error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			if !onlyConflicts(e) {
				return false
			}
		}
		return true
	}
	return apierrors.IsConflict(err)
}

func (r *Reconciler) resolveTemplate(ctx context.Context, p *pass) error {
	t := &vdi.VDITemplate{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: p.session.Spec.Template}, t)
	if apierrors.IsNotFound(err) {
		return nil // nothing starts without it; what runs goes on, and ends
	}
	if err != nil {
		return fmt.Errorf("read template %q: %w", p.session.Spec.Template, err)
	}
	p.template = t
	return nil
}

func (r *Reconciler) decideLifecycle(_ context.Context, p *pass) error {
	p.forgetOldTroubles()
	p.decide(p.now)
	return nil
}

// decide decides what should become of the session and when to look again.
func (p *pass) decide(now time.Time) {
	p.decision = p.decisionOn(p.session, now)
	p.look(p.decision.lookAgain)
}

// decisionOn is what the rules say about a state of the session.
func (p *pass) decisionOn(s *vdi.VDISession, now time.Time) decision {
	rules, known := p.rules()
	if !known {
		return decideByPerson(s)
	}
	return decide(s, rules, now)
}

// rules are the template's, and while it is missing those that were last read:
// the clock then ends nothing that it would not have ended with the template.
// Without a record nothing is known.
func (p *pass) rules() (rules vdi.TemplateLifecycle, known bool) {
	if last := p.lastRules(); last != nil {
		return *last, true
	}
	return rules, false
}

// lastRules are the template's as they were last read; nil when they never were.
func (p *pass) lastRules() *vdi.TemplateLifecycle {
	switch {
	case p.template != nil:
		return &p.template.Spec.Lifecycle
	case p.session.Status.Lifecycle != nil:
		return p.session.Status.Lifecycle
	default:
		return p.startedBy
	}
}

// accept checks what the API server cannot.
func (r *Reconciler) accept(_ context.Context, p *pass) error {
	if p.template == nil {
		return &halt{
			condition: vdi.ConditionAccepted, reason: vdi.ReasonTemplateNotFound,
			message: "Template not found: " + p.session.Spec.Template,
			phase:   vdi.PhaseFailed, waiting: vdi.WaitingForTemplate, stalled: true,
		}
	}
	spec := p.session.Spec
	if err := platform.ValidateUser(spec.User); err != nil {
		return refused(vdi.ReasonInvalidUser, fmt.Errorf("spec.user: %w", err))
	}
	resources, err := renderer.ResourcesOf(spec, p.template.Spec)
	if err != nil {
		return refused(vdi.ReasonInvalidResources, err)
	}
	p.resources = resources
	template := p.template.Spec
	if err := r.Config.Sessions.GPUSharing.CheckCount(*resources.GPU, template.GPU.ResourceName, template.Scheduling.NodeSelector); err != nil {
		return refused(vdi.ReasonGPUCountNotSliceable, err)
	}
	return r.nameHost(p)
}

// nameHost keeps the host a session has: its URL is a promise.
func (r *Reconciler) nameHost(p *pass) error {
	s := p.session
	if s.Status.Host != "" {
		p.host, p.url, p.hasHost = s.Status.Host, s.Status.URL, true
		return nil
	}
	host, err := platform.Host(r.Config.Sessions, s.Spec.User, s.Name, s.Namespace, string(s.UID))
	if err != nil {
		return refused(vdi.ReasonInvalidHost, err)
	}
	p.host, p.url = host, platform.URL(r.Config.Sessions, host)
	p.hasHost = !platform.HostNeedsClaim(r.Config.Sessions) // else its claim will show
	return nil
}

// refused halts a session whose spec or template has to change.
func refused(reason string, err error) *halt {
	return &halt{
		condition: vdi.ConditionAccepted, reason: reason, message: err.Error(),
		phase: vdi.PhaseFailed, stalled: true,
	}
}

// keepRegistered gives a desktop back the finalizer that an uninstall has taken
// off: its end must be orderly, whatever is refused to the session now.
func (r *Reconciler) keepRegistered(ctx context.Context, p *pass) error {
	if p.seen.pod == nil {
		return nil
	}
	return r.register(ctx, p)
}

// register adds the finalizer before anything exists whose end must be orderly.
func (r *Reconciler) register(ctx context.Context, p *pass) error {
	if controllerutil.ContainsFinalizer(p.session, wire.Finalizer) {
		return nil
	}
	before := p.session.DeepCopy()
	controllerutil.AddFinalizer(p.session, wire.Finalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, p.session, patch, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("add finalizer: %w", err)
	}
	p.wrote(before.ResourceVersion)
	return nil
}

func (r *Reconciler) render(_ context.Context, p *pass) error {
	keys := r.statementKeys()
	if r.isOIDC() && len(keys) == 0 {
		return withoutStatementKeys()
	}
	p.input = renderer.Input{
		Session: *p.session, Template: *p.template, Platform: r.Config, Host: p.host, StatementKeys: keys, Encoder: p.encoder,
	}
	if r.settled.holds(p) {
		return nil
	}
	rendered, err := r.Renderer.Render(p.input)
	switch {
	case err == nil:
		p.desired, p.claims = rendered.Objects, rendered.Claims
		return nil
	case errors.Is(err, platform.ErrNoRelay):
		return refused(vdi.ReasonRelayNotConfigured, err)
	case errors.Is(err, renderer.ErrGuard):
		return refused(vdi.ReasonRefusedByGuard, err)
	case errors.Is(err, renderer.ErrResources):
		return refused(vdi.ReasonInvalidResources, err)
	default:
		return refused(vdi.ReasonInvalidValues, err)
	}
}

// patchStatus writes the status once, and only if it differs.
func (r *Reconciler) patchStatus(ctx context.Context, before, after *vdi.VDISession) error {
	if statusEqual(before.Status, after.Status) {
		return nil
	}
	base := after.DeepCopy()
	base.Status = before.Status
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	r.written.store(client.ObjectKeyFromObject(after), r.Clock.Now())
	err := r.Client.Status().Patch(ctx, after, patch, client.FieldOwner(FieldOwner))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}

// isRouteKindMissing tells whether the proxy's kinds are not installed.
func isRouteKindMissing(err error) bool { return meta.IsNoMatchError(err) }
