package postrender

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/vdi-platform/vdi-platform/platform"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// chartOutput is what Helm hands over: comments, hooks, an empty document.
const chartOutput = `# nothing before the first separator
---
# Source: a/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: operator
  annotations:
    postrenderer.helm.sh/postrender-filename: a/templates/deployment.yaml
spec:
  selector: {matchLabels: {app: operator}}
  template:
    metadata:
      labels: {app: operator}
    spec:
      nodeSelector: {kubernetes.io/os: linux}
      containers:
        - name: operator
          image: ghcr.io/vdi-platform/vdi-operator:0.1.0
---
# Source: a/templates/empty.yaml
---
# Source: a/templates/hook.yaml
apiVersion: batch/v1
kind: Job
metadata:
  name: hook
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-weight: "-5"
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: hook
          image: busybox
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: nvidia-driver
spec:
  template:
    metadata:
      labels: {app: driver}
    spec:
      hostPID: true
      containers:
        - name: driver
          image: nvcr.io/nvidia/driver:580
          securityContext: {privileged: true}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: numbers
data:
  big: "12345678901234567890"
  text: |
    a: b
    --- not a separator
`

func site() Site {
	return Site{
		Labels:      map[string]string{"cost-center": "42"},
		Annotations: map[string]string{"example.com/owner": "desktops"},
		Images: platform.Images{
			Rewrite:     map[string]string{"ghcr.io": "registry.example.com/ghcr", "docker.io": "docker.io/mirror", "nvcr.io": "registry.example.com/nv"},
			PullSecrets: []string{"registry"},
		},
		Digests:      map[string]string{"ghcr.io/vdi-platform/vdi-operator:0.1.0": digest, "docker.io/library/busybox": digest},
		NodeSelector: map[string]string{"kubernetes.io/os": "windows", "pool": "infra"},
		Tolerations:  []corev1.Toleration{{Key: "infra", Operator: corev1.TolerationOpExists}},
		Privileged:   []string{"DaemonSet/nvidia-*"},
	}
}

func postRender(t *testing.T, s Site, in string) string {
	t.Helper()
	out, err := s.render([]byte(in))
	require.NoError(t, err)
	return string(out)
}

func TestPostRender(t *testing.T) {
	out := postRender(t, site(), chartOutput)
	documents := strings.Split(out, "---\n")[1:]
	require.Len(t, documents, 6, "documents neither vanish nor appear")

	deployment := documents[1]
	assert.True(t, strings.HasPrefix(deployment, "# Source: a/templates/deployment.yaml\n"))
	assert.Contains(t, deployment, "image: registry.example.com/ghcr/vdi-platform/vdi-operator:0.1.0@"+digest)
	assert.Contains(t, deployment, "postrenderer.helm.sh/postrender-filename: a/templates/deployment.yaml")
	assert.Contains(t, deployment, "kubernetes.io/os: linux", "what a chart chose stays")
	assert.Contains(t, deployment, "pool: infra")
	assert.Contains(t, deployment, "- key: infra")
	assert.Contains(t, deployment, "imagePullSecrets:\n      - name: registry")
	assert.Equal(t, 2, strings.Count(deployment, `cost-center: "42"`), "on the object and on its pods")
	assert.Contains(t, deployment, "matchLabels:\n      app: operator\n", "never in a selector")

	assert.Equal(t, "# Source: a/templates/empty.yaml\n", documents[2])
	assert.Contains(t, documents[3], "helm.sh/hook: pre-upgrade")
	assert.Contains(t, documents[3], `helm.sh/hook-weight: "-5"`)
	assert.Contains(t, documents[3], "image: docker.io/mirror/library/busybox@"+digest)
	assert.NotContains(t, documents[4], "pool: infra", "DaemonSets belong on every node")
	assert.Contains(t, documents[5], `big: "12345678901234567890"`)
}

func TestPostRenderTwice(t *testing.T) {
	once := postRender(t, site(), chartOutput)
	assert.Equal(t, once, postRender(t, site(), once))
	assert.Equal(t, once, postRender(t, site(), chartOutput))
}

func TestPostRenderWithoutSettings(t *testing.T) {
	s := Site{Privileged: []string{"DaemonSet/*"}}
	out := postRender(t, s, chartOutput)
	assert.NotContains(t, out, "cost-center")
	assert.Contains(t, out, "image: busybox\n")
	assert.Empty(t, postRender(t, s, ""))
}

func TestPostRenderLists(t *testing.T) {
	out := postRender(t, site(), "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: ghcr.io/a/b}]}}\n")
	assert.Contains(t, out, "image: registry.example.com/ghcr/a/b")
}

func TestPostRenderRefuses(t *testing.T) {
	pod := func(spec string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {team: x}\nspec: " + spec
	}
	for name, c := range map[string]struct {
		change func(*Site)
		in     string
		want   string
	}{
		"privileged":    {func(*Site) {}, pod("{containers: [{name: a, image: b, securityContext: {privileged: true}}]}"), `Pod a: its pod is privileged`},
		"says how":      {func(*Site) {}, pod("{hostNetwork: true, containers: [{name: a, image: b}]}"), `add "Pod/a" to the settings' privileged list`},
		"host path":     {func(*Site) {}, pod("{volumes: [{name: a, hostPath: {path: /}}], containers: [{name: a, image: b}]}"), "hostPath"},
		"other name":    {func(s *Site) { s.Privileged = []string{"Pod/b", "Deployment/a"} }, pod("{hostPID: true, containers: [{name: a, image: b}]}"), "privileged"},
		"label there":   {func(s *Site) { s.Labels = map[string]string{"team": "y"} }, pod("{}"), `metadata.labels: team is "x" there, and the site wants "y"`},
		"reserved":      {func(s *Site) { s.Annotations = map[string]string{"helm.sh/hook": "test"} }, pod("{}"), `"helm.sh/hook" belongs to the charts`},
		"broken digest": {func(s *Site) { s.Digests = map[string]string{"a": "sha256:12"} }, "", `digest of a: "sha256:12" is none`},
		"unpinned":      {func(s *Site) { s.RequireDigests = true }, pod("{containers: [{name: a, image: b:1}]}"), "image b:1 is not pinned"},
		"bad pattern":   {func(s *Site) { s.Privileged = []string{"nvidia"} }, "", `"nvidia" is no Kind/name`},
		"no object":     {func(*Site) {}, "a: b\n", "document 1 is no Kubernetes object"},
		"no YAML":       {func(*Site) {}, pod("{}") + "\n---\na: [\n", "document 2: "},
		"key twice":     {func(*Site) {}, "kind: A\nkind: B\n", "document 1: "},
		"behind an end": {func(*Site) {}, pod("{}") + "\n...\n" + pod("{hostNetwork: true}"), `document 1 goes on behind "..."`},
	} {
		t.Run(name, func(t *testing.T) {
			s := site()
			c.change(&s)
			_, err := s.render([]byte(c.in))
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A line may be as long as a bundle of files is.
func TestPostRenderLongLines(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1<<16)
	out := postRender(t, Site{}, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: files\nbinaryData:\n  bundle: "+long+"\n")
	assert.Contains(t, out, "bundle: "+long+"\n")
}

// Blank documents say nothing and go.
func TestPostRenderBlankDocuments(t *testing.T) {
	out := postRender(t, Site{}, "\n---\n\n---\r\napiVersion: v1\r\nkind: ConfigMap\r\n--- # the end\n---\n")
	assert.Equal(t, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", out)
}

// An end may be marked, and be followed by a comment.
func TestPostRenderMarkedEnd(t *testing.T) {
	out := postRender(t, Site{}, "apiVersion: v1\nkind: ConfigMap\n...\n# the end\n---\napiVersion: v1\nkind: Service\n...\n")
	assert.Equal(t, 2, strings.Count(out, "apiVersion: v1"))
}

// A text keeps the line break at its end, also where it ends the document.
func TestPostRenderKeepsLastLineBreak(t *testing.T) {
	for _, end := range []string{"", "---\nkind: A\napiVersion: v1\n"} {
		out := postRender(t, Site{}, "apiVersion: v1\nkind: ConfigMap\ndata:\n  file: |\n    a: b\n"+end)
		assert.Contains(t, out, "file: |\n    a: b\n")
	}
}
