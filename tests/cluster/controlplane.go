package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// startAttempts bounds how often a control plane is started anew because
// another process took one of its ports between our choosing and using it.
const startAttempts = 3

// ControlPlaneOptions shape a control plane; the zero value is a good one.
type ControlPlaneOptions struct {
	// Dir keeps state and logs. Empty means a temporary folder, removed by Stop.
	Dir string
	// Scheduler also starts kube-scheduler, for tests with made-up nodes.
	Scheduler bool
	// APIServerArgs and ControllerManagerArgs are added to the programs' own.
	APIServerArgs         []string
	ControllerManagerArgs []string
	// ServiceCIDR is the range of ClusterIPs; invalid means 10.96.0.0/16.
	ServiceCIDR netip.Prefix
	// Progress is told about slow steps, such as building the tools. Nil means stderr.
	Progress io.Writer
}

// ControlPlane is a running API server with its etcd and controllers, on
// 127.0.0.1. No node runs pods.
type ControlPlane struct {
	plane    plane
	spawner  *spawner
	config   *rest.Config
	programs []program // beside etcd and the API server
	keepDir  bool

	mu              sync.Mutex // guards the processes
	etcd, apiServer *process
	others          []*process // controllers
	beside          []*process // StartProgram's
}

// StartControlPlane builds the tools if needed and starts a control plane. It
// returns when the API answers and the controllers work. Its processes die with
// the calling one.
func StartControlPlane(ctx context.Context, opts ControlPlaneOptions) (*ControlPlane, error) {
	repo, err := here()
	if err != nil {
		return nil, err
	}
	if opts.Progress == nil {
		opts.Progress = os.Stderr
	}
	if !opts.ServiceCIDR.IsValid() {
		opts.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/16")
	}
	if err := repo.build(ctx, opts.Progress, controlPlaneTools); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		c, err := startOnce(ctx, repo, opts)
		if err == nil || attempt == startAttempts || !errors.Is(err, errPortTaken) {
			return c, err
		}
	}
}

var errPortTaken = errors.New("a port was taken by another process")

func startOnce(ctx context.Context, repo repository, opts ControlPlaneOptions) (*ControlPlane, error) {
	c := &ControlPlane{keepDir: opts.Dir != "", spawner: newSpawner()}
	err := c.prepare(repo, opts)
	if err == nil {
		c.programs = []program{c.plane.controllerManager()}
		if opts.Scheduler {
			c.programs = append(c.programs, c.plane.scheduler())
		}
		err = c.start(ctx)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("start control plane: %w", err), c.portTaken())
		if !errors.Is(err, errPortTaken) {
			c.keepDir = true // with the logs that the error names
		}
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// prepare chooses ports and writes what the programs read.
func (c *ControlPlane) prepare(repo repository, opts ControlPlaneOptions) error {
	dir, err := stateDir(opts.Dir)
	if err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	address := netip.MustParseAddr("127.0.0.1")
	c.plane = plane{
		repo: repo, dir: dir, address: address, services: opts.ServiceCIDR,
		apiPort: ports[0], etcdPort: ports[1], etcdPeer: ports[2],
		apiServerArgs: opts.APIServerArgs, controllerManagerArgs: opts.ControllerManagerArgs,
	}
	if err := c.plane.write(); err != nil {
		return err
	}
	c.config, err = restConfig(c.Kubeconfig())
	return err
}

func stateDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "vdi-control-plane-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	// Data of an earlier run was made with other certificates, and its requests are not ours.
	return dir, errors.Join(os.RemoveAll(filepath.Join(dir, "etcd")), os.RemoveAll(filepath.Join(dir, "audit.log")), ensureDirs(dir))
}

// write makes certificates, kubeconfigs and the audit policy.
func (p *plane) write() error {
	if err := ensureDirs(filepath.Join(p.dir, "logs")); err != nil {
		return err
	}
	addresses := []net.IP{
		net.IPv4(127, 0, 0, 1), p.address.AsSlice(),
		p.services.Masked().Addr().Next().AsSlice(), // the Service "kubernetes" gets the first
	}
	var err error
	if p.pki, err = newPKI(filepath.Join(p.dir, "pki"), addresses); err != nil {
		return err
	}
	policy := filepath.Join(p.dir, "audit-policy.yaml")
	return errors.Join(
		os.WriteFile(policy, []byte(auditPolicy), 0o644),
		p.pki.writeKubeconfig(p.adminKubeconfig(), p.server(), "admin", "system:masters"),
		p.pki.writeKubeconfig(p.kubeconfig("controller-manager"), p.server(), "system:kube-controller-manager"),
		p.pki.writeKubeconfig(p.kubeconfig("scheduler"), p.server(), "system:kube-scheduler"),
	)
}

func (p plane) adminKubeconfig() string { return filepath.Join(p.dir, "kubeconfig") }
func (p plane) logs() string            { return filepath.Join(p.dir, "logs") }

// start starts what is not running.
func (c *ControlPlane) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if c.etcd, err = c.spawner.start(c.plane.etcd(), c.plane.logs()); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	for _, p := range c.programs {
		proc, err := c.spawner.start(p, c.plane.logs())
		if err != nil {
			return err
		}
		c.others = append(c.others, proc)
	}
	return waitFor(ctx, "the controllers", controllersWork(c.config), append(c.others, c.etcd)...)
}

// stop ends all programs. Etcd comes last and gets time to write.
func (c *ControlPlane) stop(grace time.Duration) {
	for _, p := range append(c.others, c.apiServer, c.etcd) {
		if p != nil {
			p.stop(grace)
		}
	}
	c.etcd, c.apiServer, c.others = nil, nil, nil
}

// startAPIServer also waits until it is ready.
func (c *ControlPlane) startAPIServer(ctx context.Context) error {
	proc, err := c.spawner.start(c.plane.apiServer(), c.plane.logs())
	if err != nil {
		return err
	}
	c.apiServer = proc
	return waitFor(ctx, "the API server", apiServerReady(c.config), c.etcd, proc)
}

// portTaken looks for the reason why a program ended in its log.
func (c *ControlPlane) portTaken() error {
	logs, _ := filepath.Glob(filepath.Join(c.plane.dir, "logs", "*.log"))
	for _, log := range logs {
		if content, _ := os.ReadFile(log); strings.Contains(string(content), "address already in use") {
			return errPortTaken
		}
	}
	return nil
}

// apiServerReady asks /readyz, which says ok when all its parts do.
func apiServerReady(config *rest.Config) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}
}

// controllersWork looks for the account that the controller-manager gives every
// namespace: pods cannot be made before it exists.
func controllersWork(config *rest.Config) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		_, err = client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	}
}

// RESTConfig authenticates as cluster administrator, without client-side
// throttling. It bypasses priority and fairness: do not measure load with it.
func (c *ControlPlane) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *ControlPlane) Kubeconfig() string { return c.plane.adminKubeconfig() }

// AuditLog is the path of the API server's audit log: one JSON event per line
// and request, at level Metadata, from the start of the control plane.
func (c *ControlPlane) AuditLog() string { return c.plane.auditLog() }

// Logs is the folder with the output of each program.
func (c *ControlPlane) Logs() string { return c.plane.logs() }

// restartGrace is short: with open watches an orderly end takes a minute.
const restartGrace = 2 * time.Second

// RestartAPIServer ends the API server and starts it again on the same address,
// as an upgrade or crash would. It returns when the new one is ready.
func (c *ControlPlane) RestartAPIServer(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apiServer.stop(restartGrace)
	return c.startAPIServer(ctx)
}

// KillAPIServer ends the API server without grace and leaves it down until
// [ControlPlane.RestartAPIServer].
func (c *ControlPlane) KillAPIServer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apiServer.stop(0)
}

// Snapshot stops the control plane for a moment and copies what etcd holds to a
// file, for [ControlPlane.Restore].
func (c *ControlPlane) Snapshot(ctx context.Context) (file string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop(restartGrace)
	file = filepath.Join(c.plane.dir, "snapshot.db")
	data, err := os.ReadFile(filepath.Join(c.plane.dir, "etcd", "member", "snap", "db"))
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	return file, errors.Join(err, c.start(ctx))
}

// restoredAhead is by how much a restore raises revisions: as etcd documents it for
// clients that cache (Kubernetes), by more than can have been written since.
const restoredAhead = "1000000"

// Restore puts the control plane back to a snapshot, the way etcd documents it:
// revisions go on, and what was watched before is compacted.
func (c *ControlPlane) Restore(ctx context.Context, file string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop(restartGrace)
	data := filepath.Join(c.plane.dir, "etcd")
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	peer := fmt.Sprintf("http://127.0.0.1:%d", c.plane.etcdPeer)
	restore := exec.CommandContext(ctx, c.plane.repo.bin("etcdutl"), "snapshot", "restore", file, "--data-dir="+data, "--skip-hash-check",
		"--bump-revision="+restoredAhead, "--mark-compacted", "--initial-cluster=default="+peer, "--initial-advertise-peer-urls="+peer)
	if out, err := restore.CombinedOutput(); err != nil {
		return fmt.Errorf("restore etcd: %w: %s", err, out)
	}
	return c.start(ctx)
}

// Stop kills all processes and removes the state, unless Dir was given.
func (c *ControlPlane) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.beside {
		p.stop(0)
	}
	c.stop(0) // nothing of it is kept
	c.spawner.close()
	if c.keepDir {
		return nil
	}
	return os.RemoveAll(c.plane.dir)
}

// freePorts finds TCP ports on 127.0.0.1 that nothing uses now.
func freePorts(n int) (ports []int, err error) {
	for range n {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
