package session

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// TrimPod keeps of a pod only what decisions and words are made of, before it
// goes into the cache: a pod is never written, so nothing is lost. It is a
// transform of client-go's informers.
func TrimPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("trim pod: got %T", o)
	}
	pod.ManagedFields = nil
	pod.Spec = corev1.PodSpec{
		NodeName:       pod.Spec.NodeName,
		InitContainers: trimContainers(pod.Spec.InitContainers),
		Containers:     trimContainers(pod.Spec.Containers),
		Volumes:        onlyClaims(pod.Spec.Volumes),
	}
	return pod, nil
}

func trimContainers(containers []corev1.Container) []corev1.Container {
	trimmed := make([]corev1.Container, len(containers))
	for i, c := range containers {
		trimmed[i] = corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports, Env: c.Env, Resources: c.Resources}
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
