package validate

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
			"KUBECONFIG": file, "NAMESPACE": "n", "DOMAIN": "d", "TEMPLATE": "t", "RELEASE": "r", "ADDRESS": "a", "CA": file,
			"INSTALL": "1", "VALUES": file, "CHART": "c", "QUICK": "1", "PATIENCE": "9m", "PROMETHEUS": "http://localhost:9090",
		}, ""},
		{"no cluster", nil, "KUBECONFIG is not set: export KUBECONFIG=FILE"},
		{"several files", map[string]string{"KUBECONFIG": file + ":" + file}, "names several files"},
		{"no such file", map[string]string{"KUBECONFIG": file + "x"}, "cannot be read"},
		{"an install without values", map[string]string{"KUBECONFIG": file, "INSTALL": "1"}, "INSTALL=1 needs VALUES=FILE"},
		{"values without an install", map[string]string{"KUBECONFIG": file, "VALUES": file}, "are for INSTALL=1"},
		{"no switch", map[string]string{"KUBECONFIG": file, "QUICK": "yes"}, "QUICK=yes: give 1, or leave it out"},
		{"no duration", map[string]string{"KUBECONFIG": file, "PATIENCE": "9"}, "PATIENCE=9 is no duration"},
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

// Every line has a remedy, and a name of its own.
func TestChecks(t *testing.T) {
	names := map[string]bool{}
	for _, c := range checks() {
		assert.NotEmpty(t, c.remedy, c.name)
		assert.False(t, names[c.name], c.name)
		names[c.name] = true
	}
}

// A release of a later version than its CRDs is as healthy as one of the same.
func TestDefinitions(t *testing.T) {
	versions, err := definitions()
	require.NoError(t, err)
	require.Len(t, versions, 2)
	for name, version := range versions {
		assert.NotEmpty(t, version, name)
	}
}
