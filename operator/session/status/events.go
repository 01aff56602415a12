package status

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

// MaxNote is the longest note of an event (events.k8s.io/v1).
const MaxNote = 1024

// Event is one thing that happened to a session.
type Event struct {
	Type, Reason, Action, Note string
}

// Events lists the transitions between two looks; a state that stays is silent.
func Events(before, after *vdi.VDISession, p *plan.Pass) []Event {
	var list []Event
	for _, kind := range p.Repaired {
		list = append(list, Event{corev1.EventTypeWarning, "PutBack", "PutBack", fmt.Sprintf("The session's %s had been changed by somebody else and was put back", kind)})
	}
	if p.Ended {
		return append(list, Event{corev1.EventTypeNormal, string(p.Decision.Reason), "End", endWords(p.Decision.Reason)})
	}
	if evicted := evictionEvents(before.Status, after.Status); evicted != nil {
		list = append(list, evicted...) // the new phase would say the same again
	} else {
		list = append(list, phaseEvents(before.Status, after.Status)...)
	}
	list = append(list, exitEvents(before.Status, after.Status)...)
	list = append(list, homeEvents(before.Status, after.Status)...)
	return append(list, conditionEvents(before.Status, after)...)
}

// exitEvents report each end that a desktop comes to by itself, also one that was over
// before anybody saw it.
func exitEvents(before, after vdi.VDISessionStatus) []Event {
	was, is := before.LastExit, after.LastExit
	if is == nil || (was != nil && was.Container == is.Container && was.At.Equal(is.At)) {
		return nil
	}
	kind := corev1.EventTypeWarning
	if is.ExitCode == 0 {
		kind = corev1.EventTypeNormal
	}
	return []Event{{kind, "DesktopEnded", "Restart", is.Message}}
}

// homeAlarms are what somebody did to a home whose user may lose files by it.
func homeAlarms() []string {
	return []string{vdi.ReasonHomeLeaving, vdi.ReasonHomeMissing, vdi.ReasonHomeLost, vdi.ReasonHomeReplaced}
}

// homeEvents warn of them, once each.
func homeEvents(before, after vdi.VDISessionStatus) []Event {
	was, is := meta.FindStatusCondition(before.Conditions, vdi.ConditionHomeReady), meta.FindStatusCondition(after.Conditions, vdi.ConditionHomeReady)
	if is == nil || !slices.Contains(homeAlarms(), is.Reason) || (was != nil && was.Reason == is.Reason) {
		return nil
	}
	return []Event{{corev1.EventTypeWarning, is.Reason, "Inspect", is.Message}}
}

func endWords(reason vdi.StopReason) string {
	if reason == vdi.StopFailed {
		return "The session has failed for too long and ends; the home is kept"
	}
	return "The session reached its time limit and ends; the home is kept"
}

// phaseEvents report what a person waits for, and how it came out. The steps of an
// ordinary start and end are in the status alone: each event is a write.
func phaseEvents(before, after vdi.VDISessionStatus) []Event {
	stalled := meta.IsStatusConditionTrue(after.Conditions, vdi.ConditionStalled)
	becameStalled := stalled && !meta.IsStatusConditionTrue(before.Conditions, vdi.ConditionStalled)
	same := after.Phase == before.Phase && after.WaitingFor == before.WaitingFor && !becameStalled
	if same || (isStep(after) && !stalled) {
		return nil
	}
	kind := corev1.EventTypeNormal
	if after.Phase == vdi.PhaseFailed || stalled {
		kind = corev1.EventTypeWarning
	}
	reason := string(after.Phase)
	switch {
	case after.WaitingFor != "":
		reason = "WaitingFor" + string(after.WaitingFor)
	case stalled && after.Phase != vdi.PhaseFailed:
		reason = meta.FindStatusCondition(after.Conditions, vdi.ConditionStalled).Reason
	}
	return []Event{{kind, reason, string(after.Phase), after.Message}}
}

func isStep(st vdi.VDISessionStatus) bool {
	return st.WaitingFor == "" && (st.Phase == vdi.PhasePending || st.Phase == vdi.PhaseCreating || st.Phase == vdi.PhaseTerminating)
}

// conditionEvents warn when a condition that asks for attention comes up, and of
// each end by itself.
func conditionEvents(before vdi.VDISessionStatus, s *vdi.VDISession) []Event {
	var list []Event
	after := s.Status
	for _, a := range after.Announcements {
		if !slices.ContainsFunc(before.Announcements, func(b vdi.Announcement) bool { return b.End == a.End && b.Since.Equal(&a.Since) }) {
			_, words := expiryWords(s, a.End, a.At == nil)
			list = append(list, Event{corev1.EventTypeWarning, vdi.ConditionExpiringSoon, vdi.ConditionExpiringSoon, words})
		}
	}
	for _, kind := range []string{vdi.ConditionNameConflict, vdi.ConditionUpdatePending} {
		c := meta.FindStatusCondition(after.Conditions, kind)
		if c != nil && meta.FindStatusCondition(before.Conditions, kind) == nil {
			list = append(list, Event{corev1.EventTypeWarning, kind, kind, c.Message})
		}
	}
	return list
}

// evictionEvents warn, once, that a desktop has to go that people may work on.
func evictionEvents(before, after vdi.VDISessionStatus) []Event {
	was, is := meta.FindStatusCondition(before.Conditions, vdi.ConditionDesktopReady), meta.FindStatusCondition(after.Conditions, vdi.ConditionDesktopReady)
	if is == nil || !slices.Contains([]string{vdi.ReasonEvicted, vdi.ReasonPodDeleted}, is.Reason) || (was != nil && was.Reason == is.Reason) {
		return nil
	}
	return []Event{{corev1.EventTypeWarning, is.Reason, "Restart", is.Message}}
}
