package contract

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestEndOf: the message of a desktop that ran is the end of its log, and is not shown.
func TestEndOf(t *testing.T) {
	ended := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 1, Reason: reason, Message: "the message",
			StartedAt: metav1.NewTime(began), FinishedAt: metav1.NewTime(began.Add(3 * time.Second)),
		}}
	}
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "the message"}}
	}
	for want, status := range map[string]corev1.ContainerStatus{
		"":                                      {State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		"it ended with code 1 (Error) after 3s": {State: ended("Error")},
		"it ended with code 1 (OOMKilled) after 3s":                  {State: ended("OOMKilled")},
		"it ended with code 1 (Completed) after 3s":                  {LastTerminationState: ended("Completed"), RestartCount: 1},
		"it did not start (StartError): the message":                 {State: ended("StartError")},
		"it did not start (ContainerCannotRun): the message":         {LastTerminationState: ended("ContainerCannotRun")},
		"it does not start (CreateContainerError): the message":      {State: waiting("CreateContainerError")},
		"it does not start (ErrImageNeverPull): the message":         {State: waiting("ErrImageNeverPull")},
		"it was started again 2 times":                               {RestartCount: 2},
		"it did not start (CreateContainerConfigError): the message": {State: ended("CreateContainerConfigError")},
	} {
		status.Name = wire.ContainerDesktop
		require.Equal(t, want, endOf(&corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}}}))
	}
	status := corev1.ContainerStatus{Name: wire.ContainerDesktop, State: waiting("ContainerCreating")}
	require.Empty(t, endOf(&corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}}}))
	require.Empty(t, endOf(&corev1.Pod{}))
}

// TestUnplaced: the scheduler's first no is none yet.
func TestUnplaced(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "unbound claims", LastTransitionTime: metav1.NewTime(began),
	}}}}
	require.Empty(t, unplaced(pod, began.Add(placing)))
	require.Equal(t, "unbound claims", unplaced(pod, began.Add(placing+time.Second)))
	pod.Status.Conditions[0].Status = corev1.ConditionTrue
	require.Empty(t, unplaced(pod, began.Add(time.Hour)))
}

func TestStopOf(t *testing.T) {
	const grace = 4 * time.Second
	for name, c := range map[string]struct {
		after time.Duration
		code  int32
		want  judge.State
		seen  string
	}{
		"soon":                  {time.Second, 0, judge.Passed, "ended 1s after its pod's deletion, with code 0 (it has 4s)"},
		"before it was asked":   {-time.Second, 0, judge.Passed, "ended 0s after"},
		"at the last moment":    {grace, 143, judge.Passed, "with code 143"},
		"killed":                {grace, 137, judge.Failed, "it did not end on SIGTERM: after 4s it was killed"},
		"killed late":           {grace + 2*time.Second, 137, judge.Failed, "it was killed"},
		"killed by its own":     {time.Second, 137, judge.Passed, "with code 137"},
		"after the end of time": {grace + 2*time.Second, 0, judge.Failed, "it ended only 6s after"},
	} {
		for left := range int64(2) { // the kubelet's own deletion takes the rest of the grace away
			seconds := left * int64(grace/time.Second)
			pod := &corev1.Pod{}
			deadline := metav1.NewTime(began.Add(time.Duration(seconds) * time.Second))
			pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &deadline, &seconds
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: wire.ContainerDesktop, State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: c.code, FinishedAt: metav1.NewTime(began.Add(c.after))},
			}}}
			got := stopOf(pod, grace)
			require.Equal(t, c.want, got.State, name)
			require.Contains(t, got.Seen, c.seen, name)
		}
	}
	require.Equal(t, judge.NotJudged, stopOf(&corev1.Pod{}, grace).State)
}

func TestWorst(t *testing.T) {
	red, open, green := judge.Fail("red"), judge.Unjudged("open"), judge.Pass("green")
	require.Equal(t, red, worst(green, open, red))
	require.Equal(t, open, worst(open, green))
	require.Equal(t, green, worst(judge.Pass("before"), green))
}

// TestSecrets: a log that cannot be read is not judged, and never passed.
func TestSecrets(t *testing.T) {
	header := base64.StdEncoding.EncodeToString([]byte("check:of-the-desktop"))
	for name, c := range map[string]struct {
		log  string
		code int
		want judge.State
	}{
		"silent":     {"", http.StatusOK, judge.Passed},
		"harmless":   {"started\n", http.StatusOK, judge.Passed},
		"password":   {"PASSWD=of-the-desktop\n", http.StatusOK, judge.Failed},
		"header":     {"Authorization: Basic " + header + "\n", http.StatusOK, judge.Failed},
		"unreadable": {"", http.StatusInternalServerError, judge.NotJudged},
		"too long":   {strings.Repeat("a", logKept), http.StatusOK, judge.NotJudged},
	} {
		r := logging(t, c.code, c.log)
		require.Equal(t, c.want, r.secrets(t.Context()).State, name)
	}
}

// TestLogShown: what is shown of a log holds no password, not even a part of one where it is cut.
func TestLogShown(t *testing.T) {
	header := base64.StdEncoding.EncodeToString([]byte("check:of-the-desktop"))
	said := "PASSWD=of-the-desktop Basic " + header
	require.Equal(t, "PASSWD=(password) Basic (password)=", logging(t, http.StatusOK, said).log(t.Context(), true))
	cut := logging(t, http.StatusOK, "of-the-desktop"+strings.Repeat("-", logShown-4)).log(t.Context(), false)
	require.NotContains(t, cut, "desktop")
	require.Contains(t, logging(t, http.StatusInternalServerError, "").log(t.Context(), false), "(it cannot be read: ")
	require.Equal(t, "(nothing)", logging(t, http.StatusOK, "").log(t.Context(), false))

	agent := logging(t, http.StatusOK, `{"level":"ERROR","msg":"refused","error":"login of-the-visitor"}`)
	require.Equal(t, "refused: login (password)", agent.redacted(agent.agentSays(t.Context())))
	require.Contains(t, logging(t, http.StatusForbidden, "").agentSays(t.Context()), "its log cannot be read")
}

// logging is a run whose containers' logs are answered so.
func logging(t *testing.T, code int, log string) *run {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(log))
	}))
	t.Cleanup(server.Close)
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	return &run{kube: kube, namespace: "check", desktop: "of-the-desktop", password: "of-the-visitor"}
}
