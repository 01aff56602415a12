package judge

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

// is compares a verdict with its state and words that it must have.
func is(t *testing.T, want doctor.State, words string, got doctor.Verdict) {
	t.Helper()
	assert.Equal(t, want, got.State, got.Seen)
	assert.Contains(t, got.Seen, words)
}

func TestKeys(t *testing.T) {
	pair := func() (private []byte, public string) {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		half, err := x509.MarshalPKIXPublicKey(pub)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: half}))
	}
	private, public := pair()
	_, foreign := pair()
	good := map[string][]byte{"1.pem": private, "1.key": make([]byte, 32)}
	is(t, doctor.Passed, "usable keys", Keys("k", good, map[string]string{"1.pem": public}))
	is(t, doctor.Failed, "Secret k is gone", Keys("k", nil, map[string]string{"1.pem": public}))
	is(t, doctor.Failed, "no file NAME.key", Keys("k", map[string][]byte{"1.pem": private}, map[string]string{"1.pem": public}))
	is(t, doctor.Failed, "public half of 1.pem", Keys("k", good, map[string]string{"1.pem": foreign}))
	is(t, doctor.Failed, "public half of 1.pem", Keys("k", good, nil))
	leak := Keys("k", map[string][]byte{"1.pem": []byte("topsecret"), "1.key": make([]byte, 32)}, nil)
	is(t, doctor.Failed, "1.pem", leak)
	assert.NotContains(t, leak.Seen+leak.Remedy, "topsecret")
}
