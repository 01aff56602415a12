// Package trim makes the operator's cache small. What is cut off is never read, and never
// written either: a pod is not patched, and of a home only what differs from the trimmed
// one.
package trim

import (
	"encoding/json"
	"fmt"
	"unique"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/lru"

	"github.com/vdi-platform/vdi-platform/operator/desktop"
)

// equalParts is how many different parts of objects are remembered to be shared:
// each template, size and setting makes a few.
const equalParts = 1024

// Trimmer has transforms of client-go's informers: they change an object before anybody
// sees it. Parts that many objects have in common it keeps once.
type Trimmer struct {
	parts *lru.Cache // what was shared last
}

// New makes one for a cache.
func New() *Trimmer { return &Trimmer{parts: lru.New(equalParts)} }

// Meta takes away who wrote which field, and keeps equal words of labels,
// annotations and owners once.
func (t *Trimmer) Meta(o any) (any, error) {
	meta, ok := o.(metav1.Object)
	if !ok {
		return o, nil // the last state of an object that was deleted unseen
	}
	meta.SetManagedFields(nil)
	meta.SetNamespace(intern(meta.GetNamespace()))
	meta.SetLabels(internAll(meta.GetLabels()))
	meta.SetAnnotations(internAll(meta.GetAnnotations()))
	owners := meta.GetOwnerReferences()
	for i := range owners {
		owners[i].APIVersion, owners[i].Kind = intern(owners[i].APIVersion), intern(owners[i].Kind)
	}
	return o, nil
}

func internAll(words map[string]string) map[string]string {
	if words == nil {
		return nil
	}
	same := make(map[string]string, len(words))
	for key, value := range words {
		same[intern(key)] = intern(value)
	}
	return same
}

// intern returns the shared copy of a string.
func intern(s string) string { return unique.Make(s).Value() }

// Pod keeps of a pod what decisions and words are made of.
func (t *Trimmer) Pod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("trim pod: got %T", o)
	}
	pod.Spec = corev1.PodSpec{
		NodeName:       pod.Spec.NodeName,
		InitContainers: share(t, trimContainers(pod.Spec.InitContainers)),
		Containers:     share(t, trimContainers(pod.Spec.Containers)),
		Volumes:        onlyClaims(pod.Spec.Volumes),
		ReadinessGates: pod.Spec.ReadinessGates,
		// whom a home has to be writable for
		SecurityContext: share(t, onlyUser(pod.Spec.SecurityContext)),
	}
	return t.Meta(pod)
}

func onlyUser(security *corev1.PodSecurityContext) *corev1.PodSecurityContext {
	if security == nil {
		return nil
	}
	return &corev1.PodSecurityContext{RunAsUser: security.RunAsUser}
}

func trimContainers(containers []corev1.Container) []corev1.Container {
	trimmed := make([]corev1.Container, len(containers))
	for i, c := range containers {
		trimmed[i] = corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports, Env: desktop.PlainEnv(c.Env), Resources: c.Resources}
	}
	return trimmed
}

func onlyClaims(volumes []corev1.Volume) []corev1.Volume {
	var claims []corev1.Volume
	for _, v := range volumes {
		if v.PersistentVolumeClaim != nil {
			claims = append(claims, v)
		}
	}
	return claims
}

// Claim keeps of a home whose it is, its marks, its size and what it was asked for.
func (t *Trimmer) Claim(o any) (any, error) {
	claim, ok := o.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil, fmt.Errorf("trim claim: got %T", o)
	}
	claim.Spec = corev1.PersistentVolumeClaimSpec{
		Resources: share(t, claim.Spec.Resources), StorageClassName: share(t, claim.Spec.StorageClassName), AccessModes: share(t, claim.Spec.AccessModes),
	}
	claim.Status = corev1.PersistentVolumeClaimStatus{Phase: claim.Status.Phase}
	return t.Meta(claim)
}

// Policy keeps the long lists of address ranges, which are the same for all
// sessions, once.
func (t *Trimmer) Policy(o any) (any, error) {
	policy, ok := o.(*networkingv1.NetworkPolicy)
	if !ok {
		return nil, fmt.Errorf("trim policy: got %T", o)
	}
	policy.Spec.Ingress, policy.Spec.Egress = share(t, policy.Spec.Ingress), share(t, policy.Spec.Egress)
	return t.Meta(policy)
}

// share returns a value that is equal to v and, if it can, one that was returned
// before. Nobody may change it: the cache hands out deep copies.
func share[T any](t *Trimmer, v T) T {
	text, err := json.Marshal(v)
	if err != nil {
		return v
	}
	key := fmt.Sprintf("%T%s", v, text)
	if known, found := t.parts.Get(key); found {
		return known.(T)
	}
	t.parts.Add(key, v)
	return v
}
