package plan

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Wants reports whether a rendered object should exist now: a stopped session
// has neither pod nor route, and nothing that a drain would wait for.
func (p *Pass) Wants(o *unstructured.Unstructured) bool {
	return p.Decision.Want == Run || (o.GetKind() != wire.KindPod && !RunsOnly(o.GetKind()))
}

// RunsOnly reports whether a kind beside the pod exists only while a desktop should run.
func RunsOnly(kind string) bool {
	return kind == wire.KindIngressRoute || kind == wire.KindPodDisruptionBudget
}

// SameRevision reports whether the pod was started from exactly what is rendered
// now. Then every difference in a child is drift, whatever its annotations say.
func (p *Pass) SameRevision() bool {
	for _, o := range p.Desired {
		if o.GetKind() == wire.KindPod {
			return o.GetAnnotations()[wire.AnnotationSessionRevision] == p.Seen.Pod.Annotations[wire.AnnotationSessionRevision]
		}
	}
	return false
}

// NotePending remembers that the next start uses a newer object, and reports whether it does.
func (p *Pass) NotePending(rendered *unstructured.Unstructured, live metav1.Object) bool {
	if rendered.GetAnnotations()[wire.AnnotationRevision] == live.GetAnnotations()[wire.AnnotationRevision] {
		return false
	}
	p.Pending = append(p.Pending, changedParts(rendered, live)...)
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
	if !equality.Semantic.DeepEqual(desktop.PlainEnv(was.Env), desktop.PlainEnv(will.Env)) {
		parts = append(parts, "environment")
	}
	if len(parts) == 0 {
		parts = append(parts, "other settings of the pod")
	}
	return parts
}

// IsRepair distinguishes a repair from the update that a new revision brings. Keys are
// no part of a pod's revision: agents get new ones while they run.
func (p *Pass) IsRepair(rendered *unstructured.Unstructured, live metav1.Object) bool {
	return rendered.GetAnnotations()[wire.AnnotationRevision] == live.GetAnnotations()[wire.AnnotationRevision] ||
		p.Seen.PodLives() && p.SameRevision() && rendered.GetKind() != wire.KindConfigMap
}

// NoteSurplus remembers that the next start does without an object that the
// living desktop was started with.
func (p *Pass) NoteSurplus() {
	budget := Key{wire.KindPodDisruptionBudget, p.Session.Name}
	if p.Desired != nil && p.Seen.PodLives() && p.Seen.Others[budget] != nil && !p.Renders(budget) {
		p.Pending = append(p.Pending, budget.Kind)
	}
}

// Renders reports whether the object is rendered now and wanted.
func (p *Pass) Renders(key Key) bool {
	for _, o := range p.Desired {
		if KeyOf(o) == key && p.Wants(o) {
			return true
		}
	}
	return false
}

// IsStale reports whether a child of ours should not exist now.
func (p *Pass) IsStale(key Key) bool {
	if p.Desired == nil || p.Seen.PodLives() {
		return false // nothing was rendered, or a living desktop keeps what it started with
	}
	if p.Decision.Want != Run && RunsOnly(key.Kind) {
		return false // stop has seen to it
	}
	return !p.Renders(key)
}
