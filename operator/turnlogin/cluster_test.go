package turnlogin

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// relay has a shared secret, or says why there is none.
type relay struct {
	secret  string
	problem error
}

func (r *relay) Get() (string, error) { return r.secret, r.problem }

func (r *relay) Changed() <-chan event.GenericEvent { return nil }

// cluster has one session's Secret, or none, and counts what is asked of it. Logins are made
// there.
type cluster struct {
	Logins
	client       client.Client
	writes, read int
	refusal      error // of every write
}

func newCluster(t *testing.T, stored ...client.Object) *cluster {
	t.Helper()
	w := &cluster{}
	w.client = fake.NewClientBuilder().WithObjects(stored...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return w.write(func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return w.write(func() error { return c.Update(ctx, o, opts...) })
		},
	}).Build()
	live := interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			w.read++
			_, metadata := o.(*metav1.PartialObjectMetadata)
			require.True(t, metadata, "a login is never read back")
			return c.Get(ctx, key, o, opts...)
		},
	})
	w.Logins = Logins{
		Secrets: secrets.Store{Objects: objects.Store{Client: w.client, Live: live, Owner: "test"}, MayRead: true, Policy: &secrets.Policy{}},
		TURN:    platform.TURN{Host: "turn.example.com", TLSPort: 5349}, Relay: &relay{secret: "shared"}, Known: &Known{},
	}
	return w
}

// write carries out a write, or refuses it.
func (w *cluster) write(do func() error) error {
	if w.refusal != nil {
		return w.refusal
	}
	w.writes++
	return do()
}

// login is what the desktop would read.
func (w *cluster) login(t *testing.T) (login platform.TURNLogin, secret *corev1.Secret) {
	t.Helper()
	secret = &corev1.Secret{}
	require.NoError(t, w.client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "desk-turn"}, secret))
	login, err := platform.ParseTURNLogin(secret.Data[wire.KeyTURNLogin])
	require.NoError(t, err)
	return login, secret
}

// requireReason wants a verdict for a reason, or with "" no error.
func requireReason(t *testing.T, reason string, err error) {
	t.Helper()
	if reason == "" {
		require.NoError(t, err)
		return
	}
	var v *verdict.Verdict
	require.ErrorAs(t, err, &v)
	require.Equal(t, reason, v.Reason)
}
