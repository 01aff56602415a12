// Package verdict is the one thing to say about a session at a moment: which condition it
// is about, why, in which phase the session is, and what it waits for. It also turns a
// write that the API server has refused into such words.
//
// It decides nothing and reads nothing.
package verdict

import (
	"fmt"
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// DeniedRetry is how often a denied write is tried again: a quota that is raised
// sends no event to us.
const DeniedRetry = time.Minute

// Refused is about a session whose spec or template has to change.
func Refused(reason string, err error) *Verdict {
	return &Verdict{
		Condition: vdi.ConditionAccepted, Reason: reason, Message: err.Error(),
		Phase: vdi.PhaseFailed, Stalled: true,
	}
}

// OwnerGoneRetry is how soon a name that a former session still holds is tried
// again; the garbage collector takes seconds.
const OwnerGoneRetry = 2 * time.Second

// Verdict is what there is to say about a session, also about one that runs. As an error
// it ends a pass early: somebody or something else has to act first.
type Verdict struct {
	Condition string // the condition that is False because of it
	Reason    string
	Message   string
	Phase     vdi.Phase
	Waiting   vdi.WaitingFor
	Stalled   bool          // a person has to change something
	Retry     time.Duration // look again after; 0 when a watch will wake us
	Conflict  bool          // an object of this name is not ours
}

// Error makes a verdict what a step of a pass may return.
func (v *Verdict) Error() string { return fmt.Sprintf("%s: %s", v.Reason, v.Message) }

// Progressing is about a start that is on its way.
func Progressing(condition, message string) *Verdict {
	return &Verdict{Condition: condition, Reason: vdi.ReasonProgressing, Phase: vdi.PhaseCreating, Message: message}
}
