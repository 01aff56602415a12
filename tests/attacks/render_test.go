package attacks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

func newRenderer(t testing.TB) *renderer.Renderer {
	t.Helper()
	r, err := renderer.New()
	require.NoError(t, err)
	return r
}

// aSession is an input that renders.
func aSession() renderer.Input {
	in := renderer.Input{Host: "alice." + domain, Platform: platform.Config{Sessions: platform.Sessions{Domain: domain}}}
	in.Session = *desk("team", "desk", "alice@example.com")
	in.Session.UID = "00000000-0000-4000-8000-000000000001"
	in.Template.Name, in.Template.Spec.Image = "desktop", "registry.example.com/desktop:1"
	return in
}

// breakouts are texts that mean something in YAML.
var breakouts = map[string]string{
	"a line":             "x\nkind: Secret",
	"a document":         "x\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: evil}\nroleRef: {name: cluster-admin}",
	"an indented key":    "x\n  annotations: {evil: \"true\"}",
	"a quote":            "x\"\nkind: Secret\ny: \"",
	"a carriage return":  "x\rkind: Secret",
	"a line separator":   "x\u2028kind: Secret",
	"a next line":        "x\u0085kind: Secret",
	"the document's end": "x\n...\n---\nkind: Secret",
	"a directive":        "x\n%YAML 1.1\n---\nkind: Secret",
	"a block":            "|\n  x\nkind: Secret",
}

// TestA08YAMLBreakOut: text that people choose stays text in every place it stands.
func TestA08YAMLBreakOut(t *testing.T) {
	for name, text := range breakouts {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			// A naive chart writes the text without quotes.
			var out bytes.Buffer
			naive := template.Must(template.New("").Parse("apiVersion: v1\nkind: Pod\nmetadata:\n  name: desk\n  annotations:\n    user: {{ . }}\n"))
			require.NoError(t, naive.Execute(&out, text))
			return ledger.Judge(!isOnePod(out.String(), text), ledger.Design, "one Pod")
		}, func(t *testing.T) ledger.Outcome {
			r := newRenderer(t)
			for place, put := range textPlaces(text) {
				in := aSession()
				put(&in)
				got, err := r.Render(in)
				if err != nil {
					known := strings.Contains(err.Error(), "invalid values") || strings.Contains(err.Error(), "refused by the guard") || strings.Contains(err.Error(), "invalid resources")
					require.True(t, known, "%s: %v", place, err)
					continue
				}
				if !isExpected(got, in) {
					t.Log(place)
					return ledger.Worked()
				}
			}
			return ledger.Blocked(ledger.Operator, "refused, or quoted")
		})
	}
}

// textPlaces are the places of an input where people write text.
func textPlaces(text string) map[string]func(*renderer.Input) {
	inValues := func(path ...string) func(*renderer.Input) {
		return func(in *renderer.Input) {
			var value any = text
			for i := len(path) - 1; i >= 0; i-- {
				if path[i] == "[]" {
					value = []any{value}
				} else {
					value = map[string]any{path[i]: value}
				}
			}
			data, _ := json.Marshal(value) // of strings
			in.Template.Spec.Values = jsonOf(string(data))
			in.Platform.Sessions.Allowed.Annotations = []string{"*"}
		}
	}
	return map[string]func(*renderer.Input){
		"user":             func(in *renderer.Input) { in.Session.Spec.User = text },
		"image":            func(in *renderer.Input) { in.Template.Spec.Image = text },
		"variable":         func(in *renderer.Input) { in.Template.Spec.Env = []vdi.EnvVar{{Name: "A", Value: text}} },
		"variable's name":  func(in *renderer.Input) { in.Template.Spec.Env = []vdi.EnvVar{{Name: text, Value: "a"}} },
		"template's name":  func(in *renderer.Input) { in.Template.Name = text },
		"session's name":   func(in *renderer.Input) { in.Session.Name = text },
		"namespace":        func(in *renderer.Input) { in.Session.Namespace = text },
		"UID":              func(in *renderer.Input) { in.Session.UID = "uid" + "\n" + "x" },
		"host":             func(in *renderer.Input) { in.Host = text },
		"home":             func(in *renderer.Input) { in.Template.Spec.Home.Path = text },
		"class":            func(in *renderer.Input) { in.Session.Spec.Persistence.StorageClassName = &text },
		"claim":            func(in *renderer.Input) { in.Session.Spec.Persistence.ExistingClaim = text },
		"size":             func(in *renderer.Input) { in.Session.Spec.Persistence.Size = vdi.Quantity(text) },
		"memory":           func(in *renderer.Input) { in.Session.Spec.Resources.Memory = vdi.Quantity(text) },
		"resource":         func(in *renderer.Input) { in.Template.Spec.GPU.ResourceName = text },
		"node selector":    func(in *renderer.Input) { in.Template.Spec.Scheduling.NodeSelector = map[string]string{text: text} },
		"priority":         func(in *renderer.Input) { in.Template.Spec.Scheduling.PriorityClassName = text },
		"runtime":          func(in *renderer.Input) { in.Template.Spec.Scheduling.RuntimeClassName = text },
		"pull secret":      func(in *renderer.Input) { in.Template.Spec.ImagePullSecrets = []string{text} },
		"label":            inValues("pod", "labels", "mine"),
		"annotation":       inValues("pod", "annotations", "mine"),
		"route annotation": inValues("ingressRoute", "annotations", "mine"),
		"entry point":      inValues("ingressRoute", "entryPoints", "[]"),
		"middleware":       inValues("ingressRoute", "middlewares", "[]"),
		"shared memory":    inValues("pod", "shmSize"),
		"pull policy":      inValues("imagePullPolicy"),
		"sidecar":          inValues("pod", "sidecars", "[]", "name"),
		"volume":           inValues("pod", "volumes", "[]", "name"),
	}
}

func isOnePod(text, user string) bool {
	decoder, objects := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096), []map[string]any{}
	for {
		var o map[string]any
		err := decoder.Decode(&o)
		if err == io.EOF {
			break
		}
		if err != nil {
			return false // whose session is gone
		}
		objects = append(objects, o)
	}
	if len(objects) != 1 || objects[0]["kind"] != "Pod" {
		return false
	}
	got, _, _ := unstructured.NestedString(objects[0], "metadata", "annotations", "user")
	return got == user
}

// isExpected says whether a session consists of the kinds, names and namespace that
// it should.
func isExpected(got renderer.Rendered, in renderer.Input) bool {
	names := map[string]string{
		"NetworkPolicy": in.Session.Name, "PersistentVolumeClaim": renderer.HomeClaimName(in.Session.Name), "Service": in.Session.Name,
		"Pod": in.Session.Name, "IngressRoute": in.Session.Name,
	}
	if in.Session.Spec.Persistence.ExistingClaim != "" {
		delete(names, "PersistentVolumeClaim")
	}
	if len(got.Objects) != len(names) {
		return false
	}
	for _, o := range got.Objects {
		if names[o.GetKind()] != o.GetName() || o.GetNamespace() != in.Session.Namespace {
			return false
		}
	}
	return true
}

// TestA09TemplateExecution: values are never executed as templates.
func TestA09TemplateExecution(t *testing.T) {
	for name, text := range map[string]string{
		"lookup":     `{{ (lookup "v1" "Secret" "kube-system" "treasure").data | default "executed" }}`,
		"files":      `{{ .Files.Get "treasure" }}executed`,
		"tpl":        `{{ tpl "{{ .Values.secret }}" . }}`,
		"arithmetic": `{{ mul 6 7 }}`,
		"a comment":  `{{/* gone */}}`,
	} {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			// A chart as many are written, on Helm's own engine.
			c := &chart.Chart{
				Metadata: &chart.Metadata{Name: "naive", APIVersion: "v2", Version: "0.1.0"},
				Files:    []*chart.File{{Name: "treasure", Data: []byte("treasure")}}, Templates: []*chart.File{{Name: "templates/a", Data: []byte("{{ tpl .Values.user . }}")}},
			}
			values, err := chartutil.ToRenderValues(c, map[string]any{"user": text, "secret": "treasure"}, chartutil.ReleaseOptions{Name: "a"}, nil)
			require.NoError(t, err)
			out, err := engine.Render(c, values)
			require.NoError(t, err)
			return ledger.Judge(out["naive/templates/a"] != text, ledger.Design, "verbatim")
		}, func(t *testing.T) ledger.Outcome {
			in := aSession()
			in.Session.Spec.User, in.Template.Spec.Env = text, []vdi.EnvVar{{Name: "A", Value: text}}
			in.Template.Spec.Values = jsonOf(fmt.Sprintf(`{"pod":{"annotations":{"mine":%q}}}`, text))
			in.Platform.Sessions.Allowed.Annotations = []string{"mine"}
			got, err := newRenderer(t).Render(in)
			require.NoError(t, err)
			pod := podIn(t, got)
			verbatim := pod.Annotations[wire.AnnotationUser] == text && pod.Annotations["mine"] == text
			for _, v := range pod.Spec.Containers[0].Env {
				verbatim = verbatim && (v.Name != "A" || v.Value == text)
			}
			return ledger.Judge(!verbatim, ledger.Design, "verbatim")
		})
	}
}

func podIn(t *testing.T, got renderer.Rendered) *corev1.Pod {
	t.Helper()
	for _, o := range got.Objects {
		if o.GetKind() == "Pod" {
			pod := &corev1.Pod{}
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, pod))
			return pod
		}
	}
	require.Fail(t, "no pod")
	return nil
}

// overlaid renders with a site's merge patch of one kind.
func overlaid(t *testing.T, in renderer.Input, kind, patch string) (renderer.Rendered, error) {
	t.Helper()
	in.Platform.Sessions.Overlay = []platform.Overlay{{Kind: kind, Merge: &runtime.RawExtension{Raw: []byte(patch)}}}
	return newRenderer(t).Render(in)
}

// naively is what an operator creates that merges a patch and judges nothing.
func naively(t *testing.T, kind, patch string) *unstructured.Unstructured {
	t.Helper()
	got, err := newRenderer(t).Render(aSession())
	require.NoError(t, err)
	for _, o := range got.Objects {
		if o.GetKind() != kind {
			continue
		}
		before, err := json.Marshal(o.Object)
		require.NoError(t, err)
		after, err := jsonpatch.MergePatch(before, []byte(patch))
		require.NoError(t, err)
		merged := &unstructured.Unstructured{}
		require.NoError(t, json.Unmarshal(after, &merged.Object))
		return merged
	}
	require.Fail(t, "no such kind", kind)
	return nil
}

// TestA10ForeignKind: nothing that is rendered is of another kind, name or namespace
// than a session's (CVE-2026-22872 of Capsule).
func TestA10ForeignKind(t *testing.T) {
	for name, patch := range map[string]string{
		"a binding to cluster-admin": `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"evil","namespace":null},"spec":null,"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[]}`,
		"a role":                     `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","spec":null,"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`,
		"a webhook":                  `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingWebhookConfiguration","spec":null}`,
		"a definition":               `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","spec":{}}`,
		"a Secret":                   `{"kind":"Secret","spec":null,"type":"kubernetes.io/service-account-token","metadata":{"annotations":{"kubernetes.io/service-account.name":"default"}}}`,
		"a Deployment":               `{"apiVersion":"apps/v1","kind":"Deployment"}`,
		"a list":                     `{"kind":"List","items":[]}`,
		"another version":            `{"apiVersion":"v1beta1"}`,
		"another namespace":          `{"metadata":{"namespace":"kube-system"}}`,
		"another name":               `{"metadata":{"name":"victim"}}`,
		"a chosen owner":             `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"u"}]}}`,
		"a finalizer":                `{"metadata":{"finalizers":["evil.example.com/stay"]}}`,
	} {
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			plain, err := newRenderer(t).Render(aSession())
			require.NoError(t, err)
			before, err := json.Marshal(podObject(plain))
			require.NoError(t, err)
			after, err := json.Marshal(naively(t, "Pod", patch))
			require.NoError(t, err)
			return ledger.Judge(!bytes.Equal(before, after), ledger.Operator, "unchanged")
		}, func(t *testing.T) ledger.Outcome {
			got, err := overlaid(t, aSession(), "Pod", patch)
			require.ErrorIs(t, err, renderer.ErrGuard)
			require.Empty(t, got.Objects)
			return ledger.Blocked(ledger.Operator, err.Error())
		})
	}
}

func podObject(got renderer.Rendered) *unstructured.Unstructured {
	for _, o := range got.Objects {
		if o.GetKind() == "Pod" {
			return o
		}
	}
	return nil
}

// harmless are seeds of the fuzzer that Pod Security knows nothing bad of: the
// default, and a look at one's own agent, which the guard refuses (renderer's tests).
var harmless = []string{`{"spec":{"hostUsers":true}}`, `{"spec":{"shareProcessNamespace":true}}`}

// TestA11PodEscape: what leaves the sandbox is refused, or comes out as what the code
// of Pod Security itself calls restricted.
func TestA11PodEscape(t *testing.T) {
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(filepath.Dir(bin), "renderer", "testdata", "escapes.yaml"))
	require.NoError(t, err)
	var escapes []string
	require.NoError(t, yaml.UnmarshalStrict(data, &escapes))
	require.Greater(t, len(escapes), 40)
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	plain := podIn(t, mustRender(t))
	for _, patch := range escapes {
		if slices.Contains(harmless, patch) {
			continue
		}
		ledger.Try(t, patch, func(t *testing.T) ledger.Outcome {
			pod := &corev1.Pod{}
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(naively(t, "Pod", patch).Object, pod))
			return ledger.Judge(isEscape(judge, plain, pod), ledger.Operator, "nothing changed")
		}, func(t *testing.T) ledger.Outcome {
			got, err := overlaid(t, aSession(), "Pod", patch)
			if err != nil {
				require.ErrorIs(t, err, renderer.ErrGuard)
				require.Empty(t, got.Objects)
				return ledger.Blocked(ledger.Operator, err.Error())
			}
			return ledger.Judge(isEscape(judge, plain, podIn(t, got)), ledger.Operator, "the floor puts it right")
		})
	}
}

func mustRender(t *testing.T) renderer.Rendered {
	t.Helper()
	got, err := newRenderer(t).Render(aSession())
	require.NoError(t, err)
	return got
}

// isEscape: Pod Security refuses the pod, or a field changed that it does not judge
// and that every patch of the list is about.
func isEscape(judge policy.Evaluator, plain, pod *corev1.Pod) bool {
	for _, verdict := range judge.EvaluatePod(psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !verdict.Allowed {
			return true
		}
	}
	return !reflect.DeepEqual(plain.Spec, pod.Spec) || !maps.Equal(withoutHashes(plain.Annotations), withoutHashes(pod.Annotations))
}

// withoutHashes are annotations but those that tell renderings apart.
func withoutHashes(annotations map[string]string) map[string]string {
	plain := maps.Clone(annotations)
	delete(plain, wire.AnnotationRevision)
	delete(plain, wire.AnnotationSessionRevision)
	return plain
}
