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
	"k8s.io/utils/clock"

	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// podAt is a pod whose agent answers at a test server.
func podAt(t *testing.T, answer string, code int) *corev1.Pod {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != wire.PathActivity {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(code)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return podOf(server)
}

func podOf(server *httptest.Server) *corev1.Pod {
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	pod := &corev1.Pod{Status: corev1.PodStatus{PodIP: address.Addr().String()}}
	pod.Spec.InitContainers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: wire.PortAgentStatus, ContainerPort: int32(address.Port())}}}}
	return pod
}

func TestAgentReportsActivity(t *testing.T) {
	pod := podAt(t, `{"lastActivityTime":"2026-01-02T12:00:00Z","clients":1}`, http.StatusOK)
	activity, err := newAgents(clock.RealClock{}).LastActivity(t.Context(), pod)
	require.NoError(t, err)
	require.True(t, activity.LastActivityTime.Time.Equal(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)))
	require.EqualValues(t, 1, *activity.Clients)
}

// A node's clock neither makes a desktop idle nor keeps it from that.
func TestActivityIsOnOurClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 12, 0, 0, 500, time.UTC)
	used := now.Add(-10 * time.Minute).Truncate(time.Second)
	for _, off := range []time.Duration{-1000 * time.Hour, -time.Minute, 0, time.Second, time.Minute, 1000 * time.Hour} {
		date := now.Add(off).Format(http.TimeFormat)
		require.WithinDuration(t, used, toOurClock(used.Add(off), date, now), clockTolerance, off)
		require.False(t, toOurClock(now.Add(off+time.Hour), date, now).After(now), "what has not come yet")
	}
	require.Equal(t, used, toOurClock(used, now.Add(-time.Second).Format(http.TimeFormat), now), "clocks that agree change nothing")
	require.Equal(t, used, toOurClock(used, "", now), "nor does an answer without a date")
}

// An agent cannot make the operator ask somebody else.
func TestAgentSendsNobodyElsewhere(t *testing.T) {
	other := podAt(t, `{"lastActivityTime":"2026-01-02T12:00:00Z"}`, http.StatusOK)
	server := httptest.NewServer(http.RedirectHandler(fmt.Sprintf("http://%s:%d%s", other.Status.PodIP, portOfAgent(other), wire.PathActivity), http.StatusFound))
	defer server.Close()
	_, err := newAgents(clock.RealClock{}).LastActivity(t.Context(), podOf(server))
	require.ErrorContains(t, err, "302")
}

// Whatever is no clear answer is an error, which makes the activity unknown.
func TestAgentThatDoesNotAnswerIsUnknown(t *testing.T) {
	for name, pod := range map[string]*corev1.Pod{
		"no JSON":   podAt(t, "busy", http.StatusOK),
		"a failure": podAt(t, `{"lastActivityTime":"2026-01-02T12:00:00Z"}`, http.StatusInternalServerError),
		"bad time":  podAt(t, `{"lastActivityTime":"yesterday"}`, http.StatusOK),
	} {
		_, err := newAgents(clock.RealClock{}).LastActivity(t.Context(), pod)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, session.ErrNoAgent, name)
	}
	_, err := newAgents(clock.RealClock{}).LastActivity(t.Context(), &corev1.Pod{})
	require.ErrorIs(t, err, session.ErrNoAgent)
}
