package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/vdi-platform/vdi-platform/operator/turnlogin"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// relaySecret is the TURN relay's shared secret, in a mounted Secret that need
// not be there yet.
type relaySecret struct{ *followed[signer] }

// signer is a usable secret, or in words why there is none.
type signer struct{ secret, problem string }

// Get returns the secret that signs.
func (s relaySecret) Get() (string, error) {
	now := s.followed.Get()
	if now.problem != "" {
		return "", errors.New(now.problem)
	}
	return now.secret, nil
}

// watchRelaySecret follows the relay's secret until the context ends; without a
// relay there is nothing to follow.
func watchRelaySecret(ctx context.Context, relay platform.TURN, dir string) (turnlogin.RelaySecret, error) {
	if !relay.Enabled() {
		return nil, nil
	}
	s, err := follow(ctx, mount[signer]{
		flag: "turn-secret-dir", dir: dir,
		missing: "with sessions.turn.host give the folder where the relay's Secret is mounted",
		read:    readSigner, equal: func(before, after signer) bool { return before == after },
	})
	if err != nil {
		return nil, err
	}
	return relaySecret{s}, nil
}

// readSigner reads the key that signs. In a rotation others are beside it, which
// only the relay accepts. Its words name keys, never contents.
func readSigner(dir fs.FS) (signer, error) {
	const remedy = "is sessions.turn.secretName the relay's Secret, in the namespace of the operator? It is taken up as soon as it is there"
	data, err := fs.ReadFile(dir, wire.KeyTURNSecret)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return signer{problem: fmt.Sprintf("its shared secret (key %q) is not there: %s", wire.KeyTURNSecret, remedy)}, nil
	case err != nil:
		return signer{}, err
	}
	secret := strings.TrimSpace(string(data))
	if !platform.ValidTURNSecret(secret) {
		return signer{problem: fmt.Sprintf("its shared secret (key %q) must be 32 to 512 letters, digits or + / = _ -: %s", wire.KeyTURNSecret, remedy)}, nil
	}
	return signer{secret: secret}, nil
}
