package trim

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/platform/wire"
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
				Name: wire.ContainerDesktop, Image: "a", Env: []corev1.EnvVar{{Name: "TZ", Value: "UTC"}, {Name: "PASSWD", ValueFrom: &corev1.EnvVarSource{}}},
				VolumeMounts: []corev1.VolumeMount{{Name: "home"}},
			}},
			Volumes: []corev1.Volume{
				{Name: "dshm"},
				{Name: "home", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "vdi-data-desk"}}},
			},
			Tolerations:     []corev1.Toleration{{Key: "gpu"}},
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000), FSGroup: ptr.To[int64](1000)},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: wire.ContainerDesktop, LastTerminationState: corev1.ContainerState{Terminated: fixture.End(1, "Error", "permission denied")}}},
		},
	}
	got, err := New().Pod(whole.DeepCopy())
	require.NoError(t, err)
	trimmed := got.(*corev1.Pod)
	require.Equal(t, desktop.News(whole), desktop.News(trimmed))
	require.Equal(t, homes.ClaimsOf(whole), homes.ClaimsOf(trimmed))
	require.Equal(t, desktop.Wait(whole, "", true, nil), desktop.Wait(trimmed, "", true, nil))
	last, _ := desktop.LastExit(whole, true)
	require.Contains(t, last.Words(whole), "uid 1000")
	require.Equal(t, last.Words(whole), last.Words(trimmed))
	require.Equal(t, desktop.PlainEnv(whole.Spec.Containers[0].Env), desktop.PlainEnv(trimmed.Spec.Containers[0].Env))
	require.Equal(t, whole.Spec.InitContainers[0].Ports, trimmed.Spec.InitContainers[0].Ports)
	require.Equal(t, whole.Status, trimmed.Status)
	require.Empty(t, trimmed.Spec.Tolerations)
	require.Empty(t, trimmed.ManagedFields)

	_, err = New().Pod(&corev1.Node{})
	require.ErrorContains(t, err, "*v1.Node")
}

func TestTrimMeta(t *testing.T) {
	t.Parallel()
	service := func() *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{
			Name: "desk", Namespace: "vdi", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "vdi.kasm.io/v1alpha1", Kind: "VDISession", Name: "desk"}},
		}}
	}
	whole := service()
	whole.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	got, err := New().Meta(whole)
	require.NoError(t, err)
	require.Equal(t, service(), got, "all but the managed fields")

	tombstone := cache.DeletedFinalStateUnknown{Key: "vdi/desk"}
	got, err = New().Meta(tombstone)
	require.NoError(t, err)
	require.Equal(t, tombstone, got)
}

// A trimmed home tells whose it is, and how large, as the whole one does.
func TestTrimClaim(t *testing.T) {
	t.Parallel()
	whole := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name: "vdi-data-desk", Labels: map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelUser: "x"},
			Annotations: map[string]string{wire.AnnotationSessionUID: "u"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: "pv",
			Resources:  corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
	}
	got, err := New().Claim(whole.DeepCopy())
	require.NoError(t, err)
	trimmed := got.(*corev1.PersistentVolumeClaim)
	require.Equal(t, homes.Fingerprint(whole), homes.Fingerprint(trimmed))
	require.True(t, kept.MadeByOperator(trimmed))
	require.Empty(t, trimmed.Spec.VolumeName)
	require.Empty(t, trimmed.ManagedFields)

	_, err = New().Claim(&corev1.Node{})
	require.ErrorContains(t, err, "*v1.Node")
}

// Policies are kept whole; their lists are one and the same in memory.
func TestTrimPolicy(t *testing.T) {
	trimmer := New()
	t.Parallel()
	policy := func(cidr string) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{{
			To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: cidr}}},
		}}}}
	}
	trimmed := func(cidr string) *networkingv1.NetworkPolicy {
		got, err := trimmer.Policy(policy(cidr))
		require.NoError(t, err)
		require.Equal(t, policy(cidr), got)
		return got.(*networkingv1.NetworkPolicy)
	}
	require.Same(t, &trimmed("10.0.0.0/8").Spec.Egress[0], &trimmed("10.0.0.0/8").Spec.Egress[0])
	require.NotSame(t, &trimmed("10.0.0.0/8").Spec.Egress[0], &trimmed("192.168.0.0/16").Spec.Egress[0])

	_, err := trimmer.Policy(&corev1.Node{})
	require.ErrorContains(t, err, "*v1.Node")
}
