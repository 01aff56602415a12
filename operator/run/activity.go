package run

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session"
)

// agentPort is the name of the container port where a pod's agent tells its
// status, and agentActivityPath the page that tells when the desktop was last
// used, as a VDISession's status.activity.
const (
	agentPort         = "agent-status"
	agentActivityPath = "/activity"
	agentAnswerLimit  = 64 << 10 // bytes; an answer is a few words
)

// agents asks the agent in a session's pod.
type agents struct{ client *http.Client }

// newAgents answers ErrNoAgent for pods without an agent.
func newAgents() session.ActivitySource {
	return agents{&http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// LastActivity implements session.ActivitySource.
func (a agents) LastActivity(ctx context.Context, pod *corev1.Pod) (vdi.ActivityStatus, error) {
	port := portOfAgent(pod)
	if port == 0 {
		return vdi.ActivityStatus{}, session.ErrNoAgent
	}
	address := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port)))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+agentActivityPath, nil)
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
	return activity, nil
}

// portOfAgent is 0 when the pod has no agent. The agent is a sidecar, so it is
// among the init containers.
func portOfAgent(pod *corev1.Pod) int32 {
	for _, c := range append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		for _, p := range c.Ports {
			if p.Name == agentPort {
				return p.ContainerPort
			}
		}
	}
	return 0
}
