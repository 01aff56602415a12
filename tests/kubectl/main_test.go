// Package kubectl tries kubectl-vdi on a real API server, also as a plugin of the real
// kubectl and in a pseudo-terminal. Nobody runs an operator: the tests write what one would.
package kubectl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// world is the API server, and the program.
type world struct {
	*cluster.ControlPlane
	client client.Client
	bin    string // the built tools
	dir    string // holds the program, and the home of whoever calls it
}

// w is the one that all tests share.
var w world

func TestMain(m *testing.M) {
	code, err := runWithWorld(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubectl tests:", err)
		code = 1
	}
	os.Exit(code)
}

func runWithWorld(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if w.dir, err = os.MkdirTemp("", "kubectl-vdi-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(w.dir)
	if w.bin, err = cluster.BinDir(); err != nil {
		return 1, err
	}
	if err := w.build(ctx); err != nil {
		return 1, err
	}
	if w.ControlPlane, err = cluster.StartControlPlane(ctx, cluster.ControlPlaneOptions{}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	if err := w.fill(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// root is the repository.
func (w *world) root(path ...string) string {
	return filepath.Join(append([]string{filepath.Dir(w.bin)}, path...)...)
}

// build builds the program as releases do.
func (w *world) build(ctx context.Context) error {
	program := w.root("operator", "kubectl-vdi")
	build := exec.CommandContext(ctx, "go", "build", "-C", program, "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=0.0.0-test", "-o", filepath.Join(w.dir, "kubectl-vdi"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build kubectl-vdi: %w\n%s", err, out)
	}
	script, err := os.ReadFile(filepath.Join(program, "kubectl_complete-vdi"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.dir, "kubectl_complete-vdi"), script, 0o755); err != nil {
		return err
	}
	return os.Link(filepath.Join(w.dir, "kubectl-vdi"), filepath.Join(w.dir, "vdi"))
}

// fill makes our kinds, the chart's roles, and what lies in testdata/world.yaml.
func (w *world) fill(ctx context.Context) error {
	crds := envtest.CRDInstallOptions{Paths: []string{w.root("charts", "vdi-operator", "crds")}, ErrorIfPathMissing: true}
	if _, err := envtest.InstallCRDs(w.RESTConfig(), crds); err != nil {
		return err
	}
	var err error
	if w.client, err = client.New(w.RESTConfig(), client.Options{Scheme: run.Scheme()}); err != nil {
		return err
	}
	roles := exec.CommandContext(ctx, filepath.Join(w.bin, "helm"), "template", "vdi", w.root("charts", "vdi-operator"),
		"--set", "sessions.domain=vdi.example.com", "--kube-version", "1.37.2", "--show-only", "templates/tenancy/clusterroles.yaml")
	rendered, err := roles.Output()
	if err != nil {
		return fmt.Errorf("render the chart's roles (run 'make tools-helm'): %w", err)
	}
	things, err := os.ReadFile("testdata/world.yaml")
	if err != nil {
		return err
	}
	return errors.Join(w.create(ctx, rendered), w.create(ctx, things))
}

// create makes the objects of a file, each with its status.
func (w *world) create(ctx context.Context, text []byte) error {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := documents.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case len(o.Object) == 0:
			continue
		}
		if o.GetKind() == "Event" { // of a moment ago: older ones are of an earlier session
			o.Object["eventTime"] = time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
		}
		status, hasStatus := o.Object["status"]
		if err := w.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if !hasStatus || o.GetKind() == "VDIUsage" { // it was made with it
			continue
		}
		if err := w.writeStatus(ctx, o, status); err != nil {
			return fmt.Errorf("write the status of %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
}

// writeStatus writes a status, whatever controllers write beside it.
func (w *world) writeStatus(ctx context.Context, o *unstructured.Unstructured, status any) error {
	text, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	return w.client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, text))
}

// operator writes a status as the operator does: of the spec as it is now.
func (w *world) operator(t *testing.T, namespace, name string, status map[string]any) {
	t.Helper()
	s := w.session(t, namespace, name)
	status["observedGeneration"] = s.GetGeneration()
	require.NoError(t, w.writeStatus(t.Context(), s, status))
}

// session reads a session.
func (w *world) session(t *testing.T, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	s := &unstructured.Unstructured{}
	s.SetAPIVersion("vdi.kasm.io/v1alpha1")
	s.SetKind("VDISession")
	require.NoError(t, w.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, s))
	return s
}

// ends deletes a session at the end of a test, where that has not.
func (w *world) ends(t *testing.T, namespace, name string) {
	t.Cleanup(func() {
		s := &unstructured.Unstructured{}
		s.SetAPIVersion("vdi.kasm.io/v1alpha1")
		s.SetKind("VDISession")
		s.SetNamespace(namespace)
		s.SetName(name)
		if err := w.client.Delete(context.WithoutCancel(t.Context()), s); !apierrors.IsNotFound(err) {
			require.NoError(t, err)
		}
	})
}

// command calls the program in a home of its own.
func (w *world) command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), filepath.Join(w.dir, program), args...)
	c.Env = []string{"HOME=" + w.dir, "PATH=" + w.dir, "KUBECONFIG=" + w.Kubeconfig(), "TERM=xterm"}
	return c
}
