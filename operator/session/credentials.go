package session

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// passwordBytes are 160 bits: 32 base32 characters without padding.
const passwordBytes = 20

// cookieKeyBytes are the key of an HMAC-SHA256 (RFC 2104, section 3).
const cookieKeyBytes = 32

// keysVersion says which keys a Secret has, so that one of an older operator
// gets the missing ones before its next pod is made.
const keysVersion = "2"

// seePod notes the session's pod. What is known of the login of a desktop that was not
// reported yet stands on its pod. No report may know the pod without its login: both are
// written once.
func (r *Reconciler) seePod(p *plan.Pass, pod *corev1.Pod) {
	p.Seen.Pod = pod
	if !p.SamePod() {
		r.firstStarts.recall(p)
		p.Credentials, p.Verifier = true, verifierOn(pod)
	}
}

// verifierOn is what a pod says of its password. Others may write annotations: what is no
// SHA-256 is not believed.
func verifierOn(pod *corev1.Pod) string {
	verifier := pod.Annotations[wire.AnnotationPasswordVerifier]
	if !wire.IsPasswordVerifier(verifier) {
		return ""
	}
	return verifier
}

// ensureCredentials writes the Secret of a session that is about to start,
// create-only: the password of a session never changes behind its user's back.
func (r *Reconciler) ensureCredentials(ctx context.Context, p *plan.Pass) error {
	secret, err := newCredentials(p.Session)
	if err != nil {
		return err
	}
	err = r.Client.Create(ctx, secret, client.FieldOwner(FieldOwner))
	switch {
	case err == nil:
		p.Verifier = secret.Annotations[wire.AnnotationPasswordVerifier]
	case apierrors.IsAlreadyExists(err):
		if err := r.existingCredentials(ctx, p, secret); err != nil {
			return err
		}
	default:
		return verdict.OfWrite(wire.KindSecret, err)
	}
	p.Credentials = true
	return nil
}

// existingCredentials checks that the Secret of that name is this session's: a
// planted one would carry a password somebody else knows. A resume gets a fresh
// password, so that whoever looked over a shoulder last time stays out, and so does a
// session whose Secret no report names.
func (r *Reconciler) existingCredentials(ctx context.Context, p *plan.Pass, fresh *corev1.Secret) error {
	stays, verifier, err := r.reportedLogin(ctx, p)
	if err != nil {
		return err
	}
	asked := secrets.Blank(p.Session, fresh.Name)
	if stays {
		asked.Annotations = map[string]string{wire.AnnotationKeysVersion: keysVersion}
	}
	if stays && verifier != "" {
		asked.Annotations[wire.AnnotationPasswordVerifier] = verifier
	}
	found, err := r.secrets().Look(ctx, p.Session, asked)
	if err != nil {
		return verdict.OfWrite(wire.KindSecret, err)
	}
	if found == nil {
		return fmt.Errorf("look at Secret %q: it has just gone", fresh.Name)
	}
	if err := verdict.OwnedBy(p.Session, found, wire.KindSecret); err != nil {
		return err
	}
	if stays && found.Annotations[wire.AnnotationKeysVersion] == keysVersion && (verifier == "" || found.Annotations[wire.AnnotationPasswordVerifier] == verifier) {
		p.Verifier = verifier
		return nil
	}
	if err := r.lookForPod(ctx, p); err != nil || p.Seen.Pod != nil {
		return err
	}
	if err := r.secrets().Replace(ctx, secrets.VersionOf(found), fresh); err != nil {
		return err
	}
	p.Verifier = fresh.Annotations[wire.AnnotationPasswordVerifier]
	return nil
}

// reportedLogin reports whether people know the password, so that it stays, and what the
// status says of it. In mode OIDC nobody has one. Of a session that is being resumed the
// status names no Secret until it has a new password.
func (r *Reconciler) reportedLogin(ctx context.Context, p *plan.Pass) (stays bool, verifier string, err error) {
	s := p.Session
	switch {
	case s.Status.Phase == vdi.PhaseSuspended:
		return false, "", nil
	case p.OIDC:
		return true, "", nil
	case s.Status.CredentialsSecret == "" && s.Status.Access == nil: // or the cache is late
		if s, err = r.current(ctx, p); err != nil {
			return false, "", err
		}
	}
	if access := s.Status.Access; access != nil {
		verifier = access.PasswordVerifier
	}
	return s.Status.CredentialsSecret != "", verifier, nil
}

// lookForPod asks the API server for a desktop that the cache does not show yet: that of
// an operator before this one, or beside it, has its password in hand. It is asked
// last, right before the password is renewed.
func (r *Reconciler) lookForPod(ctx context.Context, p *plan.Pass) error {
	pod := &corev1.Pod{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.Session), pod)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("look for a desktop that runs: %w", err)
	case metav1.IsControlledBy(pod, p.Session):
		r.seePod(p, pod)
	}
	return nil
}

func newCredentials(s *vdi.VDISession) (*corev1.Secret, error) {
	random := make([]byte, 2*passwordBytes+cookieKeyBytes)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("make password: %w", err)
	}
	password, desktop := readable(random[:passwordBytes]), readable(random[passwordBytes:2*passwordBytes])
	secret := secrets.New(s, renderer.CredentialsName(s.Name), corev1.SecretTypeBasicAuth, map[string][]byte{
		wire.KeyUsername:        []byte(secrets.Login),
		wire.KeyPassword:        []byte(password),
		wire.KeyDesktopUsername: []byte(secrets.Login),
		wire.KeyDesktopPassword: []byte(desktop),
		wire.KeyCookie:          random[2*passwordBytes:],
	})
	secret.Annotations = map[string]string{
		wire.AnnotationKeysVersion:      keysVersion,
		wire.AnnotationPasswordVerifier: wire.PasswordVerifier(password),
	}
	return secret, nil
}

// readable is a password that can be read aloud and typed.
func readable(random []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random))
}
