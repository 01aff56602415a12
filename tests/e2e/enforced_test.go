package e2e

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// Ports of a session's pod and of the platform's programs.
const (
	agentPort, statusPort, desktopPort     = 8090, 8091, 8080
	doorPeople, doorQuestions, doorMetrics = 8080, 8081, 8082
	operatorMetrics                        = 8080
)

// theProxy and theOperator are the labels that sessions' policies know them by.
var (
	theProxy    = client.MatchingLabels{"app.kubernetes.io/name": "traefik"}
	theOperator = client.MatchingLabels{"app.kubernetes.io/name": "vdi-operator"}
	theDoor     = client.MatchingLabels{"app": "vdi-frontdoor"}
)

// Who reaches whom is a fact on a node that enforces NetworkPolicies. Everybody here
// speaks from a pod's own network: a node's own traffic is always let in. A18 has
// the same sentences for a model of Kubernetes' rules, address families and all.
func TestNobodyReachesMoreThanTheyShould(t *testing.T) {
	elsewhere := namespaceOf(t, "vdi-others", map[string]string{"vdi.kasm.io/sessions": "true", "pod-security.kubernetes.io/enforce": "restricted"})
	town := namespaceOf(t, "bystanders", nil)
	watchers := namespaceOf(t, "monitoring", nil) // networkPolicy.metricsFrom
	alice, bob, carol := scratch("net-alice", "net-alice@example.com", "page"), scratch("net-bob", "net-bob@example.com", "page"), scratch("net-carol", "net-carol@example.com", "page")
	start(t, alice)
	start(t, bob)
	startIn(t, elsewhere, carol)
	for _, s := range []*vdi.VDISession{alice, bob, carol} {
		await(t, s, install.Running)
	}
	parts := cast{
		node: onNode(t), alice: podOf(t, alice), bob: podOf(t, bob), carol: podOf(t, carol),
		stranger: bystander(t, town, "stranger", nil),
		neighbor: bystander(t, install.Sessions, "neighbor", nil),
		twin:     bystander(t, town, "twin", theProxy), // looks like the proxy, lives elsewhere
		scraper:  bystander(t, watchers, "scraper", nil),
		proxy:    onePodOf(t, theProxy), operator: onePodOf(t, theOperator), door: onePodOf(t, theDoor),
	}
	var closed, open []way
	for _, of := range []func(*testing.T, cast) (closed, open []way){fromADesktop, intoADesktop, intoThePlatform} {
		c, o := of(t, parts)
		closed, open = append(closed, c...), append(open, o...)
	}
	judged(t, []string{install.Sessions, elsewhere, install.Namespace}, closed, open)
	names(t, parts.alice)
}

// cast are the pods of the test.
type cast struct {
	node                              cluster.Network
	alice, bob, carol                 *corev1.Pod // desktops
	stranger, neighbor, twin, scraper *corev1.Pod
	proxy, operator, door             *corev1.Pod
}

// startIn starts a session in another namespace.
func startIn(t *testing.T, namespace string, s *vdi.VDISession) {
	t.Helper()
	s.Namespace = namespace
	require.NoError(t, platform.Client.Create(t.Context(), s))
	t.Cleanup(func() { finish(t, s) })
}

func fromADesktop(t *testing.T, p cast) (closed, open []way) {
	desktop, node, host := within(t, p.alice), platform.Cluster.NodeIP().String(), platform.Cluster.HostIP().String()
	api := &corev1.Service{}
	require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}, api))
	onHost, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = onHost.Close() })
	for name, to := range map[string]string{
		"a desktop to its neighbor's desktop":                tcp(p.bob.Status.PodIP, desktopPort),
		"a desktop to its neighbor's agent":                  tcp(p.bob.Status.PodIP, agentPort),
		"a desktop to its neighbor's status":                 tcp(p.bob.Status.PodIP, statusPort),
		"a desktop to a desktop of another namespace":        tcp(p.carol.Status.PodIP, desktopPort),
		"a desktop to an agent of another namespace":         tcp(p.carol.Status.PodIP, agentPort),
		"a desktop to a status of another namespace":         tcp(p.carol.Status.PodIP, statusPort),
		"a desktop to the API server's Service":              tcp(api.Spec.ClusterIP, 443),
		"a desktop to the API server's address":              tcp(node, 6443),
		"a desktop to the kubelet, where DNS is let through": tcp(node, 10250),
		"a desktop to the metadata address":                  answers(t, p.node, "169.254.169.254", 80),
		"a desktop to Azure's metadata address":              answers(t, p.node, "168.63.129.16", 80),
		"a desktop to Alibaba's metadata address":            answers(t, p.node, "100.100.100.200", 80),
		"a desktop to 192.168.0.0/16":                        answers(t, p.node, "192.168.77.1", 8900),
		"a desktop to 172.16.0.0/12":                         answers(t, p.node, "172.20.77.1", 8900),
		"a desktop to a program of the node":                 answers(t, p.node, node, 8900),
		"a desktop to the node by UDP":                       echoes(t, p.node, node, 8901),
		"a desktop to a machine beside the node":             "tcp/" + onHost.Addr().String(),
		"a desktop to a pod of its namespace":                tcp(p.neighbor.Status.PodIP, 8080),
		"a desktop to a pod of another namespace":            tcp(p.stranger.Status.PodIP, 8080),
		"a desktop to the operator's metrics":                tcp(p.operator.Status.PodIP, operatorMetrics),
		"a desktop to the front door":                        tcp(p.door.Status.PodIP, doorPeople),
		"a desktop to the front door's judgement":            tcp(p.door.Status.PodIP, doorQuestions),
		"a desktop to the front door's metrics":              tcp(p.door.Status.PodIP, doorMetrics),
		"a desktop to the proxy":                             tcp(p.proxy.Status.PodIP, 8443),
		"a desktop to the proxy's port on the node":          tcp(node, install.NodePort),
		"a desktop without WebRTC to the relay's port":       answers(t, p.node, node, 3478),
	} {
		closed = append(closed, way{name, desktop, to})
	}
	return closed, []way{
		{"a desktop to the Internet", desktop, answers(t, p.node, "93.184.216.34", 443)},
		{"a desktop to the name service", desktop, tcp(nameService(t), 53)},
	}
}

func intoADesktop(t *testing.T, p cast) (closed, open []way) {
	proxy, operator := within(t, p.proxy), within(t, p.operator)
	ports := map[string]int{"agent": agentPort, "status": statusPort, "desktop": desktopPort}
	for name, from := range map[string]dialer{
		"a pod of another namespace":                within(t, p.stranger),
		"a pod of its namespace":                    within(t, p.neighbor),
		"a pod elsewhere that looks like the proxy": within(t, p.twin),
		"who reads metrics":                         within(t, p.scraper),
		"the front door":                            within(t, p.door),
		"a machine beside the node":                 &net.Dialer{},
	} {
		for what, port := range ports {
			closed = append(closed, way{name + " to a desktop's " + what, from, tcp(p.alice.Status.PodIP, port)})
		}
	}
	closed = append(closed,
		way{"the proxy past the agent to the desktop", proxy, tcp(p.alice.Status.PodIP, desktopPort)},
		way{"the proxy to the agent's status", proxy, tcp(p.alice.Status.PodIP, statusPort)},
		way{"the operator past the agent to the desktop", operator, tcp(p.alice.Status.PodIP, desktopPort)},
		way{"the operator to the agent's visitors' port", operator, tcp(p.alice.Status.PodIP, agentPort)},
	)
	return closed, []way{
		{"the proxy to the agent", proxy, tcp(p.alice.Status.PodIP, agentPort)},
		{"the proxy to an agent of another namespace", proxy, tcp(p.carol.Status.PodIP, agentPort)},
		{"the operator to the agent's status", operator, tcp(p.alice.Status.PodIP, statusPort)},
	}
}

func intoThePlatform(t *testing.T, p cast) (closed, open []way) {
	stranger, proxy, scraper := within(t, p.stranger), within(t, p.proxy), within(t, p.scraper)
	operator, door := p.operator.Status.PodIP, p.door.Status.PodIP
	return []way{
		{"a stranger to the operator's metrics", stranger, tcp(operator, operatorMetrics)},
		{"the proxy to the operator's metrics", proxy, tcp(operator, operatorMetrics)},
		{"a stranger to the front door", stranger, tcp(door, doorPeople)},
		{"a stranger to the front door's judgement", stranger, tcp(door, doorQuestions)},
		{"a stranger to the front door's metrics", stranger, tcp(door, doorMetrics)},
		{"who looks like the proxy to the front door's judgement", within(t, p.twin), tcp(door, doorQuestions)},
		{"who reads metrics to the front door", scraper, tcp(door, doorPeople)},
		{"the proxy to the front door's metrics", proxy, tcp(door, doorMetrics)},
	}, []way{
		{"the proxy to the front door", proxy, tcp(door, doorPeople)},
		{"the proxy to the front door's judgement", proxy, tcp(door, doorQuestions)},
		{"who reads metrics to the operator's", scraper, tcp(operator, operatorMetrics)},
		{"who reads metrics to the front door's", scraper, tcp(door, doorMetrics)},
	}
}

func nameService(t *testing.T) string {
	t.Helper()
	dns := &corev1.Service{}
	require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "kube-dns"}, dns))
	return dns.Spec.ClusterIP
}

// names: a desktop finds names, by UDP and TCP.
func names(t *testing.T, desktop *corev1.Pod) {
	t.Helper()
	from, server := within(t, desktop), net.JoinHostPort(nameService(t), "53")
	for _, protocol := range []string{"udp", "tcp"} {
		resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return from.DialContext(ctx, protocol, server)
		}}
		found, err := resolver.LookupHost(t.Context(), "kubernetes.default.svc.cluster.local.")
		assert.NoError(t, err, protocol)
		assert.NotEmpty(t, found, protocol)
	}
}
