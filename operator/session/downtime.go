package session

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// provenAfter is how long a desktop has to be Running before its earlier troubles
// are forgotten. A desktop that crashes again and again runs in between.
const provenAfter = 10 * time.Minute

// hasProven tells whether what went wrong before the present phase is forgotten.
func hasProven(st vdi.VDISessionStatus, now time.Time) bool {
	return st.Phase == vdi.PhaseRunning && st.PhaseSince != nil && now.Sub(st.PhaseSince.Time) >= provenAfter
}

// forgetOldTroubles begins to count anew when a desktop stops to work that has
// worked for long. It is not done any sooner: that would be one more status write
// of each session that starts.
func (p *pass) forgetOldTroubles() {
	if !podReady(p.seen.pod) && hasProven(p.session.Status, p.now) {
		p.session.Status.Failures, p.session.Status.Downtime = 0, nil
	}
}

// describeDowntime lets the clock of what does not work run or stand still.
func (p *pass) describeDowntime(st *vdi.VDISessionStatus) {
	counts, failing := p.trouble(st.Phase, st.Downtime != nil && st.Downtime.Failing)
	st.Downtime = counted(st.Downtime, counts, failing, p.now)
}

// trouble tells whether the desktop does not work now, and whether it fails by
// itself, now or between two tries. Who waits for a place or is on the way out,
// and whose node does not answer, is in no trouble that an end would cure.
func (p *pass) trouble(phase vdi.Phase, wasFailing bool) (counts, failing bool) {
	pod := p.seen.pod
	switch {
	case pod == nil || pod.DeletionTimestamp != nil:
		return false, wasFailing
	case podEnded(pod) || crashes(pod, p.hasWorked()):
		return true, true
	case podReady(pod):
		return phase == vdi.PhaseCreating, false // the way to it is missing
	default:
		return podScheduled(pod) && !nodeSilent(pod), wasFailing
	}
}

// hasWorked tells whether the desktop has been Running in this run.
func (p *pass) hasWorked() bool { return p.session.Status.StartTime != nil }

// counted is the clock after a look at now; nil while there is nothing to tell.
func counted(before *vdi.DowntimeStatus, counts, failing bool, now time.Time) *vdi.DowntimeStatus {
	if before == nil {
		if !counts {
			return nil
		}
		before = &vdi.DowntimeStatus{}
	}
	after := before.DeepCopy()
	after.Failing = failing
	switch {
	case counts && after.Since == nil:
		after.Since = &metav1.Time{Time: now.Truncate(time.Second)}
	case !counts && after.Since != nil:
		after.Seconds += max(0, int64(now.Sub(after.Since.Time).Seconds()))
		after.Since = nil
	}
	return after
}

// crashes tells whether a container of the pod fails again and again.
func crashes(pod *corev1.Pod, worked bool) bool {
	for _, c := range allContainers(pod) {
		if h := waitingContainer(pod, c, worked); h != nil && h.reason == vdi.ReasonCrashLoop {
			return true
		}
	}
	return false
}

// nodeSilent tells whether the pod is not ready only because nobody hears of its
// node: the node lifecycle controller then changes the condition Ready alone
// (MarkPodsNotReady in kubernetes' pkg/controller/util/node).
func nodeSilent(pod *corev1.Pod) bool {
	ready, containers := podCondition(pod, corev1.PodReady), podCondition(pod, corev1.ContainersReady)
	return ready != nil && ready.Status != corev1.ConditionTrue && containers != nil && containers.Status == corev1.ConditionTrue &&
		len(pod.Spec.ReadinessGates) == 0
}
