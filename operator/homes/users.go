package homes

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Users know who has a claim.
type Users struct {
	// Cache and Live read from the cache and from the API server itself.
	Cache, Live client.Reader
	// OnClaim selects what the cache knows on a claim, or more.
	OnClaim func(namespace, claim string) []client.ListOption
}

// DesktopOn is a desktop of another session that is known to use the claim; nil for none.
func (u Users) DesktopOn(ctx context.Context, s *vdi.VDISession, claim string) (*corev1.Pod, error) {
	pods := &corev1.PodList{}
	which := append(u.OnClaim(s.Namespace, claim), client.MatchingLabels{wire.LabelName: wire.NameSession})
	if err := u.Cache.List(ctx, pods, which...); err != nil {
		return nil, fmt.Errorf("list desktops on home %q: %w", claim, err)
	}
	return otherOn(pods.Items, s, claim), nil
}

// podsPerPage bounds the memory that a look at all pods of a namespace takes.
const podsPerPage = 250

// PodsOn asks the API server itself, about every pod: for one that uses the claim and is
// not the session's, and for the session's own, which the cache may not show yet or which
// has lost its labels. Nil for none; the own one is looked for until there is another.
func (u Users) PodsOn(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) (other, own *corev1.Pod, err error) {
	pods := &corev1.PodList{}
	for more := true; more; more = pods.Continue != "" {
		page := []client.ListOption{client.InNamespace(claim.Namespace), client.Limit(podsPerPage), client.Continue(pods.Continue)}
		pods = &corev1.PodList{}
		if err := u.Live.List(ctx, pods, page...); err != nil {
			return nil, own, fmt.Errorf("list pods that use home %q: %w", claim.Name, err)
		}
		if other := otherOn(pods.Items, s, claim.Name); other != nil {
			return other, own, nil
		}
		i := slices.IndexFunc(pods.Items, func(pod corev1.Pod) bool { return pod.Name == s.Name && metav1.IsControlledBy(&pod, s) })
		if i >= 0 {
			own = &pods.Items[i]
		}
	}
	return nil, own, nil
}

// otherOn is a pod that uses the claim and is not the session's.
func otherOn(pods []corev1.Pod, s *vdi.VDISession, claim string) *corev1.Pod {
	for i := range pods {
		if pod := &pods[i]; uses(pod, claim) && !metav1.IsControlledBy(pod, s) {
			return pod
		}
	}
	return nil
}

// uses reports whether a pod that has not ended mounts the claim.
func uses(pod *corev1.Pod, claim string) bool {
	return !desktop.Ended(pod) && slices.Contains(ClaimsOf(pod), claim)
}

// InUseBy is the verdict until the user of a home ends: for a desktop of ours its end
// wakes us, of others nobody reports it. It may be the pod of a former session of
// the same name.
func InUseBy(s *vdi.VDISession, claim string, pod *corev1.Pod) error {
	if pod.Name == s.Name {
		return verdict.OwnedBy(s, pod, wire.KindPod)
	}
	if pod.Labels[wire.LabelName] == wire.NameSession && pod.Labels[wire.LabelManagedBy] == wire.Operator {
		return InUse(claim, fmt.Sprintf("desktop %q", pod.Name))
	}
	v := InUse(claim, fmt.Sprintf("pod %q, which is no desktop of this platform", pod.Name))
	v.Retry = verdict.DeniedRetry
	return v
}

// HeldBy is the verdict while another session is the holder. Its release wakes us;
// the retry is for a holder that goes without one.
func HeldBy(claim string, holder *vdi.VDISession) error {
	v := InUse(claim, fmt.Sprintf("desktop %q", holder.Name))
	v.Retry = verdict.DeniedRetry
	return v
}

// OtherHolder is the session that holds the claim instead of this one; nil when it
// is free. One that is gone holds nothing: neither after a restore, nor in another
// cluster. Nor does one that was seen to use another home. The cache may say that
// somebody holds it; that nobody does is asked for.
func (u Users) OtherHolder(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) (*vdi.VDISession, error) {
	uid := HolderOf(claim)
	if uid == "" || uid == s.UID {
		return nil, nil
	}
	for _, from := range []client.Reader{u.Cache, u.Live} {
		list := &vdi.VDISessionList{}
		if err := from.List(ctx, list, client.InNamespace(claim.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list sessions that may hold home %q: %w", claim.Name, err)
		}
		i := slices.IndexFunc(list.Items, func(s vdi.VDISession) bool { return s.UID == uid })
		if i >= 0 && mayUse(&list.Items[i], claim.Name) {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// NamedByOther is the name of a session of the same user, other than this one, that names
// the claim as its existing one; "" for none. A stranger's could not use it.
func NamedByOther(ctx context.Context, from client.Reader, s *vdi.VDISession, claim string, which ...client.ListOption) (string, error) {
	list := &vdi.VDISessionList{}
	if err := from.List(ctx, list, which...); err != nil {
		return "", fmt.Errorf("list sessions that name home %q: %w", claim, err)
	}
	i := slices.IndexFunc(list.Items, func(other vdi.VDISession) bool {
		return other.UID != s.UID && other.Spec.User == s.Spec.User && other.Spec.Persistence.ExistingClaim == claim
	})
	if i < 0 {
		return "", nil
	}
	return list.Items[i].Name, nil
}
