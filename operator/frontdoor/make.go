package frontdoor

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// keyName names new keys, so that a later one sorts after an earlier one.
const keyName = "20060102T150405"

// MakeKeys makes the Secret with the front door's keys unless there is one, and
// reports which of the two. It never changes one: whoever runs it again, or at the
// same time, gets what the first has made. A Secret that the front door could
// not use is an error (ErrKeys).
func MakeKeys(ctx context.Context, secrets typedcorev1.SecretInterface, name string, now time.Time) (made bool, err error) {
	data, err := newKeys(now)
	if err != nil {
		return false, err
	}
	_, err = secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{wire.LabelCreatedBy: fieldOwner}},
		Type:       corev1.SecretTypeOpaque,
		Data:       data,
	}, metav1.CreateOptions{FieldManager: fieldOwner})
	if apierrors.IsAlreadyExists(err) {
		return false, checkKeys(ctx, secrets, name)
	}
	if err != nil {
		return false, fmt.Errorf("create Secret %q: %w", name, err)
	}
	return true, nil
}

func newKeys(now time.Time) (map[string][]byte, error) {
	_, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signing)
	if err != nil {
		return nil, fmt.Errorf("encode the signing key: %w", err)
	}
	sealing := make([]byte, minCookieKey)
	_, _ = rand.Read(sealing) // never fails: the program ends if there is no randomness
	at := now.UTC().Format(keyName)
	return map[string][]byte{
		at + signingKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		at + cookieKey:  sealing,
	}, nil
}

// checkKeys finds at install time what would otherwise stop every front door.
func checkKeys(ctx context.Context, secrets typedcorev1.SecretInterface, name string) error {
	found, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Secret %q: %w", name, err)
	}
	if _, err := keysIn(found.Data); err != nil {
		return fmt.Errorf("the Secret %q is there, but not usable: %w", name, err)
	}
	return nil
}
