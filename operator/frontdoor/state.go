package frontdoor

import (
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/portal"
	"github.com/vdi-platform/vdi-platform/operator/story"
)

// state is what a session's page says about it.
type state struct {
	// Word is the state in a word or two. Title and Text are ours, too; Message is the
	// operator's own sentence, "" where it would only repeat them.
	Word, Title, Text, Message string
	// Kind colours the word.
	Kind kind
	// Running: the desktop answers at the same address.
	Running bool
	// CanResume: the desktop is stopped, and its user may start it.
	CanResume bool
	// Ahead is how many sessions are before it that wait for the same thing; it counts
	// only where Queued. Roughly: they were so many when it began to wait.
	Queued, Roughly bool
	Ahead           int
}

// kind is how a state is to be taken.
type kind string

const (
	good kind = "good"
	busy kind = "busy"
	bad  kind = "bad"
	off  kind = "off"
)

// knownPlaces are the first in a queue, whose place is kept up to date in their status.
const knownPlaces = 10

// describe puts a session's status into plain words.
func describe(s *vdi.VDISession) state {
	if s.Status.Phase == vdi.PhaseTerminating || s.DeletionTimestamp != nil {
		return state{Word: "Being removed", Kind: off, Title: "Your desktop is being removed", Text: "This session has ended."}
	}
	switch s.Status.Phase {
	case vdi.PhaseRunning:
		if s.Spec.RunPolicy == vdi.RunPolicySuspended {
			return state{Word: "Shutting down", Kind: busy, Title: "Your desktop is shutting down", Text: portal.KeptWords(s) + " You can start it again right away.", CanResume: true}
		}
		return state{Word: "Running", Kind: good, Title: "Your desktop is running", Text: "It opens in a moment.", Running: true}
	case vdi.PhaseSuspended:
		if s.Spec.RunPolicy != vdi.RunPolicySuspended {
			return state{Word: "Starting", Kind: busy, Title: "Your desktop is about to start", Text: "Somebody asked for it a moment ago."}
		}
		return state{Word: "Suspended", Kind: off, Title: "Your desktop is suspended", Text: suspendedBecause(s), CanResume: true}
	case vdi.PhaseFailed:
		return state{Word: "Cannot start", Kind: bad, Title: "Your desktop cannot start", Text: "If it stays so, ask an administrator.", Message: s.Status.Message}
	}
	if story.IsStuck(s) {
		return state{Word: "Cannot start yet", Kind: bad, Title: "Your desktop cannot start yet", Text: "If it stays so, ask an administrator.", Message: s.Status.Message}
	}
	if s.Status.Phase == vdi.PhaseCreating {
		return state{Word: "Starting", Kind: busy, Title: "Your desktop is starting", Text: startingFor(s.Status.WaitingFor), Message: s.Status.Message}
	}
	if q := s.Status.Queue; q != nil && q.Key != nil {
		return state{
			Word: "Waiting", Kind: busy, Title: "Your desktop is waiting", Text: "It starts as soon as it is its turn.", Message: s.Status.Message,
			Queued: true, Ahead: int(q.Place) - 1, Roughly: q.Place > knownPlaces,
		}
	}
	return state{
		Word: "Waiting", Kind: busy, Title: "Your desktop is waiting", Text: waitingFor(s.Status.WaitingFor), Message: s.Status.Message, Queued: story.PoolOf(s) != "",
	}
}

func suspendedBecause(s *vdi.VDISession) string {
	kept := portal.KeptWords(s)
	if s.Status.GPU != nil && s.Status.GPU.Count > 0 {
		kept += " Its GPU is free for others."
	}
	switch s.Status.StopReason {
	case vdi.StopIdle:
		return "Nobody used it for a while. " + kept
	case vdi.StopExpired:
		return "It reached its longest run. " + kept
	case vdi.StopBudget:
		return "Your GPU-hours are used up. " + kept
	case vdi.StopDrain:
		return "The machine that it ran on had to be freed. " + kept
	}
	return kept
}

// opensByItself is true of the page at a desktop's own address.
const opensByItself = "This page opens it as soon as it answers."

func startingFor(what vdi.WaitingFor) string {
	switch what {
	case vdi.WaitingForImage:
		return "Its software is being brought to the machine. The first time this can take some minutes."
	case vdi.WaitingForVolume:
		return "Your files are being attached."
	case vdi.WaitingForRoute:
		return "The desktop is up; its address is being opened."
	}
	return opensByItself
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
