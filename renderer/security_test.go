package renderer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// TestPodSecurity asks the code of the Pod Security admission plugin itself.
func TestPodSecurity(t *testing.T) {
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	r, judged := newRenderer(t), 0
	for name, in := range goldenInputs(t) {
		got, err := r.Render(in)
		if err != nil {
			continue
		}
		level := psa.LevelRestricted
		if in.Template.Spec.Security.Profile == vdi.ProfileBaseline {
			level = psa.LevelBaseline
		}
		pod := typed[corev1.Pod](t, got.ofKind(wire.KindPod)[0])
		for _, verdict := range judge.EvaluatePod(psa.LevelVersion{Level: level, Version: psa.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
			assert.True(t, verdict.Allowed, "%s is not %s: %s (%s)", name, level, verdict.ForbiddenReason, verdict.ForbiddenDetail)
		}
		judged++
	}
	assert.Greater(t, judged, 20)
}

// typed decodes strictly: a field the API does not know is an error.
func typed[T any](t testing.TB, obj *unstructured.Unstructured) *T {
	t.Helper()
	out := new(T)
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(obj.Object, out, true))
	return out
}

func TestObjectsAreOfTheirTypes(t *testing.T) {
	r := newRenderer(t)
	for _, in := range goldenInputs(t) {
		got, err := r.Render(in)
		if err != nil {
			continue
		}
		for _, obj := range got.Objects {
			switch obj.GetKind() {
			case wire.KindPod:
				typed[corev1.Pod](t, obj)
			case wire.KindPersistentVolumeClaim:
				typed[corev1.PersistentVolumeClaim](t, obj)
			case wire.KindService:
				typed[corev1.Service](t, obj)
			case wire.KindNetworkPolicy:
				typed[networkingv1.NetworkPolicy](t, obj)
			}
		}
	}
}

// TestPodSecurityNeverWeakerThanItsProfile lets the site patch anything; what
// the guard lets through, the real judge must let through as well.
func TestPodSecurityNeverWeakerThanItsProfile(t *testing.T) {
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	r, inputs := newRenderer(t), goldenInputs(t)
	for _, patch := range escapes(t) {
		for _, base := range []string{"defaults", "security-baseline"} {
			in := inputs[base]
			in.Platform.Sessions.Overlay = overlayOf(t, patch)
			got, err := r.Render(in)
			if err != nil {
				require.True(t, strings.Contains(err.Error(), "Pod:") || strings.Contains(err.Error(), "overlay"), "%s: %v", patch, err)
				continue
			}
			level := map[bool]psa.Level{true: psa.LevelRestricted, false: psa.LevelBaseline}[base == "defaults"]
			pod := typed[corev1.Pod](t, got.ofKind(wire.KindPod)[0])
			for _, verdict := range judge.EvaluatePod(psa.LevelVersion{Level: level, Version: psa.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
				assert.True(t, verdict.Allowed, "%s on %s passed the guard but not %s: %s (%s)", patch, base, level, verdict.ForbiddenReason, verdict.ForbiddenDetail)
			}
		}
	}
}

// TestGroups: templates choose groups, but neither root's nor the agent's.
func TestGroups(t *testing.T) {
	r, in := newRenderer(t), goldenInputs(t)["defaults"]
	groups := func(list ...int64) ([]int64, error) {
		in.Template.Spec.Security.SupplementalGroups = list
		got, err := r.Render(in)
		if err != nil {
			return nil, err
		}
		return typed[corev1.Pod](t, got.ofKind(wire.KindPod)[0]).Spec.SecurityContext.SupplementalGroups, nil
	}
	got, err := groups()
	require.NoError(t, err)
	assert.Empty(t, got)
	got, err = groups(1, 44, 2147483647)
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 44, 2147483647}, got)
	for _, group := range []int64{-1, 0, 65532, 2147483648} {
		_, err = groups(44, group)
		assert.ErrorContains(t, err, `template "ubuntu": spec.security.supplementalGroups[1]`, "%d", group)
	}
}

// TestGuardKnowsTheProfileOfGroups: root's group belongs to desktops that may be
// root, the agent's to none.
func TestGuardKnowsTheProfileOfGroups(t *testing.T) {
	r, inputs := newRenderer(t), goldenInputs(t)
	for _, c := range []struct {
		base, groups, want string
	}{
		{"defaults", "[44]", ""},
		{"defaults", "[0]", "supplementalGroups[0]: 0 (root's group) needs profile Baseline"},
		{"security-baseline", "[0]", ""},
		{"security-baseline", "[44,65532]", "supplementalGroups[1]: 65532 is the agent's group"},
		{"security-baseline", "[65532.5]", "supplementalGroups[0]: 65532.5 is no whole number"},
	} {
		in := inputs[c.base]
		in.Platform.Sessions.Overlay = overlayOf(t, `{"spec":{"securityContext":{"supplementalGroups":`+c.groups+`}}}`)
		_, err := r.Render(in)
		if c.want == "" {
			assert.NoError(t, err, c)
			continue
		}
		assert.ErrorContains(t, err, c.want, c)
	}
}
