package run

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/vdi-platform/vdi-platform/operator/session"
)

// podAt is a pod whose agent answers at a test server.
func podAt(t *testing.T, answer string, code int) *corev1.Pod {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != agentActivityPath {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(code)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	pod := &corev1.Pod{Status: corev1.PodStatus{PodIP: address.Addr().String()}}
	pod.Spec.InitContainers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: agentPort, ContainerPort: int32(address.Port())}}}}
	return pod
}

func TestAgentTellsItsActivity(t *testing.T) {
	pod := podAt(t, `{"lastActivityTime":"2026-01-02T12:00:00Z","clients":1}`, http.StatusOK)
	activity, err := newAgents().LastActivity(t.Context(), pod)
	require.NoError(t, err)
	require.True(t, activity.LastActivityTime.Time.Equal(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)))
	require.EqualValues(t, 1, *activity.Clients)
}

// Whatever is no clear answer is an error, which makes the activity unknown.
func TestAgentThatDoesNotAnswerIsUnknown(t *testing.T) {
	for name, pod := range map[string]*corev1.Pod{
		"no JSON":   podAt(t, "busy", http.StatusOK),
		"a failure": podAt(t, `{"lastActivityTime":"2026-01-02T12:00:00Z"}`, http.StatusInternalServerError),
		"bad time":  podAt(t, `{"lastActivityTime":"yesterday"}`, http.StatusOK),
	} {
		_, err := newAgents().LastActivity(t.Context(), pod)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, session.ErrNoAgent, name)
	}
	_, err := newAgents().LastActivity(t.Context(), &corev1.Pod{})
	require.ErrorIs(t, err, session.ErrNoAgent)
}
