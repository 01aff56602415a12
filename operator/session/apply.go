package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// apply creates what is missing, in install order, and puts back what drifted.
// While a desktop lives, its objects stay as they were when it started.
func (r *Reconciler) apply(ctx context.Context, p *plan.Pass) error {
	if p.Desired == nil {
		return nil
	}
	if p.Starting() {
		if err := r.startTURNLogin(ctx, p); err != nil {
			return err
		}
		if err := r.ensureCredentials(ctx, p); err != nil {
			return err
		}
	}
	for _, o := range p.Desired {
		err := r.applyOne(ctx, p, o)
		var v *verdict.Verdict
		if errors.As(err, &v) && p.MayLack(o.GetKind()) {
			p.Refuse(v) // the others are looked after all the same
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) applyOne(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	switch {
	case o.GetKind() == wire.KindPersistentVolumeClaim:
		return r.applyHome(ctx, p, o)
	case !p.Wants(o):
		return nil
	case o.GetKind() == wire.KindPod:
		return r.applyPod(ctx, p, o)
	default:
		return r.applyCompared(ctx, p, o)
	}
}

// applyPod starts the desktop when there is none. A pod is never patched.
func (r *Reconciler) applyPod(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	if p.Seen.Pod != nil {
		p.NotePending(o, p.Seen.Pod)
		return nil
	}
	o = o.DeepCopy()
	if p.Verifier != "" { // for an operator that takes over before the status is written
		annotations := o.GetAnnotations()
		annotations[wire.AnnotationPasswordVerifier] = p.Verifier
		o.SetAnnotations(annotations)
	}
	created, err := r.create(ctx, p, o)
	if err != nil {
		return err
	}
	pod := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(created.Object, pod); err != nil {
		return fmt.Errorf("read back pod: %w", err)
	}
	p.Seen.Pod, p.Made = pod, true
	r.held.Delete(client.ObjectKeyFromObject(p.Session)) // the next start holds its home anew
	return nil
}

// applyCompared creates a policy, service or route, or puts it back.
func (r *Reconciler) applyCompared(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	current := p.Seen.Others[plan.KeyOf(o)]
	if current == nil && o.GetKind() == budgetKind.Kind && p.Seen.PodLives() && !p.SameRevision() {
		p.Pending = append(p.Pending, o.GetKind()) // the desktop was started without one
		return nil
	}
	if current == nil {
		created, err := r.create(ctx, p, o)
		if err == nil {
			p.Seen.Others[plan.KeyOf(o)] = created
			p.Altered = p.Altered || objects.Drifted(o.Object, created.Object)
		}
		return err
	}
	if current.GetDeletionTimestamp() != nil {
		return nil // its end wakes us
	}
	if p.Seen.PodLives() && !p.SameRevision() && o.GetKind() != statementKeysKind.Kind && p.NotePending(o, current) {
		return nil
	}
	if !objects.Drifted(o.Object, current.Object) {
		return nil
	}
	return r.putBack(ctx, p, o)
}

// create makes an object. It never takes over one that is not ours.
func (r *Reconciler) create(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made, err := r.objects().Create(ctx, o)
	switch {
	case err == nil:
		return made, nil
	case apierrors.IsAlreadyExists(err):
		return r.claimExisting(ctx, p, o)
	default:
		return nil, verdict.OfWrite(o.GetKind(), err)
	}
}

// claimExisting decides about an object of the wanted name that the cache does
// not show as ours: perhaps it is ours and the cache is late, perhaps it lost
// its labels, perhaps it is somebody else's.
func (r *Reconciler) claimExisting(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live, err := r.objects().Read(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := verdict.OwnedBy(p.Session, live, o.GetKind()); err != nil {
		return nil, err
	}
	if o.GetKind() != wire.KindPod && objects.Drifted(o.Object, live.Object) {
		return live, r.putBack(ctx, p, o)
	}
	return live, nil
}

// putBack makes an object of ours as rendered.
func (r *Reconciler) putBack(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	live, err := r.objects().Read(ctx, o)
	if err != nil {
		return err
	}
	if err := verdict.OwnedBy(p.Session, live, o.GetKind()); err != nil {
		return err
	}
	found := live.DeepCopy()
	now, changed, err := r.objects().PutBack(ctx, o, live)
	if changed && p.IsRepair(o, found) && !slices.Contains(p.Repaired, o.GetKind()) {
		p.Repaired = append(p.Repaired, o.GetKind()) // also if a status written meanwhile ends this pass here
	}
	if err != nil {
		return verdict.OfWrite(o.GetKind(), err)
	}
	p.Seen.Others[plan.KeyOf(o)] = now
	return nil
}

// prune deletes what is ours and no longer rendered. It never touches a home or a Secret.
func (r *Reconciler) prune(ctx context.Context, p *plan.Pass) error {
	p.NoteSurplus()
	for _, o := range p.Seen.Which(func(o *unstructured.Unstructured) bool {
		return p.IsStale(plan.KeyOf(o)) && o.GetDeletionTimestamp() == nil
	}) {
		if err := r.objects().Remove(ctx, o); err != nil {
			return err
		}
		delete(p.Seen.Others, plan.KeyOf(o))
	}
	return nil
}

// markForProxy gives the label to routes and middlewares that lack it, as those of earlier
// versions do, whatever else the session waits for: the proxy would not see them. Nothing
// but the label is written, so that a living desktop stays as it was started.
func (r *Reconciler) markForProxy(ctx context.Context, p *plan.Pass) error {
	for _, o := range p.Seen.Which(unmarked) {
		err := r.objects().Label(ctx, o, wire.LabelProxy, wire.LabelOn)
		switch {
		case apierrors.IsNotFound(err): // its end wakes us
		case err != nil && objects.IsRefusal(err):
			p.Refuse(verdict.Denied(o.GetKind(), err))
		case err != nil:
			return fmt.Errorf("label %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// unmarked says whether an object is of the proxy's kinds and lacks the label.
func unmarked(o *unstructured.Unstructured) bool {
	return verdict.IsProxyKind(o.GetKind()) && o.GetDeletionTimestamp() == nil && o.GetLabels()[wire.LabelProxy] != wire.LabelOn
}
