package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// levels are the Pod Security levels, the strictest first.
var levels = []string{"restricted", "baseline", "privileged"}

// TestPodSecurityOfTheCatalogue: the API server itself judges the desktop of
// every ready template and every pod of the platform. What the tenancy page says
// of each is all that it needs.
func TestPodSecurityOfTheCatalogue(t *testing.T) {
	t.Parallel()
	j := newJudge(t)
	relaxed := map[string]string{
		"desktop egl-desktop": "baseline", "desktop webtop": "baseline", "desktop linuxserver-app": "baseline",
		"relay on the host's network": "privileged",
	}
	pods := map[string]*corev1.Pod{}
	for name, template := range catalogue(t) {
		pods["desktop "+name] = desktopOf(t, template)
	}
	template := func(profile vdi.SecurityProfile) vdi.VDITemplate {
		return vdi.VDITemplate{Spec: vdi.VDITemplateSpec{Image: image, Security: vdi.TemplateSecurity{Profile: profile}}}
	}
	pods["desktop by default"] = desktopOf(t, template(""))
	pods["desktop of profile Baseline"] = desktopOf(t, template(vdi.ProfileBaseline))
	relaxed["desktop of profile Baseline"] = "baseline"
	for name, pod := range podsOf(t, chartObjects(t, "templates.plain.image="+image)) {
		pods["platform "+name] = pod
	}
	require.Contains(t, pods, "platform Deployment vdi-operator")
	for name, values := range map[string]string{"relay": "service", "relay on the host's network": "minimal"} {
		for kind, pod := range podsOf(t, relayObjects(t, values)) {
			if !strings.HasPrefix(kind, "Job") {
				pods[name] = pod
				continue
			}
			pods[name+", "+kind] = pod
		}
	}
	require.Greater(t, len(pods), 12)
	for name, pod := range pods {
		t.Run(name, func(t *testing.T) {
			want := relaxed[name]
			if want == "" {
				want = "restricted"
			}
			require.Equal(t, want, j.strictest(t, pod))
		})
	}
}

// judge is the API server with a namespace of each level.
type judge struct {
	client     client.Client
	namespaces map[string]string
}

func newJudge(t *testing.T) judge {
	t.Helper()
	j := judge{client: sharedPlane(t).admin, namespaces: map[string]string{}}
	for _, level := range levels {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			GenerateName: "judge-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": level},
		}}
		require.NoError(t, j.client.Create(t.Context(), ns))
		j.namespaces[level] = ns.Name
	}
	return j
}

// strictest is the strictest level that admits a pod.
func (j judge) strictest(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	for _, level := range levels {
		pod := pod.DeepCopy()
		pod.ObjectMeta = metav1.ObjectMeta{Name: "judged", Namespace: j.namespaces[level], Labels: pod.Labels, Annotations: pod.Annotations}
		pod.Spec.ServiceAccountName = "" // the judge's namespaces have no accounts
		pod.Spec.PriorityClassName, pod.Spec.RuntimeClassName = "", nil
		err := j.client.Create(t.Context(), pod, client.DryRunAll)
		if err == nil {
			return level
		}
		require.ErrorContains(t, err, "violates PodSecurity")
		t.Log(err)
	}
	return ""
}

// catalogue are the ready templates by name.
func catalogue(t *testing.T) map[string]vdi.VDITemplate {
	t.Helper()
	top, err := repositoryRoot()
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(top, "values", "templates", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	templates := map[string]vdi.VDITemplate{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var template vdi.VDITemplate
		require.NoError(t, yaml.UnmarshalStrict(text, &template), file)
		templates[template.Name] = template
	}
	return templates
}

// desktopOf is the pod that the operator would make.
func desktopOf(t *testing.T, template vdi.VDITemplate) *corev1.Pod {
	t.Helper()
	r, err := renderer.New()
	require.NoError(t, err)
	config := platform.Config{Sessions: platform.Sessions{Domain: "vdi.example.com"}}
	config.Sessions.Agent.Image = image
	config.Sessions.TURN = platform.TURN{Host: "192.0.2.20"}
	config.Sessions.Allowed = platform.Allowed{Secrets: []string{"license"}, Annotations: []string{"example.com/backup"}} // as values-override asks for
	rendered, err := r.Render(renderer.Input{
		Session: vdi.VDISession{
			ObjectMeta: metav1.ObjectMeta{Name: desk, Namespace: "default", UID: "4e5c1b9c-3d5f-4c8e-9d3b-0f1a2b3c4d5e"},
			Spec:       vdi.VDISessionSpec{User: alice, Template: template.Name},
		},
		Template: template, Platform: config.WithDefaults(), Host: "alice-x.vdi.example.com",
	})
	require.NoError(t, err)
	for _, o := range rendered.Objects {
		if o.GetKind() == "Pod" {
			return typedPod(t, o.Object)
		}
	}
	require.Fail(t, "no pod is rendered")
	return nil
}

// podsOf are the pods that rendered objects are or make.
func podsOf(t *testing.T, objects []*unstructured.Unstructured) map[string]*corev1.Pod {
	t.Helper()
	pods := map[string]*corev1.Pod{}
	for _, o := range objects {
		switch o.GetKind() {
		case "Pod":
			pods["Pod "+o.GetName()] = typedPod(t, o.Object)
		case "Deployment", "DaemonSet", "Job":
			template, _, err := unstructured.NestedMap(o.Object, "spec", "template")
			require.NoError(t, err)
			pods[o.GetKind()+" "+o.GetName()] = typedPod(t, template)
		}
	}
	return pods
}

func typedPod(t *testing.T, o map[string]any) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o, pod, true))
	return pod
}

// relayObjects renders the relay's chart with one of its sets of values.
func relayObjects(t *testing.T, values string) []*unstructured.Unstructured {
	t.Helper()
	top, err := repositoryRoot()
	require.NoError(t, err)
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	chart := filepath.Join(top, "charts", "coturn")
	helm := exec.CommandContext(t.Context(), filepath.Join(bin, "helm"), "template", "relay", chart,
		"--namespace", "relay", "--kube-version", "1.37.2", "--values", filepath.Join(chart, "ci", values+"-values.yaml"))
	out, err := helm.Output()
	require.NoError(t, err, missingToolFix)
	objects, err := decodeObjects(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	return objects
}
