package contract

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// TestStop: what is judged is the last that was seen of the pod, not when somebody looked.
func TestStop(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: sessionName, Namespace: "check"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: wire.ContainerDesktop, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 143},
	}}}
	r := &run{kube: fake.NewClientset(pod), namespace: "check"}
	last, err := r.stop(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 143, desktopStatus(last).State.Terminated.ExitCode)
	_, err = r.stop(t.Context())
	require.ErrorContains(t, err, "stop the desktop: ")
}
