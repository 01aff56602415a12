package integration

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// withAssets mounts a claim beside the home.
func withAssets(t *vdi.VDITemplate) {
	t.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"pod":{"volumes":[{"name":"assets","persistentVolumeClaim":{"claimName":"assets"}}]}}`)}
}

// TestClaimsOfTemplates: a template mounts what an administrator has given to desktops,
// and nothing else; a desktop that lives is not disturbed.
func TestClaimsOfTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate(withAssets)
	w.createSession()
	refused := func(want string) {
		t.Helper()
		w.pass()
		require.False(t, w.podExists())
		require.Contains(t, w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonClaimNotAllowed).Message, want)
		require.Equal(t, vdi.WaitingForVolume, w.session().Status.WaitingFor)
	}
	refused(`"assets", which does not exist in namespace "` + w.ns + `"`)

	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metaNamed(w.ns, "assets"),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	require.NoError(t, w.client.Create(w.ctx, claim))
	refused("kubectl label pvc -n " + w.ns + " assets vdi.kasm.io/for-desktops=true")
	label := func(value string) {
		t.Helper()
		claim.Labels = map[string]string{wire.LabelForDesktops: value}
		require.NoError(t, w.overwrite(claim))
	}
	label("false")
	refused("which is not for desktops")
	label("true")
	w.start()

	label("")
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	w.requireCondition(vdi.ConditionReady, metav1.ConditionTrue, vdi.ReasonAsExpected)
	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.requirePhase(vdi.PhaseSuspended)
	w.change(resume)
	refused("which is not for desktops")
	w.deleteSession()
	w.leave()
}
