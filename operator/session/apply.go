package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// apply creates what is missing, in install order, and puts back what drifted.
// While a desktop lives, its objects stay as they were when it started.
func (r *Reconciler) apply(ctx context.Context, p *pass) error {
	if p.desired == nil {
		return nil
	}
	if p.starting() {
		if err := r.startTURNLogin(ctx, p); err != nil {
			return err
		}
		if err := r.ensureCredentials(ctx, p); err != nil {
			return err
		}
	}
	for _, o := range p.desired {
		err := r.applyOne(ctx, p, o)
		var h *halt
		if errors.As(err, &h) && p.mayLack(o.GetKind()) {
			p.refuse(h) // the others are looked after all the same
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// starting tells whether this pass is to create a pod.
func (p *pass) starting() bool { return p.decision.want == wantRun && p.seen.pod == nil }

func (r *Reconciler) applyOne(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	switch {
	case o.GetKind() == wire.KindPersistentVolumeClaim:
		return r.applyHome(ctx, p, o)
	case !p.wanted(o):
		return nil
	case o.GetKind() == wire.KindPod:
		return r.applyPod(ctx, p, o)
	default:
		return r.applyCompared(ctx, p, o)
	}
}

// wanted tells whether a rendered object should exist now: a stopped session
// has neither pod nor route, and nothing that a drain would wait for.
func (p *pass) wanted(o *unstructured.Unstructured) bool {
	return p.decision.want == wantRun || (o.GetKind() != wire.KindPod && !runsOnly(o.GetKind()))
}

// runsOnly tells whether a kind beside the pod exists only while a desktop should run.
func runsOnly(kind string) bool { return kind == routeKind.Kind || kind == budgetKind.Kind }

// stop deletes the desktop of a session that should not run. It comes before
// everything that could be refused.
func (r *Reconciler) stop(ctx context.Context, p *pass) error {
	if p.decision.want == wantRun {
		return nil
	}
	if err := r.stopDesktop(ctx, p); err != nil || p.seen.pod != nil || p.session.Status.Phase == vdi.PhaseSuspended {
		return err
	}
	return r.removeUnseen(ctx, p)
}

// removeUnseen looks, once in a stop, whether the API server has a way in that the cache
// does not show: one that has lost its labels is not watched.
func (r *Reconciler) removeUnseen(ctx context.Context, p *pass) error {
	for _, c := range r.compared(p.session.Name) {
		kind, err := r.Client.GroupVersionKindFor(c.object)
		if err != nil {
			return fmt.Errorf("look for what is left of the desktop: %w", err)
		}
		if !runsOnly(kind.Kind) || p.seen.others[objectKey{kind.Kind, c.name}] != nil {
			continue
		}
		left := newMetadata(kind, c.name)
		there, err := r.readLive(ctx, p.session, left)
		if err != nil {
			return err
		}
		if !there || !metav1.IsControlledBy(left, p.session) || left.DeletionTimestamp != nil {
			continue
		}
		if err := r.confirm(ctx, p); err != nil {
			return err
		}
		if err := r.remove(ctx, left); err != nil && !isRefusal(err) {
			return err
		}
	}
	return nil
}

// stopDesktop takes the way in away first, so that the URL dies at once, and the
// pod whatever became of that. What the cluster does not let go leads nowhere
// then, and is the session's to the end.
func (r *Reconciler) stopDesktop(ctx context.Context, p *pass) error {
	ways := p.seen.which(func(o *unstructured.Unstructured) bool {
		return runsOnly(o.GetKind()) && o.GetDeletionTimestamp() == nil
	})
	runs := p.seen.pod != nil && p.seen.pod.DeletionTimestamp == nil
	if len(ways) == 0 && !runs {
		return nil
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	var failed []error
	for _, o := range ways {
		switch err := r.remove(ctx, o); {
		case err == nil:
			delete(p.seen.others, keyOf(o))
		case isRefusal(err):
			p.refuse(denied(o.GetKind(), err))
		default:
			failed = append(failed, err)
		}
	}
	if runs {
		failed = append(failed, r.remove(ctx, p.seen.pod))
	}
	return errors.Join(failed...)
}

// applyPod starts the desktop when there is none. A pod is never patched.
func (r *Reconciler) applyPod(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	if p.seen.pod != nil {
		p.notePending(o, p.seen.pod)
		return nil
	}
	o = o.DeepCopy()
	if p.verifier != "" { // for an operator that takes over before the status is written
		annotations := o.GetAnnotations()
		annotations[wire.AnnotationPasswordVerifier] = p.verifier
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
	p.seen.pod, p.made = pod, true
	r.held.delete(client.ObjectKeyFromObject(p.session)) // the next start holds its home anew
	return nil
}

// applyCompared creates a policy, service or route, or puts it back.
func (r *Reconciler) applyCompared(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	current := p.seen.others[keyOf(o)]
	if current == nil && o.GetKind() == budgetKind.Kind && p.seen.podLives() && !p.sameRevision() {
		p.pending = append(p.pending, o.GetKind()) // the desktop was started without one
		return nil
	}
	if current == nil {
		created, err := r.create(ctx, p, o)
		if err == nil {
			p.seen.others[keyOf(o)] = created
			p.altered = p.altered || drifted(o.Object, created.Object)
		}
		return err
	}
	if current.GetDeletionTimestamp() != nil {
		return nil // its end wakes us
	}
	if p.seen.podLives() && !p.sameRevision() && o.GetKind() != statementKeysKind.Kind && p.notePending(o, current) {
		return nil
	}
	if !drifted(o.Object, current.Object) {
		return nil
	}
	return r.putBack(ctx, p, o)
}

// sameRevision tells whether the pod was started from exactly what is rendered
// now. Then every difference in a child is drift, whatever its annotations say.
func (p *pass) sameRevision() bool {
	for _, o := range p.desired {
		if o.GetKind() == wire.KindPod {
			return o.GetAnnotations()[wire.AnnotationSessionRevision] == p.seen.pod.Annotations[wire.AnnotationSessionRevision]
		}
	}
	return false
}

// notePending remembers that the next start uses a newer object, and tells whether it does.
func (p *pass) notePending(rendered *unstructured.Unstructured, live metav1.Object) bool {
	if rendered.GetAnnotations()[wire.AnnotationRevision] == live.GetAnnotations()[wire.AnnotationRevision] {
		return false
	}
	p.pending = append(p.pending, changedParts(rendered, live)...)
	return true
}

// changedParts names what differs between a new rendering and what runs, in the
// words of the API where there are some.
func changedParts(rendered *unstructured.Unstructured, live metav1.Object) []string {
	pod, isPod := live.(*corev1.Pod)
	wanted := &corev1.Pod{}
	if !isPod || runtime.DefaultUnstructuredConverter.FromUnstructured(rendered.Object, wanted) != nil {
		return []string{rendered.GetKind()}
	}
	var parts []string
	was, will := pod.Spec.Containers[0], wanted.Spec.Containers[0]
	if was.Image != will.Image {
		parts = append(parts, fmt.Sprintf("image (%s instead of %s)", will.Image, was.Image))
	}
	if !equality.Semantic.DeepEqual(was.Resources, will.Resources) {
		parts = append(parts, "sizes")
	}
	if !equality.Semantic.DeepEqual(plainEnv(was.Env), plainEnv(will.Env)) {
		parts = append(parts, "environment")
	}
	if len(parts) == 0 {
		parts = append(parts, "other settings of the pod")
	}
	return parts
}

// create makes an object. It never takes over one that is not ours.
func (r *Reconciler) create(ctx context.Context, p *pass, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made := o.DeepCopy()
	err := r.Client.Create(ctx, made, client.FieldOwner(FieldOwner))
	switch {
	case err == nil:
		logf.FromContext(ctx).Info("created", "kind", o.GetKind(), "name", o.GetName())
		return made, nil
	case apierrors.IsAlreadyExists(err):
		return r.claimExisting(ctx, p, o)
	default:
		return nil, classify(o.GetKind(), err)
	}
}

// claimExisting decides about an object of the wanted name that the cache does
// not show as ours: perhaps it is ours and the cache is late, perhaps it lost
// its labels, perhaps it is somebody else's.
func (r *Reconciler) claimExisting(ctx context.Context, p *pass, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(o.GroupVersionKind())
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(o), live); err != nil {
		return nil, fmt.Errorf("read existing %s: %w", o.GetKind(), err)
	}
	if err := ownedBy(p.session, live, o.GetKind()); err != nil {
		return nil, err
	}
	if o.GetKind() != wire.KindPod && drifted(o.Object, live.Object) {
		return live, r.putBack(ctx, p, o)
	}
	return live, nil
}

// ownedBy halts unless the session controls the object.
func ownedBy(s *vdi.VDISession, o metav1.Object, kind string) error {
	if metav1.IsControlledBy(o, s) {
		return nil
	}
	owner := metav1.GetControllerOf(o)
	if owner != nil && owner.Kind == wire.KindSession && owner.Name == s.Name {
		return &halt{
			condition: vdi.ConditionScheduled, reason: vdi.ReasonWaiting, phase: vdi.PhasePending,
			message: fmt.Sprintf("The %s of the former session %q is still being removed", kind, s.Name),
			retry:   ownerGoneRetry,
		}
	}
	return &halt{
		condition: vdi.ConditionNameConflict, reason: vdi.ReasonNameTaken, phase: vdi.PhaseFailed, stalled: true, conflict: true,
		message: fmt.Sprintf("%s %q exists and was not made by the operator; it is left alone. Remove or rename it, or use another session name", kind, o.GetName()),
		retry:   deniedRetry,
	}
}

// putBack makes an object of ours as rendered, also removing fields that are no
// longer rendered or that somebody else added to the spec.
func (r *Reconciler) putBack(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(o.GroupVersionKind())
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(o), live); err != nil {
		return fmt.Errorf("read %s before putting it back: %w", o.GetKind(), err)
	}
	if err := ownedBy(p.session, live, o.GetKind()); err != nil {
		return err
	}
	found := live.DeepCopy()
	if err := r.removeAdded(ctx, o, live); err != nil {
		return err
	}
	if live.GetResourceVersion() != found.GetResourceVersion() {
		p.noteRepair(ctx, o, found) // also if a status written meanwhile ends this pass here
	}
	if err := r.upgradeOwnership(ctx, live); err != nil {
		return err
	}
	wanted := o.DeepCopy()
	wanted.SetUID(live.GetUID()) // never an object that took this one's place meanwhile
	err := r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), client.FieldOwner(FieldOwner), client.ForceOwnership)
	if err != nil {
		return classify(o.GetKind(), err)
	}
	p.seen.others[keyOf(o)] = wanted
	if wanted.GetResourceVersion() == found.GetResourceVersion() {
		return nil // the API server sees no difference
	}
	p.noteRepair(ctx, o, found)
	return nil
}

// noteRepair remembers, once, what was put back, to be told.
func (p *pass) noteRepair(ctx context.Context, rendered, found *unstructured.Unstructured) {
	logf.FromContext(ctx).Info("put back", "kind", rendered.GetKind(), "name", rendered.GetName())
	if p.isRepair(rendered, found) && !slices.Contains(p.repaired, rendered.GetKind()) {
		p.repaired = append(p.repaired, rendered.GetKind())
	}
}

// removeAdded removes from the spec what was not rendered. The apply that
// follows cannot: the fields belong to somebody else, and where a whole map is
// left empty (the route's "tls: {}") the API server would make it null.
func (r *Reconciler) removeAdded(ctx context.Context, rendered, live *unstructured.Unstructured) error {
	if !hasMore(rendered.Object, live.Object) {
		return nil
	}
	before := live.DeepCopy()
	live.Object[contentField(rendered.Object)] = runtime.DeepCopyJSON(specWithServerFields(rendered.Object, live.Object))
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, live, patch, client.FieldOwner(FieldOwner)); err != nil {
		return classify(live.GetKind(), err)
	}
	return nil
}

// isRepair tells a repair from the update that a new revision brings. Keys are
// no part of a pod's revision: agents get new ones while they run.
func (p *pass) isRepair(rendered *unstructured.Unstructured, live metav1.Object) bool {
	return rendered.GetAnnotations()[wire.AnnotationRevision] == live.GetAnnotations()[wire.AnnotationRevision] ||
		p.seen.podLives() && p.sameRevision() && rendered.GetKind() != statementKeysKind.Kind
}

// upgradeOwnership makes the fields of the first creation ours to remove: they
// belong to an "Update" entry, which has to become an "Apply" entry.
func (r *Reconciler) upgradeOwnership(ctx context.Context, live *unstructured.Unstructured) error {
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(FieldOwner), FieldOwner)
	if err != nil {
		return fmt.Errorf("upgrade field ownership of %s: %w", live.GetKind(), err)
	}
	if patch == nil {
		return nil
	}
	if err := r.Client.Patch(ctx, live, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("upgrade field ownership of %s: %w", live.GetKind(), err)
	}
	return nil
}

// prune deletes what is ours and no longer rendered. It never touches a home or a Secret.
func (r *Reconciler) prune(ctx context.Context, p *pass) error {
	p.noteSurplus()
	for _, o := range p.seen.which(func(o *unstructured.Unstructured) bool { return p.stale(keyOf(o)) && o.GetDeletionTimestamp() == nil }) {
		if err := r.remove(ctx, o); err != nil {
			return err
		}
		delete(p.seen.others, keyOf(o))
	}
	return nil
}

// noteSurplus remembers that the next start does without an object that the
// living desktop was started with.
func (p *pass) noteSurplus() {
	budget := objectKey{budgetKind.Kind, p.session.Name}
	if p.desired != nil && p.seen.podLives() && p.seen.others[budget] != nil && !p.renders(budget) {
		p.pending = append(p.pending, budget.kind)
	}
}

// renders tells whether the object is rendered now and wanted.
func (p *pass) renders(key objectKey) bool {
	for _, o := range p.desired {
		if keyOf(o) == key && p.wanted(o) {
			return true
		}
	}
	return false
}

// stale tells whether a child of ours should not exist now.
func (p *pass) stale(key objectKey) bool {
	if p.desired == nil || p.seen.podLives() {
		return false // nothing was rendered, or a living desktop keeps what it started with
	}
	if p.decision.want != wantRun && runsOnly(key.kind) {
		return false // stop has seen to it
	}
	return !p.renders(key)
}

// remove deletes exactly the object that was seen.
func (r *Reconciler) remove(ctx context.Context, o client.Object) error {
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := r.Client.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s %q: %w", kindOf(o), o.GetName(), err)
	}
	logf.FromContext(ctx).Info("deleted", "kind", kindOf(o), "name", o.GetName())
	return nil
}

func kindOf(o client.Object) string {
	switch o.(type) {
	case *corev1.Pod:
		return wire.KindPod
	case *corev1.PersistentVolumeClaim:
		return wire.KindPersistentVolumeClaim
	default:
		return o.GetObjectKind().GroupVersionKind().Kind
	}
}
