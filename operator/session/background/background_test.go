//go:build !race

// The race detector itself may crash where a bubble of package synctest stops a timer
// that somebody selects on (https://go.dev/issue/78156): these tests run without it.

package background

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// eightWorkers are those of an operator whose sessions can be woken.
func eightWorkers(buffer int) *Workers {
	return &Workers{make(chan event.GenericEvent, buffer), make(chan struct{}, 4)}
}

// desk is the session that is asked about.
var desk = types.NamespacedName{Namespace: "ns", Name: "desk"}

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
		var q Questions[error]
		w := eightWorkers(0)
		var asked atomic.Int32
		answer, answered := q.Ask(t.Context(), w, desk, "pod", FirstWait, 0, after(FirstWait/2, nil, &asked))
		require.True(t, answered)
		require.NoError(t, answer)

		start := time.Now()
		slow := after(5*time.Second, silent, &asked)
		_, answered = q.Ask(t.Context(), w, desk, "pod", FirstWait, 0, slow)
		require.False(t, answered)
		require.Equal(t, FirstWait, time.Since(start))
		for range 10 { // passes for another reason
			_, answered = q.Ask(t.Context(), w, desk, "pod", FirstWait, 0, slow)
			require.False(t, answered)
		}
		require.Equal(t, FirstWait, time.Since(start), "it was waited for once")
		require.EqualValues(t, 2, asked.Load(), "and asked once")

		woken := <-w.answered
		require.Equal(t, desk, client.ObjectKeyFromObject(woken.Object))
		require.Equal(t, 5*time.Second, time.Since(start))
		answer, answered = q.Ask(t.Context(), w, desk, "pod", DontWait, 0, slow)
		require.True(t, answered)
		require.ErrorIs(t, answer, silent)
		require.EqualValues(t, 2, asked.Load())

		_, answered = q.Ask(t.Context(), w, desk, "pod", WaitForever, 0, slow)
		require.True(t, answered, "what is needed is waited for")
		require.EqualValues(t, 3, asked.Load())
	})
}

// Once somebody was waited for in vain, the next question is not waited for, until
// an answer comes in time again.
func TestSilenceIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Questions[error]
		w := eightWorkers(10)
		var asked atomic.Int32
		ask := func(takes time.Duration) (waited time.Duration) {
			start := time.Now()
			if _, answered := q.Ask(t.Context(), w, desk, "pod", FirstWait, 0, after(takes, nil, &asked)); !answered {
				waited = time.Since(start)
				<-w.answered
				_, answered = q.Ask(t.Context(), w, desk, "pod", FirstWait, 0, after(takes, nil, &asked))
				require.True(t, answered)
				return waited
			}
			return time.Since(start)
		}
		require.Equal(t, FirstWait, ask(5*time.Second))
		require.Zero(t, ask(5*time.Second))
		require.Zero(t, ask(FirstWait/2), "it is not known yet that it is well again")
		require.Equal(t, FirstWait/2, ask(FirstWait/2))
		require.EqualValues(t, 4, asked.Load())
	})
}

// Half of the workers wait at most, and however many are silent at once, each is
// asked once and its answer counts.
func TestManyAreSilentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions, workers = 500, 8
		var q Questions[error]
		w := eightWorkers(sessions)
		var asked, answers atomic.Int32
		queue := make(chan string, 2*sessions)
		for n := range sessions {
			queue <- fmt.Sprint(n)
		}
		for range workers {
			go func() {
				for name := range queue {
					_, answered := q.Ask(t.Context(), w, types.NamespacedName{Namespace: "ns", Name: name}, "pod", FirstWait, 0, after(5*time.Second, nil, &asked))
					if answered {
						answers.Add(1)
					}
				}
			}()
		}
		go func() {
			for woken := range w.answered {
				queue <- woken.Object.GetName()
			}
		}()
		time.Sleep(sessions * FirstWait / 4)
		require.EqualValues(t, sessions, answers.Load())
		require.EqualValues(t, sessions, asked.Load())
		close(w.answered)
		synctest.Wait()
		close(queue)
	})
}

// An answer about an earlier desktop, or an old one, is none.
func TestOnlyFreshAnswersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Questions[error]
		w := eightWorkers(10)
		var asked atomic.Int32
		ask := func(pod types.UID) bool {
			_, answered := q.Ask(t.Context(), w, desk, pod, DontWait, 0, after(time.Second, nil, &asked))
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
		q.Delete(desk)
		require.False(t, ask("second"), "of a session that is gone nothing stays")
		time.Sleep(2 * time.Second)
	})
}

// Agents and proxies that are slow do not wake each other's questions: an answer
// stands for its time, whatever wakes the session meanwhile.
func TestAnswersStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Questions[error]
		w := eightWorkers(10)
		var asked atomic.Int32
		ask := func() bool {
			_, answered := q.Ask(t.Context(), w, desk, "pod", DontWait, time.Minute, after(300*time.Millisecond, nil, &asked))
			return answered
		}
		require.False(t, ask())
		<-w.answered
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
		var q Questions[error]
		w := eightWorkers(0)
		var asked atomic.Int32
		_, answered := q.Ask(ctx, w, desk, "pod", DontWait, 0, after(time.Second, nil, &asked))
		require.False(t, answered)
		stop()
		time.Sleep(2 * time.Second) // the bubble fails if somebody is left behind
	})
}
