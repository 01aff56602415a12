package secrets

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const name = "desk-credentials"

// errDown is an API server that does not answer.
var errDown = errors.New("no answer")

var resource = schema.GroupResource{Resource: "secrets"}

// policy answers writes of Secrets as the admission policy on the operator's account does,
// and refuses to read one. With off there is none.
type policy struct {
	off            bool
	creates, dries int
	err            error // the answer to every write
}

func (p *policy) refuse(words string) error {
	return apierrors.NewForbidden(resource, name, errors.New("Secret "+name+": "+words))
}

func (p *policy) create(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	p.creates++
	switch {
	case p.err != nil:
		return p.err
	case !p.off && metav1.GetControllerOf(o) == nil:
		return p.refuse("the operator " + strangeWrite + " (metadata.ownerReferences)")
	}
	if there := c.Get(ctx, client.ObjectKeyFromObject(o), &corev1.Secret{}); there == nil {
		return apierrors.NewAlreadyExists(resource, o.GetName())
	}
	return c.Create(ctx, o, opts...)
}

func (p *policy) update(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
	if p.err != nil {
		return p.err
	}
	options, before := (&client.UpdateOptions{}).ApplyOptions(opts), &corev1.Secret{}
	dry := slices.Contains(options.DryRun, metav1.DryRunAll)
	if err := c.Get(ctx, client.ObjectKeyFromObject(o), before); err != nil {
		return err
	}
	owner, orphan := metav1.GetControllerOf(before), len(before.OwnerReferences) == 0 && before.Labels[wire.LabelManagedBy] == wire.Operator
	notes := o.GetAnnotations()
	asked := func(key string) bool { return notes[key] == "" || notes[key] == before.Annotations[key] }
	switch {
	case p.off:
	case owner == nil && (!orphan || notes[wire.AnnotationGivenBack] != wire.LabelOn):
		return p.refuse(nobodysSecret + " (metadata.ownerReferences)")
	case owner != nil && owner.UID != metav1.GetControllerOf(o).UID:
		return p.refuse("the operator " + othersSecret)
	case dry && (!asked(wire.AnnotationKeysVersion) || !asked(wire.AnnotationPasswordVerifier)):
		return p.refuse(differentSecret)
	}
	if !dry {
		return c.Update(ctx, o, opts...)
	}
	p.dries++
	if before.Type != o.(*corev1.Secret).Type {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, name, nil)
	}
	o.SetUID(before.UID)
	o.SetResourceVersion(before.ResourceVersion)
	return nil
}

// storeOf writes Secrets where a policy answers, or where the operator may read them.
func storeOf(t *testing.T, mayRead bool, p *policy, stored ...client.Object) Store {
	t.Helper()
	c := fake.NewClientBuilder().WithObjects(stored...).WithInterceptorFuncs(interceptor.Funcs{Create: p.create, Update: p.update}).Build()
	live := interceptor.NewClient(c, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if !mayRead {
			return apierrors.NewForbidden(resource, name, errors.New("the operator has no right to read it"))
		}
		_, metadata := o.(*metav1.PartialObjectMetadata)
		require.True(t, metadata, "nothing secret is read back")
		return c.Get(ctx, key, o, opts...)
	}})
	return Store{Objects: objects.Store{Client: c, Live: live, Owner: "test"}, MayRead: mayRead, Policy: &Policy{}}
}

// written is the session's Secret with an annotation, changed.
func written(s *vdi.VDISession, changes ...func(*corev1.Secret)) *corev1.Secret {
	secret := New(s, name, corev1.SecretTypeBasicAuth, map[string][]byte{"password": []byte("old")})
	secret.UID, secret.Annotations = "secret", map[string]string{wire.AnnotationKeysVersion: "2", wire.AnnotationPasswordVerifier: "v"}
	for _, change := range changes {
		change(secret)
	}
	return secret
}

func ownedBy(owners ...metav1.OwnerReference) func(*corev1.Secret) {
	return func(secret *corev1.Secret) { secret.OwnerReferences = owners }
}

func planted(secret *corev1.Secret) { secret.Labels, secret.OwnerReferences = nil, nil }

func opaque(secret *corev1.Secret) { secret.Type = corev1.SecretTypeOpaque }
