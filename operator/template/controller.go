// Package template writes into every VDITemplate's status whether sessions can start from
// it, how many name it and which encoder they get. It never changes a session.
package template

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/operator/retry"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// countDelay gathers the starts and ends of many sessions, or the changes of
// many nodes, into one write.
const countDelay = 10 * time.Second

// Reconciler writes the status of templates.
type Reconciler struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Renderer checks a template's values.
	Renderer Renderer
	// Nodes knows what the nodes have; nil: nobody does.
	Nodes gpunodes.Reader
	// Config are the platform's settings.
	Config platform.Config
	// Clock is the time; a fake one in tests.
	Clock clock.PassiveClock

	verdicts sync.Map // name → verdict
}

// verdict is why no session can start from a template, or that it can: its status
// changes with every session, and to render it costs milliseconds.
type verdict struct {
	spec vdi.VDITemplateSpec
	err  error
}

// Renderer is renderer.Renderer, or a test's that remembers.
type Renderer interface {
	ValidateTemplate(t *vdi.VDITemplate, p platform.Config) error
}

// validate judges each spec of a template once.
func (r *Reconciler) validate(t *vdi.VDITemplate) error {
	if last, found := r.verdicts.Load(t.Name); found && equality.Semantic.DeepEqual(last.(verdict).spec, t.Spec) {
		return last.(verdict).err
	}
	err := r.Renderer.ValidateTemplate(t, r.Config)
	r.verdicts.Store(t.Name, verdict{*t.Spec.DeepCopy(), err})
	return err
}

// Reconcile writes one template's status, if it differs.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	t := &vdi.VDITemplate{}
	if err := r.Client.Get(ctx, req.NamespacedName, t); err != nil {
		r.verdicts.Delete(req.Name)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	sessions := &vdi.VDISessionList{}
	err := r.Client.List(ctx, sessions, client.MatchingFields{session.TemplateIndex: t.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("list sessions of template %q: %w", t.Name, err)
	}
	nodes, err := r.nodes(ctx, t)
	if err != nil {
		return ctrl.Result{}, err
	}
	lacking, err := gpunodes.Lacking(ctx, r.Nodes, defaultRequests(t.Spec))
	if err != nil {
		return ctrl.Result{}, err
	}
	before := t.DeepCopy()
	t.Status = statusOf(t, seen{sessions.Items, nodes, lacking, r.validate(t)}, metav1.NewTime(r.Clock.Now()))
	if equality.Semantic.DeepEqual(before.Status, t.Status) {
		return ctrl.Result{}, nil
	}
	err = r.Client.Status().Patch(ctx, t, client.MergeFrom(before), client.FieldOwner(session.FieldOwner))
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

func (r *Reconciler) nodes(ctx context.Context, t *vdi.VDITemplate) ([]platform.GPUNode, error) {
	if r.Nodes == nil {
		return nil, nil
	}
	return r.Nodes.GPUs(ctx, t.Spec)
}

// defaultRequests is what a session that takes every default of a template asks a device
// plugin for.
func defaultRequests(t vdi.VDITemplateSpec) corev1.ResourceList {
	limits, err := renderer.ResourcesOf(vdi.VDISessionSpec{}, t)
	if err != nil {
		return nil // the template is not valid, which says more
	}
	name := corev1.ResourceName(cmp.Or(t.GPU.ResourceName, platform.DefaultGPUResource))
	return corev1.ResourceList{name: *resource.NewQuantity(int64(*limits.GPU), resource.DecimalSI)}
}

// seen is what a template's status is computed from.
type seen struct {
	sessions []vdi.VDISession
	nodes    []platform.GPUNode  // that its desktops can land on
	lacking  []gpunodes.Shortage // what its sessions ask for by default, and no node has
	invalid  error               // why no session can start from it
}

// statusOf computes a template's status.
func statusOf(t *vdi.VDITemplate, s seen, now metav1.Time) vdi.VDITemplateStatus {
	st := *t.Status.DeepCopy()
	st.ObservedGeneration = t.Generation
	st.Sessions = countSessions(s.sessions)
	st.Encoder = platform.EncoderOutcome(t.Spec, s.nodes)
	c := metav1.Condition{
		Type: vdi.ConditionValid, Status: metav1.ConditionTrue, Reason: vdi.ReasonAsExpected,
		Message: "Sessions can start from this template", ObservedGeneration: t.Generation, LastTransitionTime: now,
	}
	warning := platform.EncoderWarning(t.Spec, s.nodes)
	switch {
	case s.invalid != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, vdi.ReasonInvalidValues, s.invalid.Error()
	case len(s.lacking) > 0: // before any encoder: nothing starts without it
		c.Reason, c.Message = vdi.ReasonNotOffered, c.Message+", but "+notOffered(s.lacking[0])
	case warning != "":
		c.Reason, c.Message = vdi.ReasonEncoderMissing, c.Message+", but "+warning
	}
	meta.SetStatusCondition(&st.Conditions, c)
	return st
}

// notOffered ends a sentence. A node that offers it may come at any time.
func notOffered(s gpunodes.Shortage) string {
	if s.Most.IsZero() {
		return fmt.Sprintf("no node offers %s at present", s.Resource)
	}
	return fmt.Sprintf("no node offers more than %s of %s at present; its sessions ask for %s", s.Most.String(), s.Resource, s.Asked.String())
}

func countSessions(sessions []vdi.VDISession) vdi.TemplateSessions {
	count := vdi.TemplateSessions{Total: int32(len(sessions))}
	for i := range sessions {
		if sessions[i].Status.Phase == vdi.PhaseRunning {
			count.Running++
		}
	}
	return count
}

// Setup registers the controller with the manager.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	b := ctrl.NewControllerManagedBy(mgr).Named("template").
		For(&vdi.VDITemplate{}, builder.WithPredicates(session.SpecChanged())).
		Watches(&vdi.VDISession{}, retry.Later(countDelay, afterSession)).
		WithOptions(controller.Options{RateLimiter: retry.Limiter()})
	if r.Nodes != nil {
		b = b.Watches(&corev1.Node{}, retry.Later(countDelay, r.afterNodes), builder.WithPredicates(gpunodes.Changed()))
	}
	return b.Complete(r)
}

// afterNodes are all templates: a pool that grows is counted once. Sessions are not looked at:
// a change is for the next start.
func (r *Reconciler) afterNodes(ctx context.Context, _, _ client.Object) []types.NamespacedName {
	return retry.All(ctx, r.Client, &vdi.VDITemplateList{})
}

// afterSession is the template of a session that came, went, or began or ended to run, so that
// a thousand starts cost a few writes.
func afterSession(_ context.Context, before, after client.Object) []types.NamespacedName {
	was, isSession := before.(*vdi.VDISession)
	is, isThere := after.(*vdi.VDISession)
	switch {
	case !isThere:
		is = was
	case isSession && (was.Status.Phase == vdi.PhaseRunning) == (is.Status.Phase == vdi.PhaseRunning):
		return nil
	}
	return []types.NamespacedName{{Name: is.Spec.Template}}
}
