package judge

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

func TestChoose(t *testing.T) {
	other := Release{Name: "db", Chart: "postgres-1.2.3"}
	whole := Release{Name: "vdi", Chart: "vdi-platform-0.1.0"}
	alone := Release{Name: "second", Chart: "vdi-operator-0.1.0"}
	for _, c := range []struct {
		name  string
		list  []Release
		named string
		want  string
		error string
	}{
		{"the only one", []Release{other, whole}, "", "vdi", ""},
		{"the operator's chart will do", []Release{alone}, "", "second", ""},
		{"by name", []Release{whole, alone}, "second", "second", ""},
		{"none", []Release{other}, "", "", "set NAMESPACE as `helm list -A` has it, or INSTALL=1 VALUES=FILE to install one"},
		{"none of that name", []Release{whole}, "vid", "", `holds none called "vid"`},
		{"several", []Release{whole, alone}, "", "", "holds 2 releases of the platform (vdi, second): say which by HELM_RELEASE=NAME"},
		{"another chart of that name", []Release{other}, "db", "", `holds none called "db"`},
	} {
		got, err := Choose(c.list, "vdi-system", c.named)
		if c.error != "" {
			require.ErrorContains(t, err, c.error, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, got.Name, c.name)
	}
	_, err := Choose(nil, "vdi-system", "")
	require.ErrorIs(t, err, ErrNoRelease)
}

// What an upgrade has left half done is not well, even where all pods run.
func TestReleaseJudge(t *testing.T) {
	of := func(status string) doctor.Verdict {
		return Release{Name: "vdi", Namespace: "vdi-system", Chart: "vdi-platform-0.1.0", Status: status}.Judge()
	}
	is(t, doctor.Passed, "vdi of chart vdi-platform-0.1.0 is deployed", of("deployed"))
	is(t, doctor.Failed, "is failed", of("failed"))
	is(t, doctor.Failed, "is uninstalling", of("uninstalling"))
	is(t, doctor.Failed, "is pending-upgrade", of("pending-upgrade"))
	assert.Contains(t, of("pending-install").Remedy, "helm rollback vdi -n vdi-system")
}

func TestRead(t *testing.T) {
	values := `{"sessions":{"domain":"vdi.example.com","externalPort":443,"turn":{"host":"turn.example.com","port":3478,"transports":["udp"]}},
		"access":{"mode":"OIDC","oidc":{"clientID":"vdi"}},"frontDoor":{"keys":{"existingSecret":""}},"gpuSharing":{"enabled":true},"metrics":{"port":8080}}`
	alone, err := Read([]byte(values), Release{Name: "a", Chart: "vdi-operator-0.1.0"})
	require.NoError(t, err)
	whole, err := Read([]byte(`{"vdi-operator":`+values+`,"traefik":{}}`), Release{Name: "a", Chart: "vdi-platform-0.1.0"})
	require.NoError(t, err)
	assert.Equal(t, alone, whole)
	assert.Equal(t, "vdi.example.com", whole.Sessions.Domain)
	assert.Equal(t, []string{"udp"}, whole.Sessions.TURN.Transports)
	assert.Equal(t, "vdi", whole.Access.OIDC.ClientID)
	assert.True(t, whole.GPUSharing.Enabled)
	assert.Equal(t, "vdi-frontdoor-keys", whole.KeysSecret())
	whole.FrontDoor.Keys.ExistingSecret = "mine"
	assert.Equal(t, "mine", whole.KeysSecret())

	_, err = Read([]byte(`{"vdi-operator":{"enabled":false}}`), Release{Name: "proxy", Chart: "vdi-platform-0.1.0"})
	require.ErrorContains(t, err, "it installs no operator")
}

func TestParseManifest(t *testing.T) {
	m, err := ParseManifest("---\n# Source: a\nkind: Service\nmetadata: {name: a, labels: {app: x}}\n---\n# nothing\n---\nkind: Deployment\nmetadata: {name: b, labels: {app: x}}\n")
	require.NoError(t, err)
	require.Len(t, m, 2)
	assert.Len(t, m.App("x"), 2)
	require.Len(t, m.App("x").Kind("Deployment"), 1)
	assert.Equal(t, "b", m.Kind("Deployment")[0].GetName())
	_, err = ParseManifest("kind: [")
	require.Error(t, err)
}
