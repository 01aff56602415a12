package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
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

// cookieKeyBytes are the key of an HMAC-SHA256 (RFC 2104, section 3).
const cookieKeyBytes = 32

// loginName is the user name of every desktop's login; the password alone is secret.
const loginName = "desktop"

// Keys of a session's Secret beside username and password, which are the
// visitor's: the agent alone reads them, but for the desktop's own login.
const (
	keyDesktopUsername = "desktop-username"
	keyDesktopPassword = "desktop-password"
	keyCookie          = "cookie-key"
)

// keysVersion tells which keys a Secret has, so that one of an older operator
// gets the missing ones before its next pod is made.
const keysVersion = "2"

// recallLogin finds the login of a desktop that has started and was not
// told yet: by the pass that started it, or by an operator that died before.
func (r *Reconciler) recallLogin(ctx context.Context, p *pass) error {
	if !p.seen.podLives() || p.samePod() || r.untold.tell(p) {
		return nil
	}
	found, err := r.lookAtSecret(ctx, p.session.Namespace, renderer.CredentialsName(p.session.Name))
	if err != nil || found == nil || !metav1.IsControlledBy(found, p.session) {
		return err
	}
	p.credentials, p.verifier = true, found.Annotations[vdi.AnnotationPasswordVerifier]
	return nil
}

// noSessionsSecret are the words of the admission policy on the operator's account about
// what is nobody's (charts/vdi-operator/templates/admission/operator.yaml).
const noSessionsSecret = "belongs to no VDISession"

// lookAtSecret returns what is known of a Secret but for its content; nil where there is
// none. The operator has no right to read Secrets: a patch that changes nothing is answered
// with what is there, and the admission policy refuses it for Secrets that are no session's.
// Of such a one only the name is returned.
func (r *Reconciler) lookAtSecret(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	found := newSecretMetadata(name)
	found.Namespace = namespace
	err := r.Client.Patch(ctx, found, client.RawPatch(types.MergePatchType, []byte("{}")), client.FieldOwner(FieldOwner))
	switch {
	case err == nil:
		return found, nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), noSessionsSecret):
		return newSecretMetadata(name), nil
	default:
		return nil, fmt.Errorf("look at Secret %q: %w", name, err)
	}
}

// newSecretMetadata is what the operator reads of a Secret: nothing secret.
func newSecretMetadata(name string) *metav1.PartialObjectMetadata {
	return newMetadata(corev1.SchemeGroupVersion.WithKind("Secret"), name)
}

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
		p.verifier = secret.Annotations[vdi.AnnotationPasswordVerifier]
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
	found, err := r.lookAtSecret(ctx, p.session.Namespace, fresh.Name)
	if err != nil {
		return classify("Secret", err)
	}
	if found == nil {
		return fmt.Errorf("look at Secret %q: it has just gone", fresh.Name)
	}
	if err := ownedBy(p.session, found, "Secret"); err != nil {
		return err
	}
	p.verifier = found.Annotations[vdi.AnnotationPasswordVerifier]
	resumes := p.session.Status.Phase == vdi.PhaseSuspended
	if !resumes && found.Annotations[vdi.AnnotationKeysVersion] == keysVersion {
		return nil
	}
	if err := r.lookForPod(ctx, p); err != nil || p.seen.pod != nil {
		return err
	}
	if err := r.renew(ctx, secretVersion{found.UID, found.ResourceVersion}, fresh); err != nil {
		return err
	}
	p.verifier = fresh.Annotations[vdi.AnnotationPasswordVerifier]
	return nil
}

// lookForPod asks the API server for a desktop that the cache does not show yet: that of
// an operator before this one, or beside it, has its password in hand. It is asked
// last, right before the password is renewed.
func (r *Reconciler) lookForPod(ctx context.Context, p *pass) error {
	pod := &corev1.Pod{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.session), pod)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("look for a desktop that runs: %w", err)
	case metav1.IsControlledBy(pod, p.session):
		p.seen.pod = pod
	}
	return nil
}

// renew changes everything in exactly the Secret that was looked at. If the
// operator dies before the pod is made, the next pass does it again, and nobody
// has been told the one in between.
func (r *Reconciler) renew(ctx context.Context, found secretVersion, fresh *corev1.Secret) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": found.uid, "resourceVersion": found.version, "annotations": fresh.Annotations},
		"data":     fresh.Data,
	})
	if err != nil {
		return fmt.Errorf("write Secret %q: %w", fresh.Name, err)
	}
	if err := r.Client.Patch(ctx, fresh, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("write Secret %q: %w", fresh.Name, err)
	}
	return nil
}

// secretVersion is one state of one Secret.
type secretVersion struct {
	uid     types.UID
	version string
}

func newCredentials(s *vdi.VDISession) (*corev1.Secret, error) {
	random := make([]byte, 2*passwordBytes+cookieKeyBytes)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("make password: %w", err)
	}
	password, desktop := readable(random[:passwordBytes]), readable(random[passwordBytes:2*passwordBytes])
	verifier := sha256.Sum256([]byte(password))
	secret := newSecret(s, renderer.CredentialsName(s.Name), corev1.SecretTypeBasicAuth, map[string][]byte{
		corev1.BasicAuthUsernameKey: []byte(loginName),
		corev1.BasicAuthPasswordKey: []byte(password),
		keyDesktopUsername:          []byte(loginName),
		keyDesktopPassword:          []byte(desktop),
		keyCookie:                   random[2*passwordBytes:],
	})
	secret.Annotations = map[string]string{
		vdi.AnnotationKeysVersion:      keysVersion,
		vdi.AnnotationPasswordVerifier: base64.StdEncoding.EncodeToString(verifier[:]),
	}
	return secret, nil
}

// newSecret is a Secret of the session that goes with it.
func newSecret(s *vdi.VDISession, name string, kind corev1.SecretType, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: s.Namespace,
			Labels: map[string]string{
				labelName: sessionName, labelInstance: s.Name, labelManagedBy: managedBy,
				vdi.LabelUser: platform.Identity(s.Spec.User),
			},
			OwnerReferences: []metav1.OwnerReference{ownerReference(s)},
		},
		Type: kind,
		Data: data,
	}
}

// readable is a password that can be read aloud and typed.
func readable(random []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random))
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
