package session

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/operator/homes"
)

// A trimmed pod decides and says the same as the whole one.
func TestTrimPod(t *testing.T) {
	t.Parallel()
	whole := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "desk", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}}},
		Spec: corev1.PodSpec{
			NodeName:       "node-1",
			InitContainers: []corev1.Container{{Name: "agent", Ports: []corev1.ContainerPort{{Name: "agent-status", ContainerPort: 8091}}}},
			Containers: []corev1.Container{{
				Name: desktopContainer, Image: "a", Env: []corev1.EnvVar{{Name: "TZ", Value: "UTC"}},
				VolumeMounts: []corev1.VolumeMount{{Name: "home"}},
			}},
			Volumes: []corev1.Volume{
				{Name: "dshm"},
				{Name: "home", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "vdi-data-desk"}}},
			},
			Tolerations: []corev1.Toleration{{Key: "gpu"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	got, err := TrimPod(whole.DeepCopy())
	require.NoError(t, err)
	trimmed := got.(*corev1.Pod)
	require.Equal(t, podNews(whole), podNews(trimmed))
	require.Equal(t, homes.ClaimsOf(whole), homes.ClaimsOf(trimmed))
	require.Equal(t, podWait(whole, ""), podWait(trimmed, ""))
	require.Equal(t, whole.Spec.Containers[0].Env, trimmed.Spec.Containers[0].Env)
	require.Equal(t, whole.Spec.InitContainers[0].Ports, trimmed.Spec.InitContainers[0].Ports)
	require.Equal(t, whole.Status, trimmed.Status)
	require.Empty(t, trimmed.Spec.Tolerations)
	require.Empty(t, trimmed.ManagedFields)

	_, err = TrimPod(&corev1.Node{})
	require.ErrorContains(t, err, "*v1.Node")
}
