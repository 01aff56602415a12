package sim

import (
	"crypto/sha256"
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// rules must hold after every write.
type rules struct {
	*world

	// looks are what each operator has last seen of each session in the API server itself.
	looks map[look][]*version
	// lists are where the history was when each operator last asked for a kind, or for an
	// object of it.
	lists map[string]int
	// wrote is who last wrote the Secret of a session, or made its pod.
	wrote map[key]string
	// stripped are the sessions whose finalizer somebody took.
	stripped map[types.UID]bool
	// shown are the runs that statuses have shown.
	shown map[types.UID]counted
}

func newRules(w *world) *rules {
	return &rules{world: w, looks: map[look][]*version{}, lists: map[string]int{}, wrote: map[key]string{}, shown: map[types.UID]counted{}, stripped: map[types.UID]bool{}}
}

type look struct {
	operator string
	session  key
}

// look notes what an operator has seen.
func (r *rules) look(operator string, v *version) {
	if v.key.kind != "VDISession" {
		return
	}
	at := look{operator, v.key}
	r.looks[at] = append(r.looks[at], v)[max(0, len(r.looks[at])-fewLooks+1):]
}

// fewLooks are remembered: those of two passes, which an operator makes at a time.
const fewLooks = 4

// knew reports whether an object was there when the operator last asked for it, or for all of
// its kind: nobody can look and write in one go.
func (r *rules) knew(operator string, v *version) bool {
	asked := max(r.lists[operator+v.key.kind], r.lists[operator+v.key.kind+v.name])
	return !slices.ContainsFunc(r.server.log[asked:], func(c change) bool { return c.before == nil && c.key() == v.key })
}

// sinceLook reports whether something holds of a session, or held of one of its states
// since the operator has last looked: nobody can look and write in one go.
func (r *rules) sinceLook(operator, session string, holds func(*vdi.VDISession) bool) bool {
	k := key{"VDISession", team, session}
	in := func(v *version) bool { return v != nil && holds(v.as(r.scheme).(*vdi.VDISession)) }
	seen := r.looks[look{operator, k}]
	if in(r.server.objects[k]) || slices.ContainsFunc(seen, in) {
		return true
	}
	return len(seen) > 0 && slices.ContainsFunc(r.server.log, func(c change) bool {
		return c.key() == k && c.revision > seen[0].revision && in(c.after)
	})
}

// judge looks at a write.
func (r *rules) judge(w write) {
	if !strings.HasPrefix(w.by, "operator-") {
		if w.key().kind == "VDISession" && w.before != nil && w.after != nil && len(finalizersOf(w.before.object)) > 0 && len(finalizersOf(w.after.object)) == 0 {
			r.stripped[types.UID(text(metaOf(w.after.object), "uid"))] = true
		}
		return
	}
	if w.after != nil { // whoever writes a state has seen the one before
		r.look(w.by, w.after)
	}
	if w.before != nil && isByHand(w.before) {
		if w.key().kind != "PersistentVolumeClaim" || w.after == nil {
			r.violated("%s changes what was made by hand: %s %s", w.by, w.verb, w.key())
		}
	}
	if w.key().kind == "Secret" || w.verb == "create" {
		r.wrote[w.key()] = w.by
	}
	switch w.key().kind {
	case "PersistentVolumeClaim":
		r.judgeClaim(w)
	case "Pod":
		r.judgePod(w)
	case "Secret":
		r.judgeSecret(w)
	case "VDIUsage":
		r.judgeUsage(w)
	case "VDISession":
		r.judgeSession(w)
		if w.after != nil {
			r.show(w.after.as(r.scheme).(*vdi.VDISession))
		}
	}
}

// deleted reports whether a write begins or makes the end of an object.
func (w write) deleted() bool {
	return w.after == nil || (w.before != nil && metaOf(w.before.object)["deletionTimestamp"] == nil && metaOf(w.after.object)["deletionTimestamp"] != nil)
}

// judgeClaim: no home is deleted but by its rule.
func (r *rules) judgeClaim(w write) {
	if w.before == nil {
		return
	}
	if !w.deleted() {
		r.judgeMark(w)
		return
	}
	claim := w.before.as(r.scheme).(*corev1.PersistentVolumeClaim)
	byPolicy := r.mayDeleteByPolicy(w.by, claim)
	for _, user := range r.usersOf(claim.Namespace, claim.Name) {
		// A person's wish waits for others' pods, which Kubernetes sees to; and a pod that a
		// paused operator has just made for the deleted session goes with it.
		if !byPolicy || (user.Annotations[byHand] == "" && renderer.HomeClaimName(user.Name) != claim.Name) {
			r.violated("the home %s is deleted under the pod %s", claim.Name, user.Name)
		}
	}
	for _, v := range r.server.list("VDISession") {
		s := v.as(r.scheme).(*vdi.VDISession)
		if r.knew(w.by, v) && s.Spec.Persistence.ExistingClaim == claim.Name && claim.Labels[wire.LabelUser] == platform.Identity(s.Spec.User) {
			r.violated("the home %s is deleted, which the session %s names", claim.Name, s.Name)
		}
	}
	if !kept.MadeByOperator(claim) {
		r.violated("the claim %s is deleted, which is no home of ours", claim.Name)
	}
	if !byPolicy && !r.mayDeleteByTime(w.by, claim) {
		r.violated("the home %s is deleted, which nobody has asked for", claim.Name)
	}
}

// judgeMark: of a claim that is not ours nothing is written but who holds it.
func (r *rules) judgeMark(w write) {
	if kept.MadeByOperator(w.before.as(r.scheme).(*corev1.PersistentVolumeClaim)) {
		return
	}
	before, after := clone(w.before.object), clone(w.after.object)
	for _, object := range []map[string]any{before, after} {
		meta := metaOf(object)
		delete(meta, "resourceVersion")
		annotations, _ := meta["annotations"].(map[string]any)
		delete(annotations, wire.AnnotationHolder)
		if len(annotations) == 0 {
			delete(meta, "annotations")
		}
	}
	if !reflect.DeepEqual(before, after) {
		r.violated("the claim %s is changed, which is no home of ours", w.key().name)
	}
}

// mayDeleteByPolicy: its session is being deleted by a person, and says so.
func (r *rules) mayDeleteByPolicy(operator string, claim *corev1.PersistentVolumeClaim) bool {
	name := strings.TrimPrefix(claim.Name, renderer.HomeClaimName(""))
	return r.sinceLook(operator, name, func(s *vdi.VDISession) bool {
		home := s.Status.Home
		return s.DeletionTimestamp != nil && s.Status.EndReason == "" &&
			s.Spec.Persistence.ReclaimPolicy == vdi.ReclaimDelete && s.Spec.Persistence.ExistingClaim == "" &&
			home != nil && home.UID == claim.UID && claim.Labels[wire.LabelUser] == platform.Identity(s.Spec.User)
	})
}

// mayDeleteByTime: no session of its user has its name, its time is over, and that was
// announced.
func (r *rules) mayDeleteByTime(operator string, claim *corev1.PersistentVolumeClaim) bool {
	for _, v := range r.server.list("VDISession") {
		s := v.as(r.scheme).(*vdi.VDISession)
		if r.knew(operator, v) && renderer.HomeClaimName(s.Name) == claim.Name && claim.Labels[wire.LabelUser] == platform.Identity(s.Spec.User) {
			return false
		}
	}
	since, err := time.Parse(time.RFC3339, claim.Annotations[wire.AnnotationRetainedSince])
	keep, err2 := time.ParseDuration(claim.Annotations[wire.AnnotationRetainFor])
	warned, err3 := time.Parse(time.RFC3339, claim.Annotations[wire.AnnotationDeletionWarned])
	return err == nil && err2 == nil && err3 == nil && keep > 0 && !time.Now().Before(since.Add(keep)) && warned.Before(time.Now())
}

// judgePod: never two desktops on a home, and no living one is ended but by a wish.
func (r *rules) judgePod(w write) {
	if w.before == nil {
		pod := w.after.as(r.scheme).(*corev1.Pod)
		for _, claim := range homes.ClaimsOf(pod) {
			for _, user := range r.usersOf(pod.Namespace, claim) {
				if user.Name != pod.Name && !r.waitedFor(user, claim) && !r.cameLater(w.by, user) {
					r.violated("two pods use the home %s: %s and %s", claim, user.Name, pod.Name)
				}
			}
		}
		r.judgeRoom(pod)
		return
	}
	if !w.deleted() {
		if w.verb != "delete" {
			r.violated("the pod %s is changed", w.key().name)
		}
		return
	}
	pod := w.before.as(r.scheme).(*corev1.Pod)
	if podEnded(pod) || pod.DeletionTimestamp != nil {
		return
	}
	if !r.wasToStop(w.by, pod) {
		r.violated("the living desktop %s is ended, whose session is to run", pod.Name)
	}
}

// waitedFor reports whether a pod is somebody else's that was made before the claim was, and
// waits for one of that name: a first start asks nobody.
func (r *rules) waitedFor(pod *corev1.Pod, claim string) bool {
	v := r.server.objects[key{"PersistentVolumeClaim", pod.Namespace, claim}]
	return pod.Annotations[byHand] != "" && v != nil && !pod.CreationTimestamp.After(v.as(r.scheme).GetCreationTimestamp().Time)
}

// cameLater reports whether a pod is somebody else's that was made after the operator had
// last looked for such pods: that is only reported.
func (r *rules) cameLater(operator string, pod *corev1.Pod) bool {
	return pod.Annotations[byHand] != "" && !r.knew(operator, r.server.objects[key{"Pod", pod.Namespace, pod.Name}])
}

// wasToStop reports whether the pod's session is to stop, or was when the operator looked.
func (r *rules) wasToStop(operator string, pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return true // whom the garbage collector has let go of, of a session that is deleted
	}
	return r.server.objects[key{"VDISession", pod.Namespace, pod.Name}] == nil || r.sinceLook(operator, pod.Name, func(s *vdi.VDISession) bool {
		return s.UID == owner.UID && (s.Spec.RunPolicy == vdi.RunPolicySuspended || s.DeletionTimestamp != nil || r.hasToLeave(s, pod))
	})
}

// hasToLeave reports whether a desktop is to start again elsewhere, as was announced.
func (r *rules) hasToLeave(s *vdi.VDISession, pod *corev1.Pod) bool {
	order, err := drain.Of(s)
	return err == nil && order.Concerns(pod) && order.Restart && !time.Now().Before(order.At.Time) && r.wasAnnounced(s)
}

// judgeSecret: a password never changes under a living desktop.
func (r *rules) judgeSecret(w write) {
	if w.before == nil || w.after == nil || w.verb == "create" {
		return
	}
	if annotations, _ := metaOf(w.after.object)["annotations"].(map[string]any); annotations[wire.AnnotationGivenBack] != nil {
		for _, v := range r.server.list("VDISession") { // it goes with its session
			if s := v.as(r.scheme).(*vdi.VDISession); string(s.UID) == ownerOf(w.after.object) && s.DeletionTimestamp == nil {
				r.violated("the Secret of %s is emptied, and the session is not deleted", s.Name)
			}
		}
		return
	}
	name := w.before.name
	for _, v := range r.server.list("Pod") {
		pod := v.as(r.scheme).(*corev1.Pod)
		if pod.Namespace == team && renderer.CredentialsName(pod.Name) == name && !podEnded(pod) && metav1.GetControllerOf(pod) != nil &&
			string(metav1.GetControllerOf(pod).UID) == ownerOf(w.after.object) && changedData(w) && r.knew(w.by, v) {
			r.violated("the password of the living desktop %s is changed", pod.Name)
		}
	}
}

func changedData(w write) bool {
	before, _ := w.before.object["data"].(map[string]any)
	after, _ := w.after.object["data"].(map[string]any)
	return text(before, "password") != text(after, "password")
}

// judgeSession: hosts are unique, and no end comes unannounced.
func (r *rules) judgeSession(w write) {
	if w.after == nil {
		return
	}
	s := w.after.as(r.scheme).(*vdi.VDISession)
	if s.Status.Host != "" {
		for _, v := range r.server.list("VDISession") {
			if other := v.as(r.scheme).(*vdi.VDISession); other.UID != s.UID && other.Status.Host == s.Status.Host && s.DeletionTimestamp == nil && other.DeletionTimestamp == nil {
				r.violated("the sessions %s and %s have one host", s.Name, other.Name)
			}
		}
	}
	before := w.before.as(r.scheme).(*vdi.VDISession)
	suspended := before.Spec.RunPolicy != vdi.RunPolicySuspended && s.Spec.RunPolicy == vdi.RunPolicySuspended
	if (suspended || w.deleted()) && !r.wasAnnounced(s) {
		r.violated("the session %s is ended by the operator without a warning", s.Name)
	}
	if before.Status.StartTime != nil && s.Status.StartTime == nil && s.Spec.RunPolicy != vdi.RunPolicySuspended {
		r.violated("the run of %s goes on, and its clock begins anew", s.Name)
	}
	r.judgeRecordedHome(before, s)
}

// judgeRecordedHome: a session that is to run records a home only if it made it or holds it. Such
// a record lets its owner delete the home with the session.
func (r *rules) judgeRecordedHome(before, s *vdi.VDISession) {
	was, is := before.Status.Home, s.Status.Home
	if s.Spec.RunPolicy == vdi.RunPolicySuspended || is == nil || is.UID == "" || (was != nil && was.UID == is.UID) {
		return
	}
	v := r.server.objects[key{"PersistentVolumeClaim", s.Namespace, is.ClaimName}]
	if v == nil {
		return
	}
	claim := v.as(r.scheme).(*corev1.PersistentVolumeClaim)
	if claim.UID == is.UID && homes.HolderOf(claim) != s.UID && claim.Annotations[wire.AnnotationSessionUID] != string(s.UID) {
		r.violated("the session %s records the home %s, which it neither made nor holds", s.Name, claim.Name)
	}
}

// wasAnnounced reports whether one of the ends that are due was announced a warning ago.
// One whose clock stood still when it was last written down has no time.
func (r *rules) wasAnnounced(s *vdi.VDISession) bool {
	return slices.ContainsFunc(s.Status.Announcements, func(a vdi.Announcement) bool {
		return (a.At == nil || !a.At.After(time.Now())) && time.Since(a.Since.Time) >= leastWarning
	})
}

// leastWarning is the shortest that the rules of these templates come to: 1m, or half
// of the shortest limit.
const leastWarning = time.Minute - time.Second

// --- at rest

// atRest: everything is as its owner wishes it.
func (r *rules) atRest() {
	for _, v := range r.server.list("VDISession") {
		r.judgeRest(v.as(r.scheme).(*vdi.VDISession))
	}
	for _, v := range r.all() {
		if owner := ownerOf(v.object); owner != "" && !r.exists(owner) {
			r.violated("%s is left behind by a session that is gone", v.key)
		}
	}
	for _, v := range r.server.list("Pod") {
		if ownerOf(v.object) == "" && !isByHand(v) {
			r.violated("%s has lost its session", v.key)
		}
	}
	r.judgeUsed()
	for _, o := range r.running {
		r.judgeCounts(o)
	}
}

// judgeCounts: who scrapes an operator reads what is there.
func (r *rules) judgeCounts(o *operator) {
	left := map[string]float64{}
	for _, v := range r.server.list("VDISession") {
		left[string(v.as(r.scheme).(*vdi.VDISession).Status.Phase)]++
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(o.counts)
	families, err := registry.Gather()
	if err != nil {
		r.violated("the metrics of %s: %v", o.name, err)
	}
	for _, family := range families {
		if family.GetName() == "vdi_sessions_total" {
			for _, m := range family.GetMetric() {
				left[m.GetLabel()[0].GetValue()] -= m.GetGauge().GetValue()
			}
		}
	}
	for phase, n := range left {
		if n != 0 {
			r.violated("%s counts %g sessions too few in phase %q", o.name, n, phase)
		}
	}
}

func (r *rules) exists(uid string) bool {
	return slices.ContainsFunc(r.all(), func(v *version) bool { return text(metaOf(v.object), "uid") == uid })
}

// judgeRest: a session that is to run does, or says why not; one that is not, does not.
func (r *rules) judgeRest(s *vdi.VDISession) {
	pod, route := r.server.objects[key{"Pod", s.Namespace, s.Name}], r.server.objects[key{routes.Kind, s.Namespace, s.Name}]
	switch {
	case s.DeletionTimestamp != nil:
		r.violated("the deleted session %s is still there: %s", s.Name, s.Status.Message)
	case s.Spec.RunPolicy == vdi.RunPolicySuspended:
		if pod != nil || route != nil || s.Status.Phase != vdi.PhaseSuspended {
			r.violated("the suspended session %s is %s (pod %t, route %t): %s", s.Name, s.Status.Phase, pod != nil, route != nil, s.Status.Message)
		}
	case s.Status.Phase == vdi.PhaseFailed || s.Status.Phase == vdi.PhasePending:
		if s.Status.Message == "" {
			r.violated("the session %s is %s and does not say why", s.Name, s.Status.Phase)
		}
		if !r.mayWait(s) {
			r.violated("the session %s is %s without need: %s", s.Name, s.Status.Phase, s.Status.Message)
		}
	case s.Status.Phase != vdi.PhaseRunning || pod == nil || route == nil:
		r.violated("the session %s is %s (pod %t, route %t): %s", s.Name, s.Status.Phase, pod != nil, route != nil, s.Status.Message)
	default:
		r.judgeChildren(s)
	}
	if s.Status.ObservedGeneration != s.Generation {
		r.violated("the session %s was not looked at since it was changed", s.Name)
	}
}

// judgeChildren: a desktop that runs has all that leads to it and guards it, and nobody
// else's. Its Secret may be gone: nobody watches Secrets, and the next start makes one.
func (r *rules) judgeChildren(s *vdi.VDISession) {
	for _, k := range []key{{"Service", s.Namespace, s.Name}, {"NetworkPolicy", s.Namespace, s.Name}} {
		if v := r.server.objects[k]; v == nil || ownerOf(v.object) != string(s.UID) {
			r.violated("the session %s runs without its %s", s.Name, k.kind)
		}
	}
	secret := r.server.objects[key{"Secret", s.Namespace, renderer.CredentialsName(s.Name)}]
	if secret == nil || ownerOf(secret.object) != string(s.UID) || r.wrote[secret.key] != r.wrote[key{"Pod", s.Namespace, s.Name}] {
		return // two operators at a time: one has renewed the password that the other had in hand
	}
	if pod := r.server.objects[key{"Pod", s.Namespace, s.Name}]; pod != nil && text(metaOf(pod.object), "creationTimestamp") < text(metaOf(secret.object), "creationTimestamp") {
		return // somebody has deleted it before anybody knew that the pod was made
	}
	sum := sha256.Sum256(secret.as(r.scheme).(*corev1.Secret).Data[corev1.BasicAuthPasswordKey])
	if access := s.Status.Access; access == nil || access.PasswordVerifier != base64.StdEncoding.EncodeToString(sum[:]) {
		r.violated("the status of %s knows another password than its Secret", s.Name)
	}
}

// mayWait reports whether what the session waits for is a person's to change.
func (r *rules) mayWait(s *vdi.VDISession) bool {
	may := []string{
		vdi.ReasonTemplateNotFound, vdi.ReasonInvalidResources, vdi.ReasonHomeNotFound, vdi.ReasonHomeNotOurs, vdi.ReasonHomeOfAnotherUser,
		vdi.ReasonHomeInUse, vdi.ReasonHostInUse, vdi.ReasonHostOfAnotherUser, vdi.ReasonClaimNotAllowed,
	}
	if r.leavesInUse(s) { // as long as that desktop runs
		may = append(may, vdi.ReasonWaiting)
	}
	if r.hasNoRoom(s) {
		may = append(may, vdi.ReasonQueued, vdi.ReasonQuotaExceeded)
	}
	return slices.ContainsFunc(s.Status.Conditions, func(c metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse && slices.Contains(may, c.Reason)
	})
}

// leavesInUse reports whether a session's home is being deleted while another's desktop is
// on it.
func (r *rules) leavesInUse(s *vdi.VDISession) bool {
	name := s.Spec.Persistence.ExistingClaim
	if name == "" {
		name = renderer.HomeClaimName(s.Name)
	}
	v := r.server.objects[key{"PersistentVolumeClaim", s.Namespace, name}]
	return v != nil && metaOf(v.object)["deletionTimestamp"] != nil && len(r.usersOf(s.Namespace, name)) > 0
}

// nobodyWaits reports whether all sessions are as they were asked to be, and could start
// again: what is refused is tried again every minute.
func (r *rules) nobodyWaits() bool {
	return !slices.ContainsFunc(r.server.list("VDISession"), func(v *version) bool {
		st := v.as(r.scheme).(*vdi.VDISession).Status
		return (st.Phase != vdi.PhaseRunning && st.Phase != vdi.PhaseSuspended) || meta.IsStatusConditionTrue(st.Conditions, vdi.ConditionUpdatePending)
	})
}
