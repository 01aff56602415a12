package monitoring

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpusharing"
	"github.com/vdi-platform/vdi-platform/operator/session"
)

// operator serves what a busy operator's /metrics serves, from its own collectors.
func operator(t *testing.T) string {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, vdi.AddToScheme(scheme))
	cache := fake.NewClientBuilder().WithScheme(scheme)
	for _, phase := range []vdi.Phase{vdi.PhasePending, vdi.PhaseCreating, vdi.PhaseRunning, vdi.PhaseTerminating, vdi.PhaseFailed} {
		cache.WithObjects(&vdi.VDISession{
			ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(string(phase)), Namespace: "desktops"},
			Spec:       vdi.VDISessionSpec{User: "a", Template: "plain"},
			Status:     vdi.VDISessionStatus{Phase: phase},
		})
	}
	sessions := session.NewMetrics(cache.Build())
	for _, name := range []string{"start", "duration"} {
		hidden[*prometheus.HistogramVec](sessions, name).WithLabelValues("plain").Observe(100)
	}
	for name, label := range map[string]string{"stops": "Expired", "slices": "plain", "idle": "plain"} {
		hidden[*prometheus.CounterVec](sessions, name).WithLabelValues(label).Add(10)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(sessions, gpus(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return serve(t, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}

// gpus has looked at one node.
func gpus() prometheus.Collector {
	metrics := gpusharing.NewMetrics()
	last := reflect.ValueOf(metrics).Elem().FieldByName("last").FieldByName("nodes")
	nodes := map[string]gpusharing.NodeReport{"gpu-node": {
		Planned:     map[string]int64{"nvidia.com/gpu": 8},
		Allocatable: map[string]int64{"nvidia.com/gpu": 8},
	}}
	reflect.NewAt(last.Type(), unsafe.Pointer(last.UnsafeAddr())).Elem().Set(reflect.ValueOf(nodes))
	return metrics
}

// hidden reaches a collector's own vector: only a pass of the operator counts,
// and the names, labels and buckets are what matters here.
func hidden[T any](metrics *session.Metrics, field string) T {
	value := reflect.ValueOf(metrics).Elem().FieldByName(field)
	return *(*T)(unsafe.Pointer(value.UnsafeAddr()))
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
