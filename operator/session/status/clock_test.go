package status

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

// While the deletion of a session that has expired fails, the note of why stays: whoever
// deletes the session meanwhile does not delete its home. It goes once the end is none.
func TestARecordedEndStaysUntilItIsNone(t *testing.T) {
	s := fixture.Session()
	s.Status.Phase, s.Status.StartTime = vdi.PhaseRunning, fixture.At(fixture.Noon)
	s.Status.StopReason, s.Status.EndReason = vdi.StopExpired, vdi.StopExpired
	p := plan.NewPass(s, fixture.Noon, &platform.Config{})
	p.Seen.Pod = fixture.Pod(fixture.Placed, fixture.Ready)

	p.Decision = plan.Decision{Want: plan.DeleteSession, Reason: vdi.StopExpired}
	after := Of(p, errors.New("delete session: timeout")).Status
	require.Equal(t, []vdi.StopReason{vdi.StopExpired, vdi.StopExpired}, []vdi.StopReason{after.StopReason, after.EndReason})

	p.Decision = plan.Decision{Want: plan.Run} // somebody extended it
	after = Of(p, nil).Status
	require.Equal(t, []vdi.StopReason{"", ""}, []vdi.StopReason{after.StopReason, after.EndReason})
}
