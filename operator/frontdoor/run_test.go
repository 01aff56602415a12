package frontdoor

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func flagsOf(t *testing.T, settings string, args ...string) Flags {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(settings), 0o600))
	f := Flags{Namespace: "vdi-system"}
	set := flag.NewFlagSet("vdi-frontdoor", flag.ContinueOnError)
	f.Register(set)
	require.NoError(t, set.Parse(append(args, "--config="+path)))
	return f
}

// Flags replace what the settings say.
func TestSettings(t *testing.T) {
	const domain = "sessions: {domain: vdi.example.com}"
	config, err := flagsOf(t, domain, "--mode=OIDC", "--oidc-issuer-url=https://login.example.com", "--oidc-client-id=vdi").settings()
	require.NoError(t, err)
	assert.Equal(t, platform.Access{
		Mode: wire.AccessOIDC, OIDC: platform.OIDC{IssuerURL: "https://login.example.com", ClientID: "vdi", UserClaim: "email"},
		ForwardAuth: "http://vdi-frontdoor.vdi-system.svc:8081/auth",
	}, config.Access)
	assert.Equal(t, "https://auth.vdi.example.com/callback", CallbackURL(config.Sessions))
	config, err = flagsOf(t, domain+"\naccess: {mode: OIDC, oidc: {issuerURL: \"https://a.example.com\", clientID: a, userClaim: sub}}", "--oidc-user-claim=upn").settings()
	require.NoError(t, err)
	assert.Equal(t, "upn", config.Access.OIDC.UserClaim)
	assert.Equal(t, "a", config.Access.OIDC.ClientID)
}

func TestSettingsNameFieldAndRemedy(t *testing.T) {
	const domain = "sessions: {domain: vdi.example.com}"
	oidc := []string{"--mode=OIDC", "--oidc-issuer-url=https://login.example.com", "--oidc-client-id=vdi"}
	for want, args := range map[string][]string{
		`access.mode: "Magic" is unknown`: {"--mode=Magic"},
		"access.oidc.issuerURL: not set":  {"--mode=OIDC"},
		"--login-lifetime is 0s; give":    {"--login-lifetime=0"},
		"--oidc-scopes lacks openid":      append(oidc, "--oidc-scopes=email"),
		"set --namespace or the":          {"--namespace="},
	} {
		_, err := flagsOf(t, domain, args...).settings()
		require.ErrorContains(t, err, want)
	}
	_, err := flagsOf(t, "sessions: {}").settings()
	require.ErrorIs(t, err, platform.ErrConfig)
}

// The client secret is read at each login: the kubelet brings a new one.
func TestClientSecret(t *testing.T) {
	f := flagsOf(t, "")
	secret, err := f.clientSecret()
	require.NoError(t, err)
	assert.Empty(t, secret, "a public client has none")
	f.OIDCClientSecretFile = filepath.Join(t.TempDir(), "secret")
	_, err = f.clientSecret()
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, want := range []string{"first", "second"} {
		require.NoError(t, os.WriteFile(f.OIDCClientSecretFile, []byte(want+"\n"), 0o600))
		secret, err = f.clientSecret()
		require.NoError(t, err)
		assert.Equal(t, want, secret)
	}
}
