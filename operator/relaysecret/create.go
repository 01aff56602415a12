package relaysecret

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

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

// CreateOptions are the flags of Create.
type CreateOptions struct{ Namespace, Name string }

// Register declares the flags.
func (o *CreateOptions) Register(f *flag.FlagSet) {
	f.StringVar(&o.Namespace, "namespace", "", "namespace of the Secret")
	f.StringVar(&o.Name, "name", "", "name of the Secret")
}

// Create makes the Secret where there is none.
func Create(ctx context.Context, o CreateOptions) error {
	if o.Namespace == "" || o.Name == "" {
		return errors.New("create: --namespace and --name are required")
	}
	client, err := connect()
	if err != nil {
		return err
	}
	return create(ctx, client.Secrets(o.Namespace), o.Name)
}

// create makes the Secret unless one of that name is there. It never changes
// one: whoever runs it again, or at the same time, gets what the first made.
func create(ctx context.Context, secrets typedcorev1.SecretInterface, name string) error {
	fresh := make([]byte, secretBytes)
	_, _ = rand.Read(fresh) // never fails: the program ends if there is no randomness
	_, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{wire.LabelCreatedBy: wire.TURNSecret}},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{keyCurrent: []byte(hex.EncodeToString(fresh))},
	}, metav1.CreateOptions{FieldManager: wire.TURNSecret})
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
func check(ctx context.Context, secrets typedcorev1.SecretInterface, name string) error {
	found, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Secret %q: %w", name, err)
	}
	if _, err := secretsOf(func(key string) ([]byte, error) { return found.Data[key], nil }); err != nil {
		return fmt.Errorf("the Secret %q is there, but not usable: %w", name, err)
	}
	fmt.Printf("Secret %q is there and stays as it is\n", name)
	return nil
}
