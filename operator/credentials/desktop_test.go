package credentials

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// A desktop that runs has its password in hand: it stays as it is, and the desktop is found.
func TestDesktopFound(t *testing.T) {
	former := fixture.Session()
	former.UID = "former"
	pod := func(owners ...metav1.OwnerReference) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "desk", Namespace: "ns", OwnerReferences: owners}}
	}
	for name, c := range map[string]struct {
		pod   *corev1.Pod
		found bool
	}{
		"none runs":               {nil, false},
		"the session's":           {pod(fixture.Session().OwnerReference()), true},
		"the former one's":        {pod(former.OwnerReference()), false},
		"somebody's of that name": {pod(), false},
	} {
		t.Run(name, func(t *testing.T) {
			there := []client.Object{old(t)}
			if c.pod != nil {
				there = append(there, c.pod)
			}
			l := loginsIn(t, interceptor.Funcs{}, there...)
			_, desktop, err := l.Ensure(t.Context(), fixture.Session())
			require.NoError(t, err)
			require.Equal(t, c.found, desktop != nil)
			require.Equal(t, c.found, string(stored(t, l).Data[wire.KeyPassword]) == "old")
		})
	}
}

// Each step may fail or be refused; the password that is there stays then.
func TestSteps(t *testing.T) {
	quota := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, name, errors.New("exceeded quota: x"))
	policy := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, name, errors.New("not on Sundays"))
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, name, errors.New("it has changed"))
	readFails := func(fails func(client.Object) bool) interceptor.Funcs {
		return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if fails(o) {
				return errDown
			}
			return c.Get(ctx, key, o, opts...)
		}}
	}
	createFails := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return err }}
	}
	updateFails := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return err }}
	}
	for name, c := range map[string]struct {
		answers interceptor.Funcs
		reason  string // of the verdict; "": err is returned as it is
		err     error
	}{
		"over a quota":             {createFails(quota), vdi.ReasonQuotaExceeded, nil},
		"refused by a policy":      {createFails(policy), vdi.ReasonDenied, nil},
		"no answer to the create":  {createFails(errDown), "", errDown},
		"no answer to the look":    {readFails(func(o client.Object) bool { _, is := o.(*metav1.PartialObjectMetadata); return is }), "", errDown},
		"no answer about a pod":    {readFails(func(o client.Object) bool { _, is := o.(*corev1.Pod); return is }), "", errDown},
		"a replacement is refused": {updateFails(policy), vdi.ReasonDenied, nil},
		"it changed meanwhile":     {updateFails(conflict), "", conflict},
	} {
		t.Run(name, func(t *testing.T) {
			l := loginsIn(t, c.answers, old(t))
			verifier, desktop, err := l.Ensure(t.Context(), fixture.Session())
			require.Empty(t, verifier, "what was not written is not reported")
			require.Nil(t, desktop)
			require.Equal(t, "old", string(stored(t, l).Data[wire.KeyPassword]))
			var v *verdict.Verdict
			if c.reason == "" {
				require.ErrorIs(t, err, c.err)
				require.False(t, errors.As(err, &v), "it passes by itself")
				return
			}
			require.ErrorAs(t, err, &v)
			require.Equal(t, c.reason, v.Reason)
		})
	}
}

// A Secret that goes between the create and the look is made by the next pass.
func TestJustGone(t *testing.T) {
	secret := old(t)
	l := loginsIn(t, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		err := c.Create(ctx, o, opts...)
		if apierrors.IsAlreadyExists(err) {
			require.NoError(t, c.Delete(ctx, secret))
		}
		return err
	}}, secret.DeepCopy())
	_, _, err := l.Ensure(t.Context(), reporting("old"))
	require.ErrorContains(t, err, "it has just gone")
	verifier, _, err := l.Ensure(t.Context(), reporting("old"))
	require.NoError(t, err)
	require.Equal(t, wire.PasswordVerifier(string(stored(t, l).Data[wire.KeyPassword])), verifier)
}
