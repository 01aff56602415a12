// Package monitoring lets the real Prometheus scrape the operator's real
// metrics as the charts tell it to, and asks it every question of the alerts
// and the dashboard. What cannot run here (GPUs, coturn with metrics) is
// served from recordings of its names and labels.
package monitoring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/vdi-platform/vdi-platform/tests/debian"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// release is where the documentation installs the platform.
const release, namespace = "vdi", "vdi-system"

var repository string

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests/monitoring:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	if repository, err = standins.RepositoryRoot(); err != nil {
		return 0, err
	}
	if _, err := os.Stat(filepath.Join(repository, "bin", "helm")); err != nil {
		return 0, errors.New("bin/helm is missing: run `make tools-helm`")
	}
	if err := debian.Ensure(context.Background(), "prometheus", "promtool"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// charts renders operator and relay with everything that concerns monitoring.
func charts(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	common := []string{
		"--set", "serviceMonitor.enabled=true,prometheusRule.enabled=true,serviceMonitor.interval=1s",
		"--api-versions", "monitoring.coreos.com/v1/ServiceMonitor", "--api-versions", "monitoring.coreos.com/v1/PrometheusRule",
	}
	return append(
		rendered(t, "vdi-operator", append(common, "--set", "sessions.domain=vdi.example.com,dashboard.enabled=true,access.mode=Local")...),
		rendered(t, "coturn", append(common, "--set", "realm=turn.vdi.example.com")...)...,
	)
}

func rendered(t *testing.T, chart string, args ...string) []*unstructured.Unstructured {
	t.Helper()
	all := append([]string{"template", release, filepath.Join(repository, "charts", chart), "-n", namespace, "--kube-version", "1.37.2"}, args...)
	command := exec.CommandContext(t.Context(), filepath.Join(repository, "bin", "helm"), all...)
	var words bytes.Buffer
	command.Stderr = &words
	out, err := command.Output()
	require.NoError(t, err, words.String())
	var objs []*unstructured.Unstructured
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096); ; {
		obj := &unstructured.Unstructured{}
		if err := decoder.Decode(obj); err != nil {
			require.ErrorContains(t, err, "EOF")
			return objs
		}
		objs = append(objs, obj)
	}
}

func ofKind(objs []*unstructured.Unstructured, kind string) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for _, obj := range objs {
		if obj.GetKind() == kind {
			found = append(found, obj)
		}
	}
	return found
}
