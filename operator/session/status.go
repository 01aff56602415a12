package session

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// statusOf computes the whole status from one pass, also after an early exit.
// What was not looked at keeps its last value or is Unknown; nothing is assumed.
func statusOf(p *pass, before vdi.VDISessionStatus, failed error) vdi.VDISessionStatus {
	after := *before.DeepCopy()
	after.ObservedGeneration = p.session.Generation
	after.Identity = platform.Identity(p.session.Spec.User)
	after.StopReason = p.session.Status.StopReason // the pass may have recorded one
	after.Failures = p.session.Status.Failures     // or counted one, or forgotten some
	after.Downtime = p.session.Status.Downtime     // the same
	after.Lifecycle = p.lastRules().DeepCopy()
	p.describeWay(&after)
	p.describeRun(&after)
	word := p.verdict(failed)
	word.message = shorten(word.message, maxMessage)
	after.Phase, after.Message, after.WaitingFor = word.phase, word.message, word.waiting
	if failed == nil { // else not all was looked at
		p.describeDowntime(&after)
	}
	p.describeTime(&after)
	setConditions(&after, p, word)
	return after
}

// maxMessage is the longest status.message the CRD allows.
const maxMessage = 4096

// shorten cuts a text to at most limit bytes, at a whole character.
func shorten(text string, limit int) string {
	const mark = " …"
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(mark)], "") + mark
}

// describeWay tells host, URL and login.
func (p *pass) describeWay(st *vdi.VDISessionStatus) {
	refused := p.notAccepted()
	switch {
	case refused == nil && p.hasHost:
		st.Host, st.URL = p.host, p.url
	case refused != nil && isHostRefusal(refused): // it is another's
		st.Host, st.URL = "", ""
	}
	p.describeLogin(st)
}

// describeLogin tells how this run's visitors show who they are; in mode OIDC
// there is no password for them.
func (p *pass) describeLogin(st *vdi.VDISessionStatus) {
	switch {
	case !p.credentials && p.starting() && p.session.Status.Phase == vdi.PhaseSuspended:
		st.CredentialsSecret = "" // the resume will make another password, whenever it succeeds
	case !p.credentials:
	case p.oidc:
		st.CredentialsSecret, st.Access = "", &vdi.AccessStatus{Mode: vdi.AccessMode(wire.AccessOIDC)}
	default:
		st.CredentialsSecret = renderer.CredentialsName(p.session.Name)
		if p.verifier != "" {
			st.Access = &vdi.AccessStatus{Mode: vdi.AccessMode(wire.AccessPassword), PasswordVerifier: p.verifier}
		}
	}
}

// notAccepted is why the session itself was not accepted; nil when it was.
func (p *pass) notAccepted() *halt {
	for _, h := range []*halt{p.halted, p.refusal} {
		if h != nil && h.condition == vdi.ConditionAccepted {
			return h
		}
	}
	return nil
}

// link is the URL decided in this pass, else the one the session has.
func (p *pass) link() string {
	if p.url != "" {
		return p.url
	}
	return p.session.Status.URL
}

// describeRun shows home, sizes and pod. What runs counts, not what is wished:
// the next start brings that.
func (p *pass) describeRun(st *vdi.VDISessionStatus) {
	if p.home == nil && p.seen.pod != nil {
		p.home = homeStatus(p) // the pod has it, whatever was refused meanwhile
	}
	switch {
	case p.home != nil:
		st.Home = sinceBefore(st.Home, p.home)
	case p.seen.pod != nil:
		st.Home = nil // it runs without one
	}
	switch {
	case p.seen.pod != nil:
		p.describeSizes(st)
	case p.resources.GPU != nil:
		st.Resources = resourcesStatus(p.resources)
		st.GPU = p.gpuStatus()
	}
	st.PodName = ""
	if p.seen.pod != nil {
		st.PodName = p.seen.pod.Name
	}
	st.Timings = timingsOf(p.seen.pod)
	if last, found := lastExit(p.seen.pod, p.hasWorked()); found {
		st.LastExit = last.status(p.seen.pod)
	}
}

// sinceBefore adds what an earlier look has recorded of the same name: a pass that did
// not look at the claim does not forget it, and another claim is not taken for the one that
// was there.
func sinceBefore(before, now *vdi.HomeStatus) *vdi.HomeStatus {
	if before == nil || before.ClaimName != now.ClaimName {
		return now
	}
	now.ReplacedUID = before.ReplacedUID
	switch {
	case now.UID == "":
		now.UID, now.CreatedByOperator = before.UID, before.CreatedByOperator
	case before.UID != "" && before.UID != now.UID:
		now.ReplacedUID = before.UID
	}
	return now
}

// describeSizes shows what the pod has.
func (p *pass) describeSizes(st *vdi.VDISessionStatus) {
	limits, recorded := desktopLimits(p.seen.pod), ""
	if st.GPU != nil {
		recorded = st.GPU.ResourceName
	}
	name, count := gpuOf(limits, p.gpuResource(), recorded)
	st.Resources = &vdi.ResourcesStatus{GPU: &count}
	if cpu, limited := limits[corev1.ResourceCPU]; limited {
		st.Resources.CPU = cpu.String()
	}
	if memory, limited := limits[corev1.ResourceMemory]; limited {
		st.Resources.Memory = memory.String()
	}
	encoder := ""
	switch {
	case p.resources.GPU != nil: // accepted: what it encodes with is known
		encoder = p.encoderName()
	case st.GPU != nil:
		encoder = st.GPU.Encoder
	}
	st.GPU = &vdi.GPUStatus{ResourceName: name, Count: count, Encoder: encoder}
}

// resourcesStatus shows limits that were accepted.
func resourcesStatus(r vdi.SessionResources) *vdi.ResourcesStatus {
	return &vdi.ResourcesStatus{GPU: r.DeepCopy().GPU, Memory: string(r.Memory), CPU: string(r.CPU)}
}

func desktopLimits(pod *corev1.Pod) corev1.ResourceList {
	if len(pod.Spec.Containers) == 0 {
		return nil
	}
	return pod.Spec.Containers[0].Resources.Limits
}

// gpuOf is the GPU resource among a desktop's limits and how much of it: the
// template's, or the one that the desktop was recorded with. Other extended
// resources are no GPUs.
func gpuOf(limits corev1.ResourceList, names ...string) (name string, count int32) {
	for _, name := range names {
		if quantity, has := limits[corev1.ResourceName(name)]; has && name != "" {
			return name, int32(quantity.Value())
		}
	}
	return "", 0
}

func (p *pass) gpuStatus() *vdi.GPUStatus {
	g := p.template.Spec.GPU
	st := &vdi.GPUStatus{
		Count:   *p.resources.GPU,
		Encoder: p.encoderName(),
	}
	if st.Count > 0 {
		st.ResourceName = g.ResourceName
	}
	return st
}

// verdict is the one thing to say about the session now.
func (p *pass) verdict(failed error) *halt {
	switch {
	case p.session.DeletionTimestamp != nil:
		return &halt{condition: vdi.ConditionReady, reason: vdi.ReasonTerminating, phase: vdi.PhaseTerminating, message: "The session is being removed"}
	case p.halted != nil:
		return p.halted
	case failed != nil:
		return p.interrupted(failed)
	case p.decision.want != wantRun:
		return p.stopped()
	case p.seen.pod == nil:
		return &halt{condition: vdi.ConditionScheduled, reason: vdi.ReasonProgressing, phase: vdi.PhasePending, message: "The desktop is about to start"}
	case p.seen.pod.DeletionTimestamp != nil:
		return leaving(p.seen.pod, p.session.Status.StartTime != nil)
	case !podReady(p.seen.pod):
		return podWait(p.seen.pod, p.gpuResource(), p.hasWorked(), p.cause)
	case p.reachable == reachRefused:
		return &halt{
			condition: vdi.ConditionReachable, reason: p.refusal.reason, phase: vdi.PhaseCreating,
			waiting: vdi.WaitingForRoute, message: "The desktop is up, and nothing leads to it. " + p.refusal.message, stalled: true,
		}
	case p.reachable == reachSilent:
		return &halt{
			condition: vdi.ConditionReachable, reason: vdi.ReasonRouteNotAnswering, phase: vdi.PhaseCreating,
			waiting: vdi.WaitingForRoute, message: "The desktop is up; the proxy does not lead to it yet",
		}
	default:
		return &halt{reason: vdi.ReasonAsExpected, phase: vdi.PhaseRunning, message: "The desktop is ready at " + p.link()}
	}
}

// interrupted: a write failed and is being retried. The former phase stands.
func (p *pass) interrupted(failed error) *halt {
	phase := p.session.Status.Phase
	if phase == "" {
		phase = vdi.PhasePending
	}
	return &halt{
		condition: vdi.ConditionReady, reason: vdi.ReasonUnknown, phase: phase,
		message: "The API server could not be asked: " + failed.Error(),
	}
}

func (p *pass) stopped() *halt {
	switch pod := p.seen.pod; {
	case pod != nil && nodeSilent(pod):
		return &halt{condition: vdi.ConditionReady, reason: vdi.ReasonProgressing, phase: vdi.PhaseRunning, message: fmt.Sprintf("The desktop is to stop, and its node %s does not answer; it is over when the node is back or has been removed from the cluster. The home is kept", pod.Spec.NodeName)}
	case pod != nil:
		return &halt{condition: vdi.ConditionReady, reason: vdi.ReasonProgressing, phase: vdi.PhaseRunning, message: "The desktop is shutting down; the home is kept"}
	}
	return &halt{reason: vdi.ReasonSuspended, phase: vdi.PhaseSuspended, message: "Suspended: the home is kept and the GPU is free; set spec.runPolicy to Running to go on"}
}

func (p *pass) gpuResource() string {
	if p.template != nil {
		return p.template.Spec.GPU.ResourceName
	}
	if g := p.session.Status.GPU; g != nil {
		return g.ResourceName
	}
	return ""
}

// describeTime keeps the clocks: the phase's, and the run's, which starts when
// the desktop is first Running, stands still through hiccups, and is reset by a
// stop. A run never starts before the pod was made by the API server's clock:
// ours may be slow, and the run would end early.
func (p *pass) describeTime(st *vdi.VDISessionStatus) {
	if st.Phase != p.session.Status.Phase || st.PhaseSince == nil {
		st.PhaseSince = &metav1.Time{Time: p.now.Truncate(time.Second)}
	}
	st.Activity = p.session.Status.Activity
	switch {
	case p.session.DeletionTimestamp != nil:
		return
	case st.EndReason != "": // an end that was recorded and did not come to pass
		st.StopReason, st.EndReason = "", ""
	}
	switch {
	case st.Phase == vdi.PhaseSuspended, p.decision.want == wantStop:
		p.describeStop(st)
	case st.Phase == vdi.PhaseRunning:
		p.describeStart(st)
	}
	if p.decision.want == wantRun {
		st.StopReason = ""
	}
	p.describeEnd(st)
}

func (p *pass) describeStop(st *vdi.VDISessionStatus) {
	st.StartTime, st.Activity, st.Failures, st.Downtime = nil, nil, 0, nil
	if !operatorsReason(st.StopReason) {
		st.StopReason = vdi.StopUser
	}
}

func (p *pass) describeStart(st *vdi.VDISessionStatus) {
	if st.StartTime == nil {
		if _, found := lastExit(p.seen.pod, false); !found {
			st.LastExit = nil // that was another run, and this one works
		}
		st.StartTime = &metav1.Time{Time: later(p.now.Truncate(time.Second), p.seen.pod.CreationTimestamp.Time)}
	}
}

// describeEnd tells what ends the state described so far, and when. While the agent
// has not answered yet nothing new is known.
func (p *pass) describeEnd(st *vdi.VDISessionStatus) {
	if p.asking {
		return
	}
	described := p.session.DeepCopy()
	described.Status = *st
	p.ahead = p.decisionOn(described, p.now)
	st.ExpiresAt, st.ExpiryReason, st.Announcements = p.ahead.expiresAt, p.ahead.because, p.ahead.announced
	p.look(p.ahead.lookAgain)
	if p.decision.want == wantRun && isEnd(p.ahead) { // what was seen just now made it due
		p.look(time.Second)
	}
}

// setConditions computes all conditions together.
func setConditions(st *vdi.VDISessionStatus, p *pass, word *halt) {
	c := conditionWriter{st: st, generation: p.session.Generation, now: metav1.NewTime(p.now)}
	good := word.phase == vdi.PhaseRunning && word.condition == "" || word.phase == vdi.PhaseSuspended
	c.set(vdi.ConditionReady, good, word.reason, word.message)
	c.set(vdi.ConditionStalled, word.stalled, word.reason, word.message)
	for _, kind := range []string{
		vdi.ConditionAccepted, vdi.ConditionHomeReady, vdi.ConditionScheduled,
		vdi.ConditionDesktopReady, vdi.ConditionReachable,
	} {
		c.progress(kind, p, word)
	}
	if p.refusal != nil && p.refusal.conflict {
		word = p.refusal
	}
	c.onlyWhile(vdi.ConditionNameConflict, word.conflict, word.reason, word.message)
	reason, words := p.updateWords()
	c.onlyWhile(vdi.ConditionUpdatePending, words != "", reason, words)
	if !p.asking {
		reason, words = expiryWords(p.ahead.warn, p.ahead.held)
		c.onlyWhile(vdi.ConditionExpiringSoon, p.ahead.warn != "", reason, words)
	}
}

// updateWords say what the next start changes, or why there would be none; empty
// when nothing.
func (p *pass) updateWords() (reason, message string) {
	switch {
	case p.refusal != nil && p.seen.podLives() && p.decision.want == wantRun:
		reason, message = p.refusal.reason, "This desktop runs on, but could not start again as things are: "+p.refusal.message
	case p.refusal != nil:
		reason, message = p.refusal.reason, "The desktop could not start as things are: "+p.refusal.message
	case len(p.pending) > 0:
		reason, message = vdi.ReasonNewRevision, "Template, platform settings or operator changed since this desktop started; the next start changes: "+strings.Join(p.pending, ", ")
	}
	return reason, shorten(message, maxConditionMessage)
}

// maxConditionMessage is the longest message of a condition (metav1.Condition).
const maxConditionMessage = 32768

// expiryWords say what ends soon and what can be done about it. The clock of an end
// that is held stands still.
func expiryWords(end vdi.End, held bool) (reason, message string) {
	switch end {
	case vdi.EndIdle:
		if held {
			return vdi.ReasonIdle, "Nobody has used the desktop for a while, and whether somebody does now is unknown: it is suspended if not. Using it, or spec.keepAliveUntil, moves the end"
		}
		return vdi.ReasonIdle, "Nobody has used the desktop for a while: it is suspended soon (see status.announcements). Using it, or spec.keepAliveUntil, moves the end"
	case vdi.EndStarting:
		return vdi.ReasonTooLong, "The desktop has not started for long: the session is suspended soon (see status.announcements); the home is kept"
	case vdi.EndFailed:
		if held {
			return vdi.ReasonTooLong, "The desktop has failed for long: the session is removed soon after it fails again; the home is kept"
		}
		return vdi.ReasonTooLong, "The desktop has not worked for long: the session is removed soon (see status.announcements); the home is kept"
	case vdi.EndSuspended:
		return vdi.ReasonTooLong, "The session has been suspended for long: it is removed soon (see status.announcements); the home is kept"
	default:
		return vdi.ReasonTimeout, "The session ends soon because of its timeout (see status.announcements); spec.keepAliveUntil moves the end"
	}
}

type conditionWriter struct {
	st         *vdi.VDISessionStatus
	generation int64
	now        metav1.Time
}

func (c conditionWriter) write(kind string, status metav1.ConditionStatus, reason, message string) {
	if reason == "" {
		reason = vdi.ReasonAsExpected
	}
	meta.SetStatusCondition(&c.st.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: c.generation, LastTransitionTime: c.now,
	})
}

func (c conditionWriter) set(kind string, is bool, reason, message string) {
	if kind == vdi.ConditionStalled && !is {
		reason, message = vdi.ReasonAsExpected, "Nobody has to change anything"
	}
	c.write(kind, boolStatus(is), reason, message)
}

func (c conditionWriter) onlyWhile(kind string, is bool, reason, message string) {
	if !is {
		meta.RemoveStatusCondition(&c.st.Conditions, kind)
		return
	}
	c.write(kind, metav1.ConditionTrue, reason, message)
}

// progress writes one of the conditions that come true one after another.
func (c conditionWriter) progress(kind string, p *pass, word *halt) {
	f := p.fact(kind)
	if f.status != metav1.ConditionTrue && word.condition == kind {
		f = fact{metav1.ConditionFalse, word.reason, word.message}
	}
	c.write(kind, f.status, f.reason, f.message)
}

// fact is what a pass saw about one condition.
type fact struct {
	status          metav1.ConditionStatus
	reason, message string
}

func isTrue(message string) fact { return fact{metav1.ConditionTrue, vdi.ReasonAsExpected, message} }

func isUnknown(message string) fact {
	return fact{metav1.ConditionUnknown, vdi.ReasonProgressing, message}
}

func isFalse(reason, message string) fact { return fact{metav1.ConditionFalse, reason, message} }

// fact tells what the pass saw about one condition.
func (p *pass) fact(kind string) fact {
	if stopped := p.decision.want == wantStop; stopped && kind != vdi.ConditionAccepted && kind != vdi.ConditionHomeReady {
		return isFalse(vdi.ReasonSuspended, "The session is suspended")
	}
	switch kind {
	case vdi.ConditionAccepted:
		return p.acceptedFact()
	case vdi.ConditionHomeReady:
		return p.homeFact()
	case vdi.ConditionScheduled:
		return p.scheduledFact()
	case vdi.ConditionDesktopReady:
		return p.desktopFact()
	default:
		return p.reachableFact()
	}
}

func (p *pass) acceptedFact() fact {
	switch {
	case p.notAccepted() != nil:
		return isFalse(p.notAccepted().reason, p.notAccepted().message)
	case p.host == "":
		return isUnknown("Not looked at yet")
	default:
		return isTrue("User, template, sizes and host are in order")
	}
}

func (p *pass) homeFact() fact {
	name, trouble := p.homeInForce(), p.homeTrouble()
	switch {
	case name == "":
		return fact{metav1.ConditionTrue, vdi.ReasonDisabled, "Persistence is off: the home is a scratch directory"}
	case p.halted != nil && p.halted.condition == vdi.ConditionHomeReady:
		return isFalse(p.halted.reason, p.halted.message)
	case trouble != nil:
		return *trouble
	case p.sharedWith != nil:
		return fact{metav1.ConditionTrue, vdi.ReasonHomeInUse, fmt.Sprintf("The home is %s; the pod %q uses it too, and what both write at once may be lost: end one of them", name, p.sharedWith.Name)}
	case p.sizeRefused != nil:
		return fact{metav1.ConditionTrue, p.sizeRefused.reason, p.sizeRefused.message}
	case p.homeDiffers != "":
		return fact{metav1.ConditionTrue, vdi.ReasonHomeDiffers, fmt.Sprintf("The home %s stays as it is: %s. A claim cannot be changed in that; another home needs another session name", name, p.homeDiffers)}
	case p.isReplaced(name):
		return fact{metav1.ConditionTrue, vdi.ReasonHomeReplaced, fmt.Sprintf("The home %s is not the one that this session had before: that claim was deleted (see status.home.replacedUID), and this is another of its name: a new, empty one, or what an administrator brought back. What the former volume held may still be there where it was retained, or in a backup", name)}
	case p.seen.podLives(), p.seen.claimNamed(name) != nil:
		return isTrue("The home is " + name)
	default:
		return isUnknown("The home is not there yet")
	}
}

func (p *pass) scheduledFact() fact {
	if podScheduled(p.seen.pod) {
		return isTrue("The desktop has a node")
	}
	return isUnknown("The desktop has no node yet")
}

func (p *pass) desktopFact() fact {
	switch {
	case podReady(p.seen.pod):
		return isTrue("The desktop answers")
	case p.seen.pod != nil:
		return isFalse(vdi.ReasonProgressing, "The desktop does not answer yet")
	default:
		return isUnknown("There is no desktop yet")
	}
}

func (p *pass) reachableFact() fact {
	switch p.reachable {
	case reachAnswered:
		return isTrue("The proxy leads to the desktop")
	case reachNotVerified:
		return fact{metav1.ConditionUnknown, vdi.ReasonNotVerified, "Nobody asked the proxy: sessions.verifyRoute is off"}
	case reachRefused:
		return isFalse(p.refusal.reason, p.refusal.message)
	case reachSilent:
		return isFalse(vdi.ReasonRouteNotAnswering, "The proxy does not lead to the desktop yet")
	default:
		return isUnknown("Not looked at before the desktop answers")
	}
}

func boolStatus(b bool) metav1.ConditionStatus {
	if b {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

func statusEqual(a, b vdi.VDISessionStatus) bool { return equality.Semantic.DeepEqual(a, b) }
