package validate

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestFromEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		name  string
		set   map[string]string
		error string
	}{
		{"all that is needed", map[string]string{"KUBECONFIG": file}, ""},
		{"everything", map[string]string{
			"KUBECONFIG": file, "NAMESPACE": "n", "DOMAIN": "d", "TEMPLATE": "t", "HELM_RELEASE": "r", "ADDRESS": "a", "CA": file,
			"INSTALL": "1", "VALUES": file, "CHART": "c", "QUICK": "1", "PATIENCE": "9m", "PROMETHEUS": "http://localhost:9090",
		}, ""},
		{"no cluster", nil, "KUBECONFIG is not set: export KUBECONFIG=FILE"},
		{"several files", map[string]string{"KUBECONFIG": file + ":" + file}, "names several files"},
		{"no such file", map[string]string{"KUBECONFIG": file + "x"}, "cannot be read"},
		{"an install without values", map[string]string{"KUBECONFIG": file, "INSTALL": "1"}, "INSTALL=1 needs VALUES=FILE"},
		{"an install without a chart", map[string]string{"KUBECONFIG": file, "INSTALL": "1", "VALUES": file}, "packages this checkout's, or give CHART="},
		{"values without an install", map[string]string{"KUBECONFIG": file, "VALUES": file}, "are for INSTALL=1"},
		{"no switch", map[string]string{"KUBECONFIG": file, "QUICK": "yes"}, "QUICK=yes: give 1, or leave it out"},
		{"no duration", map[string]string{"KUBECONFIG": file, "PATIENCE": "9"}, "PATIENCE=9 is no duration"},
		{"no patience at all", map[string]string{"KUBECONFIG": file, "PATIENCE": "0s"}, "PATIENCE=0s: give more than nothing"},
		{"more patience than go test has", map[string]string{"KUBECONFIG": file, "PATIENCE": "16m"}, "at most 15m"},
		{"no address", map[string]string{"KUBECONFIG": file, "PROMETHEUS": "prometheus"}, "is no address"},
	} {
		_, err := FromEnvironment(func(name string) string { return c.set[name] })
		if c.error == "" {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorContains(t, err, c.error, c.name)
		}
	}
}

func TestDefaults(t *testing.T) {
	o := Options{}.withDefaults()
	assert.Equal(t, "vdi-system", o.Namespace)
	assert.Equal(t, 5*time.Minute, o.Patience)
	assert.Equal(t, "mine", Options{Namespace: "mine"}.withDefaults().Namespace)
}

func TestDialAddress(t *testing.T) {
	for address, want := range map[string]string{
		"": "alice.vdi.example.com:8443", "10.0.0.1": "10.0.0.1:8443", "10.0.0.1:30443": "10.0.0.1:30443",
		"fd00::1": "[fd00::1]:8443", "[fd00::1]:30443": "[fd00::1]:30443", "proxy.example.com": "proxy.example.com:8443",
	} {
		assert.Equal(t, want, Options{Address: address}.dialAddress("alice.vdi.example.com", 8443), address)
	}
}

// The way out runs before `go test` gives up, however patient somebody is.
func TestLimit(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	found := regexp.MustCompile(`TestInstallation\$\$' -count 1 -timeout (\S+)`).FindSubmatch(makefile)
	require.Len(t, found, 2)
	timeout, err := time.ParseDuration(string(found[1]))
	require.NoError(t, err)
	assert.Less(t, Options{Patience: maxPatience}.Limit()+cleanupTime, timeout)
}

// A chart's folder as git has it cannot be installed.
func TestWhole(t *testing.T) {
	folder := t.TempDir()
	chart := "apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies:\n- {name: b, version: 1.0.0, repository: \"https://charts.example.com\"}\n"
	require.NoError(t, os.WriteFile(filepath.Join(folder, "Chart.yaml"), []byte(chart), 0o600))
	require.ErrorContains(t, whole(folder), "run `make package`")
	require.NoError(t, whole("../../charts/vdi-operator"))
	require.NoError(t, whole("oci://registry.example.com/vdi-platform"))
}

// A namespace that somebody has given our label is somebody's.
func TestOwned(t *testing.T) {
	for name, c := range map[string]struct {
		run  string
		want bool
	}{
		"vdi-validate-abc": {"abc", true}, "production": {"abc", false}, "vdi-validate-other": {"abc", false}, "vdi-validate-": {"", false},
	} {
		ns := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{runLabel: c.run}}}
		assert.Equal(t, c.want, owned(ns), name)
	}
}

// stuck is a cluster in which nothing that is deleted goes.
type stuck struct{ client.Client }

func (stuck) Delete(context.Context, client.Object, ...client.DeleteOption) error { return nil }

func (stuck) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}

func TestRemoveGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	v := &visit{site: &site{kube: stuck{}}}
	err := v.remove(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vdi-validate-abc"}})
	require.ErrorContains(t, err, "namespace vdi-validate-abc does not go")
	assert.True(t, wait.Interrupted(err))
}

// Every line has a remedy, and a name of its own.
func TestChecks(t *testing.T) {
	names := map[string]bool{}
	for _, c := range checks() {
		assert.NotEmpty(t, c.remedy, c.name)
		assert.False(t, names[c.name], c.name)
		names[c.name] = true
	}
}
