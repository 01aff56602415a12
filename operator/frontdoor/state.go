package frontdoor

import (
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/story"
)

// state is what a session's page says about it.
type state struct {
	// Title and Text are ours; Message is the operator's own sentence, "" where it
	// would only repeat them.
	Title, Text, Message string
	// Running: the desktop answers at the same address.
	Running bool
	// CanResume: the desktop is stopped, and its user may start it.
	CanResume bool
	// Ahead is how many sessions are before it that wait for the same thing; it counts
	// only where Queued. Roughly: they were so many when it began to wait.
	Queued, Roughly bool
	Ahead           int
}

// knownPlaces are the first in a queue, whose place is kept up to date in their status.
const knownPlaces = 10

// describe puts a session's status into plain words.
func describe(s *vdi.VDISession) state {
	switch s.Status.Phase {
	case vdi.PhaseRunning:
		if s.Spec.RunPolicy == vdi.RunPolicySuspended {
			return state{Title: "Your desktop is shutting down", Text: "Your files are kept. You can start it again right away.", CanResume: true}
		}
		return state{Title: "Your desktop is running", Text: "It opens in a moment.", Running: true}
	case vdi.PhaseSuspended:
		if s.Spec.RunPolicy != vdi.RunPolicySuspended {
			return state{Title: "Your desktop is about to start", Text: "Somebody asked for it a moment ago."}
		}
		return state{Title: "Your desktop is suspended", Text: suspendedBecause(s), CanResume: true}
	case vdi.PhaseTerminating:
		return state{Title: "Your desktop is being removed", Text: "This session has ended."}
	case vdi.PhaseFailed:
		return state{Title: "Your desktop cannot start", Text: "Somebody may have to change something first.", Message: s.Status.Message}
	}
	if story.IsStuck(s) {
		return state{Title: "Your desktop cannot start yet", Text: "Somebody may have to change something first.", Message: s.Status.Message}
	}
	if s.Status.Phase == vdi.PhaseCreating {
		return state{Title: "Your desktop is starting", Text: startingFor(s.Status.WaitingFor), Message: s.Status.Message}
	}
	if q := s.Status.Queue; q != nil && q.Key != nil {
		return state{
			Title: "Your desktop is waiting", Text: "It starts as soon as it is its turn.", Message: s.Status.Message,
			Queued: true, Ahead: int(q.Place) - 1, Roughly: q.Place > knownPlaces,
		}
	}
	return state{
		Title: "Your desktop is waiting", Text: waitingFor(s.Status.WaitingFor), Message: s.Status.Message, Queued: story.PoolOf(s) != "",
	}
}

func suspendedBecause(s *vdi.VDISession) string {
	kept := "Your files are kept."
	if s.Status.GPU != nil && s.Status.GPU.Count > 0 {
		kept = "Your files are kept, and its GPU is free for others."
	}
	switch s.Status.StopReason {
	case vdi.StopIdle:
		return "Nobody used it for a while. " + kept
	case vdi.StopExpired:
		return "It reached its longest run. " + kept
	case vdi.StopBudget:
		return "Your GPU-hours are used up. " + kept
	}
	return kept
}

func startingFor(what vdi.WaitingFor) string {
	switch what {
	case vdi.WaitingForImage:
		return "Its software is being brought to the machine. The first time this can take some minutes."
	case vdi.WaitingForVolume:
		return "Your files are being attached."
	case vdi.WaitingForRoute:
		return "The desktop is up; its address is being opened."
	}
	return "This page opens it as soon as it answers."
}

func waitingFor(what vdi.WaitingFor) string {
	switch what {
	case vdi.WaitingForGPU:
		return "All GPUs are in use. It starts as soon as one is free."
	case vdi.WaitingForNode:
		return "No machine has room for it. It starts as soon as one has."
	case vdi.WaitingForQuota:
		return "The limit for desktops here is reached. It starts as soon as there is room."
	case vdi.WaitingForTemplate:
		return "Its template is missing. An administrator has to add it."
	case vdi.WaitingForVolume:
		return "Your files are not ready yet."
	}
	return "It starts in a moment."
}
