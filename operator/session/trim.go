package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/lru"
)

// The transforms below make the cache small. They are transforms of client-go's
// informers: they change an object before anybody sees it. What is cut off is
// never read, and never written either: a pod is not patched, and of a home only
// what differs from the trimmed one.

// TrimMeta takes away who wrote which field, and keeps equal words of labels,
// annotations and owners once.
func TrimMeta(o any) (any, error) {
	meta, ok := o.(metav1.Object)
	if !ok {
		return o, nil // the last state of an object that was deleted unseen
	}
	meta.SetManagedFields(nil)
	meta.SetNamespace(once(meta.GetNamespace()))
	meta.SetLabels(onceAll(meta.GetLabels()))
	meta.SetAnnotations(onceAll(meta.GetAnnotations()))
	owners := meta.GetOwnerReferences()
	for i := range owners {
		owners[i].APIVersion, owners[i].Kind = once(owners[i].APIVersion), once(owners[i].Kind)
	}
	return o, nil
}

func onceAll(words map[string]string) map[string]string {
	if words == nil {
		return nil
	}
	same := make(map[string]string, len(words))
	for key, value := range words {
		same[once(key)] = once(value)
	}
	return same
}

// once is an equal string of which there is one in memory.
func once(s string) string { return unique.Make(s).Value() }

// TrimPod keeps of a pod what decisions and words are made of.
func TrimPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("trim pod: got %T", o)
	}
	pod.Spec = corev1.PodSpec{
		NodeName:       pod.Spec.NodeName,
		InitContainers: share(trimContainers(pod.Spec.InitContainers)),
		Containers:     share(trimContainers(pod.Spec.Containers)),
		Volumes:        onlyClaims(pod.Spec.Volumes),
		ReadinessGates: pod.Spec.ReadinessGates,
		// whom a home has to be writable for
		SecurityContext: share(onlyUser(pod.Spec.SecurityContext)),
	}
	return TrimMeta(pod)
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
		trimmed[i] = corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports, Env: plainEnv(c.Env), Resources: c.Resources}
	}
	return trimmed
}

// plainEnv is the part of an environment that is written out. References name
// the session's own Secrets: no two desktops could share them.
func plainEnv(env []corev1.EnvVar) []corev1.EnvVar {
	return slices.DeleteFunc(slices.Clone(env), func(e corev1.EnvVar) bool { return e.ValueFrom != nil })
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

// TrimClaim keeps of a home whose it is, its marks, its size and what it was asked for.
func TrimClaim(o any) (any, error) {
	claim, ok := o.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil, fmt.Errorf("trim claim: got %T", o)
	}
	claim.Spec = corev1.PersistentVolumeClaimSpec{
		Resources: share(claim.Spec.Resources), StorageClassName: share(claim.Spec.StorageClassName), AccessModes: share(claim.Spec.AccessModes),
	}
	claim.Status = corev1.PersistentVolumeClaimStatus{Phase: claim.Status.Phase}
	return TrimMeta(claim)
}

// TrimPolicy keeps the long lists of address ranges, which are the same for all
// sessions, once.
func TrimPolicy(o any) (any, error) {
	policy, ok := o.(*networkingv1.NetworkPolicy)
	if !ok {
		return nil, fmt.Errorf("trim policy: got %T", o)
	}
	policy.Spec.Ingress, policy.Spec.Egress = share(policy.Spec.Ingress), share(policy.Spec.Egress)
	return TrimMeta(policy)
}

// equalParts is how many different parts of objects are remembered to be shared:
// each template, size and setting makes a few.
const equalParts = 1024

var parts = lru.New(equalParts)

// share returns a value that is equal to v and, if it can, one that was returned
// before. Nobody may change it: the cache hands out deep copies.
func share[T any](v T) T {
	text, err := json.Marshal(v)
	if err != nil {
		return v
	}
	key := fmt.Sprintf("%T%s", v, text)
	if known, found := parts.Get(key); found {
		return known.(T)
	}
	parts.Add(key, v)
	return v
}
