package status

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// setConditions computes all conditions together.
func setConditions(st *vdi.VDISessionStatus, p view, judged *verdict.Verdict, ahead plan.Decision) {
	c := conditionWriter{st: st, generation: p.Session.Generation, now: metav1.NewTime(p.Now)}
	good := judged.Phase == vdi.PhaseRunning && judged.Condition == "" || judged.Phase == vdi.PhaseSuspended
	c.set(vdi.ConditionReady, good, judged.Reason, judged.Message)
	c.set(vdi.ConditionStalled, judged.Stalled, judged.Reason, judged.Message)
	for _, kind := range []string{
		vdi.ConditionAccepted, vdi.ConditionHomeReady, vdi.ConditionScheduled,
		vdi.ConditionDesktopReady, vdi.ConditionReachable,
	} {
		c.progress(kind, p, judged)
	}
	c.admitted(p, judged)
	if p.Refusal != nil && p.Refusal.Conflict {
		judged = p.Refusal
	}
	c.onlyWhile(vdi.ConditionNameConflict, judged.Conflict, judged.Reason, judged.Message)
	reason, words := p.updateWords()
	c.onlyWhile(vdi.ConditionUpdatePending, words != "", reason, words)
	if !p.Asking {
		reason, words = expiryWords(p.Session, ahead.Warn, ahead.Held)
		c.onlyWhile(vdi.ConditionExpiringSoon, ahead.Warn != "", reason, words)
	}
}

// updateWords say what the next start changes, or why there would be none; empty
// when nothing.
func (p view) updateWords() (reason, message string) {
	switch {
	case p.Refusal != nil && p.Seen.PodLives() && p.Decision.Want == plan.Run:
		reason, message = p.Refusal.Reason, "This desktop runs on, but could not start again as things are: "+p.Refusal.Message
	case p.Refusal != nil:
		reason, message = p.Refusal.Reason, "The desktop could not start as things are: "+p.Refusal.Message
	case len(p.Pending) > 0:
		reason, message = vdi.ReasonNewRevision, "Template, platform settings or operator changed since this desktop started; the next start changes: "+strings.Join(p.Pending, ", ")
	}
	return reason, message
}

// maxConditionMessage is the longest message of a condition (metav1.Condition).
const maxConditionMessage = 32768

// expiryWords say what ends soon and what can be done about it. The clock of an end
// that is held stands still.
func expiryWords(s *vdi.VDISession, end vdi.End, held bool) (reason, message string) {
	switch end {
	case vdi.EndDrain:
		if order, err := drain.Of(s); err == nil && order != nil {
			return vdi.ReasonDrain, order.Words()
		}
		return vdi.ReasonDrain, "The node is being freed, and the desktop has to leave it"
	case vdi.EndIdle:
		if held {
			return vdi.ReasonIdle, "Nobody has used the desktop for a while, and whether somebody does now is unknown: it is suspended if not. Using it, or spec.keepAliveUntil, moves the end"
		}
		return vdi.ReasonIdle, "Nobody has used the desktop for a while: it is suspended soon (see status.announcements). Using it, or spec.keepAliveUntil, moves the end"
	case vdi.EndBudget:
		return vdi.ReasonBudget, "The GPU-hours that a VDIQuota gives are used up soon (see status.announcements): the desktop is suspended then, and starts again when somebody resumes it in the next window. Stopping desktops that are not used moves the end"
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
		Type: kind, Status: status, Reason: reason, Message: verdict.Shorten(message, maxConditionMessage),
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

// admitted says whether there is room for a run that had to ask for it. It stands as long as
// the run does, so that quotas that come and go, and a cluster that fills, write nothing.
func (c conditionWriter) admitted(p view, judged *verdict.Verdict) {
	switch {
	case judged.Condition == vdi.ConditionAdmitted:
		c.write(vdi.ConditionAdmitted, metav1.ConditionFalse, judged.Reason, judged.Message)
	case p.failed != nil:
	default:
		_, asked := p.Answered[plan.AskRoom]
		was := meta.IsStatusConditionTrue(c.st.Conditions, vdi.ConditionAdmitted)
		waited := meta.IsStatusConditionFalse(c.st.Conditions, vdi.ConditionAdmitted)
		asked = asked && (p.ByQuota || waited) // not for what is full elsewhere in the cluster
		runs := p.Seen.Pod != nil || p.Made || (was && p.KeepsRoom(nil))
		starts := p.ByQuota && p.Session.Status.StartTime == nil // it asked in the pass that made it, which was not reported
		c.onlyWhile(vdi.ConditionAdmitted, (asked || was || starts) && runs && p.Decision.Want == plan.Run, vdi.ReasonAsExpected, "There is room for this run")
	}
}

// progress writes one of the conditions that come true one after another.
func (c conditionWriter) progress(kind string, p view, judged *verdict.Verdict) {
	f := p.fact(kind)
	if f.status == metav1.ConditionUnknown && p.wasNotAsked(kind) && meta.FindStatusCondition(c.st.Conditions, kind) != nil {
		return
	}
	if f.status != metav1.ConditionTrue && judged.Condition == kind {
		f = fact{metav1.ConditionFalse, judged.Reason, judged.Message}
	}
	c.write(kind, f.status, f.reason, f.message)
}

// wasNotAsked reports whether the pass failed before it came to what the condition is about.
func (p view) wasNotAsked(kind string) bool {
	return p.isBlind() || p.failed != nil && kind == vdi.ConditionReachable && desktop.Ready(p.Seen.Pod)
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

// fact is what the pass saw about one condition.
func (p view) fact(kind string) fact {
	if stopped := p.Decision.Want == plan.StayStopped; stopped && kind != vdi.ConditionAccepted && kind != vdi.ConditionHomeReady {
		if p.Seen.Pod != nil {
			return isFalse(vdi.ReasonProgressing, "The desktop is shutting down")
		}
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

func (p view) acceptedFact() fact {
	switch {
	case p.NotAccepted() != nil:
		return isFalse(p.NotAccepted().Reason, p.NotAccepted().Message)
	case p.Host == "":
		return isUnknown("Not looked at yet")
	default:
		return isTrue("User, template, sizes and host are in order")
	}
}

func (p view) homeFact() fact {
	name, trouble := p.HomeInForce(), p.homeTrouble()
	switch {
	case name == "":
		return fact{metav1.ConditionTrue, vdi.ReasonDisabled, "Persistence is off: the home is a scratch directory"}
	case p.StoppedBy != nil && p.StoppedBy.Condition == vdi.ConditionHomeReady:
		return isFalse(p.StoppedBy.Reason, p.StoppedBy.Message)
	case trouble != nil:
		return *trouble
	case p.SharedWith != nil:
		return fact{metav1.ConditionTrue, vdi.ReasonHomeInUse, fmt.Sprintf("The home is %s; the pod %q uses it too, and what both write at once may be lost: end one of them", name, p.SharedWith.Name)}
	case p.SizeRefused != nil:
		return fact{metav1.ConditionTrue, p.SizeRefused.Reason, p.SizeRefused.Message}
	case p.HomeDiffers != "":
		return fact{metav1.ConditionTrue, vdi.ReasonHomeDiffers, fmt.Sprintf("The home %s stays as it is: %s. A claim cannot be changed in that; another home needs another session name", name, p.HomeDiffers)}
	case p.isReplaced(name):
		return fact{metav1.ConditionTrue, vdi.ReasonHomeReplaced, fmt.Sprintf("The home %s is not the one that this session had before: that claim was deleted (see status.home.replacedUID), and this is another of its name: a new, empty one, or what an administrator brought back. What the former volume held may still be there where it was retained, or in a backup", name)}
	case p.Seen.PodLives(), p.Seen.ClaimNamed(name) != nil:
		return isTrue("The home is " + name)
	default:
		return isUnknown("The home is not there yet")
	}
}

func (p view) scheduledFact() fact {
	if desktop.Scheduled(p.Seen.Pod) {
		return isTrue("The desktop has a node")
	}
	return isUnknown("The desktop has no node yet")
}

func (p view) desktopFact() fact {
	switch {
	case desktop.Ready(p.Seen.Pod):
		return isTrue("The desktop answers")
	case p.Seen.Pod != nil:
		return isFalse(vdi.ReasonProgressing, "The desktop does not answer yet")
	default:
		return isUnknown("There is no desktop yet")
	}
}

func (p view) reachableFact() fact {
	switch p.Reach {
	case plan.ReachAnswered:
		return isTrue("The proxy leads to the desktop")
	case plan.ReachNotVerified:
		return fact{metav1.ConditionUnknown, vdi.ReasonNotVerified, "Nobody asked the proxy: sessions.verifyRoute is off"}
	case plan.ReachRefused:
		return isFalse(p.WayRefused.Reason, p.WayRefused.Message)
	case plan.ReachSilent:
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
