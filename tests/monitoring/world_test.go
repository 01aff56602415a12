package monitoring

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// world is an operator with a clock of its own. Its API server is a store in
// memory: what is under test is what the operator counts, and tests/integration
// shows that it does the right thing with a real one.
type world struct {
	client   client.Client
	clock    *clocktesting.FakePassiveClock
	operator *session.Reconciler
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store := fake.NewClientBuilder().WithScheme(run.Scheme()).WithStatusSubresource(&vdi.VDISession{}, &corev1.Pod{}).Build()
	w := &world{client: store, clock: clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second))}
	render, err := renderer.New()
	require.NoError(t, err)
	config := platform.Config{Sessions: platform.Sessions{Domain: "vdi.example.com"}}
	w.operator = &session.Reconciler{
		Client: store, Live: store, Renderer: render, Config: config.WithDefaults(), Namespace: namespace, Clock: w.clock,
		ServerTime: func(context.Context) (time.Time, error) { return w.clock.Now(), nil },
		Probe:      func(context.Context, platform.RouteQuestion) error { return nil },
		Events:     events.NewFakeRecorder(100), Metrics: session.NewMetrics(store),
	}
	return w
}

// create also stores a status, which a store leaves to its subresource.
func (w *world) create(t *testing.T, o client.Object) {
	t.Helper()
	wanted, hasStatus := o.DeepCopyObject().(*vdi.VDISession)
	require.NoError(t, w.client.Create(t.Context(), o))
	if hasStatus {
		wanted.ResourceVersion = o.GetResourceVersion()
		require.NoError(t, w.client.Status().Update(t.Context(), wanted))
	}
}

// pass is one look of the operator at Alice's session.
func (w *world) pass(t *testing.T) *vdi.VDISession {
	t.Helper()
	key := client.ObjectKey{Namespace: "desktops", Name: "alice"}
	_, err := w.operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
	require.NoError(t, err)
	s := &vdi.VDISession{}
	require.NoError(t, w.client.Get(t.Context(), key, s))
	return s
}

// podIsReady plays the kubelet.
func (w *world) podIsReady(t *testing.T) {
	t.Helper()
	pod := &corev1.Pod{}
	require.NoError(t, w.client.Get(t.Context(), client.ObjectKey{Namespace: "desktops", Name: "alice"}, pod))
	pod.CreationTimestamp = metav1.NewTime(w.clock.Now()) // which a store does not write
	pod.Spec.NodeName = "node"
	require.NoError(t, w.client.Update(t.Context(), pod))
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	require.NoError(t, w.client.Status().Update(t.Context(), pod))
}
