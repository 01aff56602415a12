package status

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

// keptRuns are those that the status shows.
const keptRuns = 10

// describeRuns shows what the pod holds, and the pods that hold nothing any more. One that could
// not be counted stays until it is, with the end that it had.
func (p view) describeRuns(st *vdi.VDISessionStatus) {
	if p.isBlind() {
		return
	}
	if over := p.RunOver; over != nil {
		p.describeOver(st, over)
	}
	pod := p.Seen.Pod
	if st.Run != nil && plan.IsCounted(*st, st.Run.PodUID) && (pod == nil || pod.UID != st.Run.PodUID) {
		st.Run = nil
	}
	if st.Run == nil {
		st.Run = p.RunOf().DeepCopy()
	}
	if run := st.Run; run != nil && run.End == nil {
		switch {
		case st.StopReason != "":
			run.Why = st.StopReason
		case pod != nil && pod.DeletionTimestamp == nil: // that was taken back
			run.Why = ""
		}
		if pod != nil && pod.UID == run.PodUID {
			st.Budgets = p.RunBudgets()
		}
	}
	if pod == nil && p.Session.Spec.RunPolicy == vdi.RunPolicySuspended {
		st.Budgets = nil
	}
}

// describeOver shows the end of a run, and counts it once it is written down, or nobody asks for
// that. What somebody has stopped is another run when it starts again.
func (p view) describeOver(st *vdi.VDISessionStatus, over *accounting.Run) {
	if st.Run == nil || st.Run.PodUID != over.UID {
		st.Run = p.RunOf().DeepCopy()
	}
	end := metav1.NewTime(over.End.Truncate(1e9))
	st.Run.End = &end
	if st.Run.Why != "" {
		st.Budgets = nil
	}
	if p.Counted || !p.Accounts {
		st.Runs = append(st.Runs, vdi.RunRecord{
			PodUID: over.UID, Begin: st.Run.Begin, End: end, Why: st.Run.Why, GPUHours: accounting.Hours(over.GPUSeconds()),
		})
		st.Runs = st.Runs[max(0, len(st.Runs)-keptRuns):]
	}
}
