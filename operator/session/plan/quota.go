package plan

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// admit asks the quotas for room, before anything of the session is made: who waits owns
// nothing. A desktop that lives is no question.
func (p draft) admit() error {
	if !p.Limited || p.Desired == nil || !p.asksForRoom() {
		return nil
	}
	if p.Starting() && len(p.Budgets) > 0 && p.rateToCome() > 0 { // a clock that jumps gains nobody hours
		if err := p.answer(AskTime); err != nil {
			return err
		}
	}
	if err := p.answer(AskRoom); err != nil {
		return err
	}
	if small := p.Room.Small; small != nil {
		p.SizeRefused = &verdict.Verdict{Reason: vdi.ReasonHomeGrowthRefused, Message: small.Growth()}
		p.LookAgainAfter(verdict.DeniedRetry)
	}
	v := p.noRoom()
	switch {
	case v == nil:
		return nil
	case p.Seen.PodLives(): // it asks for a home, which its next start would have
		p.Refuse(v)
		p.Desired = slices.DeleteFunc(slices.Clone(p.Desired), func(o *unstructured.Unstructured) bool { return o.GetKind() == wire.KindPersistentVolumeClaim })
		return nil
	}
	if p.Seen.Claim != nil && homes.MayTakeBack(p.Session, p.Seen.Claim) {
		p.do(TakeHomeBack{}) // its time must not end while somebody asks for it
	}
	p.Desired = nil // nothing of it is made, also where it is not to start
	return v
}

// noRoom is why the quotas do not let the session go on; nil when they do.
func (p draft) noRoom() *verdict.Verdict {
	room := p.Room
	switch {
	case room.Stands:
		return quotaExceeded(p.accepted().Message)
	case room.Short == nil:
		return nil
	case room.Queue == nil || room.Queue.Key == nil:
		v := quotaExceeded(room.Short.Refusal())
		switch room.Short.Field {
		case fairshare.Storage: // homes that nobody has send no news
			v.Retry = verdict.DeniedRetry
		case fairshare.GPUHours: // nor does the calendar
			if !room.Short.Stands && !room.Short.Never {
				v.Retry = max(room.Short.Room.Sub(p.Now), time.Second)
			}
		}
		return v
	}
	waiting := vdi.WaitingForQuota
	if room.Queue.Quota == "" {
		waiting = vdi.WaitingForGPU
	}
	return &verdict.Verdict{
		Condition: vdi.ConditionAdmitted, Reason: vdi.ReasonQueued, Phase: vdi.PhasePending,
		Waiting: waiting, Message: room.Short.Waiting(room.Queue.Place),
	}
}

func quotaExceeded(message string) *verdict.Verdict {
	return &verdict.Verdict{
		Condition: vdi.ConditionAccepted, Reason: vdi.ReasonQuotaExceeded, Message: message,
		Phase: vdi.PhasePending, Waiting: vdi.WaitingForQuota, Stalled: true,
	}
}

func (p draft) asksForRoom() bool {
	bytes, _ := p.homeToMake()
	return p.Starting() || !p.WasAccepted() || bytes > 0
}

// RoomRequest is what the session asks the quotas for.
func (p *Pass) RoomRequest() fairshare.Request {
	bytes, isNew := p.homeToMake()
	r := fairshare.Request{
		Session: SessionOf(p.Session), Accepted: p.WasAccepted(), Home: bytes, NewHome: isNew,
		Queue: p.Session.Status.Queue, Now: p.Now,
	}
	if p.Starting() {
		r.Run, r.Pool = p.amounts(), p.Pool()
		r.Rate, r.Warn = p.rateToCome(), defaultWarnBefore
		if !p.ServerTime.IsZero() {
			r.Now = p.ServerTime
		}
		if rules, known := p.Rules(); known {
			r.Warn = rules.WarnBefore.Or(defaultWarnBefore)
		}
	}
	if c := p.accepted(); c != nil && c.Status == metav1.ConditionFalse && c.Reason == vdi.ReasonQuotaExceeded && c.ObservedGeneration == p.Session.Generation {
		r.Refused = r.Queue
	}
	if r.Queue != nil && r.Queue.Key == nil {
		r.Queue = nil
	}
	return r
}

// RoomSeen is what the quotas are to count of the session after the pass, which may have
// failed.
func (p *Pass) RoomSeen(failed error) fairshare.Seen {
	_, asked := p.Answered[AskRoom]
	wish := p.homeWish()
	seen := fairshare.Seen{
		Session: SessionOf(p.Session), Accepted: p.WasAccepted(), Asked: asked, Now: p.Now,
		Keeps: p.KeepsRoom(failed), Home: p.HomeCached >= wish,
	}
	if p.Seen.Pod != nil || p.Made || p.MadePerhaps {
		seen.Run, seen.Made = p.amounts(), p.Made || p.MadePerhaps
		seen.Pool = p.Pool()
		seen.Placed, seen.Since = p.placement()
	}
	seen.Counted, seen.Over, seen.Written = p.Uses(), p.OverRun(), p.Counted
	if end := p.Session.Status.ExpiresAt; end != nil {
		seen.Ends = end.Time
	}
	return seen
}

// KeepsRoom reports whether a session without a desktop keeps what is booked for it: its run
// goes on, and the platform starts it again, or a start has failed and is tried again at once.
// Whoever waits for a person, who may take their time, keeps no room from others.
func (p *Pass) KeepsRoom(failed error) bool {
	switch {
	case p.Decision.Want != Run || p.Room.Short != nil || p.StoppedBy != nil && p.StoppedBy.Stalled:
		return false
	case failed != nil:
		return true
	default:
		return RunGoesOn(p.Session)
	}
}

// RunGoesOn reports whether a session is in a run that was let in, as far as its status shows.
func RunGoesOn(s *vdi.VDISession) bool {
	waits := s.Status.Queue != nil && s.Status.Queue.Key != nil
	return s.Spec.RunPolicy != vdi.RunPolicySuspended && s.DeletionTimestamp == nil && !waits &&
		(s.Status.StartTime != nil || meta.IsStatusConditionTrue(s.Status.Conditions, vdi.ConditionAdmitted))
}

// SessionOf is a session as quotas select it.
func SessionOf(s *vdi.VDISession) fairshare.Session {
	return fairshare.Session{
		NamespacedName: client.ObjectKeyFromObject(s), UID: s.UID, User: s.Spec.User, Groups: s.Spec.Groups, Template: s.Spec.Template,
	}
}

// Pool names who can take the desktop's room, and whose it can take.
func (p *Pass) Pool() string {
	if pod := p.Seen.Pod; pod != nil {
		if named := pod.Annotations[wire.AnnotationPool]; named != "" {
			return named
		}
		return desktop.Pool(pod.Spec, p.gpuResource())
	}
	for _, o := range p.Desired {
		pod := corev1.Pod{}
		if o.GetKind() == wire.KindPod && runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pod) == nil {
			return desktop.Pool(pod.Spec, p.gpuResource())
		}
	}
	return ""
}

// gpuResource is what the desktop's GPUs are, or will be.
func (p *Pass) gpuResource() string {
	if g := p.Session.Status.GPU; g != nil && g.ResourceName != "" && p.Seen.Pod != nil {
		return g.ResourceName
	}
	return p.GPUResource()
}

// placement is what the scheduler says of the pod.
func (p *Pass) placement() (fairshare.Placement, time.Time) {
	if p.Seen.Pod == nil {
		return fairshare.Asked, p.Now
	}
	full, asked, since := desktop.Verdict(p.Seen.Pod)
	switch {
	case p.Seen.Pod.DeletionTimestamp != nil || desktop.Ended(p.Seen.Pod):
		return fairshare.Placed, since
	case full:
		return fairshare.Full, since
	case asked:
		return fairshare.Asked, since
	default:
		return fairshare.Placed, since
	}
}

// WasAccepted reports whether the session was accepted before: it counts, and is not judged
// anew by how many there are. Only the operator writes what that is seen by; a finalizer may be
// anybody's. One that its template does not admit has no more than an address.
func (p *Pass) WasAccepted() bool {
	st, c := p.Session.Status, p.accepted()
	forOthers := c != nil && c.Status == metav1.ConditionFalse && c.Reason == vdi.ReasonTemplateNotAllowed
	return (st.Host != "" && !forOthers) || st.Home != nil || p.Seen.Pod != nil || (st.Queue != nil && st.Queue.Key != nil)
}

func (f *Facts) accepted() *metav1.Condition {
	return meta.FindStatusCondition(f.Session.Status.Conditions, vdi.ConditionAccepted)
}

// amounts are what the desktop takes: what its pod has, or the one that is to be made.
func (p *Pass) amounts() fairshare.Amounts {
	a := fairshare.Amounts{fairshare.Running: 1}
	if p.Seen.Pod == nil {
		if gpu := p.Resources.GPU; gpu != nil {
			a[fairshare.GPUSlices] = int64(*gpu)
		}
		a[fairshare.CPU] = fairshare.Measure(fairshare.CPU, string(p.Resources.CPU))
		a[fairshare.Memory] = fairshare.Measure(fairshare.Memory, string(p.Resources.Memory))
		return a
	}
	limits, recorded := desktop.Limits(p.Seen.Pod), ""
	if g := p.Session.Status.GPU; g != nil {
		recorded = g.ResourceName
	}
	_, gpus := desktop.GPUOf(limits, p.GPUResource(), recorded)
	if gpus == 0 { // of a template that has changed, or is gone
		_, gpus = desktop.LikelyGPU(limits)
	}
	return fairshare.Amounts{
		fairshare.Running: 1, fairshare.GPUSlices: int64(gpus),
		fairshare.CPU: limits.Cpu().MilliValue(), fairshare.Memory: limits.Memory().Value(),
	}
}

// homeToMake is by how many bytes the session's own home is to be made or grown.
func (p *Pass) homeToMake() (bytes int64, isNew bool) {
	wish := p.homeWish()
	switch {
	case wish == 0:
		return 0, false
	case p.Seen.Claim == nil:
		return wish, !p.HomeGone
	case !kept.MadeByOperator(p.Seen.Claim):
		return 0, false
	}
	return max(wish-Size(p.Seen.Claim), 0), false
}

// homeWish is how large the session's own home is to be, in bytes; 0: it has none.
func (p *Pass) homeWish() int64 {
	for _, o := range p.Desired {
		if o.GetKind() == wire.KindPersistentVolumeClaim {
			wish, _, _ := unstructured.NestedString(o.Object, "spec", "resources", "requests", "storage")
			return fairshare.Measure(fairshare.Storage, wish)
		}
	}
	return 0
}

// Size is how large a claim asks to be, in bytes.
func Size(claim *corev1.PersistentVolumeClaim) int64 {
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	return size.Value()
}
