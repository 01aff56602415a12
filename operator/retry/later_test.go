package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func node(name string) *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }

// TestLater: many changes are one look, a while later.
func TestLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := workqueue.NewTypedRateLimitingQueue(Limiter())
		defer queue.ShutDown()
		type change struct{ before, after client.Object }
		var changes []change
		h := Later(time.Second, func(_ context.Context, before, after client.Object) []types.NamespacedName {
			changes = append(changes, change{before, after})
			return []types.NamespacedName{{Name: "a"}, {Name: "b"}}
		})
		h.Create(t.Context(), event.CreateEvent{Object: node("new")}, queue)
		h.Update(t.Context(), event.UpdateEvent{ObjectOld: node("old"), ObjectNew: node("new")}, queue)
		h.Delete(t.Context(), event.DeleteEvent{Object: node("old")}, queue)
		require.Equal(t, []change{{nil, node("new")}, {node("old"), node("new")}, {node("old"), nil}}, changes)
		require.Zero(t, queue.Len())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 2, queue.Len())
		first, _ := queue.Get()
		require.Equal(t, reconcile.Request{NamespacedName: types.NamespacedName{Name: "a"}}, first)
	})
}

func TestAll(t *testing.T) {
	t.Parallel()
	cache := fake.NewClientBuilder().WithObjects(node("a"), node("b")).Build()
	require.Equal(t, []types.NamespacedName{{Name: "a"}, {Name: "b"}}, All(t.Context(), cache, &corev1.NodeList{}))
	closed := interceptor.NewClient(cache, interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("closed")
		},
	})
	require.Empty(t, All(t.Context(), closed, &corev1.NodeList{}))
}
