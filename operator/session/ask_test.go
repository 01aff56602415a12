//go:build !race

// The race detector itself may crash where a bubble of package synctest stops a timer
// that somebody selects on (https://go.dev/issue/78156): these tests run without it.

package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/session/status"
)

// operating is an operator with eight workers, whose sessions can be woken.
func operating(buffer int) *Reconciler {
	return &Reconciler{answered: make(chan event.GenericEvent, buffer), patient: make(chan struct{}, 4)}
}

func after(takes time.Duration, answer error, asked *atomic.Int32) func(context.Context) error {
	return func(context.Context) error {
		asked.Add(1)
		time.Sleep(takes)
		return answer
	}
}

// An answer that comes soon is waited for; one that does not wakes the session,
// and keeps no worker.
func TestAnswersThatTakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := errors.New("nobody answers")
		r := operating(0)
		var asked atomic.Int32
		answer, answered := r.routes.ask(t.Context(), r, asking("pod"), firstWait, 0, after(firstWait/2, nil, &asked))
		require.True(t, answered)
		require.NoError(t, answer)

		start := time.Now()
		slow := after(5*time.Second, silent, &asked)
		_, answered = r.routes.ask(t.Context(), r, asking("pod"), firstWait, 0, slow)
		require.False(t, answered)
		require.Equal(t, firstWait, time.Since(start))
		for range 10 { // passes for another reason
			_, answered = r.routes.ask(t.Context(), r, asking("pod"), firstWait, 0, slow)
			require.False(t, answered)
		}
		require.Equal(t, firstWait, time.Since(start), "it was waited for once")
		require.EqualValues(t, 2, asked.Load(), "and asked once")

		woken := <-r.answered
		require.Equal(t, types.NamespacedName{Namespace: "ns", Name: "desk"}, client.ObjectKeyFromObject(woken.Object))
		require.Equal(t, 5*time.Second, time.Since(start))
		answer, answered = r.routes.ask(t.Context(), r, asking("pod"), dontWait, 0, slow)
		require.True(t, answered)
		require.ErrorIs(t, answer, silent)
		require.EqualValues(t, 2, asked.Load())

		_, answered = r.routes.ask(t.Context(), r, asking("pod"), waitForever, 0, slow)
		require.True(t, answered, "what is needed is waited for")
		require.EqualValues(t, 3, asked.Load())
	})
}

// Once somebody was waited for in vain, the next question is not waited for, until
// an answer comes in time again.
func TestSilenceIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := operating(10)
		var asked atomic.Int32
		ask := func(takes time.Duration) (waited time.Duration) {
			start := time.Now()
			if _, answered := r.routes.ask(t.Context(), r, asking("pod"), firstWait, 0, after(takes, nil, &asked)); !answered {
				waited = time.Since(start)
				<-r.answered
				_, answered = r.routes.ask(t.Context(), r, asking("pod"), firstWait, 0, after(takes, nil, &asked))
				require.True(t, answered)
				return waited
			}
			return time.Since(start)
		}
		require.Equal(t, firstWait, ask(5*time.Second))
		require.Zero(t, ask(5*time.Second))
		require.Zero(t, ask(firstWait/2), "it is not known yet that it is well again")
		require.Equal(t, firstWait/2, ask(firstWait/2))
		require.EqualValues(t, 4, asked.Load())
	})
}

// Half of the workers wait at most, and however many are silent at once, each is
// asked once and its answer counts.
func TestManyAreSilentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions, workers = 500, 8
		r := operating(sessions)
		var asked, answers atomic.Int32
		queue := make(chan string, 2*sessions)
		for n := range sessions {
			queue <- fmt.Sprint(n)
		}
		for range workers {
			go func() {
				for name := range queue {
					p := asking("pod")
					p.Session.Name = name
					_, answered := r.routes.ask(t.Context(), r, p, firstWait, 0, after(5*time.Second, nil, &asked))
					if answered {
						answers.Add(1)
					}
				}
			}()
		}
		go func() {
			for woken := range r.answered {
				queue <- woken.Object.GetName()
			}
		}()
		time.Sleep(sessions * firstWait / 4)
		require.EqualValues(t, sessions, answers.Load())
		require.EqualValues(t, sessions, asked.Load())
		close(r.answered)
		synctest.Wait()
		close(queue)
	})
}

// An answer about an earlier desktop, or an old one, is none.
func TestOnlyFreshAnswersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := operating(10)
		var asked atomic.Int32
		ask := func(pod types.UID) bool {
			_, answered := r.routes.ask(t.Context(), r, asking(pod), dontWait, 0, after(time.Second, nil, &asked))
			return answered
		}
		require.False(t, ask("first"))
		time.Sleep(2 * time.Second)
		require.False(t, ask("second"), "another pod")
		time.Sleep(2 * time.Second)
		require.True(t, ask("second"))
		require.EqualValues(t, 2, asked.Load())

		require.False(t, ask("second"))
		time.Sleep(2*time.Second + answerHolds)
		require.False(t, ask("second"), "too old")
		synctest.Wait()
		require.EqualValues(t, 4, asked.Load())
		time.Sleep(2 * time.Second)
		r.forget(types.NamespacedName{Namespace: "ns", Name: "desk"})
		require.False(t, ask("second"), "of a session that is gone nothing stays")
		time.Sleep(2 * time.Second)
	})
}

// Agents and proxies that are slow do not wake each other's questions: an answer
// stands for its time, whatever wakes the session meanwhile.
func TestAnswersStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := operating(10)
		var asked atomic.Int32
		ask := func() bool {
			_, answered := r.routes.ask(t.Context(), r, asking("pod"), dontWait, time.Minute, after(300*time.Millisecond, nil, &asked))
			return answered
		}
		require.False(t, ask())
		<-r.answered
		for range 100 {
			require.True(t, ask())
			time.Sleep(500 * time.Millisecond)
		}
		require.EqualValues(t, 1, asked.Load())
		time.Sleep(time.Minute)
		require.False(t, ask())
		synctest.Wait()
		require.EqualValues(t, 2, asked.Load())
		time.Sleep(time.Second)
	})
}

// Nobody waits for an operator that stops.
func TestAnswerAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		r := operating(0)
		var asked atomic.Int32
		_, answered := r.routes.ask(ctx, r, asking("pod"), dontWait, 0, after(time.Second, nil, &asked))
		require.False(t, answered)
		stop()
		time.Sleep(2 * time.Second) // the bubble fails if somebody is left behind
	})
}

// While its agent has not answered, a desktop is neither idle nor in use: nothing
// is decided and nothing is written.
func TestSilentAgentDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		used := time.Now().Add(-time.Hour)
		r := operating(10)
		r.Activity = slowAgent{used}
		p := asking("pod")
		p.Seen.Pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		p.Session.Spec.IdleTimeout = "30m"
		p.Session.Status.StartTime = fixture.At(used)
		p.Session.Status.Lifecycle = &vdi.TemplateLifecycle{}
		p.Activity = &vdi.ActivityStatus{LastActivityTime: fixture.At(used)}
		p.Session.Status.Announcements = []vdi.Announcement{{End: vdi.EndIdle, Since: *fixture.At(used)}}
		p.Decide(p.Now)
		require.Equal(t, plan.SuspendNow, p.Decision.Want, "by what was known")
		require.NoError(t, r.readActivity(t.Context(), p))
		require.Equal(t, plan.Run, p.Decision.Want)
		require.Zero(t, p.RequeueAfter, "the answer wakes it")
		st := *p.Session.Status.DeepCopy()
		report := status.Of(p, nil)
		require.Zero(t, report.RequeueAfter)
		require.Equal(t, st.Announcements, report.Status.Announcements, "nothing new is known")
		require.Nil(t, report.Status.ExpiresAt)

		<-r.answered
		require.NoError(t, r.readActivity(t.Context(), p))
		p.Decide(p.Now)
		require.Equal(t, plan.SuspendNow, p.Decision.Want)
	})
}

type slowAgent struct{ used time.Time }

func (a slowAgent) LastActivity(context.Context, *corev1.Pod) (vdi.ActivityStatus, error) {
	time.Sleep(5 * time.Second)
	return vdi.ActivityStatus{LastActivityTime: &metav1.Time{Time: a.used}}, nil
}
