package upgrade

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// TestWithoutHooks: what `helm template` prints is applied by kubectl, which runs no hooks.
// Keys and templates come about, also when it is applied again with something new (kinds do in
// TestEveryRightIsUsed of tests/integration); hooks that are applied like anything else stop
// nothing; and all of it goes as docs/gitops.md says. It takes the place of the umbrella of the
// test before. The one after pulls the same images, which then are no loaded ones any more.
func TestWithoutHooks(t *testing.T) {
	w.must(t, "helm", "uninstall", "proxy", "-n", install.Namespace, "--wait", "--ignore-not-found")
	w.must(t, "kubectl", "delete", "crd", "vdiquotas.vdi.kasm.io", "vdisessions.vdi.kasm.io", "vditemplates.vdi.kasm.io", "vdiusages.vdi.kasm.io", "--ignore-not-found")
	w.must(t, "kubectl", "delete", "secret", "vdi-frontdoor-keys", "-n", install.Namespace, "--ignore-not-found")
	p := w.applied(t)
	w.kubectlApply(t, p.file, w.must(t, "helm", "show", "crds", p.chart))

	p.apply(t, "hooks.enabled=false")
	w.must(t, "kubectl", "wait", "job", "-l", "app.kubernetes.io/component in (crds,keys,templates)", "-n", install.Namespace, "--for=condition=Complete", "--timeout=3m")
	w.must(t, "kubectl", "get", "secret", "vdi-frontdoor-keys", "-n", install.Namespace)
	erin := await(t, start(t, "erin"), install.Running)
	pod := podUID(t, erin)

	p.apply(t, "hooks.enabled=false") // again: nothing to do
	p.check(t)
	p.apply(t, "hooks.enabled=false", "templates.other.image="+install.PageImage)
	w.must(t, "kubectl", "wait", "vditemplate/other", "--for=create", "--timeout=2m")

	p.apply(t) // the hooks, too
	w.must(t, "kubectl", "wait", "job/vdi-operator-uninstall", "-n", install.Namespace, "--for=condition=Complete", "--timeout=2m")
	assert.Contains(t, w.must(t, "kubectl", "logs", "job/vdi-operator-uninstall", "-n", install.Namespace), "nothing is being uninstalled")
	operator := &appsv1.Deployment{}
	require.NoError(t, w.Client.Get(t.Context(), client.ObjectKey{Namespace: install.Namespace, Name: "vdi-operator"}, operator))
	assert.Equal(t, int32(1), *operator.Spec.Replicas)
	assert.NotEmpty(t, get(t, erin).Finalizers)

	p.letGo(t)
	assert.Empty(t, get(t, erin).Finalizers)
	assert.Equal(t, pod, podUID(t, erin), "desktops stay")
	w.must(t, "kubectl", "delete", "vdi", "erin", "-n", install.Sessions, "--timeout=2m")
	gone(t, erin)
}

// applied is the umbrella as kubectl applies it.
type applied struct{ chart, templates, file string }

func (w *world) applied(t *testing.T) applied {
	t.Helper()
	chart, err := standins.Assemble(t.Context(), t.TempDir())
	require.NoError(t, err)
	templates, err := w.write("plain.yaml", map[string]any{"vdi-operator": map[string]any{"templates": map[string]any{"page": pageTemplate()}}})
	require.NoError(t, err)
	p := applied{chart: chart, templates: templates, file: filepath.Join(t.TempDir(), "platform.yaml")}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			said, _ := w.try(ctx, "kubectl", "describe", "jobs,pods", "-n", install.Namespace)
			t.Log(said)
		}
		out, err := w.try(ctx, "kubectl", "delete", "-f", p.file, "--ignore-not-found", "--wait=false")
		assert.NoError(t, err, out)
		out, err = w.try(ctx, "kubectl", "delete", "jobs,pods", "-n", install.Namespace, "-l", "app.kubernetes.io/part-of=vdi-platform", "--timeout=2m")
		assert.NoError(t, err, out)
	})
	return p
}

func (p applied) render(t *testing.T, more ...string) string {
	t.Helper()
	args := []string{
		"template", install.Release, p.chart, "-n", install.Namespace, "--kube-version", "1.37", "-f", filepath.Join(w.root, "values", "local.yaml"), "-f", p.templates,
		"--set", "vdi-operator.frontDoor.routes=Always", "--set", "vdi-operator.access.mode=Password,vdi-operator.portal.namespace=",
	}
	return w.must(t, "helm", append(args, more...)...)
}

func (p applied) apply(t *testing.T, set ...string) {
	t.Helper()
	var more []string
	for _, value := range set {
		more = append(more, "--set", "vdi-operator."+value)
	}
	w.kubectlApply(t, p.file, p.render(t, more...))
}

// check asks what an upgrade would refuse that works now.
func (p applied) check(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "check.yaml")
	w.kubectlApply(t, file, p.render(t, "--show-only", "charts/vdi-operator/templates/hooks/upgradecheck.yaml"))
	said := w.must(t, "kubectl", "logs", "-n", install.Namespace, "-f", "job/vdi-operator-upgrade", "--pod-running-timeout=2m")
	assert.Contains(t, said, "nothing else that works now would be refused")
	w.must(t, "kubectl", "delete", "-f", file)
}

// letGo runs the uninstall Job alone, by force, as before a deletion.
func (p applied) letGo(t *testing.T) {
	t.Helper()
	w.must(t, "kubectl", "delete", "job/vdi-operator-uninstall", "-n", install.Namespace)
	job := p.render(t, "--set", "vdi-operator.uninstall.job.force=true", "--show-only", "charts/vdi-operator/templates/hooks/uninstall.yaml")
	w.kubectlApply(t, filepath.Join(t.TempDir(), "uninstall.yaml"), job)
	w.must(t, "kubectl", "wait", "job/vdi-operator-uninstall", "-n", install.Namespace, "--for=condition=Complete", "--timeout=2m")
}

func (w *world) kubectlApply(t *testing.T, file, manifests string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(manifests), 0o600))
	w.must(t, "kubectl", "apply", "--server-side", "--force-conflicts", "-f", file)
}
