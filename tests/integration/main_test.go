// Package integration runs the operator's controllers against a real API server
// with etcd and the controller-manager. Nothing is mocked: the tests only play
// the kubelet, by writing the status of pods, and move the operator's clock.
package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

const (
	vdiCRDs        = "charts/vdi-operator/crds"
	traefikModule  = "github.com/traefik/traefik/v3"
	traefikCRDs    = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"
	routeCRD       = "ingressroutes.traefik.io"
	middlewareCRD  = "middlewares.traefik.io"
	missingToolFix = "run 'make tools' at the top of the repository"
)

// TestMain ends the shared control plane, which the first test that needs it starts.
func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the control plane:", err)
		code = 1
	}
	os.Exit(code)
}

// plane is a control plane with the platform's kinds.
type plane struct {
	*cluster.ControlPlane
	// admin is an uncached client of the cluster's administrator.
	admin client.WithWatch
}

var (
	startShared   sync.Once
	shared        *plane
	errShared     error
	sharedStarted bool
)

// sharedPlane has all kinds, also the proxy's. Tests keep to a namespace each.
func sharedPlane(t *testing.T) *plane {
	t.Helper()
	startShared.Do(func() {
		shared, errShared = startPlane(context.Background())
		sharedStarted = true
		if errShared == nil {
			errShared = shared.installRouteKind(context.Background())
		}
	})
	require.NoError(t, errShared, missingToolFix)
	return shared
}

func stopShared() error {
	if !sharedStarted || shared == nil {
		return nil
	}
	return shared.Stop()
}

// startPlane starts a control plane with the platform's own kinds.
func startPlane(ctx context.Context, without ...string) (*plane, error) {
	p, err := startEmptyPlane(ctx, without...)
	if err != nil {
		return nil, err
	}
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	return p, p.installCRDs(ctx, filepath.Join(root, vdiCRDs), "")
}

// startEmptyPlane starts a control plane that knows nothing of the platform. The pod
// garbage collector is off: it would remove pods of nodes that do not exist, and
// the tests' kubelet has none. So are those that are named.
func startEmptyPlane(ctx context.Context, without ...string) (*plane, error) {
	controllers := "--controllers=*,-pod-garbage-collector-controller"
	for _, name := range without {
		controllers += ",-" + name
	}
	c, err := cluster.StartControlPlane(ctx, cluster.ControlPlaneOptions{ControllerManagerArgs: []string{controllers}})
	if err != nil {
		return nil, err
	}
	admin, err := client.NewWithWatch(c.RESTConfig(), client.Options{Scheme: run.Scheme()})
	if err != nil {
		return nil, err
	}
	return &plane{ControlPlane: c, admin: admin}, nil
}

func repositoryRoot() (string, error) {
	bin, err := cluster.BinDir()
	return filepath.Dir(bin), err
}

// installRouteKind installs the proxy's kinds.
func (p *plane) installRouteKind(ctx context.Context) error {
	file, err := proxyCRDs(ctx)
	if err != nil {
		return err
	}
	return errors.Join(p.installCRDs(ctx, file, middlewareCRD), p.installCRDs(ctx, file, routeCRD))
}

// proxyCRDs is a file with the proxy's definitions, from the very module of
// Traefik that the local cluster runs.
func proxyCRDs(ctx context.Context) (string, error) {
	return cluster.ModuleFile(ctx, "traefik", traefikModule, traefikCRDs)
}

// removeKind removes a definition and everything of its kind. Where the store was
// not ready at the API server's first try, Kubernetes tries again only after a
// change of the definition (updateCustomResourceDefinition in its
// crd_finalizer.go): it gets one.
func (p *plane) removeKind(t *testing.T, name string) {
	t.Helper()
	definition := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name, nil)
	require.NoError(t, p.admin.Delete(t.Context(), definition))
	require.Eventually(t, func() bool {
		wake := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"looked-at":%q}}}`, time.Now()))
		return apierrors.IsNotFound(p.admin.Patch(t.Context(), definition, wake))
	}, othersWork, time.Second, "%s is gone", name)
}

// installCRDs creates the definitions in a file or folder (only the named one
// when a name is given) and waits until they are served.
func (p *plane) installCRDs(ctx context.Context, path, only string) error {
	files := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		files, _ = filepath.Glob(filepath.Join(path, "*.yaml"))
	}
	for _, file := range files {
		objects, err := readObjects(file)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if only != "" && o.GetName() != only {
				continue
			}
			if err := p.installCRD(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *plane) installCRD(ctx context.Context, o *unstructured.Unstructured) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(o.GroupVersionKind())
	events, err := p.admin.Watch(ctx, list, client.MatchingFields{"metadata.name": o.GetName()})
	if err != nil {
		return err
	}
	defer events.Stop()
	if err := p.admin.Create(ctx, o); err != nil {
		return fmt.Errorf("install %s: %w", o.GetName(), err)
	}
	for event := range events.ResultChan() {
		if crd, ok := event.Object.(*unstructured.Unstructured); ok && isEstablished(crd) {
			return p.isServed(ctx, crd)
		}
	}
	return fmt.Errorf("install %s: the watch ended before the kind was served", o.GetName())
}

// isServed waits for discovery, which follows a moment after the definition is established.
func (p *plane) isServed(ctx context.Context, crd *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	version := versions[0].(map[string]any)["name"].(string) // the mapper knows a group's versions as they were at first
	return wait.PollUntilContextTimeout(ctx, glance, othersWork, true, func(context.Context) (bool, error) {
		_, err := p.admin.RESTMapper().RESTMapping(schema.GroupKind{Group: group, Kind: kind}, version)
		return err == nil, nil
	})
}

func isEstablished(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		if m := c.(map[string]any); m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}

// readObjects decodes all documents of a YAML file.
func readObjects(path string) ([]*unstructured.Unstructured, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return decodeObjects(string(data))
}

func decodeObjects(text string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := decoder.Decode(&o.Object); {
		case err != nil && err.Error() == "EOF":
			return objects, nil
		case err != nil:
			return nil, err
		case len(o.Object) > 0:
			objects = append(objects, o)
		}
	}
}
