package integration

import (
	"testing"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// TestHomeThatWasToGo: only who may use a home keeps it from going with its session, and
// why it was kept is said where people look: at the claim.
func TestHomeThatWasToGo(t *testing.T) {
	t.Parallel()
	names := func(user string) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) {
			s.Name, s.Spec.User, s.Spec.Persistence.ExistingClaim = "second", user, renderer.HomeClaimName(desk)
		}
	}
	for name, c := range map[string]struct {
		second []func(*vdi.VDISession)
		meet   func(*world)
		kept   string
	}{
		"a stranger's session names it": {second: []func(*vdi.VDISession){names("mallory@example.com")}},
		"a stranger's that does not run": {second: []func(*vdi.VDISession){names("mallory@example.com"), func(s *vdi.VDISession) {
			s.Spec.RunPolicy = vdi.RunPolicySuspended
		}}},
		"the user's own names it": {
			second: []func(*vdi.VDISession){names(alice)},
			kept:   `Normal HomeKept The session desk is gone, and was to take its home along (reclaimPolicy Delete), but the home is kept: the session "second" of the same user names it as its existingClaim`,
		},
		"it is another's now": {
			meet: func(w *world) {
				claim := w.home()
				claim.Labels[wire.LabelUser] = "somebody-else"
				require.NoError(w.t, w.client.Update(w.ctx, claim))
			},
			kept: "but the home is kept: it is not the claim that was made for this session",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.running(deleteHome)
			if c.second != nil {
				w.createSession(c.second...)
				_, err := w.passOf("second")
				require.NoError(t, err)
			}
			if c.meet != nil {
				c.meet(w)
			}
			w.deleteSession()
			w.leave()
			require.False(t, w.sessionExists())
			require.Equal(t, c.kept != "", w.homeExists())
			if c.kept == "" {
				require.NotContains(t, w.events.all(), "HomeKept")
				return
			}
			require.Contains(t, w.events.all(), c.kept)
		})
	}
}
