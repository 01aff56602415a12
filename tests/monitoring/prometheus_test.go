package monitoring

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// monitor is the part of a ServiceMonitor that the charts use.
type monitor struct {
	Spec struct {
		NamespaceSelector struct{ MatchNames []string }
		Selector          struct{ MatchLabels map[string]string }
		Endpoints         []struct{ Port, Path, Interval string }
	}
}

// job is a scrape of one address.
func job(name, address, path, interval string, labels map[string]string) map[string]any {
	return map[string]any{
		"job_name": name, "metrics_path": path, "scrape_interval": interval, "scrape_timeout": interval,
		"static_configs": []any{map[string]any{"targets": []string{address}, "labels": labels}},
	}
}

// jobOf is what the Prometheus Operator makes of a ServiceMonitor: the Service
// that it selects gives the job its name, and the target its labels.
func jobOf(t *testing.T, objs []*unstructured.Unstructured, obj *unstructured.Unstructured, address string) map[string]any {
	t.Helper()
	data, err := json.Marshal(obj.Object)
	require.NoError(t, err)
	var m monitor
	require.NoError(t, json.Unmarshal(data, &m))
	require.Equal(t, []string{namespace}, m.Spec.NamespaceSelector.MatchNames)
	require.Len(t, m.Spec.Endpoints, 1)
	endpoint := m.Spec.Endpoints[0]
	service := selected(t, objs, m.Spec.Selector.MatchLabels, endpoint.Port)
	return job(service, address, endpoint.Path, endpoint.Interval, map[string]string{"namespace": namespace, "service": service, "endpoint": endpoint.Port})
}

func selected(t *testing.T, objs []*unstructured.Unstructured, labels map[string]string, port string) string {
	t.Helper()
	var names []string
	for _, service := range ofKind(objs, "Service") {
		matches := true
		for key, value := range labels {
			matches = matches && service.GetLabels()[key] == value
		}
		ports, _, err := unstructured.NestedSlice(service.Object, "spec", "ports")
		require.NoError(t, err)
		for _, p := range ports {
			if matches && p.(map[string]any)["name"] == port {
				names = append(names, service.GetName())
			}
		}
	}
	require.Len(t, names, 1)
	return names[0]
}

// server is a running Prometheus.
type server struct{ url string }

// start runs Prometheus and waits until it has scraped every target twice,
// which is what rate() needs.
func start(t *testing.T, jobs ...map[string]any) server {
	t.Helper()
	dir := t.TempDir()
	config, err := yaml.Marshal(map[string]any{"scrape_configs": jobs})
	require.NoError(t, err)
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, config, 0o600))
	address := freeAddress(t)
	process := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	process.Stderr = os.Stderr
	require.NoError(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	s := server{"http://" + address}
	twice := fmt.Sprintf("count(count_over_time(up[1m]) >= 2) == %d", len(jobs))
	require.Eventually(t, func() bool {
		found, err := s.query(twice)
		return err == nil && len(found) == 1
	}, time.Minute, 100*time.Millisecond)
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := cluster.FreeAddress()
	require.NoError(t, err)
	return address
}

// query returns the series that answer an expression now.
func (s server) query(expr string) ([]any, error) {
	answer, err := http.PostForm(s.url+"/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	var out struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, fmt.Errorf("%w: %s", err, body)
	}
	if out.Status != "success" {
		return nil, fmt.Errorf("%s: %s", expr, out.Error)
	}
	return out.Data.Result, nil
}
