// Package e2e shows the promises on a real node: real proxy, real desktop, real
// homes; only the GPU is made up, by a device plugin that speaks the kubelet's
// own protocol.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// patience bounds one wait; the node shares two cores with everything else.
const patience = 5 * time.Minute

// platform is installed once for all tests of this package.
var platform *install.Platform

func TestMain(m *testing.M) {
	code, err := runWithPlatform(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end tests:", err)
		code = 1
	}
	os.Exit(code)
}

func runWithPlatform(m *testing.M) (code int, err error) {
	ctx := context.Background()
	c, done, err := theCluster(ctx)
	if err != nil {
		return 1, err
	}
	defer done()
	tools, err := cluster.BinDir()
	if err != nil {
		return 1, err
	}
	// terratest calls the kubectl and helm of the PATH.
	if err := os.Setenv("PATH", tools+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return 1, err
	}
	if platform, err = install.Install(ctx, c, os.Stderr, withGPUOperator()...); err != nil {
		return 1, err
	}
	if err := templates(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// theCluster is one of our own, or the one KUBECONFIG names with VDI_CLUSTER=existing.
func theCluster(ctx context.Context) (*cluster.Cluster, func(), error) {
	const name = "e2e"
	if os.Getenv("VDI_CLUSTER") == "existing" {
		c, err := cluster.Open(name)
		return c, func() {}, err
	}
	c, err := cluster.Up(ctx, cluster.Options{Name: name, DieWithParent: true, Progress: os.Stderr})
	done := func() {
		if err := cluster.Down(ctx, name); err != nil {
			fmt.Fprintln(os.Stderr, "take the cluster down:", err)
		}
	}
	return c, done, err
}

// templates are the real desktop, and a page where the picture does not matter.
func templates(ctx context.Context) error {
	desktop, err := install.Template()
	if err != nil {
		return err
	}
	page := &vdi.VDITemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "page"},
		Spec: vdi.VDITemplateSpec{
			Image: install.PageImage, Streamer: vdi.StreamerCustom, Port: 8080, HealthPath: "/healthz",
			Resources: vdi.TemplateResources{DefaultMemory: "64Mi", DefaultCPU: "100m"},
			Requests:  vdi.TemplateRequests{Memory: "16Mi", CPU: "10m"},
		},
	}
	for _, t := range []*vdi.VDITemplate{desktop, page} {
		if err := platform.Client.Create(ctx, t); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create template %s: %w", t.Name, err)
		}
	}
	return nil
}

// start creates a session; it ends with the test.
func start(t *testing.T, s *vdi.VDISession) {
	t.Helper()
	s.Namespace = install.Sessions
	require.NoError(t, platform.Client.Create(t.Context(), s))
	t.Cleanup(func() { finish(t, s) })
}

// finish deletes a session and waits until nothing of it is left but its home.
func finish(t *testing.T, s *vdi.VDISession) {
	t.Helper()
	ctx := context.Background() // the test's own is over in a cleanup
	if err := platform.Client.Delete(ctx, s); apierrors.IsNotFound(err) {
		return
	}
	require.Eventually(t, func() bool {
		key := client.ObjectKeyFromObject(s)
		return apierrors.IsNotFound(platform.Client.Get(ctx, key, &vdi.VDISession{})) &&
			apierrors.IsNotFound(platform.Client.Get(ctx, key, &corev1.Pod{}))
	}, patience, time.Second, "session %s is not gone", s.Name)
}

// await waits for a session's state.
func await(t *testing.T, s *vdi.VDISession, holds func(*vdi.VDISession) bool) *vdi.VDISession {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := platform.WaitFor(ctx, client.ObjectKeyFromObject(s), holds)
	require.NoError(t, err)
	return got
}

func session(name, user, template string) *vdi.VDISession {
	return &vdi.VDISession{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: vdi.VDISessionSpec{
			User: user, Template: template,
			Persistence: vdi.Persistence{Size: "1Gi"},
		},
	}
}

// scratch is a session without a home, for tests that only need a desktop.
func scratch(name, user, template string) *vdi.VDISession {
	s, off := session(name, user, template), false
	s.Spec.Persistence.Enabled = &off
	return s
}
