package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Keys of the Secret. Who signs credentials uses current; the relay accepts
// all that are there, so that a rotation cuts nobody off.
const (
	keyCurrent  = wire.KeyTURNSecret
	keyNext     = "next"
	keyPrevious = "previous"
)

// secretBytes is 256 bits: more than HMAC-SHA1 can use, and never guessed.
const secretBytes = 32

// create makes the Secret unless one of that name is there. It never changes
// one: whoever runs it again, or at the same time, gets what the first made.
func create(ctx context.Context, secrets corev1.SecretInterface, name string) error {
	fresh := make([]byte, secretBytes)
	_, _ = rand.Read(fresh) // never fails: the program ends if there is no randomness
	_, err := secrets.Create(ctx, &core.Secret{
		ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{wire.LabelCreatedBy: wire.TURNSecret}},
		Type:       core.SecretTypeOpaque,
		Data:       map[string][]byte{keyCurrent: []byte(hex.EncodeToString(fresh))},
	}, meta.CreateOptions{FieldManager: wire.TURNSecret})
	if apierrors.IsAlreadyExists(err) {
		return check(ctx, secrets, name)
	}
	if err != nil {
		return fmt.Errorf("create Secret %q: %w", name, err)
	}
	fmt.Printf("Secret %q made\n", name)
	return nil
}

// check finds at install time what would otherwise stop every relay.
func check(ctx context.Context, secrets corev1.SecretInterface, name string) error {
	found, err := secrets.Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Secret %q: %w", name, err)
	}
	if _, err := secretsOf(func(key string) ([]byte, error) { return found.Data[key], nil }); err != nil {
		return fmt.Errorf("the Secret %q is there, but not usable: %w", name, err)
	}
	fmt.Printf("Secret %q is there and stays as it is\n", name)
	return nil
}
