package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	s := w.createSession()

	w.pass()
	require.ElementsMatch(t, allKinds(), w.existing())
	for _, c := range children() {
		o := c.new()
		w.read(o, c.name)
		if c.kind == "PersistentVolumeClaim" {
			require.Empty(t, o.GetOwnerReferences(), "a home must never be garbage collected")
			continue
		}
		require.True(t, metav1.IsControlledBy(o, s), "%s must be owned by the session", c.kind)
	}
	require.Equal(t, vdi.PhasePending, w.session().Status.Phase)

	w.podStarts(desk)
	w.pass()
	s = w.requirePhase(vdi.PhaseRunning)
	require.Equal(t, desk, s.Status.PodName)
	require.Equal(t, "https://"+s.Status.Host, s.Status.URL)
	require.NotNil(t, s.Status.StartTime)
	require.Equal(t, s.Status.StartTime.Add(8*time.Hour), s.Status.ExpiresAt.Time)
	require.Equal(t, s.Generation, s.Status.ObservedGeneration)
	w.requireCondition(vdi.ConditionReady, metav1.ConditionTrue, vdi.ReasonAsExpected)

	before := w.home()
	w.deleteSession()
	w.pass()
	require.False(t, w.routeExists(), "the URL dies first")
	w.requirePhase(vdi.PhaseTerminating)
	w.podEnds(desk)
	w.pass()
	require.False(t, w.sessionExists())
	w.eventually(func() bool { return len(w.existing()) == 1 }, "the garbage collector takes what the session owned")
	require.Equal(t, []string{"PersistentVolumeClaim"}, w.existing())
	require.Equal(t, before.UID, w.home().UID, "the home is kept")
	require.Equal(t, before.Spec, w.home().Spec)
	require.Equal(t, "true", w.home().Labels[wire.LabelRetained], "and listed")
}

func TestSecondPassWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession()
	for _, step := range []func(){
		func() {}, // before the pod has a node
		func() { w.podStarts(desk); w.pass() },
		func() { w.change(suspend); w.pass(); w.podEnds(desk); w.pass() },
	} {
		w.pass()
		step()
		before, session := w.versions(), w.session().ResourceVersion
		w.pass()
		w.restart()
		w.pass()
		require.Equal(t, before, w.versions())
		require.Equal(t, session, w.session().ResourceVersion)
	}
}

func suspend(s *vdi.VDISession)         { s.Spec.RunPolicy = vdi.RunPolicySuspended }
func resume(s *vdi.VDISession)          { s.Spec.RunPolicy = vdi.RunPolicyRunning }
func deleteHome(s *vdi.VDISession)      { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete }
func idleAfterAnHour(s *vdi.VDISession) { s.Spec.IdleTimeout = "1h" }
func noHome(s *vdi.VDISession)          { s.Spec.Persistence.Enabled = ptr.To(false) }
func suspendAtEnd(s *vdi.VDISession)    { s.Spec.TimeoutAction = vdi.TimeoutSuspend }
func (w *world) setClock(t time.Time)   { w.clock.SetTime(t) }

// announced announces every end there is, as an operator does that looks in time.
func (w *world) announced() {
	w.t.Helper()
	s := w.session()
	before := s.DeepCopy()
	s.Status.Announcements = nil
	for _, end := range []vdi.End{vdi.EndTimeout, vdi.EndIdle, vdi.EndStarting, vdi.EndFailed, vdi.EndSuspended} {
		s.Status.Announcements = append(s.Status.Announcements, vdi.Announcement{End: end, Since: metav1.NewTime(w.clock.Now())})
	}
	require.NoError(w.t, w.client.Status().Patch(w.ctx, s, client.MergeFrom(before)))
}

// comesToItsEnd lets the session's time go by, with a warning.
func (w *world) comesToItsEnd() {
	w.t.Helper()
	w.announced()
	w.setClock(w.session().Status.ExpiresAt.Time)
}

// leave lets a deleted session go.
func (w *world) leave() {
	w.t.Helper()
	w.pass()
	w.podEnds(desk)
	w.pass()
	require.False(w.t, w.sessionExists())
}

func TestHome(t *testing.T) {
	t.Parallel()
	t.Run("is found again by the same user and session name", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		home := w.home()
		w.deleteSession()
		w.leave()
		w.eventually(func() bool { return len(w.existing()) == 1 }, "the children go")
		w.createSession()
		w.start()
		require.Equal(t, home.UID, w.home().UID)
		require.Equal(t, home.UID, w.session().Status.Home.UID)
	})
	t.Run("reclaimPolicy Delete: goes when a person deletes the session", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome)
		w.deleteSession()
		w.pass()
		require.True(t, w.homeExists(), "the pod may still write to it")
		w.podEnds(desk)
		w.pass()
		require.False(t, w.sessionExists())
		require.False(t, w.homeExists())
	})
	t.Run("reclaimPolicy Delete: stays when the session expires", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome)
		w.comesToItsEnd()
		w.pass()
		w.leave()
		require.True(t, w.homeExists())
	})
	t.Run("reclaimPolicy Delete: goes when a person deletes a session that the timeout had suspended", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome, suspendAtEnd)
		w.comesToItsEnd()
		w.pass()
		w.podEnds(desk)
		w.pass()
		require.Equal(t, vdi.StopExpired, w.requirePhase(vdi.PhaseSuspended).Status.StopReason)
		w.deleteSession()
		w.pass()
		require.False(t, w.sessionExists())
		require.False(t, w.homeExists())
	})
	t.Run("persistence switched off: the claim is kept and listed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(deleteHome)
		w.change(noHome)
		w.pass()
		s := w.requirePhase(vdi.PhaseRunning)
		require.Equal(t, renderer.HomeClaimName(desk), s.Status.Home.ClaimName, "this desktop has it to its end")
		w.bounce()
		s = w.requirePhase(vdi.PhaseRunning)
		require.Empty(t, s.Status.Home.ClaimName)
		require.Equal(t, []string{renderer.HomeClaimName(desk)}, s.Status.Home.RetainedClaims)
		w.deleteSession()
		w.leave()
		require.True(t, w.homeExists(), "what is not the session's home now is not deleted with it")
	})
	t.Run("grows and never shrinks", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.change(func(s *vdi.VDISession) { s.Spec.Persistence.Size = "5Gi" })
		w.pass()
		w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionTrue, vdi.ReasonHomeShrinkRefused)
		require.Equal(t, "10Gi", w.home().Spec.Resources.Requests.Storage().String())
	})
}

func TestTemplateMissing(t *testing.T) {
	t.Parallel()
	t.Run("the session says so and heals", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createSession()
		w.pass()
		s := w.requirePhase(vdi.PhaseFailed)
		require.Equal(t, "Template not found: "+w.template, s.Status.Message)
		require.Equal(t, vdi.WaitingForTemplate, s.Status.WaitingFor)
		require.Empty(t, w.existing())
		w.createTemplate()
		w.start()
	})
	t.Run("a running session goes on", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		before := w.versions()
		w.deleteTemplate()
		w.setClock(w.session().Status.ExpiresAt.Add(-time.Hour))
		w.pass()
		w.requirePhase(vdi.PhaseRunning)
		require.Equal(t, before, w.versions())
		w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonTemplateNotFound)
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	t.Run("ends the session and keeps the home", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.running()
		end := s.Status.ExpiresAt.Time

		w.setClock(end.Add(-11 * time.Minute))
		require.Equal(t, time.Minute, w.pass().RequeueAfter.Round(time.Second), "the warning is the next deadline")
		require.Equal(t, metav1.ConditionStatus("absent"), condition(w.session(), vdi.ConditionExpiringSoon).Status)

		w.setClock(end.Add(-10 * time.Minute))
		require.Equal(t, 10*time.Minute, w.pass().RequeueAfter.Round(time.Second), "the end is the next deadline")
		w.requireCondition(vdi.ConditionExpiringSoon, metav1.ConditionTrue, vdi.ReasonTimeout)
		require.Contains(t, w.events.all(), "Warning ExpiringSoon")

		w.setClock(end.Add(-time.Second))
		w.pass()
		w.requirePhase(vdi.PhaseRunning)

		w.setClock(end)
		w.pass()
		s = w.session()
		require.NotNil(t, s.DeletionTimestamp)
		require.Equal(t, vdi.StopExpired, s.Status.StopReason)
		w.leave()
		require.True(t, w.homeExists())
	})
	t.Run("a fast operator clock ends nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.running()
		w.announced()
		w.serverTime = func() time.Time { return s.Status.StartTime.Add(time.Hour) }
		w.setClock(s.Status.ExpiresAt.Add(24 * time.Hour))
		require.Positive(t, w.pass().RequeueAfter)
		require.Nil(t, w.requirePhase(vdi.PhaseRunning).DeletionTimestamp)
	})
	t.Run("a slow operator clock ends nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		real := w.clock.Now()
		w.serverTime = func() time.Time { return real }
		w.setClock(real.Add(-100 * time.Hour))
		s := w.running()
		require.WithinRange(t, s.Status.StartTime.Time, s.Status.Timings.Queued.Time, real.Add(time.Hour), "a run never began before its pod was made")
		w.setClock(real)
		w.pass()
		require.Nil(t, w.requirePhase(vdi.PhaseRunning).DeletionTimestamp)
	})
	t.Run("keepAliveUntil moves the end, within the template's bounds", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.running()
		end := s.Status.ExpiresAt.Time
		w.change(func(s *vdi.VDISession) { s.Spec.KeepAliveUntil = &metav1.Time{Time: end.Add(2 * time.Hour)} })
		w.setClock(end)
		w.pass()
		require.True(t, end.Add(2*time.Hour).Equal(w.requirePhase(vdi.PhaseRunning).Status.ExpiresAt.Time))
		w.change(func(s *vdi.VDISession) { s.Spec.KeepAliveUntil = &metav1.Time{Time: end.Add(1000 * time.Hour)} })
		w.pass()
		require.True(t, end.Add(24*time.Hour).Equal(w.session().Status.ExpiresAt.Time))
		w.comesToItsEnd()
		require.True(t, end.Add(24*time.Hour).Equal(w.clock.Now()))
		w.pass()
		require.NotNil(t, w.session().DeletionTimestamp)
	})
	t.Run("an extension that arrives while the end is being decided wins", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.running()
		end := s.Status.ExpiresAt.Time
		w.comesToItsEnd()
		w.serverTime = func() time.Time { // asked between the decision and the delete
			w.change(func(s *vdi.VDISession) { s.Spec.KeepAliveUntil = &metav1.Time{Time: end.Add(time.Hour)} })
			return end
		}
		w.pass()
		w.serverTime = w.clock.Now
		w.pass()
		s = w.requirePhase(vdi.PhaseRunning)
		require.Nil(t, s.DeletionTimestamp)
		require.Empty(t, s.Status.StopReason)
	})
	t.Run("timeoutAction Suspend stops the desktop and keeps the session", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(suspendAtEnd)
		w.comesToItsEnd()
		w.pass()
		require.Nil(t, w.session().DeletionTimestamp)
		require.Equal(t, vdi.RunPolicySuspended, w.session().Spec.RunPolicy)
		w.podEnds(desk)
		w.pass()
		s := w.requirePhase(vdi.PhaseSuspended)
		require.Equal(t, vdi.StopExpired, s.Status.StopReason)
		require.Nil(t, s.Status.ExpiresAt)
		w.change(resume)
		w.start()
		require.Empty(t, w.session().Status.StopReason)
		require.Nil(t, w.session().DeletionTimestamp, "the clock of the new run starts anew")
	})
}

// TestNoEndWithoutWarning: an end that is due when it is first noticed is announced
// for its time first.
func TestNoEndWithoutWarning(t *testing.T) {
	t.Parallel()
	warned := func(w *world, end vdi.End) {
		w.t.Helper()
		now := w.clock.Now()
		w.pass()
		s := w.session()
		require.Nil(w.t, s.DeletionTimestamp)
		require.Equal(w.t, metav1.ConditionTrue, condition(s, vdi.ConditionExpiringSoon).Status)
		require.Contains(w.t, w.events.all(), "Warning ExpiringSoon")
		require.WithinDuration(w.t, now.Add(10*time.Minute), s.Status.ExpiresAt.Time, time.Second)
		require.Len(w.t, s.Status.Announcements, 1)
		require.Equal(w.t, end, s.Status.Announcements[0].End)

		w.setClock(s.Status.ExpiresAt.Add(-time.Second))
		w.pass()
		require.Equal(w.t, s.Status, w.session().Status, "nothing changes until then")
		w.setClock(s.Status.ExpiresAt.Time)
	}
	t.Run("after a change of the template", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.later(5 * time.Hour)
		w.pass()
		w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Lifecycle.MaxTimeout = "2h" })
		warned(w, vdi.EndTimeout)
		w.pass()
		require.NotNil(t, w.session().DeletionTimestamp)
	})
	t.Run("after the operator's absence", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(suspendAtEnd)
		w.later(1000 * time.Hour)
		w.restart()
		warned(w, vdi.EndTimeout)
		w.restart() // what was announced is not announced again
		w.pass()
		require.Equal(t, vdi.RunPolicySuspended, w.session().Spec.RunPolicy)
	})
	t.Run("of a session that is forgotten", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.suspendNamed(desk)
		w.later(100 * time.Hour)
		w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Lifecycle.MaxSuspended = "1h" })
		warned(w, vdi.EndSuspended)
		w.pass() // it is deleted
		w.pass() // and let go
		require.False(t, w.sessionExists())
		require.True(t, w.homeExists())
	})
}

func TestSuspend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.running()
	home, pod := w.home().UID, w.pod().UID

	w.change(suspend)
	w.pass()
	require.False(t, w.routeExists())
	require.NotNil(t, w.pod().DeletionTimestamp)
	require.Nil(t, w.session().Status.StartTime, "the run is over")

	w.change(resume)
	w.pass()
	require.Equal(t, pod, w.pod().UID, "no second pod while the first may still write to the home")
	require.Nil(t, w.session().Status.StartTime, "a new run starts its own clock")

	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	s := w.requirePhase(vdi.PhaseSuspended)
	require.Equal(t, vdi.StopUser, s.Status.StopReason)
	require.Equal(t, first.Status.URL, s.Status.URL)
	require.Equal(t, first.Status.Host, s.Status.Host)
	require.Empty(t, s.Status.PodName)
	require.Equal(t, home, w.home().UID)
	require.NotContains(t, w.existing(), "Pod")
	require.NotContains(t, w.existing(), "IngressRoute")
	w.requireCondition(vdi.ConditionReady, metav1.ConditionTrue, vdi.ReasonSuspended)

	w.setClock(w.clock.Now().Add(1000 * time.Hour))
	w.pass()
	require.Nil(t, w.session().DeletionTimestamp, "a suspended session does not expire")

	w.change(resume)
	w.start()
	s = w.session()
	require.NotEqual(t, pod, w.pod().UID)
	require.Equal(t, first.Status.URL, s.Status.URL)
	require.Equal(t, home, w.home().UID)
	require.True(t, s.Status.ExpiresAt.After(w.clock.Now()))
}
