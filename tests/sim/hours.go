package sim

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// counted is a run that a status has shown.
type counted struct {
	session types.UID
	user    string
}

// judgeUsage: a run is written down once, for the person whose it was, and for no longer than
// its pod was there.
func (r *rules) judgeUsage(w write) {
	if w.after == nil {
		return
	}
	u := w.after.as(r.scheme).(*vdi.VDIUsage)
	if u.Name != platform.Identity(u.Spec.User) {
		r.violated("what %s has used stands under the name %s", u.Spec.User, u.Name)
	}
	seen := map[types.UID]bool{}
	for _, run := range u.Status.Runs {
		if seen[run.UID] {
			r.violated("the run of pod %s counts twice", run.UID)
		}
		seen[run.UID] = true
		lived, known := r.lived(run.UID)
		if used := run.End.Sub(run.Begin.Time); known && (used > lived+time.Second || run.GPUSeconds > int64(used/time.Second)) {
			r.violated("the pod %s has lived for %s, and %s and %d GPU-seconds of it are counted", run.UID, lived, used, run.GPUSeconds)
		}
	}
}

// lived is for how long a pod was there, and not known where the history does not say.
func (r *rules) lived(uid types.UID) (time.Duration, bool) {
	for _, c := range r.server.log {
		if c.key().kind != "Pod" || c.after == nil {
			continue
		}
		if pod := c.after.as(r.scheme).(*corev1.Pod); pod.UID == uid {
			return r.server.now().Sub(pod.CreationTimestamp.Time), true
		}
	}
	return 0, false
}

// judgeUsed: what a status has shown and shows no more is written down. Of a session without
// its finalizer only the operator knows that it was there.
func (r *rules) judgeUsed() {
	if !r.config.Accounting.Enabled {
		return
	}
	for uid, run := range r.shown {
		v := r.usage(run.user)
		if r.goesOn(uid) || r.stripped[run.session] {
			continue
		}
		if !accounting.Has(v, uid) {
			r.violated("the run of pod %s is over, and not written down for %s", uid, run.user)
		}
	}
}

// show notes the run that a session's status shows, for as long as it does not say that it is
// over.
func (r *rules) show(s *vdi.VDISession) {
	if run := s.Status.Run; run != nil && run.End == nil {
		r.shown[run.PodUID] = counted{s.UID, s.Spec.User}
	}
}

func (r *rules) usage(user string) *vdi.VDIUsage {
	v := r.server.objects[key{"VDIUsage", "", platform.Identity(user)}]
	if v == nil {
		return nil
	}
	return v.as(r.scheme).(*vdi.VDIUsage)
}

// lacksHours reports whether too little of a budget may be left for a start: it has to last for
// the time of the warning, of this desktop and of all others of its person.
func (r *rules) lacksHours(q *vdi.VDIQuota, s *vdi.VDISession) bool {
	limit := time.Duration(accounting.Cost(q.Spec.PerUser.GPUHours.Limit)) * time.Hour / 1000
	var used time.Duration
	if u := r.usage(s.Spec.User); u != nil {
		used = time.Duration(accounting.Used(u, q.Name, accounting.WindowAt(q.Spec.PerUser.GPUHours.Window, time.UTC, r.server.now()))) * time.Second
	}
	for _, v := range r.server.list("Pod") {
		if pod := v.as(r.scheme).(*corev1.Pod); metav1.GetControllerOf(pod) != nil {
			used += r.server.now().Sub(pod.CreationTimestamp.Time) + longestWarning
		}
	}
	return used+longestWarning >= limit
}

// longestWarning is the default of the templates' warnBefore.
const longestWarning = 10 * time.Minute

// goesOn reports whether a run is one that a session has at present.
func (r *rules) goesOn(uid types.UID) bool {
	return slices.ContainsFunc(r.server.list("VDISession"), func(v *version) bool {
		run := v.as(r.scheme).(*vdi.VDISession).Status.Run
		return run != nil && run.PodUID == uid && run.End == nil
	})
}
