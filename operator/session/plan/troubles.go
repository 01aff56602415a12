package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// ProvenAfter is how long a desktop has to be Running before its earlier troubles
// are forgotten. A desktop that crashes again and again runs in between.
const ProvenAfter = 10 * time.Minute

// HasProven reports whether what went wrong before the present phase is forgotten.
func HasProven(st vdi.VDISessionStatus, now time.Time) bool {
	return st.Phase == vdi.PhaseRunning && st.PhaseSince != nil && now.Sub(st.PhaseSince.Time) >= ProvenAfter
}

// Counted is the clock after a look at now; nil while there is nothing to report.
func Counted(before *vdi.DowntimeStatus, counts, failing bool, now time.Time) *vdi.DowntimeStatus {
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
