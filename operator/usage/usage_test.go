package usage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

var utc = accounting.Kept{Zone: time.UTC, Months: 13}

func run(uid string) accounting.Run {
	return accounting.Run{UID: types.UID(uid), Namespace: "art", Template: "blender", Begin: noon, End: noon.Add(time.Hour), Rate: 1000}
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	require.NoError(t, vdi.AddToScheme(s))
	return s
}

// TestAdd: each run counts once, whoever writes beside it, and whatever the cache knows.
func TestAdd(t *testing.T) {
	t.Parallel()
	server := fake.NewClientBuilder().WithScheme(scheme(t)).Build()
	s := Store{Client: server, Live: server, Owner: "test", Kept: utc}
	var all sync.WaitGroup
	for i := range 2 * tries {
		all.Go(func() {
			for {
				if s.Add(t.Context(), "alice", run(fmt.Sprint(i/2))) == nil {
					return
				}
			}
		})
	}
	all.Wait()
	u := &vdi.VDIUsage{}
	require.NoError(t, server.Get(t.Context(), client.ObjectKey{Name: platform.Identity("alice")}, u))
	require.Equal(t, "alice", u.Spec.User)
	require.Equal(t, []vdi.UsageSpan{{Date: "2026-11-30", Namespace: "art", Template: "blender", Runs: tries, Seconds: tries * 3600, GPUSeconds: tries * 3600}}, u.Status.Days)
}

// TestAddRefused: what the API server refuses is said, not tried again.
func TestAddRefused(t *testing.T) {
	t.Parallel()
	refusal, asked := errors.New("no"), 0
	server := fake.NewClientBuilder().WithScheme(scheme(t)).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			asked++
			return refusal
		},
	}).Build()
	require.ErrorIs(t, Store{Client: server, Live: server, Owner: "test", Kept: utc}.Add(t.Context(), "alice", run("1")), refusal)
	require.Equal(t, 1, asked)
}

// TestFold: what is old goes, and with it whom nothing is known of.
func TestFold(t *testing.T) {
	t.Parallel()
	var writes atomic.Int32
	server := fake.NewClientBuilder().WithScheme(scheme(t)).WithInterceptorFuncs(interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			writes.Add(1)
			return c.Update(ctx, o, opts...)
		},
	}).Build()
	s := Store{Client: server, Live: server, Owner: "test", Kept: utc}
	require.NoError(t, s.Add(t.Context(), "alice", run("1")))
	later := run("2")
	later.Begin, later.End = noon.AddDate(0, 5, 0), noon.AddDate(0, 5, 1)
	require.NoError(t, s.Add(t.Context(), "bob", later))
	require.NoError(t, s.Fold(t.Context(), noon.AddDate(0, 0, 30)))
	require.Zero(t, writes.Load(), "there is nothing to do")
	require.NoError(t, s.Fold(t.Context(), noon.AddDate(0, 3, 0)))
	require.Equal(t, int32(1), writes.Load())
	alice := &vdi.VDIUsage{}
	require.NoError(t, server.Get(t.Context(), client.ObjectKey{Name: platform.Identity("alice")}, alice))
	require.Empty(t, alice.Status.Days)
	require.Equal(t, "2026-11", alice.Status.Months[0].Date)
	require.NoError(t, s.Fold(t.Context(), noon.AddDate(0, 15, 0)))
	left := &vdi.VDIUsageList{}
	require.NoError(t, server.List(t.Context(), left))
	require.Len(t, left.Items, 1)
	require.Equal(t, "bob", left.Items[0].Spec.User)
}
