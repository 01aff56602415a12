package status

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// verdict is the one thing to say about the session now.
func (p view) verdict(failed error) *verdict.Verdict {
	switch {
	case p.Session.DeletionTimestamp != nil:
		return p.terminating(failed)
	case p.StoppedBy != nil:
		return p.StoppedBy
	case failed != nil:
		return p.interrupted(failed)
	case p.Decision.Want != plan.Run:
		return p.stopped()
	case p.Seen.Pod == nil:
		return &verdict.Verdict{Condition: vdi.ConditionScheduled, Reason: vdi.ReasonProgressing, Phase: vdi.PhasePending, Message: "The desktop is about to start"}
	case p.Seen.Pod.DeletionTimestamp != nil:
		return p.leaving()
	case !desktop.Ready(p.Seen.Pod):
		return desktop.Wait(p.Seen.Pod, p.GPUResource(), p.HasWorked(), p.Cause)
	case p.Reach == plan.ReachRefused:
		return &verdict.Verdict{
			Condition: vdi.ConditionReachable, Reason: p.WayRefused.Reason, Phase: vdi.PhaseCreating,
			Waiting: vdi.WaitingForRoute, Message: "The desktop is up, and nothing leads to it. " + p.WayRefused.Message, Stalled: true,
		}
	case p.Reach == plan.ReachSilent:
		return &verdict.Verdict{
			Condition: vdi.ConditionReachable, Reason: vdi.ReasonRouteNotAnswering, Phase: vdi.PhaseCreating,
			Waiting: vdi.WaitingForRoute, Message: "The desktop is up; the proxy does not lead to it yet",
		}
	}
	v := &verdict.Verdict{Reason: vdi.ReasonAsExpected, Phase: vdi.PhaseRunning, Message: "The desktop is ready"}
	if link := p.link(); link != "" {
		v.Message += " at " + link
	}
	return v
}

// leaving says why a pod goes that is wanted.
func (p view) leaving() *verdict.Verdict {
	pod := p.Seen.Pod
	order, err := drain.Of(p.Session)
	if err == nil && order.Concerns(pod) && order.Restart && !pod.DeletionTimestamp.Before(&order.At) && desktop.Condition(pod, corev1.DisruptionTarget) == nil {
		return desktop.LeavesNode(pod)
	}
	return desktop.WhyLeaving(pod, p.Session.Status.StartTime != nil)
}

// terminating says what an end waits for.
func (p view) terminating(failed error) *verdict.Verdict {
	v := verdict.Verdict{Condition: vdi.ConditionReady, Reason: vdi.ReasonTerminating, Message: "The session is being removed"}
	switch {
	case p.StoppedBy != nil:
		v = *p.StoppedBy
		if v.Reason != vdi.ReasonTerminating {
			v.Message = "The session cannot be removed yet. " + v.Message
		}
	case failed != nil:
		v.Message += ", but the API server could not be asked: " + failed.Error()
	}
	v.Phase = vdi.PhaseTerminating
	return &v
}

// interrupted: a write failed and is being retried. The former phase stands.
func (p view) interrupted(failed error) *verdict.Verdict {
	phase := p.Session.Status.Phase
	if phase == "" {
		phase = vdi.PhasePending
	}
	return &verdict.Verdict{
		Condition: vdi.ConditionReady, Reason: vdi.ReasonUnknown, Phase: phase,
		Message: "The API server could not be asked: " + failed.Error(),
	}
}

func (p view) stopped() *verdict.Verdict {
	phase := vdi.PhaseRunning
	switch before := p.Session.Status.Phase; before {
	case "":
		phase = vdi.PhasePending
	case vdi.PhasePending, vdi.PhaseCreating: // it never ran, or not lately
		phase = before
	}
	switch pod := p.Seen.Pod; {
	case pod != nil && desktop.NodeSilent(pod):
		return &verdict.Verdict{Condition: vdi.ConditionReady, Reason: vdi.ReasonProgressing, Phase: phase, Message: fmt.Sprintf("The desktop is to stop, and its node %s does not answer; it is over when the node is back or has been removed from the cluster. The home is kept", pod.Spec.NodeName)}
	case pod != nil:
		return &verdict.Verdict{Condition: vdi.ConditionReady, Reason: vdi.ReasonProgressing, Phase: phase, Message: "The desktop is shutting down; the home is kept"}
	}
	what := "the home is kept and the GPU is free"
	if p.HomeGone {
		what = "the GPU is free, but somebody has removed the home's claim (see condition HomeReady)"
	}
	return &verdict.Verdict{Reason: vdi.ReasonSuspended, Phase: vdi.PhaseSuspended, Message: "Suspended: " + what + "; set spec.runPolicy to Running to go on"}
}
