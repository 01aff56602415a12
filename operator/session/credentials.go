package session

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// passwordBytes are 160 bits: 32 base32 characters without padding.
const passwordBytes = 20

// loginName is the user name of every desktop's login; the password alone is secret.
const loginName = "desktop"

// ensureCredentials writes the Secret of a session that is about to start,
// create-only: the password of a session never changes behind its user's back.
func (r *Reconciler) ensureCredentials(ctx context.Context, p *pass) error {
	secret, err := newCredentials(p.session)
	if err != nil {
		return err
	}
	err = r.Client.Create(ctx, secret, client.FieldOwner(FieldOwner))
	switch {
	case err == nil:
	case apierrors.IsAlreadyExists(err):
		if err := r.existingCredentials(ctx, p, secret); err != nil {
			return err
		}
	default:
		return classify("Secret", err)
	}
	p.credentials = true
	return nil
}

// existingCredentials checks that the Secret of that name is this session's: a
// planted one would carry a password somebody else knows. A resume gets a fresh
// password, so that whoever looked over a shoulder last time stays out.
func (r *Reconciler) existingCredentials(ctx context.Context, p *pass, fresh *corev1.Secret) error {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(fresh), found); err != nil {
		return fmt.Errorf("read existing Secret: %w", err)
	}
	if err := ownedBy(p.session, found, "Secret"); err != nil {
		return err
	}
	if p.session.Status.Phase != vdi.PhaseSuspended {
		return nil
	}
	return r.rotate(ctx, found, fresh.Data[corev1.BasicAuthPasswordKey])
}

// rotate changes the password of exactly the Secret that was looked at. If the
// operator dies before the pod is made, the next pass does it again, and nobody
// has been told the one in between.
func (r *Reconciler) rotate(ctx context.Context, found *metav1.PartialObjectMetadata, password []byte) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": found.UID, "resourceVersion": found.ResourceVersion},
		"data":     map[string][]byte{corev1.BasicAuthPasswordKey: password},
	})
	if err != nil {
		return fmt.Errorf("write new password: %w", err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: found.Name, Namespace: found.Namespace}}
	if err := r.Client.Patch(ctx, secret, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("write new password: %w", err)
	}
	return nil
}

func newCredentials(s *vdi.VDISession) (*corev1.Secret, error) {
	random := make([]byte, passwordBytes)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("make password: %w", err)
	}
	password := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random))
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: renderer.CredentialsName(s.Name), Namespace: s.Namespace,
			Labels: map[string]string{
				labelName: sessionName, labelInstance: s.Name, labelManagedBy: managedBy,
				vdi.LabelUser: platform.Identity(s.Spec.User),
			},
			OwnerReferences: []metav1.OwnerReference{ownerReference(s)},
		},
		Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{
			corev1.BasicAuthUsernameKey: []byte(loginName),
			corev1.BasicAuthPasswordKey: []byte(password),
		},
	}, nil
}

// ownerReference makes the session the controller of an object. It does not
// block the session's deletion: the finalizer keeps the order.
func ownerReference(s *vdi.VDISession) metav1.OwnerReference {
	controller := true
	return metav1.OwnerReference{
		APIVersion: vdi.GroupVersion.String(), Kind: "VDISession",
		Name: s.Name, UID: s.UID, Controller: &controller,
	}
}
