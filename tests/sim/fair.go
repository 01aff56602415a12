package sim

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// hindsight is for how many steps an operator may act on what was so before.
const hindsight = 100

// judgeRoom: no desktop starts above the quota. Whom it has let in before may start again; of
// two operators one does not know what the other let in, nor does one that has just begun, and
// a quota may be younger than an answer that was given.
func (r *rules) judgeRoom(pod *corev1.Pod) {
	q := r.people.quota()
	v := r.server.objects[key{"VDISession", pod.Namespace, pod.Name}]
	if q == nil || v == nil || len(r.running) > 1 || r.doubled || r.steps < max(r.people.requotaed, r.began)+hindsight || metav1.GetControllerOf(pod) == nil {
		return
	}
	s := v.as(r.scheme).(*vdi.VDISession)
	if meta.IsStatusConditionTrue(s.Status.Conditions, vdi.ConditionAdmitted) {
		return
	}
	if limit := runningLimit(q); limit != nil && r.run(q, s, pod.Name) >= *limit {
		r.violated("the desktop %s starts above the quota of %d", pod.Name, *limit)
	}
}

// runningLimit is how many desktops may run; nil: any number.
func runningLimit(q *vdi.VDIQuota) *int32 {
	switch {
	case q.Spec.Total != nil:
		return q.Spec.Total.Running
	case q.Spec.PerUser != nil:
		return q.Spec.PerUser.Running
	default:
		return nil
	}
}

// run is how many desktops run beside one that count with a session.
func (r *rules) run(q *vdi.VDIQuota, s *vdi.VDISession, beside string) (n int32) {
	for _, v := range r.server.list("Pod") {
		pod := v.as(r.scheme).(*corev1.Pod)
		other := r.server.objects[key{"VDISession", pod.Namespace, pod.Name}]
		if pod.Name == beside || metav1.GetControllerOf(pod) == nil || other == nil {
			continue
		}
		if q.Spec.Total != nil || other.as(r.scheme).(*vdi.VDISession).Spec.User == s.Spec.User {
			n++
		}
	}
	return n
}

// hasNoRoom reports whether the quota may let a session wait, or refuse it: what runs, or the
// other sessions of its person, take all there is. Who was refused by a start does not start
// by itself.
func (r *rules) hasNoRoom(s *vdi.VDISession) bool {
	q := r.people.quota()
	if q == nil {
		return false
	}
	if q.Spec.OnExceeded == vdi.QuotaReject && s.Status.Queue != nil && s.Status.Queue.Key == nil {
		return true
	}
	if limit := runningLimit(q); limit != nil {
		return r.run(q, s, s.Name) >= *limit
	}
	if q.Spec.PerUser != nil && q.Spec.PerUser.GPUHours != nil {
		return r.lacksHours(q, s)
	}
	others := slices.DeleteFunc(r.server.list("VDISession"), func(v *version) bool {
		other := v.as(r.scheme).(*vdi.VDISession)
		return other.UID == s.UID || other.Spec.User != s.Spec.User
	})
	return q.Spec.PerUser != nil && q.Spec.PerUser.Sessions != nil && int32(len(others)) >= *q.Spec.PerUser.Sessions
}
