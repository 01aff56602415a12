package status

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

// describeDowntime lets the clock of what does not work run or stand still.
func (p view) describeDowntime(st *vdi.VDISessionStatus) {
	counts, failing := p.trouble(st.Phase, st.Downtime != nil && st.Downtime.Failing)
	st.Downtime = plan.Counted(st.Downtime, counts, failing, p.Now)
}

// trouble reports whether the desktop does not work now, and whether it fails by
// itself, now or between two tries. Who waits for a place or is on the way out,
// and whose node does not answer, is in no trouble that an end would cure.
func (p view) trouble(phase vdi.Phase, wasFailing bool) (counts, failing bool) {
	pod := p.Seen.Pod
	switch {
	case pod == nil || pod.DeletionTimestamp != nil:
		return false, wasFailing
	case desktop.Ended(pod) || desktop.Crashes(pod, p.HasWorked()):
		return true, true
	case desktop.Ready(pod):
		return phase == vdi.PhaseCreating, false // the way to it is missing
	default:
		return desktop.Scheduled(pod) && !desktop.NodeSilent(pod), wasFailing
	}
}

// describeTime keeps the clocks: the phase's, and the run's, which starts when
// the desktop is first Running, stands still through hiccups, and is reset by a
// stop. A run never starts before the pod was made by the API server's clock:
// ours may be slow, and the run would end early.
func (p view) describeTime(st *vdi.VDISessionStatus, failed error) {
	if st.Phase != p.Session.Status.Phase || st.PhaseSince == nil {
		st.PhaseSince = &metav1.Time{Time: p.Now.Truncate(time.Second)}
	}
	st.Activity = p.Activity
	switch {
	case p.Session.DeletionTimestamp != nil:
		return
	case st.EndReason != "" && failed == nil: // an end that was recorded and did not come to pass
		st.StopReason, st.EndReason = "", ""
	}
	switch {
	case st.Phase == vdi.PhaseSuspended, p.Decision.Want == plan.StayStopped:
		p.describeStop(st)
	case st.Phase == vdi.PhaseRunning:
		p.describeStart(st)
	}
	if p.Decision.Want == plan.Run {
		st.StopReason = ""
	}
}

func (p view) describeStop(st *vdi.VDISessionStatus) {
	st.StartTime, st.Activity, st.Failures, st.Downtime = nil, nil, 0, nil
	if !operatorsReason(st.StopReason) {
		st.StopReason = vdi.StopUser
	}
}

func (p view) describeStart(st *vdi.VDISessionStatus) {
	if st.StartTime == nil {
		if _, found := desktop.LastExit(p.Seen.Pod, false); !found {
			st.LastExit = nil // that was another run, and this one works
		}
		st.StartTime = &metav1.Time{Time: accounting.Later(p.Now.Truncate(time.Second), p.Seen.Pod.CreationTimestamp.Time)}
	}
}

// describeEnd describes what ends the state described so far, and when. While the agent
// has not answered yet nothing new is known.
func (p view) describeEnd(st *vdi.VDISessionStatus) (ahead plan.Decision) {
	if p.Asking || p.Session.DeletionTimestamp != nil {
		return ahead
	}
	described := *p.Session
	described.Status = *st
	ahead = p.DecisionOn(&described, p.Now)
	st.ExpiresAt, st.ExpiryReason, st.Announcements = ahead.ExpiresAt, ahead.Because, ahead.Announced
	return ahead
}

// requeueAfter is when the state described becomes another.
func (p view) requeueAfter(ahead plan.Decision) time.Duration {
	if p.Decision.Want == plan.Run && plan.IsEnd(ahead) { // what was seen just now made it due
		ahead.LookAgainAfter(time.Second)
	}
	return ahead.RequeueAfter
}

func operatorsReason(reason vdi.StopReason) bool {
	return slices.Contains([]vdi.StopReason{vdi.StopExpired, vdi.StopIdle, vdi.StopFailed, vdi.StopBudget, vdi.StopDrain}, reason)
}
