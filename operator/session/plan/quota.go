package plan

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// admit asks the quotas for room, before anything of the session is made: who waits owns
// nothing. A desktop that lives is no question.
func (p draft) admit() error {
	if !p.Limited || p.Desired == nil || !p.asksForRoom() {
		return nil
	}
	if err := p.answer(AskRoom); err != nil {
		return err
	}
	room := p.Room
	if room.Small != nil {
		p.SizeRefused = &verdict.Verdict{Reason: vdi.ReasonHomeGrowthRefused, Message: room.Small.Growth()}
	}
	switch {
	case room.Stands, room.Short != nil:
		p.Desired = nil // nothing of it is made, also where it is not to start
	}
	switch {
	case room.Stands:
		return quotaExceeded(p.accepted().Message)
	case room.Short == nil:
		return nil
	case room.Queue == nil || room.Queue.Key == nil:
		v := quotaExceeded(room.Short.Refusal())
		if room.Short.Field == fairshare.Storage { // homes that nobody has send no news
			v.Retry = verdict.DeniedRetry
		}
		return v
	}
	return &verdict.Verdict{
		Condition: vdi.ConditionAdmitted, Reason: vdi.ReasonQueued, Phase: vdi.PhasePending,
		Waiting: vdi.WaitingForQuota, Message: room.Short.Waiting(room.Queue.Place),
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
		r.Run, r.Kept = p.amounts(), p.HasWorked() || meta.IsStatusConditionTrue(p.Session.Status.Conditions, vdi.ConditionAdmitted)
	}
	if c := p.accepted(); c != nil && c.Status == metav1.ConditionFalse && c.Reason == vdi.ReasonQuotaExceeded && c.ObservedGeneration == p.Session.Generation {
		r.Refused = r.Queue
	}
	if r.Queue != nil && r.Queue.Key == nil {
		r.Queue = nil
	}
	return r
}

// RoomSeen is what the quotas are to count of the session after the pass.
func (p *Pass) RoomSeen() fairshare.Seen {
	_, asked := p.Answered[AskRoom]
	bytes, _ := p.homeToMake()
	seen := fairshare.Seen{
		Session: SessionOf(p.Session), Accepted: p.WasAccepted(), Asked: asked,
		Keeps: p.Decision.Want == Run && p.HasWorked() && !p.isStalled(), Home: p.Seen.Claim != nil || bytes == 0,
	}
	if p.Seen.Pod != nil || p.Made {
		seen.Run, seen.Made = p.amounts(), p.Made
	}
	if end := p.Session.Status.ExpiresAt; end != nil {
		seen.Ends = end.Time
	}
	return seen
}

// isStalled reports whether the start waits for a person, who may take their time: it keeps
// no room from others.
func (p *Pass) isStalled() bool { return p.StoppedBy != nil && p.StoppedBy.Stalled }

// SessionOf is a session as quotas select it.
func SessionOf(s *vdi.VDISession) fairshare.Session {
	return fairshare.Session{
		NamespacedName: client.ObjectKeyFromObject(s), UID: s.UID, User: s.Spec.User, Template: s.Spec.Template,
	}
}

// WasAccepted reports whether the session was accepted before: it counts, and is not judged
// anew by how many there are. Only the operator writes what that is seen by; a finalizer may be
// anybody's.
func (p *Pass) WasAccepted() bool {
	return p.Session.Status.Host != "" || p.Session.Status.Home != nil || p.Seen.Pod != nil
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
	return AmountsOf(p.Seen.Pod, p.GPUResource())
}

// AmountsOf are what a desktop takes whose GPUs are of that resource.
func AmountsOf(pod *corev1.Pod, gpuResource string) fairshare.Amounts {
	limits := desktop.Limits(pod)
	_, gpus := desktop.GPUOf(limits, gpuResource)
	if gpuResource == "" { // nobody knows any more
		_, gpus = desktop.LikelyGPU(limits)
	}
	return fairshare.Amounts{
		fairshare.Running: 1, fairshare.GPUSlices: int64(gpus),
		fairshare.CPU: limits.Cpu().MilliValue(), fairshare.Memory: limits.Memory().Value(),
	}
}

// homeToMake is by how many bytes the session's own home is to be made or grown.
func (p *Pass) homeToMake() (bytes int64, isNew bool) {
	for _, o := range p.Desired {
		if o.GetKind() != wire.KindPersistentVolumeClaim {
			continue
		}
		wish, _, _ := unstructured.NestedString(o.Object, "spec", "resources", "requests", "storage")
		bytes = fairshare.Measure(fairshare.Storage, wish)
		if p.Seen.Claim == nil {
			return bytes, !p.HomeGone
		}
		has := p.Seen.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
		if !homes.MadeByOperator(p.Seen.Claim) {
			return 0, false
		}
		return max(bytes-has.Value(), 0), false
	}
	return 0, false
}
