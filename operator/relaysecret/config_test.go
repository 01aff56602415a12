package relaysecret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

var (
	oldSecret = strings.Repeat("a", 64)
	newSecret = strings.Repeat("b", 64)
)

func reader(keys map[string]string) func(string) ([]byte, error) {
	return func(key string) ([]byte, error) { return []byte(keys[key]), nil }
}

func TestConfigOf(t *testing.T) {
	addresses, err := addressesOf("10.1.2.3,fd00::1", "192.0.2.10")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(`
realm=example
listening-ip=10.1.2.3
relay-ip=10.1.2.3
allowed-peer-ip=10.1.2.3
external-ip=192.0.2.10/10.1.2.3
allowed-peer-ip=192.0.2.10
listening-ip=fd00::1
relay-ip=fd00::1
allowed-peer-ip=fd00::1
static-auth-secret=`+newSecret+`
static-auth-secret=`+oldSecret)+"\n",
		string(configOf([]byte("realm=example\n\n"), addresses, []string{newSecret, oldSecret})))
}

func TestAddressesOf(t *testing.T) {
	for _, bad := range []string{"", "::", "0.0.0.0", "::ffff:10.0.0.1", "fe80::1%eth0", "node-1", "10.0.0.1\nno-auth"} {
		_, err := addressesOf(bad, "")
		require.Error(t, err, "%q", bad)
	}
	_, err := addressesOf("10.0.0.1", "example.com")
	require.ErrorContains(t, err, `"example.com" is no address`)
}

func TestSecretsOf(t *testing.T) {
	for name, c := range map[string]struct {
		keys map[string]string
		want []string
		err  string
	}{
		"one":           {map[string]string{"current": oldSecret + "\n"}, []string{oldSecret}, ""},
		"before switch": {map[string]string{"current": oldSecret, "next": newSecret}, []string{oldSecret, newSecret}, ""},
		"after switch":  {map[string]string{"current": newSecret, "previous": oldSecret}, []string{newSecret, oldSecret}, ""},
		"none":          {map[string]string{"next": newSecret}, nil, `key "current" is missing or empty`},
		"short":         {map[string]string{"current": "hunter2"}, nil, `key "current" must be 32 to 512`},
		"injection":     {map[string]string{"current": oldSecret, "next": oldSecret + "\nno-auth"}, nil, `key "next" must be`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secretsOf(reader(c.keys))
			require.Equal(t, c.want, got)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.NotContains(t, err.Error(), "hunter2")
			}
		})
	}
}

func TestWriteConfig(t *testing.T) {
	dir := t.TempDir()
	o := ConfigOptions{Base: filepath.Join(dir, "base"), Secrets: dir, Out: filepath.Join(dir, "out"), Listen: "10.0.0.1"}
	require.Error(t, WriteConfig(t.Context(), o), "no base")
	require.NoError(t, os.WriteFile(o.Base, []byte("realm=a"), 0o600))
	require.ErrorContains(t, WriteConfig(t.Context(), o), "current")
	require.NoError(t, os.WriteFile(filepath.Join(dir, keyCurrent), []byte(oldSecret), 0o600))
	require.NoError(t, WriteConfig(t.Context(), o))
	info, err := os.Stat(o.Out)
	require.NoError(t, err)
	require.EqualValues(t, 0o400, info.Mode().Perm())
}

func TestExternalIPs(t *testing.T) {
	node := &corev1.Node{}
	node.Name = "a"
	_, err := externalIPs(node)
	require.ErrorContains(t, err, "address.external")
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}, {Type: corev1.NodeExternalIP, Address: "192.0.2.1"}}
	got, err := externalIPs(node)
	require.NoError(t, err)
	require.Equal(t, "192.0.2.1", got)
}

func TestCreateNeedsNames(t *testing.T) {
	require.ErrorContains(t, Create(t.Context(), CreateOptions{Namespace: "a"}), "--name")
}
