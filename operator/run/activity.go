package run

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// agentAnswerLimit bounds the answer of an agent, in bytes; it is a few words.
const agentAnswerLimit = 64 << 10

// clockTolerance is how far an agent's clock may be from the API server's without being
// put right: answers take their time, and both clocks are read in whole seconds.
const clockTolerance = 2 * time.Second

// agents asks the agent in a session's pod.
type agents struct {
	client *http.Client
	clock  clock.PassiveClock
}

// newAgents answers ErrNoAgent for pods without an agent.
func newAgents(by clock.PassiveClock) session.ActivitySource {
	return agents{&http.Client{
		Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the desktop sends nobody elsewhere
	}, by}
}

// LastActivity implements session.ActivitySource.
func (a agents) LastActivity(ctx context.Context, pod *corev1.Pod) (vdi.ActivityStatus, error) {
	port := portOfAgent(pod)
	if port == 0 {
		return vdi.ActivityStatus{}, session.ErrNoAgent
	}
	address := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port)))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+wire.PathActivity, nil)
	if err != nil {
		return vdi.ActivityStatus{}, err
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return vdi.ActivityStatus{}, fmt.Errorf("ask the agent: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return vdi.ActivityStatus{}, fmt.Errorf("ask the agent: it answered %s", answer.Status)
	}
	var activity vdi.ActivityStatus
	if err := json.NewDecoder(io.LimitReader(answer.Body, agentAnswerLimit)).Decode(&activity); err != nil {
		return vdi.ActivityStatus{}, fmt.Errorf("read the agent's answer: %w", err)
	}
	if last := activity.LastActivityTime; last != nil {
		last.Time = toOurClock(last.Time, answer.Header.Get("Date"), a.clock.Now())
	}
	return activity, nil
}

// toOurClock is the time of something that an agent reports, by our clock: its
// node's may be wrong. The answer says what time it is there. What has not come
// yet counts as now.
func toOurClock(reported time.Time, date string, now time.Time) time.Time {
	there, err := http.ParseTime(date)
	if off := now.Truncate(time.Second).Sub(there); err == nil && off.Abs() > clockTolerance {
		reported = reported.Add(off)
	}
	if reported.After(now) {
		return now.Truncate(time.Second)
	}
	return reported
}

// portOfAgent is 0 when the pod has no agent. The agent is a sidecar, so it is
// among the init containers.
func portOfAgent(pod *corev1.Pod) int32 {
	for _, c := range append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		for _, p := range c.Ports {
			if p.Name == wire.PortAgentStatus {
				return p.ContainerPort
			}
		}
	}
	return 0
}
