package upgrade

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// patience bounds one wait; the node shares two cores with everything else.
const patience = 3 * time.Minute

// newField is what the "previous" version's CRD does not have yet.
const newField = "description"

// TestLife is one story; each part starts where the one before ended.
func TestLife(t *testing.T) {
	previous, current := previousChart(t), filepath.Join(w.root, "charts", "vdi-operator")
	templates := w.templates(t, "page.yaml", map[string]any{"page": pageTemplate()})

	release(t, "helm", "install", previous, "-f", templates, "--set", "crds.upgradeJob.enabled=false") // its image had older ones
	require.NotContains(t, templateFields(t), newField)
	w.must(t, "helm", "test", install.Release, "-n", install.Namespace)

	alice := start(t, "alice")
	before := await(t, alice, install.Running)
	pod, home := podUID(t, alice), homeUID(t, alice)

	t.Run("upgrade", func(t *testing.T) {
		release(t, "helm", "upgrade", current, append(postRendered(t, "helm"), "-f", templates)...)
		assert.Contains(t, templateFields(t), newField, "the CRD is upgraded")
		assert.Equal(t, "42", operatorPod(t).Labels["cost-center"], "post-rendered")
		assert.Equal(t, pod, podUID(t, alice), "no desktop is restarted")
		noHooksLeft(t)
	})
	t.Run("a bad template fails in words", func(t *testing.T) {
		bad := pageTemplate()
		bad["values"] = map[string]any{"pod": map[string]any{"shmSize": true}}
		values := w.templates(t, "bad.yaml", map[string]any{"bad": bad, "fine": pageTemplate()})
		for _, helm := range []string{"helm", "helm4"} {
			out, err := w.release(t.Context(), helm, "upgrade", current, "-f", values)
			require.Error(t, err)
			assert.Contains(t, out, "spec.values.pod.shmSize: got boolean, want string", "the Job's own words")
		}
		assert.NotContains(t, w.must(t, "kubectl", "get", "vditemplates", "-o", "name"), "fine", "one mistake changes nothing")
	})
	t.Run("rollback", func(t *testing.T) {
		w.must(t, "helm", "rollback", install.Release, "1", "-n", install.Namespace, "--wait", "--timeout", "3m")
		assert.Contains(t, templateFields(t), newField, "CRDs never go back")
		assert.Equal(t, pod, podUID(t, alice))
		await(t, alice, install.Running)
	})
	t.Run("a second operator is refused", func(t *testing.T) {
		for _, helm := range []string{"helm", "helm4"} {
			out, err := w.try(t.Context(), helm, append([]string{"install", "other", current, "-n", "elsewhere", "--create-namespace"}, w.values...)...)
			require.Error(t, err)
			assert.Contains(t, out, `release "vdi" in namespace "vdi-system" already serves all namespaces`)
		}
	})
	t.Run("uninstall with live sessions", func(t *testing.T) {
		bob := start(t, "bob", func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete })
		await(t, bob, install.Running)
		uninstall(t, "helm")
		left := get(t, alice)
		assert.Empty(t, left.Finalizers)
		assert.Equal(t, pod, podUID(t, alice), "desktops stay")
		assert.Contains(t, templateFields(t), newField, "CRDs stay")
		noHooksLeft(t)

		w.must(t, "kubectl", "delete", "vdi", "bob", "-n", install.Sessions, "--timeout=60s")
		gone(t, bob)
		homeUID(t, bob) // whatever its policy says: nobody was there to judge
	})
	t.Run("reinstall picks everything up", func(t *testing.T) {
		w.must(t, "kubectl", "replace", "-f", filepath.Join(previous, "crds")) // as an uninstall of an older version leaves them
		require.NotContains(t, templateFields(t), newField)
		// Helm 4 applies CRDs itself, and does not override what others have applied.
		release(t, "helm4", "install", current, append(postRendered(t, "helm4"), "-f", templates, "--skip-crds")...)
		assert.Contains(t, templateFields(t), newField, "Helm itself leaves CRDs that are there")
		again := await(t, alice, func(s *vdi.VDISession) bool { return len(s.Finalizers) > 0 && install.Running(s) })
		assert.Equal(t, pod, podUID(t, alice))
		assert.Equal(t, before.Status.URL, again.Status.URL)
		assert.Equal(t, before.Status.StartTime, again.Status.StartTime)
		assert.Equal(t, "42", operatorPod(t).Labels["cost-center"], "post-rendered")
		w.must(t, "helm4", "test", install.Release, "-n", install.Namespace)
	})
	t.Run("backup", func(t *testing.T) { backup(t) })
	t.Run("recovery without the hook", func(t *testing.T) {
		uninstall(t, "helm4", "--no-hooks")
		w.must(t, "kubectl", "delete", "vdi", "alice", "-n", install.Sessions, "--wait=false")
		assert.NotNil(t, get(t, alice).DeletionTimestamp, "it hangs on the finalizer")
		w.must(t, "kubectl", "patch", "vdi", "alice", "-n", install.Sessions, "--type", "merge", "-p", `{"metadata":{"finalizers":null}}`)
		gone(t, alice)
		assert.Equal(t, home, homeUID(t, alice))
	})
	t.Run("restore", func(t *testing.T) {
		w.must(t, "kubectl", "delete", "vditemplate", "page")
		release(t, "helm4", "install", current)
		w.must(t, "kubectl", "create", "-f", filepath.Join(w.dir, "vditemplates.yaml"), "-f", filepath.Join(w.dir, "vdiquotas.yaml"), "-f", filepath.Join(w.dir, "vdiusages.yaml"), "-f", filepath.Join(w.dir, "vdisessions.yaml"))
		restored := await(t, alice, install.Running)
		assert.NotEqual(t, before.UID, restored.UID)
		assert.Equal(t, home, restored.Status.Home.UID, "the home is found by user and session")
		uninstall(t, "helm4")
	})
}

// previousChart is the operator's chart as an older version might have been.
func previousChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vdi-operator")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(w.root, "charts", "vdi-operator"))))
	meta := filepath.Join(dir, "Chart.yaml")
	text, err := os.ReadFile(meta)
	require.NoError(t, err)
	text = regexp.MustCompile(`(?m)^version: .*$`).ReplaceAll(text, []byte("version: 0.0.9"))
	require.NoError(t, os.WriteFile(meta, text, 0o600))
	dropField(t, filepath.Join(dir, "crds", "vdi.kasm.io_vditemplates.yaml"))
	return dir
}

func dropField(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	crd := unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal(text, &crd.Object))
	delete(fieldsOf(t, &crd), newField)
	text, err = yaml.Marshal(crd.Object)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text, 0o600))
}

// fieldsOf is the part of a CRD that describes spec's fields.
func fieldsOf(t *testing.T, crd *unstructured.Unstructured) map[string]any {
	t.Helper()
	versions := crd.Object["spec"].(map[string]any)["versions"].([]any)
	require.Len(t, versions, 1)
	fields, found, err := unstructured.NestedFieldNoCopy(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
	require.NoError(t, err)
	require.True(t, found)
	return fields.(map[string]any)
}

func templateFields(t *testing.T) map[string]any {
	t.Helper()
	crd := &unstructured.Unstructured{}
	text := w.must(t, "kubectl", "get", "crd", "vditemplates.vdi.kasm.io", "-o", "yaml")
	require.NoError(t, yaml.Unmarshal([]byte(text), &crd.Object))
	return fieldsOf(t, crd)
}

func pageTemplate() map[string]any {
	return map[string]any{
		"image": install.PageImage, "streamer": "Custom", "port": 8080, "healthPath": "/healthz",
		"resources": map[string]any{"defaultMemory": "64Mi", "defaultCPU": "100m", "defaultGPU": 0},
		"requests":  map[string]any{"memory": "16Mi", "cpu": "10m"},
	}
}

func (w *world) templates(t *testing.T, name string, templates map[string]any) string {
	t.Helper()
	file, err := w.write(name, map[string]any{"templates": templates})
	require.NoError(t, err)
	return file
}

// postRendered are the flags that put the site's wishes on every object.
func postRendered(t *testing.T, helm string) []string {
	t.Helper()
	settings, err := w.write("site.yaml", map[string]any{"labels": map[string]string{"cost-center": "42"}})
	require.NoError(t, err)
	return w.post.Arguments(helm, settings)
}

// release installs or upgrades; what the first Job says of the settings is Helm's output.
func release(t *testing.T, helm, verb, chart string, more ...string) {
	t.Helper()
	out, err := w.release(t.Context(), helm, verb, chart, more...)
	require.NoError(t, err, out)
	require.Contains(t, out, "the settings work", helm)
}

func (w *world) release(ctx context.Context, helm, verb, chart string, more ...string) (string, error) {
	args := []string{verb, install.Release, chart, "-n", install.Namespace, "--wait", "--timeout", "3m"}
	return w.try(ctx, helm, slices.Concat(args, w.values, more)...)
}

func uninstall(t *testing.T, helm string, more ...string) {
	t.Helper()
	began := time.Now()
	w.must(t, helm, append([]string{"uninstall", install.Release, "-n", install.Namespace, "--wait", "--timeout", "2m"}, more...)...)
	t.Logf("uninstalled in %.1fs", time.Since(began).Seconds())
}

func (w *world) must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := w.try(t.Context(), program, args...)
	require.NoError(t, err, "%s %v: %s", program, args, out)
	return out
}

// backup does what the operator chart's page says, its expression included.
func backup(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"vditemplates", "vdiquotas", "vdiusages", "vdisessions"} {
		text := w.must(t, "kubectl", "get", kind, "-A", "-o", "yaml")
		text = regexp.MustCompile(`(?m)^    (uid|resourceVersion|creationTimestamp):.*\n`).ReplaceAllString(text, "")
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, kind+".yaml"), []byte(text), 0o600))
	}
}

func start(t *testing.T, name string, with ...func(*vdi.VDISession)) *vdi.VDISession {
	t.Helper()
	s := &vdi.VDISession{Spec: vdi.VDISessionSpec{User: name + "@example.com", Template: "page", Persistence: vdi.Persistence{Size: "1Gi"}}}
	s.Name, s.Namespace = name, install.Sessions
	for _, change := range with {
		change(s)
	}
	require.NoError(t, w.Client.Create(t.Context(), s))
	return s
}

func await(t *testing.T, s *vdi.VDISession, holds func(*vdi.VDISession) bool) *vdi.VDISession {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := w.WaitFor(ctx, client.ObjectKeyFromObject(s), holds)
	require.NoError(t, err)
	return got
}

func get(t *testing.T, s *vdi.VDISession) *vdi.VDISession {
	t.Helper()
	got := &vdi.VDISession{}
	require.NoError(t, w.Client.Get(t.Context(), client.ObjectKeyFromObject(s), got))
	return got
}

func gone(t *testing.T, s *vdi.VDISession) {
	t.Helper()
	require.Eventually(t, func() bool {
		key := client.ObjectKeyFromObject(s)
		return apierrors.IsNotFound(w.Client.Get(t.Context(), key, &vdi.VDISession{})) &&
			apierrors.IsNotFound(w.Client.Get(t.Context(), key, &corev1.Pod{}))
	}, patience, 250*time.Millisecond, "session %s is not gone", s.Name)
}

func podUID(t *testing.T, s *vdi.VDISession) types.UID {
	t.Helper()
	pod := &corev1.Pod{}
	require.NoError(t, w.Client.Get(t.Context(), client.ObjectKeyFromObject(s), pod))
	require.Nil(t, pod.DeletionTimestamp)
	return pod.UID
}

func homeUID(t *testing.T, s *vdi.VDISession) types.UID {
	t.Helper()
	home := &corev1.PersistentVolumeClaim{}
	require.NoError(t, w.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "vdi-data-" + s.Name}, home))
	require.Nil(t, home.DeletionTimestamp)
	return home.UID
}

func operatorPod(t *testing.T) corev1.Pod {
	t.Helper()
	pods := &corev1.PodList{}
	require.NoError(t, w.Client.List(t.Context(), pods, client.InNamespace(install.Namespace), client.MatchingLabels{"app": "vdi-operator"}))
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			return pod
		}
	}
	require.Fail(t, "no operator runs")
	return corev1.Pod{}
}

// noHooksLeft: what a hook may do is gone with it.
func noHooksLeft(t *testing.T) {
	t.Helper()
	noJobsLeft(t, install.Namespace)
	out := w.must(t, "kubectl", "get", "clusterroles,clusterrolebindings", "-o", "name")
	assert.NotRegexp(t, `vdi-operator:(crds|templates|uninstall)`, out)
}

func noJobsLeft(t *testing.T, namespace string) {
	t.Helper()
	left := &batchv1.JobList{}
	require.NoError(t, w.Client.List(t.Context(), left, client.InNamespace(namespace)))
	assert.Empty(t, left.Items)
}
