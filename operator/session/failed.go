package session

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Bounds of the wait before a pod that ended by itself is replaced.
const (
	firstRestart = 10 * time.Second
	lastRestart  = 5 * time.Minute
)

// clearFailed removes a pod that ended by itself: evicted, refused by a device
// plugin, or lost with its node. Containers that crash are the kubelet's to
// restart and never come here. The session goes on with a new pod on the same
// home; each failure in a row makes the wait longer.
func (r *Reconciler) clearFailed(ctx context.Context, p *pass) error {
	if p.decision.want != wantRun || p.seen.pod == nil || p.seen.pod.DeletionTimestamp != nil || !podEnded(p.seen.pod) {
		return nil
	}
	if wait := restartAt(p.seen.pod, p.session.Status.Failures).Sub(p.now); wait > 0 {
		p.look(wait)
		return nil
	}
	if err := r.remove(ctx, p.seen.pod); err != nil {
		return err
	}
	p.session.Status.Failures++
	return nil
}

// restartAt is when a pod that ended may be replaced.
func restartAt(pod *corev1.Pod, failures int32) time.Time {
	wait := lastRestart
	if failures < 5 { // 10 s, 20 s, 40 s, 80 s, 160 s
		wait = firstRestart << failures
	}
	return endedAt(pod).Add(wait)
}

// endedAt is the latest time the pod tells of: its containers' ends, else the
// last change of a condition, else its creation.
func endedAt(pod *corev1.Pod) time.Time {
	at := pod.CreationTimestamp.Time
	for _, c := range pod.Status.Conditions {
		at = later(at, c.LastTransitionTime.Time)
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Terminated != nil {
			at = later(at, c.State.Terminated.FinishedAt.Time)
		}
	}
	return at
}
