package plan

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// apply creates what is missing, in install order, and puts back what drifted.
// While a desktop lives, its objects stay as they were when it started.
func (p draft) apply() error {
	if p.Desired == nil {
		return nil
	}
	if p.Starting() {
		if platform.UsesRelay(p.Template.Spec) {
			p.do(MakeTURNLogin{})
		}
		p.do(MakeCredentials{})
	}
	for _, o := range p.Desired {
		err := p.applyOne(o)
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

func (p draft) applyOne(o *unstructured.Unstructured) error {
	switch {
	case o.GetKind() == wire.KindPersistentVolumeClaim:
		return p.applyHome(o)
	case !p.Wants(o):
	case o.GetKind() != wire.KindPod:
		p.compare(o)
	case p.Seen.Pod != nil: // a pod is never patched
		p.NotePending(o, p.Seen.Pod)
	default:
		p.do(Create{o})
	}
	return nil
}

// compare creates a policy, service or route, or puts it back.
func (p draft) compare(o *unstructured.Unstructured) {
	kind, live := o.GetKind(), p.Seen.PodLives()
	current := p.Seen.Others[KeyOf(o)]
	if current != nil && isUnlabelled(current) { // it is labelled before
		current = current.DeepCopy()
		current.SetLabels(labels.Merge(current.GetLabels(), labels.Set{wire.LabelProxy: wire.LabelOn}))
	}
	switch {
	case current == nil && kind == wire.KindPodDisruptionBudget && live && !p.SameRevision():
		p.Pending = append(p.Pending, kind) // the desktop was started without one
	case current == nil:
		p.doUnlessRefused(kind, Create{o})
	case current.GetDeletionTimestamp() != nil: // its end wakes us
	case live && !p.SameRevision() && kind != wire.KindConfigMap && p.NotePending(o, current):
	case objects.Drifted(o.Object, current.Object):
		p.doUnlessRefused(kind, PutBack{o})
	}
}

// applyHome makes the home when there is none and lets it grow; beside who holds
// it and that it was left, nothing else of a claim is ever written.
func (p draft) applyHome(o *unstructured.Unstructured) error {
	claim := p.Seen.Claim
	switch {
	case claim == nil && p.HomeGone: // a new one now would stand in the way of bringing the old one back
		return nil
	case claim == nil:
		p.doUnlessRefused(o.GetKind(), MakeHome{o, p.Starting()})
		return nil
	}
	if err := homes.Usable(p.Session, claim); err != nil {
		return err // also a session that does not start leaves another's home alone
	}
	if _, holds := planned[Hold](p.Writes); !holds && homes.MayTakeBack(p.Session, claim) {
		p.do(TakeHomeBack{}) // also while no desktop starts: whoever was about to delete it finds it changed
	}
	p.HomeDiffers = homes.Differences(claim, o)
	return p.growHome(o)
}

// growHome raises the claim's request. A volume cannot shrink, and whether it
// grows is the cluster's to say: a desktop starts, runs and stops without that.
func (p draft) growHome(o *unstructured.Unstructured) error {
	wish, found, _ := unstructured.NestedString(o.Object, "spec", "resources", "requests", "storage")
	if !found || !kept.MadeByOperator(p.Seen.Claim) {
		return nil
	}
	size, err := resource.ParseQuantity(wish)
	if err != nil {
		return fmt.Errorf("size of home: %w", err)
	}
	switch size.Cmp(p.Seen.Claim.Spec.Resources.Requests[corev1.ResourceStorage]) {
	case 1:
		if p.Room.Small != nil { // said where the quotas were asked
			return nil
		}
		p.do(GrowHome{size})
	case -1:
		p.SizeRefused = &verdict.Verdict{
			Reason:  vdi.ReasonHomeShrinkRefused,
			Message: "The home stays as large as it is: a volume cannot shrink (spec.persistence.size)",
		}
	}
	return nil
}

// prune takes away what is ours and no longer rendered. It never touches a home or a Secret.
// What a desktop that starts finds stays with it.
func (p draft) prune() error {
	p.NoteSurplus()
	if p.Starting() {
		return nil
	}
	for _, o := range p.Seen.Which(func(o *unstructured.Unstructured) bool {
		return p.IsStale(KeyOf(o)) && o.GetDeletionTimestamp() == nil
	}) {
		p.do(Prune{o})
	}
	return nil
}
