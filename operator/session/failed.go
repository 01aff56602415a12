package session

import (
	"context"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
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
func (r *Reconciler) clearFailed(ctx context.Context, p *plan.Pass) error {
	if p.Decision.Want != plan.Run || p.Seen.Pod == nil || p.Seen.Pod.DeletionTimestamp != nil || !desktop.Ended(p.Seen.Pod) {
		return nil
	}
	if wait := restartAfter(p.Failures) - r.endedPods.age(p); wait > 0 {
		p.LookAgainAfter(wait)
		return nil
	}
	if err := r.objects().Remove(ctx, p.Seen.Pod); err != nil {
		return err
	}
	p.Failures++
	return nil
}

// restartAfter is how long a pod that ended stays before it is replaced.
func restartAfter(failures int32) time.Duration {
	if failures < 5 { // 10 s, 20 s, 40 s, 80 s, 160 s
		return firstRestart << failures
	}
	return lastRestart
}
