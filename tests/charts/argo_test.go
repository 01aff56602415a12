package charts

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// argoPhases are when Argo CD 3.3 and later create an object that is a hook of Helm's
// (argo-cd, gitops-engine/pkg/sync/hook/helm/type.go and controller/hook.go); what has none
// is never created. Older ones know no PreDelete.
func argoPhases(obj *unstructured.Unstructured) (phases []string) {
	known := map[string]string{
		"pre-install": "PreSync", "pre-upgrade": "PreSync", "post-install": "PostSync", "post-upgrade": "PostSync", "pre-delete": "PreDelete", "post-delete": "PostDelete",
	}
	for event := range strings.SplitSeq(obj.GetAnnotations()[hookAnnotation], ",") {
		if phase := known[event]; phase != "" && !slices.Contains(phases, phase) {
			phases = append(phases, phase)
		}
	}
	return phases
}

// argoWave orders the objects of a phase (gitops-engine/pkg/sync/hook/helm/weight.go).
func argoWave(t *testing.T, obj *unstructured.Unstructured) int {
	t.Helper()
	wave, err := strconv.Atoi(obj.GetAnnotations()["helm.sh/hook-weight"])
	require.NoError(t, err, key(obj))
	return wave
}

// TestArgoRunsTheHooks: which Job runs in which phase of Argo CD; in the same phase, before
// it, come its account and its rights. No object is made in two phases, since Argo CD does not
// make again what a phase before has deleted (argo-cd issue 26404).
func TestArgoRunsTheHooks(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(map[string]string{"templates.plain.image": "a", "uninstall.job.force": "true"}))
	want := map[string][]string{
		"check-is-image-pullable": {"PreSync"}, "crds": {"PreSync"}, "keys": {"PreSync"}, "upgrade": {"PreSync"}, "routes": {"PreSync"},
		"templates": {"PostSync"}, "uninstall": {"PreDelete"}, "test": nil,
	}
	runners := map[string]*unstructured.Unstructured{}
	for _, obj := range ofKind(objs, "Job", "Pod") {
		runners[strings.TrimPrefix(obj.GetName(), operatorName+"-")] = obj
	}
	require.Len(t, runners, len(want))
	for task, phases := range want {
		require.Contains(t, runners, task)
		require.Equal(t, phases, argoPhases(runners[task]), task)
	}
	for _, obj := range objs {
		if obj.GetAnnotations()[hookAnnotation] == "" || slices.Contains([]string{"Job", "Pod"}, obj.GetKind()) {
			continue
		}
		runner := runners[obj.GetLabels()["app.kubernetes.io/component"]]
		require.NotNil(t, runner, key(obj))
		require.Equal(t, argoPhases(runner), argoPhases(obj), key(obj))
		require.LessOrEqual(t, len(argoPhases(obj)), 1, key(obj))
		require.Less(t, argoWave(t, obj), argoWave(t, runner), key(obj))
	}
	uninstall := typed[batchv1.Job](t, runners["uninstall"])
	require.Contains(t, uninstall.Spec.Template.Spec.Containers[0].Args, "--force", "Argo CD leaves no release Secret to ask")
	require.NotContains(t, runnerArgs(t, operator(nil), "uninstall"), "--force", "and nobody else forces it")
}

func runnerArgs(t *testing.T, s scenario, task string) []string {
	t.Helper()
	return jobs(t, objects(t, s))[task].Spec.Template.Spec.Containers[0].Args
}
