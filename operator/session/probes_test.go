//go:build !race

// See package background.

package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/background"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/session/status"
)

// While its agent has not answered, a desktop is neither idle nor in use: nothing
// is decided and nothing is written.
func TestSilentAgentDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		used := time.Now().Add(-time.Hour)
		r := &Reconciler{waiting: background.Of(8)}
		r.Activity = slowAgent{used}
		r.ServerTime = func(context.Context) (time.Time, error) { return time.Now(), nil }
		p := asking("pod")
		p.Seen.Pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		p.Session.Spec.IdleTimeout = "30m"
		p.Session.Status.StartTime = fixture.At(used)
		p.Session.Status.Lifecycle = &vdi.TemplateLifecycle{}
		p.Session.Status.Activity = &vdi.ActivityStatus{LastActivityTime: fixture.At(used)}
		p.Session.Status.Announcements = []vdi.Announcement{{End: vdi.EndIdle, Since: *fixture.At(used)}}
		p = another(p)
		p.Decide(p.Now)
		require.Equal(t, plan.SuspendNow, p.Decision.Want, "by what was known")
		r.asker().ask(t.Context(), p)
		require.True(t, p.Asking)
		require.Equal(t, plan.Run, p.Decision.Want)
		require.Zero(t, p.RequeueAfter, "the answer wakes it")
		st := *p.Session.Status.DeepCopy()
		report := status.Of(p, nil)
		require.Zero(t, report.RequeueAfter)
		require.Equal(t, st.Announcements, report.Status.Announcements, "nothing new is known")
		require.Nil(t, report.Status.ExpiresAt)

		<-r.waiting.Answered()
		p = another(p)
		r.asker().ask(t.Context(), p)
		require.False(t, p.Asking)
		require.Equal(t, plan.SuspendNow, p.Decision.Want)
		require.Contains(t, p.Writes, plan.Write{Action: plan.SetRunPolicy{To: vdi.RunPolicySuspended}})
	})
}

type slowAgent struct{ used time.Time }

func (a slowAgent) LastActivity(context.Context, *corev1.Pod) (vdi.ActivityStatus, error) {
	time.Sleep(5 * time.Second)
	return vdi.ActivityStatus{LastActivityTime: &metav1.Time{Time: a.used}}, nil
}

// another is the next pass of the same session.
func another(p *plan.Pass) *plan.Pass {
	next := plan.NewPass(p.Session, time.Now(), p.Platform)
	next.Seen = p.Seen
	return next
}
