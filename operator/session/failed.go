package session

import (
	"context"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
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
	if wait := restartIn(p.session.Status, p.now); wait > 0 {
		p.look(wait)
		return nil
	}
	if err := r.remove(ctx, p.seen.pod); err != nil {
		return err
	}
	p.session.Status.Failures++
	return nil
}

// restartIn is how long a pod that ended stays before it is replaced. The wait is
// counted from when that was first reported: a node's clock has no say.
func restartIn(st vdi.VDISessionStatus, now time.Time) time.Duration {
	wait := lastRestart
	if st.Failures < 5 { // 10 s, 20 s, 40 s, 80 s, 160 s
		wait = firstRestart << st.Failures
	}
	switch {
	case st.Phase != vdi.PhaseFailed || st.PhaseSince == nil:
		return wait
	case st.PhaseSince.After(now.Add(mostAhead)): // by a clock that was wrong
		return 0
	default:
		return st.PhaseSince.Add(wait).Sub(now)
	}
}
