package integration

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

func TestZeroAndFalseSurviveTheGoClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession(noHome, func(s *vdi.VDISession) { s.Spec.Resources.GPU = ptr.To(int32(0)) })
	s := w.session()
	require.Equal(t, int32(0), *s.Spec.Resources.GPU)
	require.False(t, *s.Spec.Persistence.Enabled)
	w.start()
	require.Equal(t, int32(0), *w.session().Status.Resources.GPU)
	require.NotContains(t, w.pod().Spec.Containers[0].Resources.Limits, "nvidia.com/gpu")
	require.NotContains(t, w.existing(), "PersistentVolumeClaim")
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.createSession()
	require.Equal(t, int64(-1), s.Status.ObservedGeneration, "a session nobody has looked at is not current")
	require.Nil(t, s.Spec.Resources.GPU, "a default here would hide the template's")
	require.True(t, *s.Spec.Persistence.Enabled)
	require.Equal(t, vdi.Quantity("10Gi"), s.Spec.Persistence.Size)
	require.Equal(t, vdi.ReclaimRetain, s.Spec.Persistence.ReclaimPolicy)
	require.Equal(t, vdi.RunPolicyRunning, s.Spec.RunPolicy)
	template := w.createTemplate()
	require.Equal(t, int64(-1), template.Status.ObservedGeneration)
	require.Equal(t, "nvidia.com/gpu", template.Spec.GPU.ResourceName)
	require.Equal(t, vdi.TemplateResources{DefaultGPU: ptr.To(renderer.DefaultGPUs), DefaultMemory: renderer.DefaultMemory, DefaultCPU: renderer.DefaultCPU}, template.Spec.Resources)
}

func TestSizesInForce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		template vdi.TemplateResources
		session  vdi.SessionResources
		want     vdi.ResourcesStatus
	}{
		"built in": {want: vdi.ResourcesStatus{GPU: ptr.To(int32(1)), Memory: "4Gi", CPU: "2"}},
		"the template's": {
			template: vdi.TemplateResources{DefaultGPU: ptr.To(int32(0)), DefaultMemory: "8Gi", DefaultCPU: "500m"},
			want:     vdi.ResourcesStatus{GPU: ptr.To(int32(0)), Memory: "8Gi", CPU: "500m"},
		},
		"the session's": {
			template: vdi.TemplateResources{DefaultGPU: ptr.To(int32(0)), DefaultMemory: "8Gi", DefaultCPU: "500m"},
			session:  vdi.SessionResources{GPU: ptr.To(int32(2)), Memory: "1Gi", CPU: "1"},
			want:     vdi.ResourcesStatus{GPU: ptr.To(int32(2)), Memory: "1Gi", CPU: "1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.Resources = c.template })
			w.createSession(func(s *vdi.VDISession) { s.Spec.Resources = c.session })
			w.start()
			require.Equal(t, c.want, *w.session().Status.Resources)
			limits := w.pod().Spec.Containers[0].Resources.Limits
			require.Equal(t, c.want.Memory, limits.Memory().String())
			require.Equal(t, c.want.CPU, limits.Cpu().String())
			gpus := limits["nvidia.com/gpu"]
			require.Equal(t, int64(*c.want.GPU), gpus.Value())
		})
	}
}

// TestStatusTakesEverySize: what a pod has is recorded, also what no spec may ask for.
func TestStatusTakesEverySize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.createSession()
	s.Status.Resources = &vdi.ResourcesStatus{Memory: "512m", CPU: "0"}
	require.NoError(t, w.client.Status().Update(w.ctx, s))
}

// TestStoredHalfByte: what was stored before the API asked for 1Mi can still be
// changed elsewhere, suspended and deleted.
func TestStoredHalfByte(t *testing.T) {
	t.Parallel()
	p, err := startPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.installRouteKind(t.Context()))
	w := newWorldOn(t, p)
	old, template := w.newSession(halfByte), raw("VDITemplate", "", w.template, custom(8091))
	require.NoError(t, unstructured.SetNestedField(template.Object, "512m", "spec", "resources", "defaultMemory"))

	restore := withoutLeafRules(t, p)
	for _, o := range []client.Object{template, old} {
		w.eventually(func() bool { return w.client.Create(w.ctx, o.DeepCopyObject().(client.Object)) == nil }, "the old API takes it")
	}
	restore()
	w.eventually(func() bool {
		other := w.newSession(halfByte, func(s *vdi.VDISession) { s.Name = "other" })
		return apierrors.IsInvalid(w.client.Create(w.ctx, other, client.DryRunAll))
	}, "the API asks for 1Mi")
	w.eventually(func() bool {
		return apierrors.IsInvalid(w.client.Create(w.ctx, raw("VDITemplate", "", "other", custom(8091)), client.DryRunAll))
	}, "the API keeps the agent's ports")

	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.DisplayName = "Changed" })
	w.templatePass()
	w.pass()
	refused := w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonInvalidResources)
	require.Contains(t, refused.Message, "did you mean 512Mi?")
	w.change(func(s *vdi.VDISession) { s.Spec.Timeout = "1h" })
	w.change(suspend)
	w.pass()
	w.requirePhase(vdi.PhaseSuspended)
	w.deleteSession()
	w.pass()
	require.False(t, w.sessionExists())
}

func halfByte(s *vdi.VDISession) { s.Spec.Resources.Memory, s.Spec.Persistence.Size = "512m", "512m" }

// withoutLeafRules makes the API of an earlier version, which judged neither bytes
// nor ports; the result brings today's back.
func withoutLeafRules(t *testing.T, p *plane) (restore func()) {
	t.Helper()
	return withOlderKinds(t, p, removeLeafRules, "vdisessions.vdi.kasm.io", "vditemplates.vdi.kasm.io")
}

// withOlderKinds changes definitions until they are restored.
func withOlderKinds(t *testing.T, p *plane, remove func(schema map[string]any) (removed int), names ...string) (restore func()) {
	t.Helper()
	var todays []*unstructured.Unstructured
	for _, name := range names {
		crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name, nil)
		require.NoError(t, p.admin.Get(t.Context(), client.ObjectKeyFromObject(crd), crd))
		todays = append(todays, crd.DeepCopy())
		require.NotZero(t, everywhere(crd.Object, remove), name)
		require.NoError(t, p.admin.Update(t.Context(), crd))
	}
	return func() {
		for _, crd := range todays {
			latest := crd.DeepCopy()
			require.NoError(t, p.admin.Get(t.Context(), client.ObjectKeyFromObject(crd), latest))
			latest.Object["spec"] = crd.Object["spec"]
			require.NoError(t, p.admin.Update(t.Context(), latest))
		}
	}
}

// TestStoredBoundsBelowTheDefaults: a template that was stored before the API had defaults
// for sizes, with bounds that lie below them, works as before: its desktops go on
// unchanged, and new ones are as large as the bounds let them.
func TestStoredBoundsBelowTheDefaults(t *testing.T) {
	t.Parallel()
	p, err := startPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.installRouteKind(t.Context()))
	restore := withOlderKinds(t, p, removeSizeDefaults, "vditemplates.vdi.kasm.io")
	w := newWorldOn(t, p)
	small := raw("VDITemplate", "", w.template, map[string]any{"image": image, "resources": map[string]any{
		"max": map[string]any{"memory": "2Gi", "gpu": int64(0)}, "min": map[string]any{"cpu": "3"},
	}})
	w.eventually(func() bool {
		made := small.DeepCopy()
		err := w.client.Create(w.ctx, made)
		_, defaulted, _ := unstructured.NestedString(made.Object, "spec", "resources", "defaultMemory")
		if err == nil && defaulted {
			require.NoError(t, w.client.Delete(w.ctx, made))
		}
		return err == nil && !defaulted
	}, "the old API stores no default")
	w.createSession()
	w.start()
	sizes, revision := *w.session().Status.Resources, w.pod().Annotations[wire.AnnotationSessionRevision]
	require.Equal(t, vdi.ResourcesStatus{GPU: ptr.To(int32(0)), Memory: "2Gi", CPU: "3"}, sizes)

	restore()
	w.eventually(func() bool {
		template := &vdi.VDITemplate{}
		return w.client.Get(w.ctx, types.NamespacedName{Name: w.template}, template) == nil && template.Spec.Resources.DefaultMemory == "4Gi"
	}, "the API has defaults")
	w.restart()
	w.pass()
	s := w.requirePhase(vdi.PhaseRunning)
	require.Equal(t, sizes, *s.Status.Resources)
	require.Equal(t, metav1.ConditionStatus("absent"), condition(s, vdi.ConditionUpdatePending).Status)
	require.NoError(t, w.client.Delete(w.ctx, w.pod()))
	w.podEnds(desk)
	w.start()
	require.Equal(t, sizes, *w.session().Status.Resources)
	require.Equal(t, revision, w.pod().Annotations[wire.AnnotationSessionRevision])
}

// removeSizeDefaults takes the defaults off the sizes of templates.
func removeSizeDefaults(schema map[string]any) (removed int) {
	for _, name := range []string{"defaultGPU", "defaultMemory", "defaultCPU"} {
		if size, found := schema[name].(map[string]any); found && size["default"] != nil {
			delete(size, "default")
			removed++
		}
	}
	return removed
}

func removeLeafRules(schema map[string]any) (removed int) {
	rules, _ := schema["x-kubernetes-validations"].([]any)
	kept := slices.DeleteFunc(rules, func(r any) bool {
		rule := r.(map[string]any)["rule"].(string)
		return strings.Contains(rule, "quantity('1Mi')") || strings.Contains(rule, "self < 8090")
	})
	if removed = len(rules) - len(kept); removed > 0 {
		schema["x-kubernetes-validations"] = kept
	}
	return removed
}

// everywhere does that to every object in a tree, and sums up what it returns.
func everywhere(tree any, do func(map[string]any) int) (sum int) {
	switch v := tree.(type) {
	case map[string]any:
		sum = do(v)
		for _, inner := range v {
			sum += everywhere(inner, do)
		}
	case []any:
		for _, inner := range v {
			sum += everywhere(inner, do)
		}
	}
	return sum
}

func definition(t *testing.T, name string) apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	require.NoError(t, sharedPlane(t).admin.Get(t.Context(), client.ObjectKey{Name: name}, u))
	crd := apiextensionsv1.CustomResourceDefinition{}
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &crd))
	return crd
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		short   string
		scope   apiextensionsv1.ResourceScope
		columns []string
	}{
		"vdisessions.vdi.kasm.io":  {"vdi", apiextensionsv1.NamespaceScoped, []string{"User", "Phase", "URL", "Template", "Expires", "Age", "Display Name", "Message"}},
		"vditemplates.vdi.kasm.io": {"vdit", apiextensionsv1.ClusterScoped, []string{"Display Name", "Image", "Streamer", "Encoder", "Valid", "Sessions", "Age", "Category"}},
		"vdiquotas.vdi.kasm.io":    {"vdiq", apiextensionsv1.ClusterScoped, []string{"Default", "Exceeded", "Priority", "Running", "GPU Slices", "Waiting", "People", "Age"}},
		"vdiusages.vdi.kasm.io":    {"vdiu", apiextensionsv1.ClusterScoped, []string{"User", "Month", "GPU-Hours", "Last"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crd := definition(t, name)
			require.Equal(t, []string{want.short}, crd.Spec.Names.ShortNames)
			require.Equal(t, want.scope, crd.Spec.Scope)
			version := crd.Spec.Versions[0]
			var columns []string
			for _, c := range version.AdditionalPrinterColumns {
				columns = append(columns, c.Name)
				if c.Name == "Expires" {
					require.Equal(t, "string", c.Type, "kubectl prints dates to come as <invalid>")
				}
			}
			require.Equal(t, want.columns, columns)
			for _, field := range []string{"spec", "status"} {
				requireDescribed(t, field, version.Schema.OpenAPIV3Schema.Properties[field])
			}
			if name == "vdiusages.vdi.kasm.io" {
				return // a record, which nobody reconciles
			}
			require.JSONEq(t, `{"observedGeneration":-1}`, string(version.Schema.OpenAPIV3Schema.Properties["status"].Default.Raw))
		})
	}
}

// requireDescribed: every field has a text for `kubectl explain`.
func requireDescribed(t *testing.T, path string, schema apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	require.NotEmpty(t, strings.TrimSpace(schema.Description), "%s has no description", path)
	for name, property := range schema.Properties {
		requireDescribed(t, path+"."+name, property)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		for name, property := range schema.Items.Schema.Properties {
			requireDescribed(t, path+"[]."+name, property)
		}
	}
}

func TestKubectl(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	kubectl := func(args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), filepath.Join(bin, "kubectl"), append(args, "--kubeconfig", sharedPlane(t).Kubeconfig())...)
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s\n%s", out, missingToolFix)
		return string(out)
	}
	require.Contains(t, kubectl("explain", "vdisession.spec.timeout"), "longest run of the desktop")
	table := strings.Split(strings.TrimSpace(kubectl("get", "vdi", "-n", w.ns)), "\n")
	t.Log(strings.Join(table, "\n"))
	require.Equal(t, []string{"NAME", "USER", "PHASE", "URL", "TEMPLATE", "EXPIRES", "AGE"}, strings.Fields(table[0]))
	require.Equal(t, []string{desk, alice, "Running", w.session().Status.URL, w.template}, strings.Fields(table[1])[:5])
	require.Contains(t, kubectl("wait", "--for=condition=Ready", "vdi/desk", "-n", w.ns, "--timeout=5s"), "condition met")
}
