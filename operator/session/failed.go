package session

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
	if wait := restartAfter(p.session.Status.Failures) - r.endedPods.age(p); wait > 0 {
		p.look(wait)
		return nil
	}
	if err := r.remove(ctx, p.seen.pod); err != nil {
		return err
	}
	p.session.Status.Failures++
	return nil
}

// endedPods remember when each session's pod was first seen to have ended: a node's
// clock has no say in how long it stays.
type endedPods struct{ perSession[endedPod] }

type endedPod struct {
	pod types.UID
	at  time.Time
}

// age is how long ago the pass' pod was first seen to have ended.
func (f *endedPods) age(p *pass) time.Duration {
	key := client.ObjectKeyFromObject(p.session)
	seen, found := f.load(key)
	if !found || seen.pod != p.seen.pod.UID || seen.at.After(p.now) {
		seen = endedPod{p.seen.pod.UID, p.now}
		f.store(key, seen)
	}
	return p.now.Sub(seen.at)
}

// restartAfter is how long a pod that ended stays before it is replaced.
func restartAfter(failures int32) time.Duration {
	if failures < 5 { // 10 s, 20 s, 40 s, 80 s, 160 s
		return firstRestart << failures
	}
	return lastRestart
}
