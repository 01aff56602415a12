package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/vdi-platform/vdi-platform/operator/folder"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform"
)

// relaySecret is the TURN relay's shared secret, in a mounted Secret that need
// not be there yet.
type relaySecret struct {
	*folder.Folder[signer]
	changed chan event.GenericEvent
}

// signer is a usable secret, or in words why there is none.
type signer struct{ secret, problem string }

// Get returns the secret that signs.
func (s *relaySecret) Get() (string, error) {
	now := s.Folder.Get()
	if now.problem != "" {
		return "", errors.New(now.problem)
	}
	return now.secret, nil
}

// Changed says when the secret is another.
func (s *relaySecret) Changed() <-chan event.GenericEvent { return s.changed }

// watchRelaySecret follows the relay's secret until the context ends; without a
// relay there is nothing to follow.
func watchRelaySecret(ctx context.Context, relay platform.TURN, dir string) (session.RelaySecret, error) {
	if !relay.Enabled() {
		return nil, nil
	}
	if dir == "" {
		return nil, errors.New("--turn-secret-dir is empty: with sessions.turn.host give the folder where the relay's Secret is mounted")
	}
	s := &relaySecret{changed: make(chan event.GenericEvent, 1)}
	found, err := folder.Watch(dir, slog.New(logr.ToSlogHandler(ctrl.Log.WithName("turn-secret"))), readSigner, s.tell)
	if err != nil {
		return nil, fmt.Errorf("--turn-secret-dir: %w", err)
	}
	s.Folder = found
	context.AfterFunc(ctx, func() { _ = found.Close() })
	return s, nil
}

// tell never waits: changes that nobody has looked at yet are looked at once.
func (s *relaySecret) tell(before, after signer) {
	if before == after {
		return
	}
	ctrl.Log.WithName("turn-secret").Info("the TURN relay's secret has changed", "usable", after.problem == "")
	select {
	case s.changed <- event.GenericEvent{Object: &metav1.PartialObjectMetadata{}}:
	default:
	}
}

// readSigner reads the key that signs. In a rotation others are beside it, which
// only the relay accepts. Its words name keys, never contents.
func readSigner(dir fs.FS) (signer, error) {
	const remedy = "is sessions.turn.secretName the relay's Secret, in the namespace of the operator? It is taken up as soon as it is there"
	data, err := fs.ReadFile(dir, platform.TURNSecretKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return signer{problem: fmt.Sprintf("its shared secret (key %q) is not there: %s", platform.TURNSecretKey, remedy)}, nil
	case err != nil:
		return signer{}, err
	}
	secret := strings.TrimSpace(string(data))
	if !platform.ValidTURNSecret(secret) {
		return signer{problem: fmt.Sprintf("its shared secret (key %q) must be 32 to 512 letters, digits or + / = _ -: %s", platform.TURNSecretKey, remedy)}, nil
	}
	return signer{secret: secret}, nil
}
