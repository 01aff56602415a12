package e2e

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/logger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// A drained node takes its desktops down, and they come back by themselves with
// their homes as soon as a node takes them: here the same one.
func TestDrainedDesktopComesBack(t *testing.T) {
	s := session("drained", "erin@example.com", "plain-desktop")
	start(t, s)
	first := await(t, s, install.Running)
	inDesktop(t, s, "echo kept > ~/drained.txt")

	drain(t, s)
	waiting := await(t, s, func(s *vdi.VDISession) bool { return s.Status.WaitingFor == vdi.WaitingForNode })
	assert.Equal(t, vdi.PhasePending, waiting.Status.Phase)
	t.Log(waiting.Status.Message)
	assert.Contains(t, kubectl(t, "events", "-n", s.Namespace, "--for", "vdisession/"+s.Name), "The desktop has to leave its node")

	kubectl(t, "uncordon", "--selector", "kubernetes.io/os=linux")
	again := await(t, s, install.Running)
	assert.Equal(t, first.Status.URL, again.Status.URL)
	assert.Equal(t, "kept", inDesktop(t, s, "cat ~/drained.txt"))
}

// A node that does not answer is told by name. Its desktop may still be writing,
// so no second one starts on the home until the first is known to be gone.
func TestLostNode(t *testing.T) {
	impatient, err := install.Template()
	require.NoError(t, err)
	impatient.Name = "impatient"
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		impatient.Spec.Scheduling.Tolerations = append(impatient.Spec.Scheduling.Tolerations, corev1.Toleration{
			Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](2),
		})
	}
	require.NoError(t, platform.Client.Create(t.Context(), impatient))
	t.Cleanup(func() { assert.NoError(t, platform.Client.Delete(context.WithoutCancel(t.Context()), impatient)) })
	s := session("lost", "frank@example.com", impatient.Name)
	start(t, s)
	await(t, s, install.Running)
	inDesktop(t, s, "echo kept > ~/lost.txt")
	pod := podOf(t, s)

	healthyNeighbour(t)
	require.NoError(t, platform.Cluster.Signal("kubelet", syscall.SIGSTOP))
	answers := sync.OnceFunc(func() { assert.NoError(t, platform.Cluster.Signal("kubelet", syscall.SIGCONT)) })
	t.Cleanup(answers)
	lost := await(t, s, func(s *vdi.VDISession) bool {
		return strings.Contains(s.Status.Message, "The node "+pod.Spec.NodeName+" does not answer")
	})
	assert.NotEqual(t, vdi.PhaseFailed, lost.Status.Phase)
	assert.Equal(t, pod.UID, podOf(t, s).UID, "no second desktop on the home")
	t.Log(lost.Status.Message)
	// A node that is back before that has lost nothing, and its desktop goes on.
	require.Eventually(t, func() bool { return podOf(t, s).DeletionTimestamp != nil }, time.Minute, 200*time.Millisecond, "it is evicted")
	assert.Equal(t, pod.UID, podOf(t, s).UID, "still no second one")

	answers()
	await(t, s, func(s *vdi.VDISession) bool { return install.Running(s) && podOf(t, s).UID != pod.UID })
	assert.Equal(t, "kept", inDesktop(t, s, "cat ~/lost.txt"))
}

// healthyNeighbour is a second node, which takes no pods and stays alive: where no
// node at all is well, Kubernetes blames itself and evicts nobody
// (pkg/controller/nodelifecycle: master disruption mode).
func healthyNeighbour(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "neighbour"},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "vdi.example.com/made-up", Effect: corev1.TaintEffectNoExecute}}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "MadeUp", LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}}},
	}
	// With its status at once, as a kubelet does: a second write would race the node controllers'.
	require.NoError(t, platform.Client.Create(ctx, node))
	t.Cleanup(func() { assert.NoError(t, platform.Client.Delete(ctx, node)) })
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: node.Name, Namespace: corev1.NamespaceNodeLease}}
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &node.Name, LeaseDurationSeconds: ptr.To[int32](40), RenewTime: ptr.To(metav1.NowMicro())}
	require.NoError(t, platform.Client.Create(ctx, lease))
	heart, stop := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for beat := time.NewTicker(5 * time.Second); ; {
			select {
			case <-heart.Done():
				beat.Stop()
				return
			case <-beat.C:
				lease.Spec.RenewTime = ptr.To(metav1.NowMicro())
				assert.NoError(t, client.IgnoreNotFound(platform.Client.Update(ctx, lease)))
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
		assert.NoError(t, client.IgnoreNotFound(platform.Client.Delete(ctx, lease)))
	})
}

// podOf is the session's pod; its UID is empty while there is none.
func podOf(t *testing.T, s *vdi.VDISession) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	err := platform.Client.Get(t.Context(), client.ObjectKeyFromObject(s), pod)
	require.NoError(t, client.IgnoreNotFound(err))
	return pod
}

// drain empties the node of one session's desktop as an administrator would of all.
func drain(t *testing.T, s *vdi.VDISession) {
	t.Helper()
	t.Cleanup(func() { kubectl(t, "uncordon", "--selector", "kubernetes.io/os=linux") })
	nodes := kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}")
	kubectl(t, "drain", nodes, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector", "app.kubernetes.io/instance="+s.Name)
}

// kubectl runs until it is done, also in a cleanup.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl(t, args...)
	require.NoError(t, err)
	return out
}

func tryKubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return k8s.RunKubectlAndGetOutputContextE(t, context.WithoutCancel(t.Context()), in(""), args...)
}

// in says to terratest where things are.
func in(namespace string) *k8s.KubectlOptions {
	options := k8s.NewKubectlOptions("", platform.Cluster.KubeconfigPath(), namespace)
	options.Logger = logger.Discard
	return options
}
