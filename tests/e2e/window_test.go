package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// A network plugin learns of a pod's address when the pod has it already. How long
// the pod is without rules is the plugin's to say, so it is only measured. What is
// ours: the policy is there before the pod, and the agent asks who comes meanwhile.
func TestWindowBeforeTheRules(t *testing.T) {
	metadata := answers(t, onNode(t), "169.254.169.254", 80)[len("tcp/"):]
	stranger := within(t, bystander(t, namespaceOf(t, "window", nil), "stranger", nil))
	for i := range 3 {
		s := scratch(fmt.Sprintf("window-%d", i), "window@example.com", "page")
		pod := asItIsMade(t, s)
		t.Logf("%s: %s", s.Name, measure(t, pod, metadata, stranger))
		policyCameFirst(t, s)
	}
}

// TestAgentRefusesStrangersWithinTheWindow lets the window last as long as it takes.
func TestAgentRefusesStrangersWithinTheWindow(t *testing.T) {
	stranger := within(t, bystander(t, namespaceOf(t, "early-birds", nil), "stranger", nil))
	require.NoError(t, platform.Cluster.Signal("kube-router", syscall.SIGSTOP))
	goOn := func() error { return platform.Cluster.Signal("kube-router", syscall.SIGCONT) }
	t.Cleanup(func() { assert.NoError(t, goOn()) })
	s := scratch("unruled", "unruled@example.com", "page")
	start(t, s)
	s = await(t, s, install.Running)
	pod := podOf(t, s)
	for _, path := range []string{"/", "/index.html", "/api/files/", "/websocket"} {
		answer := asked(t, stranger, pod, agentPort, path, install.HostOf(s.Status.URL))
		assert.Equal(t, http.StatusUnauthorized, answer.code, path)
		assert.NotContains(t, answer.body, "<title>page</title>", path)
	}
	// What a desktop opens on the pod's own address is open until the rules come:
	// Selkies listens on the loopback address alone, this page does not.
	assert.Contains(t, asked(t, stranger, pod, desktopPort, "/", "").body, "<title>page</title>")
	kept, err := stranger.DialContext(t.Context(), "tcp", net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(desktopPort)))
	require.NoError(t, err)
	defer kept.Close()

	began := time.Now()
	require.NoError(t, goOn())
	agent := way{"a stranger to the agent", stranger, tcp(pod.Status.PodIP, agentPort)}
	require.Eventually(t, func() bool { return !agent.leads(t.Context()) }, patience, 20*time.Millisecond)
	t.Logf("the plugin's rules came %s after it went on", time.Since(began).Round(10*time.Millisecond))
	t.Logf("a connection from before the rules goes on: %t", speaks(kept))
}

// asItIsMade starts a session and returns its pod as soon as it is asked for.
func asItIsMade(t *testing.T, s *vdi.VDISession) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pods, err := platform.Client.Watch(ctx, &corev1.PodList{}, client.InNamespace(install.Sessions),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", s.Name)})
	require.NoError(t, err)
	defer pods.Stop()
	start(t, s)
	for e := range pods.ResultChan() {
		if pod, ok := e.Object.(*corev1.Pod); ok {
			return pod
		}
	}
	require.Fail(t, "no pod was made", s.Name)
	return nil
}

// moments are what was seen of a pod, counted from its network.
type moments struct{ program, agent, desktop, ruled time.Duration }

func (m moments) String() string {
	since := func(d time.Duration) string {
		if d == 0 {
			return "never"
		}
		return "after " + d.Round(10*time.Millisecond).String()
	}
	return fmt.Sprintf("rules came %s, the desktop's program began %s; a stranger was answered by the agent: %s, by the desktop's own port: %s",
		since(m.ruled), since(m.program), since(m.agent), since(m.desktop))
}

// measure follows a pod from its network until the rules for it, which it tries to
// pass from within and a stranger from without.
func measure(t *testing.T, pod *corev1.Pod, forbidden string, stranger cluster.Network) (m moments) {
	t.Helper()
	var desktop cluster.Network
	require.Eventually(t, func() (there bool) {
		var err error
		desktop, err = platform.Cluster.PodNetwork(pod)
		return err == nil
	}, patience, 5*time.Millisecond, "pod %s has a network", pod.Name)
	began := time.Now()
	defer desktop.Close()
	addresses, err := desktop.Addresses()
	require.NoError(t, err)
	require.NotEmpty(t, addresses)
	address, out := addresses[0].String(), way{"out", desktop, "tcp/" + forbidden}
	require.True(t, out.leads(t.Context()), "a pod without rules reaches everything")
	require.Eventually(t, func() bool {
		for port, first := range map[int]*time.Duration{agentPort: &m.agent, desktopPort: &m.desktop} {
			if *first == 0 && (way{"in", stranger, tcp(address, port)}).leads(t.Context()) {
				*first = time.Since(began)
			}
		}
		if m.program == 0 && runs(pod, "page") {
			m.program = time.Since(began)
		}
		if m.ruled == 0 && !out.leads(t.Context()) {
			m.ruled = time.Since(began)
		}
		return m.program > 0 && m.ruled > 0
	}, patience, 5*time.Millisecond, "the rules for pod %s come, and its program begins", pod.Name)
	return m
}

// runs says whether a program is among a pod's processes.
func runs(pod *corev1.Pod, program string) bool {
	pids, _ := platform.Cluster.PodProcesses(pod)
	for _, pid := range pids {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // it may have ended
		if string(name) == program+"\n" {
			return true
		}
	}
	return false
}

// policyCameFirst reads the API server's audit log: the policy was stored before
// somebody asked for the pod.
func policyCameFirst(t *testing.T, s *vdi.VDISession) {
	t.Helper()
	log, err := os.Open(platform.Cluster.AuditLog())
	require.NoError(t, err)
	defer log.Close()
	var policy, pod time.Time
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(`"`+s.Name+`"`)) {
			continue
		}
		e := auditv1.Event{}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		if e.ObjectRef == nil || e.ObjectRef.Name != s.Name || e.ObjectRef.Subresource != "" || (e.Verb != "create" && e.Verb != "patch") {
			continue
		}
		switch e.ObjectRef.Resource {
		case "networkpolicies":
			policy = earlier(policy, e.StageTimestamp.Time)
		case "pods":
			pod = earlier(pod, e.RequestReceivedTimestamp.Time)
		}
	}
	require.NoError(t, lines.Err())
	require.False(t, policy.IsZero() || pod.IsZero(), "both were made")
	assert.True(t, policy.Before(pod), "policy at %s, pod at %s", policy, pod)
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// asked is what somebody is answered by a pod's port.
func asked(t *testing.T, from cluster.Network, pod *corev1.Pod, port int, path, host string) seen {
	t.Helper()
	url := "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)) + path
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Host = host
	answer, err := (&http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: from.DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	require.NoError(t, err)
	return seen{answer.StatusCode, url, string(body)}
}

// speaks says whether an open connection to a web server still carries anything.
func speaks(conn net.Conn) bool {
	if conn.SetDeadline(time.Now().Add(answerTime)) != nil {
		return false
	}
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: desktop\r\n\r\n"); err != nil {
		return false
	}
	_, err := conn.Read(make([]byte, 1))
	return err == nil
}
