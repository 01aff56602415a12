// Package status computes a session's status and its events from one pass, also after an
// early exit. Everything here is pure and changes nothing.
package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// Report is what there is to say about a session after a pass.
type Report struct {
	// Status is the whole status.
	Status vdi.VDISessionStatus
	// RequeueAfter is when what it says becomes another: at the next deadline of the
	// state that it describes. 0 when there is none.
	RequeueAfter time.Duration
}

// Of computes the whole status from one pass, also after an early exit; failed is
// what went wrong, nil when nothing did. It changes nothing. What was not looked at keeps
// its last value or is Unknown; nothing is assumed.
func Of(p *plan.Pass, failed error) Report {
	after := p.Session.Status.DeepCopy()
	after.ObservedGeneration = p.Session.Generation
	after.Identity = platform.Identity(p.Session.Spec.User)
	after.Failures, after.Downtime = p.Failures, p.Downtime
	after.Lifecycle = p.LastRules().DeepCopy()
	v := view{Pass: p, failed: failed}
	if p.HomeSeen || p.Seen.Pod != nil { // which has it, whatever was refused meanwhile
		v.home = homeStatus(p)
	}
	v.describeWay(after)
	if !v.isBlind() {
		v.describeRun(after)
	}
	judged := *v.verdict(failed)
	judged.Message = verdict.Shorten(judged.Message, verdict.MaxMessage)
	after.Phase, after.Message, after.WaitingFor = judged.Phase, judged.Message, judged.Waiting
	if failed == nil { // else not all was looked at
		v.describeDowntime(after)
		after.Queue = v.queue()
	}
	v.describeTime(after, failed)
	v.describeRuns(after)
	ahead := v.describeEnd(after)
	setConditions(after, v, &judged, ahead)
	return Report{*after, v.requeueAfter(ahead)}
}

// view is a pass as the status describes it.
type view struct {
	*plan.Pass
	home   *vdi.HomeStatus
	failed error // what ended the pass
}

// isBlind reports whether the pass ended before it had looked at everything: what was not looked
// at keeps its last value.
func (p view) isBlind() bool { return p.failed != nil && !p.Gathered }

// describeWay describes host, URL and login.
func (p view) describeWay(st *vdi.VDISessionStatus) {
	refused := p.NotAccepted()
	switch {
	case p.HasHost && (refused == nil && p.isAccepted() || refused != nil && waitsForGroups(refused)):
		st.Host, st.URL = p.Host, p.URL
	case refused != nil && isHostRefusal(refused): // it is another's
		st.Host, st.URL = "", ""
	}
	p.describeLogin(st)
}

// describeLogin describes how this run's visitors show who they are; where the front
// door logs people in there is no password for them.
func (p view) describeLogin(st *vdi.VDISessionStatus) {
	switch {
	case !p.Credentials && p.Starting() && p.Session.Status.Phase == vdi.PhaseSuspended:
		st.CredentialsSecret = "" // the resume will make another password, whenever it succeeds
	case !p.Credentials:
	case p.LogsIn:
		st.CredentialsSecret, st.Access = "", &vdi.AccessStatus{Mode: vdi.AccessMode(p.Platform.Access.Mode)}
	default:
		st.CredentialsSecret = renderer.CredentialsName(p.Session.Name)
		if p.Verifier != "" {
			st.Access = &vdi.AccessStatus{Mode: vdi.AccessMode(wire.AccessPassword), PasswordVerifier: p.Verifier}
		}
	}
}

// link is the URL decided in this pass, else the one the session has.
func (p view) link() string {
	if p.URL != "" {
		return p.URL
	}
	return p.Session.Status.URL
}

// describeRun shows home, sizes and pod. What runs counts, not what is wished:
// the next start brings that.
func (p view) describeRun(st *vdi.VDISessionStatus) {
	switch {
	case p.home != nil:
		st.Home = sinceBefore(st.Home, p.home)
	case p.Seen.Pod != nil:
		st.Home = nil // it runs without one
	}
	switch {
	case p.Seen.Pod != nil:
		p.describeSizes(st)
	case p.Resources.GPU != nil:
		st.Resources = resourcesStatus(p.Resources)
		st.GPU = p.gpuStatus()
	}
	st.PodName = ""
	if p.Seen.Pod != nil {
		st.PodName = p.Seen.Pod.Name
	}
	st.Timings = desktop.SinceStart(st.Timings, desktop.Timings(p.Seen.Pod))
	if last, found := desktop.LastExit(p.Seen.Pod, p.HasWorked()); found {
		st.LastExit = last.Status(p.Seen.Pod)
	}
}

// isAccepted reports whether the quotas have accepted the session, if they were to.
func (p view) isAccepted() bool {
	err, asked := p.Answered[plan.AskRoom]
	return !p.Limited || p.WasAccepted() || (asked && err == nil)
}

// queue is the session's place. Who could not ask for room, and whose turn came and whose
// start came to nothing, keeps it.
func (p view) queue() *vdi.QueueStatus {
	_, asked := p.Answered[plan.AskRoom]
	granted := asked && p.Room.Short == nil && !p.Room.Stands
	if p.Limited && p.Starting() && !p.Made && (!asked || granted) && p.Session.DeletionTimestamp == nil {
		return p.Session.Status.Queue
	}
	return p.Room.Queue
}

// describeSizes shows what the pod has.
func (p view) describeSizes(st *vdi.VDISessionStatus) {
	limits, recorded := desktop.Limits(p.Seen.Pod), ""
	if st.GPU != nil {
		recorded = st.GPU.ResourceName
	}
	name, count := desktop.GPUOf(limits, p.GPUResource(), recorded)
	if p.Template == nil && recorded == "" { // nobody knows any more what it asked for
		name, count = desktop.LikelyGPU(limits)
	}
	st.Resources = &vdi.ResourcesStatus{GPU: &count}
	if cpu, limited := limits[corev1.ResourceCPU]; limited {
		st.Resources.CPU = cpu.String()
	}
	if memory, limited := limits[corev1.ResourceMemory]; limited {
		st.Resources.Memory = memory.String()
	}
	encoder := ""
	switch {
	case p.Resources.GPU != nil: // accepted: what it encodes with is known
		encoder = p.EncoderName()
	case st.GPU != nil:
		encoder = st.GPU.Encoder
	}
	st.GPU = &vdi.GPUStatus{ResourceName: name, Count: count, Encoder: encoder}
}

// resourcesStatus shows limits that were accepted.
func resourcesStatus(r vdi.SessionResources) *vdi.ResourcesStatus {
	return &vdi.ResourcesStatus{GPU: r.DeepCopy().GPU, Memory: string(r.Memory), CPU: string(r.CPU)}
}

func (p view) gpuStatus() *vdi.GPUStatus {
	g := p.Template.Spec.GPU
	st := &vdi.GPUStatus{
		Count:   *p.Resources.GPU,
		Encoder: p.EncoderName(),
	}
	if st.Count > 0 {
		st.ResourceName = g.ResourceName
	}
	return st
}

// Equal reports whether two statuses say the same.
func Equal(a, b vdi.VDISessionStatus) bool { return equality.Semantic.DeepEqual(a, b) }

// waitsForGroups reports whether a login at the session's own page may help: it must have an
// address.
func waitsForGroups(h *verdict.Verdict) bool { return h.Reason == vdi.ReasonTemplateNotAllowed }

// isHostRefusal reports whether somebody else has the session's host.
func isHostRefusal(h *verdict.Verdict) bool {
	return h.Reason == vdi.ReasonHostInUse || h.Reason == vdi.ReasonHostOfAnotherUser
}
