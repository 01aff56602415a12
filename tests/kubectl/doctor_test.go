package kubectl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

// findings are what the doctor says, by check, and its exit code.
func (w *world) findings(t *testing.T, args ...string) (map[string]doctor.Verdict, int) {
	t.Helper()
	c := w.command(t, "kubectl-vdi", append([]string{"doctor", "-o", "json"}, args...)...)
	out, err := c.Output()
	var exit *exec.ExitError
	require.True(t, err == nil || errors.As(err, &exit), "%v", err)
	var answer struct{ Items []doctor.Line }
	require.NoError(t, json.Unmarshal(out, &answer), string(out))
	found := map[string]doctor.Verdict{}
	for _, l := range answer.Items {
		found[l.Check] = l.Verdict
		assert.NotEmpty(t, l.Seen, l.Check)
		assert.Equal(t, l.State == doctor.Passed, l.Remedy == "", "%s: whoever reads it knows what to do: %+v", l.Check, l.Verdict)
	}
	return found, c.ProcessState.ExitCode()
}

// release makes what the chart renders of some kinds, until the test ends.
func (w *world) release(t *testing.T, kinds ...string) (all []*unstructured.Unstructured) {
	t.Helper()
	rendered, err := exec.CommandContext(t.Context(), filepath.Join(w.bin, "helm"), "template", "vdi", w.root("charts", "vdi-operator"), "--namespace", "default",
		"--set", "sessions.domain=vdi.example.com", "--kube-version", "1.37.2").Output()
	require.NoError(t, err, "run 'make tools-helm'")
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := documents.Decode(&o.Object); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		_, isHook := o.GetAnnotations()["helm.sh/hook"]
		if isHook || !slices.Contains(kinds, o.GetKind()) {
			continue
		}
		require.NoError(t, w.client.Create(t.Context(), o))
		t.Cleanup(func() { _ = client.IgnoreNotFound(w.client.Delete(context.WithoutCancel(t.Context()), o)) })
		all = append(all, o)
	}
	require.NotEmpty(t, all)
	return all
}

// TestDoctor: what an installation lacks is named with what to do, and is well when it is there.
func TestDoctor(t *testing.T) {
	const policy, binding = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
	bare, code := w.findings(t)
	assert.Equal(t, 1, code)
	for check, want := range map[string]doctor.State{
		"CRDs": doctor.Passed, "programs": doctor.Failed, "admission": doctor.NotJudged, "roles": doctor.Passed, "templates": doctor.Passed,
		"storage": doctor.Failed, "slices": doctor.Failed, "DNS": doctor.Failed, "TLS": doctor.Failed, "proxy": doctor.NotJudged, "relay": doctor.NotJudged,
		"metrics": doctor.NotJudged, "sessions": doctor.Failed, "homes": doctor.Passed, "policies": doctor.NotJudged, "keys": doctor.NotJudged,
	} {
		assert.Equal(t, want, bare[check].State, "%s: %+v", check, bare[check])
	}
	assert.Contains(t, bare["slices"].Seen, "node gpu-2 offers nvidia.com/gpu=1, but 8 is planned")
	assert.Contains(t, bare["DNS"].Seen, "vdi.example.com cannot be resolved from here")

	made := w.release(t, policy, binding, "Deployment", "ConfigMap")
	class := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/none", "allowVolumeExpansion": true,
		"metadata": map[string]any{"name": "standard", "annotations": map[string]any{"storageclass.kubernetes.io/is-default-class": "true"}},
	}}
	require.NoError(t, w.client.Create(t.Context(), class))
	t.Cleanup(func() { require.NoError(t, w.client.Delete(context.WithoutCancel(t.Context()), class)) })
	well, _ := w.findings(t)
	for _, check := range []string{"CRDs", "admission", "roles", "templates", "storage", "homes"} {
		assert.Equal(t, doctor.Passed, well[check].State, "%s: %+v", check, well[check])
	}
	assert.Equal(t, doctor.Failed, well["programs"].State)
	assert.Contains(t, well["programs"].Seen, "vdi-operator has 0 of 1 pods available", "nobody runs pods here")
	assert.Contains(t, well["relay"].Seen, "no relay is configured", "the operator's settings are read")

	i := slices.IndexFunc(made, func(o *unstructured.Unstructured) bool { return o.GetKind() == binding })
	require.NoError(t, w.client.Delete(t.Context(), made[i]))
	broken, code := w.findings(t)
	assert.Equal(t, 1, code)
	assert.Equal(t, doctor.Failed, broken["admission"].State)
	assert.Contains(t, broken["admission"].Seen, binding+"/"+made[i].GetName()+" is gone")
}

// TestDoctorWithFewRights: what somebody may not read is named, and is no failure.
func TestDoctorWithFewRights(t *testing.T) {
	found, code := w.findings(t, "--as", "victor@example.com")
	assert.Zero(t, code)
	for check, v := range found {
		if check != "policies" && check != "keys" {
			assert.Equal(t, doctor.NotJudged, v.State, check)
			assert.Contains(t, v.Seen, "you lack the right to list ", check)
		}
	}
	found, _ = w.findings(t, "--as", "ada@example.com")
	assert.Equal(t, doctor.Failed, found["slices"].State, "the role vdi-admin suffices: %+v", found["slices"])
	assert.Equal(t, doctor.Passed, found["homes"].State)
	assert.Equal(t, doctor.NotJudged, found["programs"].State)
}

// TestDoctorOnAScreen: people get a table, with the commands as they call the program.
func TestDoctorOnAScreen(t *testing.T) {
	out, code := w.says(t, "doctor")
	assert.Equal(t, 1, code)
	for _, words := range []string{"check ", "what was seen", "remedy", "CRDs       passed", "kubectl vdi why", "error: this installation does not keep: DNS, "} {
		assert.Contains(t, out, words)
	}
	out, code = w.says(t, "doctor", "-o", "xml")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "--output=xml: give json or yaml")
}
