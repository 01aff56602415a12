// Package secrets writes the Secrets of sessions, and asks about them.
//
// Where admission policies are on, the operator may create and replace them and has no
// right to read any, nor to patch them: the API server answers a malformed patch with the object, before an admission
// policy is asked. A replacement is answered with what was sent. Whose a Secret is, and
// whether its password is the one that was reported, it asks by a replacement that is not
// carried out (dryRun).
package secrets

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// The words of the admission policy on the operator's account about what no session is to
// control, and about a Secret that is nobody's, that is another session's, and that has other
// annotations than it is asked about (charts/vdi-operator/templates/admission/operator.yaml).
const (
	strangeWrite    = "writes nothing but what a VDISession controls"
	nobodysSecret   = "belongs to no VDISession"
	othersSecret    = "may not take it from its VDISession"
	differentSecret = "is another than the operator asks about"
)

// Store writes Secrets, and asks about them.
type Store struct {
	// Objects writes and reads objects.
	Objects objects.Store
	// MayRead says that the operator has the right to read Secrets: where no admission
	// policy answers.
	MayRead bool
	// Policy knows whether one does.
	Policy *Policy
}

// Policy is what is known of the admission policy on the operator's account. The zero
// value knows nothing yet.
type Policy struct{ seen atomic.Bool } // it is in force

// Look asks about a Secret: asked is a blank one with the annotations that it should
// have. It returns name, version and owner, and the annotations where they are as asked; nil
// where there is none. Of one that is not the session's, and that it has not lost, only the
// name and what is known of its owner are returned.
func (w Store) Look(ctx context.Context, s *vdi.VDISession, asked *corev1.Secret) (*metav1.PartialObjectMetadata, error) {
	name := asked.Name
	if w.MayRead {
		found := Metadata(name)
		if there, err := w.Objects.ReadMetadata(ctx, s.Namespace, found); err != nil || !there {
			return nil, err
		}
		return found, nil
	}
	if s.DeletionTimestamp == nil { // else the namespace may be ending, and only what is orphaned is written
		if err := w.ensurePolicy(ctx, s); err != nil {
			return nil, err
		}
	}
	found, err := w.tryToReplace(ctx, asked)
	if isSaid(err, differentSecret) {
		found, err = w.tryToReplace(ctx, Blank(s, name))
	}
	if isSaid(err, nobodysSecret) && s.DeletionTimestamp != nil {
		if found, err = w.tryToReplace(ctx, GivenBack(Blank(s, name))); err == nil {
			found.OwnerReferences = nil // it has lost them
		}
	}
	switch {
	case err == nil:
		return found, nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case isSaid(err, nobodysSecret), apierrors.IsInvalid(err): // of another type, or immutable
		return Metadata(name), nil
	case isSaid(err, othersSecret):
		found, former := Metadata(name), s.OwnerReference()
		former.UID = ""
		found.OwnerReferences = []metav1.OwnerReference{former}
		return found, nil
	default:
		return nil, fmt.Errorf("look at Secret %q: %w", name, err)
	}
}

// ensurePolicy makes sure, once, that there is a policy that answers: without it every
// question would be answered with yes, and a foreign Secret replaced. What is tried differs
// from the session's own Secret by its owner alone, so that no other policy minds.
func (w Store) ensurePolicy(ctx context.Context, s *vdi.VDISession) error {
	if w.Policy.seen.Load() {
		return nil
	}
	nobodys := Blank(s, renderer.CredentialsName(s.Name))
	nobodys.OwnerReferences = nil
	err := w.Objects.Client.Create(ctx, nobodys, client.DryRunAll, w.Objects.Owner)
	switch {
	case isSaid(err, strangeWrite):
		w.Policy.seen.Store(true)
		return nil
	case err == nil, apierrors.IsAlreadyExists(err):
		return errors.New("the admission policies on the operator's account are not in force: install the chart again, or set admission.enabled to false")
	default:
		return fmt.Errorf("ask the admission policy on the operator's account: %w", err)
	}
}

// tryToReplace asks what would come of it.
func (w Store) tryToReplace(ctx context.Context, by *corev1.Secret) (*metav1.PartialObjectMetadata, error) {
	err := w.Objects.Client.Update(ctx, by, client.DryRunAll, w.Objects.Owner)
	found := Metadata(by.Name)
	found.ObjectMeta = by.ObjectMeta
	return found, err
}

// isSaid reports whether a request was refused in these words.
func isSaid(err error, words string) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), words)
}

// Metadata is what the operator knows of a Secret: nothing secret.
func Metadata(name string) *metav1.PartialObjectMetadata {
	return objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindSecret), name)
}

// Version is one state of one Secret.
type Version struct {
	UID     types.UID
	Version string
}

// VersionOf is the present state of a Secret.
func VersionOf(o metav1.Object) Version { return Version{o.GetUID(), o.GetResourceVersion()} }

// Login is the user name of every desktop's login; the password alone is secret.
const Login = "desktop"

// Replace changes everything in exactly the Secret that was looked at. If the
// operator dies before the pod is made, the next pass does it again, and nobody
// knows the password in between.
func (w Store) Replace(ctx context.Context, found Version, fresh *corev1.Secret) error {
	fresh.UID, fresh.ResourceVersion = found.UID, found.Version
	if err := w.Objects.Client.Update(ctx, fresh, w.Objects.Owner); err != nil {
		fresh.UID, fresh.ResourceVersion = "", "" // it may have to be made
		return verdict.OfWrite(wire.KindSecret, err)
	}
	return nil
}

// Blank is a Secret of the session with nothing secret in it, of the type that the
// one of that name has.
func Blank(s *vdi.VDISession, name string) *corev1.Secret {
	if name == renderer.TURNLoginName(s.Name) {
		return New(s, name, corev1.SecretTypeOpaque, nil)
	}
	return New(s, name, corev1.SecretTypeBasicAuth, map[string][]byte{wire.KeyUsername: []byte(Login)})
}

// GivenBack marks a Secret that gets an owner again. Without the mark the admission policy
// lets nobody take one that has none: it may have been planted.
func GivenBack(secret *corev1.Secret) *corev1.Secret {
	secret.Annotations = map[string]string{wire.AnnotationGivenBack: wire.LabelOn}
	return secret
}

// New is a Secret of the session that goes with it.
func New(s *vdi.VDISession, name string, kind corev1.SecretType, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: s.Namespace,
			Labels: map[string]string{
				wire.LabelName: wire.NameSession, wire.LabelInstance: s.Name, wire.LabelManagedBy: wire.Operator,
				wire.LabelUser: platform.Identity(s.Spec.User),
			},
			OwnerReferences: []metav1.OwnerReference{s.OwnerReference()},
		},
		Type: kind,
		Data: data,
	}
}
