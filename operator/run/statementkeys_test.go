package run

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func publicKey(t *testing.T, seed string) string {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(seed, ed25519.SeedSize)))
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Keys are followed from none to some; what is no key changes nothing.
func TestStatementKeysAreFollowed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "."+name), []byte(text), 0o600))
		require.NoError(t, os.Rename(filepath.Join(dir, "."+name), filepath.Join(dir, name)))
	}
	oidc := platform.Access{Mode: wire.AccessOIDC}
	keys, err := watchStatementKeys(t.Context(), oidc, dir)
	require.NoError(t, err)
	assert.Empty(t, keys.Get(), "the front door has not published any")

	one := publicKey(t, "a")
	write("1.pem", one)
	<-keys.Changed()
	require.Eventually(t, func() bool { return len(keys.Get()) == 1 && keys.Get()["1.pem"] == one }, time.Minute, time.Millisecond)

	write("2.pem", "no key")
	two := publicKey(t, "b")
	write("2.pem", two)
	require.Eventually(t, func() bool { return keys.Get()["2.pem"] == two }, time.Minute, time.Millisecond)
	assert.Equal(t, one, keys.Get()["1.pem"])
}

func TestStatementKeysNeedAFolder(t *testing.T) {
	none, err := watchStatementKeys(t.Context(), platform.Access{Mode: wire.AccessPassword}, "")
	require.NoError(t, err)
	assert.Nil(t, none)
	oidc := platform.Access{Mode: wire.AccessOIDC}
	_, err = watchStatementKeys(t.Context(), oidc, "")
	require.ErrorContains(t, err, "--statement-keys-dir is empty: in access mode OIDC give the folder")
	_, err = watchStatementKeys(t.Context(), oidc, filepath.Join(t.TempDir(), "missing"))
	require.ErrorContains(t, err, "--statement-keys-dir")
}
