package judge

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
)

// Keys judges the front door's keys by its own rules, and whether the public halves
// that desktops know are theirs. No text holds a key. The Secret's data is nil
// where there is none.
func Keys(secretName string, secret map[string][]byte, public map[string]string) doctor.Verdict {
	if secret == nil {
		return doctor.Fail("Secret %s is gone: running front doors go on, none can start", secretName)
	}
	files := fstest.MapFS{}
	for name, content := range secret {
		files[name] = &fstest.MapFile{Data: content}
	}
	if _, err := frontdoor.ReadKeys(files); err != nil {
		return doctor.Fail("Secret %s: %v", secretName, err).With("put keys into it as charts/vdi-operator/docs/access.md says under Keys")
	}
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		half, err := publicHalf(secret[name])
		if err != nil || !strings.HasSuffix(name, ".pem") {
			continue // a key of the other kind
		}
		if public[name] != half {
			return doctor.Fail("ConfigMap vdi-frontdoor-public-keys does not hold the public half of %s: desktops refuse its word", name).
				With("kubectl rollout restart deployment/vdi-frontdoor, and look at its log")
		}
	}
	return doctor.Pass("Secret %s holds usable keys, and their public halves are published", secretName)
}

func publicHalf(text []byte) (string, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", err
	}
	signer, ok := key.(ed25519.PrivateKey)
	if !ok {
		return "", errors.New("no Ed25519 key")
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
}
