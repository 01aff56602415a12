package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// answerTime is how long one attempt waits; all ends are on this machine.
const answerTime = 2 * time.Second

// dialer opens connections from somewhere.
type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// way is an attempt to reach something.
type way struct {
	name string
	from dialer
	to   string // network and address, such as tcp/10.0.0.1:80
}

// stunQuestion is a STUN binding request (RFC 5389 §6), which a relay answers without
// a login. Our own listeners send back what they are sent.
var stunQuestion = append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, bytes.Repeat([]byte{7}, 12)...)

// leads says whether something answers: of TCP the other end's kernel will do.
func (w way) leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	network, address := w.to[:3], w.to[4:]
	conn, err := w.from.DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	defer conn.Close()
	if network == "tcp" {
		return true
	}
	deadline, _ := ctx.Deadline()
	if conn.SetDeadline(deadline) != nil {
		return false
	}
	if _, err := conn.Write(stunQuestion); err != nil {
		return false
	}
	_, err = conn.Read(make([]byte, 1500))
	return err == nil
}

// leading are the names of those that lead somewhere, tried all at once.
func leading(ctx context.Context, ways []way) (names []string) {
	found := make([]bool, len(ways))
	var attempts sync.WaitGroup
	for i, w := range ways {
		attempts.Go(func() { found[i] = w.leads(ctx) })
	}
	attempts.Wait()
	for i, w := range ways {
		if found[i] {
			names = append(names, w.name)
		}
	}
	return names
}

func namesOf(ways []way) (names []string) {
	for _, w := range ways {
		names = append(names, w.name)
	}
	return names
}

// judged tries every way twice. Without policies, which a further one that admits
// everything comes to, all of them lead somewhere, or the rest would prove nothing.
// With them the closed ones lead nowhere, and the open ones still do.
func judged(t *testing.T, namespaces []string, closed, open []way) {
	t.Helper()
	var everything []client.Object
	for _, ns := range namespaces {
		everything = append(everything, admitEverything(ns))
	}
	for _, o := range everything {
		require.NoError(t, platform.Client.Create(t.Context(), o))
		t.Cleanup(func() {
			if err := platform.Client.Delete(context.Background(), o); err != nil {
				assert.True(t, apierrors.IsNotFound(err), "delete %s: %v", o.GetName(), err)
			}
		})
	}
	all := append(append([]way(nil), closed...), open...)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.ElementsMatch(c, namesOf(all), leading(t.Context(), all), "without policies everything leads somewhere")
	}, patience, time.Second)
	for _, o := range everything {
		require.NoError(t, platform.Client.Delete(t.Context(), o))
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Empty(c, leading(t.Context(), closed), "with policies these lead nowhere")
	}, patience, time.Second)
	assert.Empty(t, leading(t.Context(), closed), "nor a moment later")
	assert.ElementsMatch(t, namesOf(open), leading(t.Context(), open), "and these still do")
	for _, w := range closed {
		t.Logf("closed  %s (%s)", w.name, w.to)
	}
	for _, w := range open {
		t.Logf("open    %s (%s)", w.name, w.to)
	}
}

// admitEverything takes all other policies of a namespace their effect: policies add up.
func admitEverything(namespace string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "everything"},
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{}},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{}},
		},
	}
}

// tcp and udp are where a way leads.
func tcp(address string, port int) string {
	return "tcp/" + net.JoinHostPort(address, strconv.Itoa(port))
}

func udp(address string, port int) string {
	return "udp/" + net.JoinHostPort(address, strconv.Itoa(port))
}

// within is a pod's network.
func within(t *testing.T, pod *corev1.Pod) cluster.Network {
	t.Helper()
	n, err := platform.Cluster.PodNetwork(pod)
	require.NoError(t, err)
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// onNode is the node's network.
func onNode(t *testing.T) cluster.Network {
	t.Helper()
	n, err := platform.Cluster.NodeNetwork()
	require.NoError(t, err)
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// fromTheNode asks pods as the node does, whose own traffic is always let in.
func fromTheNode(t *testing.T) *http.Client {
	t.Helper()
	dial := (&net.Dialer{}).DialContext
	if os.Getenv("VDI_CLUSTER") != "existing" {
		dial = onNode(t).DialContext
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
}

// answers makes somebody answer on an address of the node's network, which gets it
// first where it is none of the node's own.
func answers(t *testing.T, node cluster.Network, address string, port int) (to string) {
	t.Helper()
	require.NoError(t, node.AddAddress(netip.MustParseAddr(address)))
	listener, err := node.Listen(net.JoinHostPort(address, strconv.Itoa(port)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return tcp(address, port)
}

// echoes is the same for datagrams.
func echoes(t *testing.T, node cluster.Network, address string, port int) (to string) {
	t.Helper()
	conn, err := node.ListenPacket(net.JoinHostPort(address, strconv.Itoa(port)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, who, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(packet[:n], who)
		}
	}()
	return udp(address, port)
}

// namespaceOf makes a namespace for a test.
func namespaceOf(t *testing.T, name string, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	require.NoError(t, platform.Client.Create(t.Context(), ns))
	t.Cleanup(func() { assert.NoError(t, platform.Client.Delete(context.Background(), ns)) })
	return name
}

// bystander is a pod that is nothing to the platform: it serves a page on port 8080.
func bystander(t *testing.T, namespace, name string, labels map[string]string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To[int64](0),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](1000),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "page", Image: install.PageImage, ImagePullPolicy: corev1.PullNever,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
	require.NoError(t, platform.Client.Create(t.Context(), pod))
	t.Cleanup(func() { assert.NoError(t, platform.Client.Delete(context.Background(), pod)) })
	require.Eventually(t, func() bool {
		err := platform.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod)
		return err == nil && pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != ""
	}, patience, 200*time.Millisecond, "pod %s runs", name)
	return pod
}

// onePodOf is a living pod of one of the platform's programs.
func onePodOf(t *testing.T, labels client.MatchingLabels) *corev1.Pod {
	t.Helper()
	pods := &corev1.PodList{}
	require.NoError(t, platform.Client.List(t.Context(), pods, client.InNamespace(install.Namespace), labels))
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			return &p
		}
	}
	require.Fail(t, fmt.Sprintf("no pod with labels %v runs", labels))
	return nil
}
