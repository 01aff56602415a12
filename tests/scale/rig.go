// Package scale is a control plane with made-up nodes for thousands of
// sessions, the operator as a process of its own with exactly the chart's
// permissions, and what is counted there: requests from the API server's audit
// log, processor time and memory from /proc.
//
// Real are etcd, the API server, its controllers, the scheduler, the volume
// provisioner and the operator. Made up are the nodes (KWOK answers for the
// kubelets: no container runs) and so the way through the proxy, which nobody
// verifies.
package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// What one made-up node takes: eight GPUs cut into 16 slices each, and as many
// pods as a kubelet's default.
const (
	podsPerNode   = 110
	slicesPerNode = 8 * 16
)

// spare nodes let pods that are going and pods that are coming overlap.
const spareNodes = 2

// DriverUser writes sessions. It may do everything, but is no member of
// system:masters: priority and fairness count it.
const DriverUser = "driver"

// Rig is a running control plane with nodes, volumes and the platform's kinds.
type Rig struct {
	*cluster.ControlPlane
	// Driver is the client of whoever writes sessions: uncached and unthrottled.
	Driver client.WithWatch
	// Bin is the folder with the built tools.
	Bin      string
	stop     context.CancelFunc
	replicas int // started so far
}

// Start brings up a control plane with room for a number of sessions. Its
// state lies in dir (a temporary folder when empty); its processes end with
// [Rig.Stop] or with the calling process.
func Start(ctx context.Context, dir string, sessions int) (*Rig, error) {
	klog.SetLogger(logr.Discard()) // the provisioner tells about every volume
	ctrl.SetLogger(logr.Discard())
	bin, err := cluster.BinDir()
	if err != nil {
		return nil, err
	}
	c, err := cluster.StartControlPlane(ctx, cluster.ControlPlaneOptions{
		Dir: dir, Scheduler: true,
		ControllerManagerArgs: []string{cluster.PatientWithNodes, fmt.Sprintf("--concurrent-statefulset-syncs=%d", Writers)},
	})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Rig{ControlPlane: c, Bin: bin, stop: stop}
	if err := r.furnish(ctx, running, sessions); err != nil {
		return nil, errors.Join(fmt.Errorf("furnish the control plane: %w", err), r.Stop())
	}
	return r, nil
}

// Stop ends all processes.
func (r *Rig) Stop() error {
	r.stop()
	return r.ControlPlane.Stop()
}

// furnish adds nodes, volumes, kinds and the driver's client.
func (r *Rig) furnish(ctx, running context.Context, sessions int) error {
	nodes := cluster.MadeUpNodes{Count: sessions/podsPerNode + spareNodes, Pods: podsPerNode, Slices: slicesPerNode}
	if err := r.StartNodes(ctx, nodes); err != nil {
		return err
	}
	if err := r.StartVolumes(running); err != nil {
		return err
	}
	if err := r.installKinds(ctx); err != nil {
		return err
	}
	if err := r.AllowAll(ctx, DriverUser); err != nil {
		return err
	}
	config, err := r.UserConfig(DriverUser)
	if err != nil {
		return err
	}
	r.Driver, err = client.NewWithWatch(config, client.Options{Scheme: run.Scheme()})
	return err
}

// installKinds defines the platform's kinds and the proxy's, these from the
// very module of Traefik that the local cluster runs.
func (r *Rig) installKinds(ctx context.Context) error {
	const routes = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"
	traefik, err := cluster.ModuleFile(ctx, "traefik", "github.com/traefik/traefik/v3", routes)
	if err != nil {
		return err
	}
	return r.InstallCRDs(r.repository("charts", "vdi-operator", "crds"), traefik)
}

// InstallCRDs creates the definitions in files or folders and waits until they are served.
func (r *Rig) InstallCRDs(paths ...string) error {
	_, err := envtest.InstallCRDs(r.RESTConfig(), envtest.CRDInstallOptions{Paths: paths, ErrorIfPathMissing: true})
	if err != nil {
		return fmt.Errorf("install kinds: %w", err)
	}
	return nil
}

// repository is a path in the checkout.
func (r *Rig) repository(parts ...string) string {
	return filepath.Join(append([]string{filepath.Dir(r.Bin)}, parts...)...)
}

// Build compiles a program (for instance ./operator/cmd/vdi-operator) of a
// module of the repository ("" or "tests") into dir, with further flags of go
// build, and returns its path.
func (r *Rig) Build(ctx context.Context, module, dir, pkg string, flags ...string) (string, error) {
	path := filepath.Join(dir, filepath.Base(pkg))
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, flags...)
	build := exec.CommandContext(ctx, "go", append(args, pkg)...)
	build.Dir = r.repository(module)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// Namespaces makes some, named NAME-0, NAME-1 …, and returns their names.
func (r *Rig) Namespaces(ctx context.Context, name string, n int) ([]string, error) {
	var names []string
	for i := range n {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + strconv.Itoa(i)}}
		if err := r.Driver.Create(ctx, ns); err != nil {
			return nil, fmt.Errorf("make namespace %s: %w", ns.Name, err)
		}
		names = append(names, ns.Name)
	}
	return names, nil
}

// Load is the machine's load average over one, five and fifteen minutes, as
// /proc/loadavg has it: figures taken on a busy machine say so.
func Load() string {
	line, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(line))[:3], " ")
}
