// Package credentials makes the Secret with which people log in to a session, create-only: the
// password of a session never changes behind its user's back.
package credentials

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

// Logins are the Secrets of sessions that start.
type Logins struct {
	// Secrets writes Secrets, and asks about them.
	Secrets secrets.Store
	// LogsIn: no session has a password, people log in at the front door.
	LogsIn bool
	// Current is a session as the API server has it.
	Current func(context.Context) (*vdi.VDISession, error)
}

// Ensure makes sure of the Secret of a session that is about to start, and returns the verifier
// of its password where that is known. A desktop that only the API server knew of is returned
// instead: it has the password in hand, which stays as it is.
func (l Logins) Ensure(ctx context.Context, s *vdi.VDISession) (verifier string, desktop *corev1.Pod, err error) {
	secret, err := newSecret(s)
	if err != nil {
		return "", nil, err
	}
	store := l.Secrets.Objects
	err = store.Client.Create(ctx, secret, store.Owner)
	switch {
	case err == nil:
		return secret.Annotations[wire.AnnotationPasswordVerifier], nil, nil
	case apierrors.IsAlreadyExists(err):
		return l.existing(ctx, s, secret)
	default:
		return "", nil, verdict.OfWrite(wire.KindSecret, err)
	}
}

// existing checks that the Secret of that name is this session's: a
// planted one would carry a password somebody else knows. A resume gets a fresh
// password, so that whoever looked over a shoulder last time stays out, and so does a
// session whose Secret no report names.
func (l Logins) existing(ctx context.Context, s *vdi.VDISession, fresh *corev1.Secret) (verifier string, desktop *corev1.Pod, err error) {
	stays, verifier, err := l.reported(ctx, s)
	if err != nil {
		return "", nil, err
	}
	asked := secrets.Blank(s, fresh.Name)
	if stays {
		asked.Annotations = map[string]string{wire.AnnotationKeysVersion: keysVersion}
	}
	if stays && verifier != "" {
		asked.Annotations[wire.AnnotationPasswordVerifier] = verifier
	}
	found, err := l.Secrets.Look(ctx, s, asked)
	if err != nil {
		return "", nil, verdict.OfWrite(wire.KindSecret, err)
	}
	if found == nil {
		return "", nil, fmt.Errorf("look at Secret %q: it has just gone", fresh.Name)
	}
	if err := verdict.OwnedBy(s, found, wire.KindSecret); err != nil {
		return "", nil, err
	}
	if stays && found.Annotations[wire.AnnotationKeysVersion] == keysVersion && (verifier == "" || found.Annotations[wire.AnnotationPasswordVerifier] == verifier) {
		return verifier, nil, nil
	}
	if desktop, err = l.desktopOf(ctx, s); err != nil || desktop != nil {
		return "", desktop, err
	}
	if err := l.Secrets.Replace(ctx, secrets.VersionOf(found), fresh); err != nil {
		return "", nil, err
	}
	return fresh.Annotations[wire.AnnotationPasswordVerifier], nil, nil
}

// reported reports whether people know the password, so that it stays, and what the
// status says of it. Where people log in at the front door nobody has one. Of a session
// that is being resumed the status names no Secret until it has a new password.
func (l Logins) reported(ctx context.Context, s *vdi.VDISession) (stays bool, verifier string, err error) {
	switch {
	case s.Status.Phase == vdi.PhaseSuspended:
		return false, "", nil
	case l.LogsIn:
		return true, "", nil
	case s.Status.CredentialsSecret == "" && s.Status.Access == nil: // or the cache is late
		if s, err = l.Current(ctx); err != nil {
			return false, "", err
		}
	}
	if access := s.Status.Access; access != nil {
		verifier = access.PasswordVerifier
	}
	return s.Status.CredentialsSecret != "", verifier, nil
}

// desktopOf asks the API server for a desktop that the cache does not show yet: that of
// an operator before this one, or beside it, has its password in hand. It is asked
// last, right before the password is renewed.
func (l Logins) desktopOf(ctx context.Context, s *vdi.VDISession) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	err := l.Secrets.Objects.Live.Get(ctx, client.ObjectKeyFromObject(s), pod)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for a desktop that runs: %w", err)
	case metav1.IsControlledBy(pod, s):
		return pod, nil
	}
	return nil, nil
}

func newSecret(s *vdi.VDISession) (*corev1.Secret, error) {
	random := make([]byte, 2*passwordBytes+cookieKeyBytes)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("make password: %w", err)
	}
	password, inner := readable(random[:passwordBytes]), readable(random[passwordBytes:2*passwordBytes])
	secret := secrets.New(s, renderer.CredentialsName(s.Name), corev1.SecretTypeBasicAuth, map[string][]byte{
		wire.KeyUsername:        []byte(secrets.Login),
		wire.KeyPassword:        []byte(password),
		wire.KeyDesktopUsername: []byte(secrets.Login),
		wire.KeyDesktopPassword: []byte(inner),
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
