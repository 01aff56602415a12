package integration

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

func byUser(c *platform.Config) { c.Sessions.HostTemplate = "{user}" }

// desktop asks for a session of a name and user.
func desktop(name, user string) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { s.Name, s.Spec.User = name, user }
}

func TestHosts(t *testing.T) {
	t.Parallel()
	t.Run("default: readable, and its own for every session", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		first := w.running()
		w.createSession(desktop("second", alice))
		_, err := w.passOf("second")
		require.NoError(t, err)
		require.Regexp(t, `^alice-[a-z2-7]{16}\.vdi\.example\.com$`, first.Status.Host)
		require.NotEqual(t, first.Status.Host, w.sessionNamed("second").Status.Host)
	})
	t.Run("{user}: a second live session of the same user waits", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, byUser)
		s := w.running()
		require.Equal(t, "alice.vdi.example.com", s.Status.Host)
		w.createSession(desktop("second", alice))
		result, err := w.passOf("second")
		require.NoError(t, err)
		require.Equal(t, time.Minute, result.RequeueAfter)
		second := w.sessionNamed("second")
		c := condition(second, vdi.ConditionAccepted)
		require.Equal(t, vdi.ReasonHostInUse, c.Reason)
		t.Log(c.Message)
		require.Equal(t, vdi.PhaseFailed, second.Status.Phase)
		require.Empty(t, second.Status.URL, "a refused session shows no other session's URL")

		w.deleteSession()
		w.leave()
		_, err = w.passOf("second")
		require.NoError(t, err)
		require.Equal(t, "alice.vdi.example.com", w.sessionNamed("second").Status.Host)
		require.Equal(t, metav1.ConditionTrue, condition(w.sessionNamed("second"), vdi.ConditionAccepted).Status)
	})
	t.Run("{user}: a host never passes to another person", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, byUser)
		w.running()
		w.deleteSession()
		w.leave()
		w.createSession(desktop("theirs", "alice@evil.example.com")) // the same slug
		_, err := w.passOf("theirs")
		require.NoError(t, err)
		theirs := w.sessionNamed("theirs")
		c := condition(theirs, vdi.ConditionAccepted)
		require.Equal(t, vdi.ReasonHostOfAnotherUser, c.Reason)
		t.Log(c.Message)
		require.Empty(t, theirs.Status.URL)
		require.False(t, w.exists(&corev1.Pod{}, "theirs"))
		require.NotContains(t, c.Message, "@", "the message names nobody")
	})
	t.Run("{user}: of two people at once one gets the host", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, byUser)
		w.createTemplate()
		names := map[string]string{"first": alice, "second": "alice@evil.example.com"}
		for name, user := range names {
			w.createSession(desktop(name, user))
		}
		var group sync.WaitGroup
		for name := range names {
			operator := w.newOperator(w.client)
			group.Go(func() { _, _ = operator.Reconcile(w.ctx, request(w.ns, name)) }) // the loser is looked at again
		}
		group.Wait()
		accepted := 0
		for name := range names {
			_, err := w.passOf(name)
			require.NoError(t, err)
			if condition(w.sessionNamed(name), vdi.ConditionAccepted).Status == metav1.ConditionTrue {
				accepted++
			}
		}
		require.Equal(t, 1, accepted)
	})
	t.Run("{user}: suspended, the host stays the session's", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, byUser)
		w.running()
		w.change(suspend)
		w.pass()
		w.podEnds(desk)
		w.pass()
		w.createSession(desktop("second", alice))
		_, err := w.passOf("second")
		require.NoError(t, err)
		require.Equal(t, vdi.ReasonHostInUse, condition(w.sessionNamed("second"), vdi.ConditionAccepted).Reason)
	})
}

func TestRouteIsVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked []string
	answer := errors.New("the proxy answered 404")
	w.probe = func(_ context.Context, q platform.RouteQuestion) error {
		asked = append(asked, q.Host+q.Path+" of "+q.SessionUID)
		return answer
	}
	w.createTemplate()
	w.createSession()
	w.pass()
	require.Empty(t, asked, "nobody asks before the desktop answers")
	w.podStarts(desk)
	require.Positive(t, w.pass().RequeueAfter)
	s := w.requirePhase(vdi.PhaseCreating)
	require.Equal(t, vdi.WaitingForRoute, s.Status.WaitingFor)
	require.Nil(t, s.Status.StartTime, "the clock starts when the user can come in")
	require.Equal(t, []string{s.Status.Host + "/api/health of " + string(s.UID)}, asked)

	answer = nil
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	w.pass()
	require.Len(t, asked, 2, "once answered, nobody asks again")
}
