package monitoring

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/gpusharing"
	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck/proxytest"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// operator serves what a busy operator's /metrics serves: its reconcilers have
// brought a desktop up and stopped it when nobody used it, and looked at a node.
func operator(t *testing.T) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(sessions(t), gpus(t), proxy(t), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return serve(t, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}

// proxy is what the operator has found out about a proxy before a server of ours.
func proxy(t *testing.T) prometheus.Collector {
	t.Helper()
	front := proxytest.Start(t, httpserver.Guard(http.NotFoundHandler()), nil)
	check := proxycheck.NewCheck(platform.Config{Sessions: platform.Sessions{Proxy: platform.Proxy{Address: front.Address}}})
	check.Look(t.Context(), "alice.vdi.example.com")
	return check.Metrics()
}

// frontDoor returns the address of the front door's real metrics.
func frontDoor(t *testing.T) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	frontdoor.NewMetrics(registry, func() float64 { return 0 })
	frontdoor.RegisterPeople(registry, func() bool { return true })
	return serve(t, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}

// sessions count one run from start to end, and sessions in all other phases.
func sessions(t *testing.T) prometheus.Collector {
	t.Helper()
	w := newWorld(t)
	for _, phase := range []vdi.Phase{vdi.PhasePending, vdi.PhaseCreating, vdi.PhaseRunning, vdi.PhaseTerminating, vdi.PhaseFailed} {
		w.create(t, &vdi.VDISession{
			ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(string(phase)), Namespace: "desktops"},
			Spec:       vdi.VDISessionSpec{User: "a", Template: "plain"},
			Status:     vdi.VDISessionStatus{Phase: phase},
		})
	}
	w.create(t, &vdi.VDITemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "plain"},
		Spec:       vdi.VDITemplateSpec{Image: "desktop", Streamer: vdi.StreamerSelkies},
	})
	w.create(t, &vdi.VDISession{
		ObjectMeta: metav1.ObjectMeta{
			Name: "alice", Namespace: "desktops", UID: "3b4c7f7e", CreationTimestamp: metav1.NewTime(w.clock.Now()),
			Annotations: map[string]string{wire.AnnotationLastActivity: w.clock.Now().Format(time.RFC3339)},
		},
		Spec: vdi.VDISessionSpec{User: "alice", Template: "plain", IdleTimeout: "1h", Resources: vdi.SessionResources{GPU: ptr.To[int32](1)}},
	})
	w.pass(t)
	w.podIsReady(t)
	w.clock.SetTime(w.clock.Now().Add(10 * time.Second))
	require.Equal(t, vdi.PhaseRunning, w.pass(t).Status.Phase)
	w.clock.SetTime(w.clock.Now().Add(55 * time.Minute))
	w.pass(t) // it warns, and asks when the desktop was last used
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	w.pass(t)
	require.Equal(t, vdi.StopIdle, w.pass(t).Status.StopReason)
	return w.operator.Metrics
}

// gpus has looked at one node with one card.
func gpus(t *testing.T) prometheus.Collector {
	t.Helper()
	w := newWorld(t)
	w.create(t, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "gpu-node", Labels: map[string]string{"nvidia.com/gpu.count": "1"}},
		Status:     corev1.NodeStatus{Allocatable: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("8")}},
	})
	settings := platform.Config{TimeSlicing: platform.TimeSlicing{Enabled: true, ManagePolicy: true, Namespace: namespace}}.WithDefaults().TimeSlicing
	looker := &gpusharing.Reconciler{
		Client: w.client, Live: w.client, Settings: settings, Namespace: namespace,
		Clock: w.clock, Events: events.NewFakeRecorder(100), Metrics: gpusharing.NewMetrics(),
	}
	_, err := looker.Reconcile(t.Context(), ctrl.Request{})
	require.NoError(t, err)
	return looker.Metrics
}

// recorded serves the names and labels of a program that does not run here.
func recorded(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".prom"))
	require.NoError(t, err)
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
}

// serve returns the address of /metrics and nothing else.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/metrics", handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
