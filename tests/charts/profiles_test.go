package charts

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform"
)

// profile is what a profile's own command installs, with more values.
func profile(t *testing.T, name string, set map[string]string) scenario {
	t.Helper()
	return platformChart(set, withOthers(t, inRepository("values", name+".yaml"))...)
}

// withEverything adds the parts that are off by default.
func withEverything() map[string]string {
	return map[string]string{"coturn.enabled": "true", "coturn.realm": "turn.example.com", "vdi-operator.sessions.turn.host": "turn.example.com"}
}

// systemClasses are admitted outside kube-system by a quota only, on some clouds.
var systemClasses = []string{"system-cluster-critical", "system-node-critical"}

// TestNoSystemClass: in no profile do our pods or the proxy's ask for a class of Kubernetes' own.
func TestNoSystemClass(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		if strings.HasPrefix(name, "profile-") {
			for _, obj := range ofKind(objects(t, s), "Deployment", "Job", "Pod") {
				require.NotContains(t, systemClasses, podOf(t, obj).Spec.PriorityClassName, "%s: %s", name, key(obj))
			}
		}
	}
}

// TestGKE: the classes of the GPU Operator's pods are admitted, and the class of ours is made.
func TestGKE(t *testing.T) {
	t.Parallel()
	objs := objects(t, profile(t, "gke", nil))
	quota := find[corev1.ResourceQuota](t, objs, "ResourceQuota", "gpu-operator-priority")
	require.Equal(t, releaseNamespace, quota.Namespace)
	require.ElementsMatch(t, systemClasses, quota.Spec.ScopeSelector.MatchExpressions[0].Values)
	made := names(ofKind(objs, "PriorityClass"))
	for _, obj := range ofKind(objs, "Deployment") {
		if class := podOf(t, obj).Spec.PriorityClassName; class != "" {
			require.Contains(t, made, class, key(obj))
		}
	}
}

// TestOpenShift: no pod of the platform chooses its user, DNS is reached where it listens, and
// the ClusterPolicy has the catalogue's name. With both helms, which treat null alike here.
func TestOpenShift(t *testing.T) {
	t.Parallel()
	s := profile(t, "openshift", withEverything())
	args := append([]string{"template", "vdi", s.chart, "--namespace", releaseNamespace}, append(offline(), s.args...)...)
	for _, file := range s.files {
		args = append(args, "--values", file)
	}
	for name, value := range s.set {
		args = append(args, "--set", name+"="+value)
	}
	for _, manifests := range []string{mustRender(t, s), helm4(t, args...)} {
		objs := decode(t, manifests)
		pods := ofKind(objs, "Deployment", "Job", "Pod", "DaemonSet")
		require.NotEmpty(t, pods)
		for _, obj := range pods {
			text, err := yaml.Marshal(obj.Object)
			require.NoError(t, err)
			for _, field := range []string{"runAsUser:", "runAsGroup:", "fsGroup:"} {
				require.NotContains(t, string(text), field, key(obj))
			}
		}
		settings := settingsOf(t, objs)
		require.Equal(t, []int32{5353}, settings.Sessions.Network.DNSPorts)
		require.Equal(t, "openshift-dns", settings.Sessions.Network.DNSNamespace)
		require.Equal(t, "gpu-cluster-policy", settings.TimeSlicing.Policy)
		require.Empty(t, ofKind(objs, "ClusterPolicy"))
	}
}

// publicRegistries are where images lie that an air-gapped cluster cannot pull.
var publicRegistries = []string{"docker.io", "ghcr.io", "nvcr.io", "quay.io", "registry.k8s.io", "gcr.io"}

// TestAirGapped: no object names an image of a public registry, the GPU Operator's least part
// included, and every pod may pull from the registry.
func TestAirGapped(t *testing.T) {
	t.Parallel()
	const registry = "registry.example.com/"
	set := withEverything()
	set["vdi-operator.sessions.turn.ranges"] = "{192.0.2.1/32}" // a name, and no internet to find it in
	objs := objects(t, profile(t, "air-gapped", set))
	for _, obj := range objs {
		if obj.GetKind() == "DaemonSet" {
			continue // the stand-in's own, in place of what the GPU Operator makes of its policy
		}
		for _, image := range imageNames(obj.Object) {
			require.True(t, strings.HasPrefix(image, registry), "%s names %s", key(obj), image)
		}
		if obj.GetKind() == "Deployment" || obj.GetKind() == "Job" || obj.GetKind() == "Pod" {
			require.Contains(t, podOf(t, obj).Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: "registry"}, key(obj))
		}
	}
	require.Contains(t, names(ofKind(objs, "Deployment")), "vdi-coturn")
	settings := settingsOf(t, objs)
	require.True(t, strings.HasPrefix(settings.Sessions.Agent.Image, registry))
	require.Equal(t, []string{"registry"}, settings.Sessions.Images.PullSecrets)
	for _, host := range publicRegistries[:5] {
		require.Equal(t, strings.TrimSuffix(registry, "/"), settings.Sessions.Images.Rewrite[host])
	}

	var given map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(find[corev1.ConfigMap](t, objs, "ConfigMap", "gpu-operator-values").Data["values.yaml"]), &given))
	known := recordedKeys(t, "testdata/gpu-operator-v26.7.0.keys")
	var asked int
	for name := range known {
		if !strings.HasSuffix(name, ".repository") || name == "kataManager.repository" || name == "vgpuManager.repository" { // no image by default
			continue
		}
		asked++
		repository, _ := below(given, strings.Split(name, ".")...).(string)
		require.True(t, strings.HasPrefix(repository, registry), "gpu-operator.%s is %q", name, repository)
	}
	require.Greater(t, asked, 20)
}

// imageNames are the values of image and repository, however deep, with what a repository adds.
func imageNames(value any) (images []string) {
	switch value := value.(type) {
	case map[string]any:
		for name, below := range value {
			text, isText := below.(string)
			if isText && text != "" && (name == "image" || name == "repository") {
				images = append(images, text)
			}
			images = append(images, imageNames(below)...)
		}
	case []any:
		for _, below := range value {
			images = append(images, imageNames(below)...)
		}
	}
	return images
}

// TestClouds: what the node's image has is not installed once more.
func TestClouds(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string][]string{"gke": {"driver"}, "eks": {"driver", "toolkit"}, "aks": {"driver", "toolkit"}} {
		policies := ofKind(objects(t, profile(t, name, nil)), "ClusterPolicy")
		require.Len(t, policies, 1, name)
		for _, part := range parts {
			require.Equal(t, false, below(policies[0].Object, "spec", part, "enabled"), "%s: %s", name, part)
		}
	}
}

// TestK3s: the GPU Operator is told where k3s has its containerd.
func TestK3s(t *testing.T) {
	t.Parallel()
	record := find[corev1.ConfigMap](t, objects(t, profile(t, "k3s", nil)), "ConfigMap", "gpu-operator-values")
	require.Contains(t, record.Data["values.yaml"], "/run/k3s/containerd/containerd.sock")
}

// TestFamilies: every Service of the platform takes both families, where a cluster has them.
func TestFamilies(t *testing.T) {
	t.Parallel()
	for _, obj := range ofKind(objects(t, profile(t, "dual-stack", nil)), "Service") {
		if !strings.HasSuffix(obj.GetName(), "-monitoring") { // without an address of its own
			require.Equal(t, "PreferDualStack", below(obj.Object, "spec", "ipFamilyPolicy"), key(obj))
		}
	}
}

// TestArm64: a desktop goes to the nodes that its image is for.
func TestArm64(t *testing.T) {
	t.Parallel()
	var settings platform.Config
	for _, obj := range objects(t, profile(t, "arm64", nil)) {
		if found := configOf(t, obj.Object); found.Sessions.Domain != "" {
			settings = found
		}
	}
	require.Equal(t, "arm64", below(settings.Sessions.Values, "pod", "nodeSelector", "kubernetes.io/arch"))
}

// TestQuirks: each profile of a platform says what was run, and what is different there.
func TestQuirks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"kind", "k3s", "gke", "eks", "aks", "openshift", "air-gapped", "arm64", "dual-stack", "namespaced"} {
		text, err := os.ReadFile(inRepository("values", name+".yaml"))
		require.NoError(t, err)
		require.Contains(t, string(text), "\n# Quirks:", name)
		require.Regexp(t, `[Rr]endered, not run`, string(text), name)
	}
}

// TestCertificate: cert-manager is asked for the wildcard, and the proxy shows what it brings.
func TestCertificate(t *testing.T) {
	t.Parallel()
	s := platformChart(certified("certificate.dnsNames", "{turn.vdi.example.com}", "certificate.renewBefore", "360h", "certificate.duration", "2160h"))
	problems, _ := nonconformities(t, mustRender(t, s))
	require.Empty(t, problems)
	objs := objects(t, s)
	certificate := ofKind(objs, "Certificate")
	require.Len(t, certificate, 1)
	require.Equal(t, []any{"*.vdi.example.com", "turn.vdi.example.com"}, below(certificate[0].Object, "spec", "dnsNames"))
	stores := ofKind(objs, "TLSStore")
	require.Len(t, stores, 1)
	require.Equal(t, below(certificate[0].Object, "spec", "secretName"), below(stores[0].Object, "spec", "defaultCertificate", "secretName"))
	require.NotContains(t, notesOf(t, s), "tlsStore.default is empty")
	find[appsv1.Deployment](t, objs, "Deployment", "vdi-traefik")
}
