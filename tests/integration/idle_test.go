package integration

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// agent stands for the activity endpoint of a pod, since no containers run here;
// the real one is asked end to end (tests/e2e, TestInTheBrowser).
type agent struct {
	answers []func() (time.Time, error) // one per question; the last one stays
	asked   int
}

func (a *agent) LastActivity(context.Context, *corev1.Pod) (vdi.ActivityStatus, error) {
	answer := a.answers[min(a.asked, len(a.answers)-1)]
	a.asked++
	used, err := answer()
	if err != nil {
		return vdi.ActivityStatus{}, err
	}
	return vdi.ActivityStatus{LastActivityTime: &metav1.Time{Time: used.Truncate(time.Second)}}, nil
}

func usedAt(t time.Time) func() (time.Time, error) {
	return func() (time.Time, error) { return t, nil }
}

func silent() (time.Time, error) { return time.Time{}, errors.New("no answer") }

func noAgent() (time.Time, error) { return time.Time{}, session.ErrNoAgent }

// idling is a running desktop with an idle timeout of an hour.
func idling(t *testing.T, answers ...func() (time.Time, error)) (*world, *agent) {
	t.Helper()
	w, a := newWorld(t), &agent{answers: answers}
	w.operator.Activity = a
	w.running(func(s *vdi.VDISession) { s.Spec.IdleTimeout, s.Spec.Timeout = "1h", "0" })
	return w, a
}

func (w *world) later(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

func TestIdle(t *testing.T) {
	t.Parallel()
	t.Run("an unused desktop is warned of, suspended, and keeps its home", func(t *testing.T) {
		t.Parallel()
		w, a := idling(t, usedAt(time.Now()))
		w.pass()
		s := w.session()
		require.Equal(t, vdi.StopIdle, s.Status.ExpiryReason)
		asked := a.asked

		w.later(30 * time.Minute)
		w.pass()
		require.Equal(t, asked, a.asked, "nobody asks before a deadline")

		w.later(25 * time.Minute)
		w.pass()
		w.requireCondition(vdi.ConditionExpiringSoon, metav1.ConditionTrue, vdi.ReasonIdle)
		require.Contains(t, w.events.all(), "Warning ExpiringSoon Nobody has used the desktop")

		w.later(10 * time.Minute)
		w.pass()
		w.podEnds(desk)
		w.pass()
		s = w.requirePhase(vdi.PhaseSuspended)
		require.Equal(t, vdi.StopIdle, s.Status.StopReason)
		require.Equal(t, vdi.RunPolicySuspended, s.Spec.RunPolicy)
		require.True(t, w.homeExists())
		require.False(t, w.routeExists())

		w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
		w.start()
		w.pass()
		require.Equal(t, vdi.PhaseRunning, w.session().Status.Phase, "a resumed desktop does not die of its old idle time")
	})

	t.Run("use moves the end", func(t *testing.T) {
		t.Parallel()
		began := time.Now()
		w, _ := idling(t, usedAt(began), usedAt(began.Add(50*time.Minute)))
		w.pass()
		w.later(61 * time.Minute)
		w.pass()
		s := w.requirePhase(vdi.PhaseRunning)
		require.WithinDuration(t, began.Add(110*time.Minute), s.Status.ExpiresAt.Time, 2*time.Second)
	})

	t.Run("an agent that does not answer stops nothing", func(t *testing.T) {
		t.Parallel()
		w, _ := idling(t, usedAt(time.Now()), silent)
		w.pass()
		w.later(1000 * time.Hour)
		require.Equal(t, time.Hour, w.pass().RequeueAfter, "asked again once per idle timeout")
		s := w.requirePhase(vdi.PhaseRunning)
		require.Nil(t, s.Status.Activity)
		require.True(t, w.podExists())
	})

	t.Run("without an agent the annotation counts", func(t *testing.T) {
		t.Parallel()
		w, _ := idling(t, noAgent)
		w.pass()
		w.later(1000 * time.Hour)
		w.pass()
		w.requirePhase(vdi.PhaseRunning)

		w.announced()
		w.later(time.Hour)
		told := w.clock.Now().Add(-2 * time.Hour).Format(time.RFC3339)
		w.change(func(s *vdi.VDISession) { s.Annotations = map[string]string{wire.AnnotationLastActivity: told} })
		w.pass()
		require.Equal(t, vdi.StopIdle, w.session().Status.StopReason)
	})

	t.Run("an annotation from the future counts as now", func(t *testing.T) {
		t.Parallel()
		w, _ := idling(t, noAgent)
		told := w.clock.Now().Add(1000 * time.Hour).Format(time.RFC3339)
		w.change(func(s *vdi.VDISession) { s.Annotations = map[string]string{wire.AnnotationLastActivity: told} })
		w.pass()
		require.WithinDuration(t, w.clock.Now().Add(time.Hour), w.session().Status.ExpiresAt.Time, 2*time.Second)
	})

	t.Run("activity that arrives before the pod's DELETE wins", func(t *testing.T) {
		t.Parallel()
		began := time.Now()
		w, a := idling(t, usedAt(began))
		w.pass()
		w.announced()
		w.later(61 * time.Minute)
		// Asked at the deadline: unused. Asked again before the pod would go: used.
		a.answers, a.asked = []func() (time.Time, error){usedAt(began), usedAt(began.Add(61 * time.Minute))}, 0
		w.pass()
		s := w.requirePhase(vdi.PhaseRunning)
		require.Equal(t, vdi.RunPolicyRunning, s.Spec.RunPolicy)
		require.Empty(t, s.Status.StopReason)
		require.Nil(t, w.pod().DeletionTimestamp)
		require.True(t, w.routeExists())
	})
}

// Starts, failures and suspensions that take too long come to an end; homes stay.
func TestTooLong(t *testing.T) {
	t.Parallel()
	t.Run("a start that hangs is suspended", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(func(tpl *vdi.VDITemplate) { tpl.Spec.Lifecycle.MaxStarting = "1h" })
		w.createSession()
		w.pass()
		w.podStatus(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })
		require.NoError(t, bind(w))
		w.pass()
		w.requirePhase(vdi.PhaseCreating)
		w.announced()
		w.later(61 * time.Minute)
		w.pass()
		w.podEnds(desk)
		w.pass()
		require.Equal(t, vdi.StopFailed, w.requirePhase(vdi.PhaseSuspended).Status.StopReason)
		require.True(t, w.homeExists())
	})

	t.Run("a desktop that crashes again and again is deleted", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(func(tpl *vdi.VDITemplate) { tpl.Spec.Lifecycle.MaxFailed = "1h" })
		w.createSession()
		w.start()
		waiting := func(reason string) {
			w.podStatus(func(p *corev1.Pod) {
				p.Status.Conditions = slices.DeleteFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
					return c.Type == corev1.PodReady || c.Type == corev1.ContainersReady
				})
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{
					Name: "selkies", Image: image, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
				}}
			})
			w.pass()
		}
		rounds := 0
		for ; w.session().DeletionTimestamp == nil; rounds++ {
			require.Less(t, rounds, 20, "%+v", w.session().Status.Downtime)
			waiting("CrashLoopBackOff")
			w.later(5 * time.Minute)
			waiting("ContainerCreating")
			w.later(time.Minute)
			w.pass()
			w.podStarts(desk)
			w.pass()
			w.later(4 * time.Minute)
			w.pass()
		}
		require.GreaterOrEqual(t, rounds, 9)
		require.Equal(t, vdi.StopFailed, w.session().Status.EndReason)
	})

	t.Run("a suspension that is forgotten ends, and the home stays whatever the policy", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(func(tpl *vdi.VDITemplate) { tpl.Spec.Lifecycle.MaxSuspended = "1h" })
		w.createSession(func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete })
		w.start()
		w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
		w.pass()
		w.podEnds(desk)
		w.pass()
		w.requirePhase(vdi.PhaseSuspended)
		w.announced()
		w.later(61 * time.Minute)
		w.pass()
		w.pass()
		require.False(t, w.sessionExists())
		require.True(t, w.homeExists())
	})
}

// bind gives the pod a node and nothing more.
func bind(w *world) error {
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: desk, Namespace: w.ns},
		Target:     corev1.ObjectReference{Kind: "Node", Name: "node-1"},
	}
	return w.client.SubResource("binding").Create(w.ctx, w.pod(), binding)
}

// A pod that ends by itself makes room for the next, on the same home.
func TestFailedPodIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	first, home := w.pod().UID, w.home().UID
	w.podStatus(func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "UnexpectedAdmissionError", "no slice left"
	})
	w.pass()
	s := w.requirePhase(vdi.PhaseFailed)
	require.Contains(t, s.Status.Message, "UnexpectedAdmissionError: no slice left")

	w.later(time.Minute)
	w.pass()
	w.podEnds(desk)
	w.pass()
	require.NotEqual(t, first, w.pod().UID)
	require.EqualValues(t, 1, w.session().Status.Failures)
	w.podStarts(desk)
	w.pass()
	s = w.requirePhase(vdi.PhaseRunning)
	require.EqualValues(t, 1, s.Status.Failures, "it has not proven itself yet")
	require.Equal(t, home, w.home().UID)

	w.later(10 * time.Minute)
	w.podStatus(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })
	w.pass()
	require.Zero(t, w.requirePhase(vdi.PhaseFailed).Status.Failures, "long ago")
}

// past is what a cache shows that is older than the former leader's last writes:
// a session that is about to resume, and no pod.
type past struct {
	client.Client
	session *vdi.VDISession
}

func (c past) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	switch o := o.(type) {
	case *vdi.VDISession:
		c.session.DeepCopyInto(o)
		return nil
	case *corev1.Pod:
		return apierrors.NewNotFound(corev1.Resource("pods"), key.Name)
	default:
		return c.Client.Get(ctx, key, o, opts...)
	}
}

// A standby that takes over may know less than is true: it renews no password of a
// desktop that has started meanwhile.
func TestAPastCacheRenewsNoPassword(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*vdi.VDISession){"with a home": deleteHome, "without": noHome} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.running(change)
			w.suspendNamed(desk)
			w.change(resume)
			was := w.session()
			w.start()
			password, verifier := w.password(), w.session().Status.Access.PasswordVerifier

			w.operator = w.newOperator(past{w.client, was})
			w.operator.Live = w.client
			_, err := w.operator.Reconcile(w.ctx, request(w.ns, desk))
			require.NoError(t, err)
			require.Equal(t, password, w.password())
			w.restart()
			w.pass()
			require.Equal(t, verifier, w.requirePhase(vdi.PhaseRunning).Status.Access.PasswordVerifier)
		})
	}
}

// A resume gets a fresh password; a mere restart of the pod does not.
func TestResumeChangesThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	first := w.password()
	w.podEnds(desk)
	w.start()
	require.Equal(t, first, w.password(), "the same run")

	w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended })
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.requirePhase(vdi.PhaseSuspended)
	require.Equal(t, first, w.password())
	w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
	w.start()
	second := w.password()
	require.NotEqual(t, first, second)
	require.Len(t, second, 32)
	w.pass()
	require.Equal(t, second, w.password())
}
