package charts

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yannh/kubeconform/pkg/validator"
)

// conformance reads manifests as strictly as it can be done without a cluster:
// unknown kinds, unknown and doubled fields are errors.
var conformance = sync.OnceValues(func() (validator.Validator, error) {
	dir := filepath.Join(scratch, "schemas")
	if err := writeSchemas(context.Background(), dir); err != nil {
		return nil, err
	}
	return validator.New([]string{filepath.Join(dir, schemaPath)}, validator.Opts{Strict: true})
})

// nonconformities are what is wrong with manifests, and how many were looked at.
func nonconformities(t *testing.T, manifests string) (problems []string, valid int) {
	t.Helper()
	v, err := conformance()
	require.NoError(t, err)
	for _, result := range v.Validate("manifests", io.NopCloser(strings.NewReader(manifests))) {
		switch result.Status {
		case validator.Valid:
			valid++
		case validator.Empty:
		default: // skipped is none of it: nothing may be
			problems = append(problems, fmt.Sprintf("%v\n%s", result.Err, result.Resource.Bytes))
		}
	}
	return problems, valid
}

// TestConforms: every object of every chart and profile is one that the API
// server and the third parties' CRDs describe.
func TestConforms(t *testing.T) {
	t.Parallel()
	all := scenarios(t)
	maps.Copy(all, relayScenarios(t))
	all["monitored-relay"] = relay(map[string]string{"serviceMonitor.enabled": "true", "prometheusRule.enabled": "true"})
	all["session"] = scenario{chart: inRepository("charts", "vdi-session"), set: map[string]string{"image": "desktop", "agent.image": "vdi-operator", "session.host": "alice.vdi.example.com"}}
	for name, s := range all {
		s.args = append(s.args, prometheusOperator()...)
		problems, valid := nonconformities(t, mustRender(t, s))
		require.Empty(t, problems, name)
		require.NotZero(t, valid, name)
	}
	for _, file := range glob(t, "charts", "vdi-operator", "crds", "*.yaml") {
		crd, err := os.ReadFile(file)
		require.NoError(t, err)
		problems, valid := nonconformities(t, string(crd))
		require.Empty(t, problems, file)
		require.Equal(t, 1, valid, file)
	}
	for _, file := range glob(t, "values", "templates", "*.yaml") {
		template, err := os.ReadFile(file)
		require.NoError(t, err)
		problems, valid := nonconformities(t, string(template))
		require.Empty(t, problems, file)
		require.Equal(t, 1, valid, file)
	}
}

// TestNonconformities: the check can fail, and says where.
func TestNonconformities(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ manifest, want string }{
		"misspelt field":      {"apiVersion: policy/v1\nkind: PodDisruptionBudget\nspec: {minAvailble: 1}", "'minAvailble' not allowed"},
		"wrong type":          {"apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: two, selector: {}, template: {}}", "/spec/replicas"},
		"missing field":       {"apiVersion: apps/v1\nkind: Deployment\nspec: {template: {}}", "missing property 'selector'"},
		"doubled field":       {"apiVersion: v1\nkind: Pod\nspec: {containers: []}\nspec: {containers: []}", `key "spec" already set`},
		"null":                {"apiVersion: v1\nkind: Pod\nmetadata: {labels: null}\nspec: {containers: []}", "/metadata/labels"},
		"unknown kind":        {"apiVersion: apps/v1\nkind: Deploymint", "could not find schema for Deploymint"},
		"unknown version":     {"apiVersion: policy/v1beta1\nkind: PodDisruptionBudget", "could not find schema for PodDisruptionBudget"},
		"unknown group":       {"apiVersion: example.com/v1\nkind: Thing", "could not find schema for Thing"},
		"ours, misspelt":      {"apiVersion: vdi.kasm.io/v1alpha1\nkind: VDITemplate\nspec: {image: a, displayname: b}", "'displayname' not allowed"},
		"Traefik's, misspelt": {"apiVersion: traefik.io/v1alpha1\nkind: IngressRoute\nspec: {routes: [], entrypoints: []}", "'entrypoints' not allowed"},
		"Prometheus', type":   {"apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nspec: {selector: {}, endpoints: {port: metrics}}", "/spec/endpoints"},
		"metadata of a CRD":   {"apiVersion: traefik.io/v1alpha1\nkind: TLSStore\nmetadata: {nme: a}\nspec: {}", "'nme' not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			problems, _ := nonconformities(t, c.manifest)
			require.Len(t, problems, 1)
			require.Contains(t, problems[0], c.want)
		})
	}
}
