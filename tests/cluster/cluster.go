package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/vdi-platform/vdi-platform/tests/progress"
)

// Cluster is a running Kubernetes with a node that runs pods.
type Cluster struct {
	state      state
	existing   bool // not ours: see Open
	kubeconfig string
}

// RESTConfig authenticates as cluster administrator, without client-side
// throttling. It bypasses priority and fairness: do not measure load with it.
func (c *Cluster) RESTConfig() (*rest.Config, error) { return restConfig(c.kubeconfig) }

// KubeconfigPath is the administrator's kubeconfig, valid on the host.
func (c *Cluster) KubeconfigPath() string { return c.kubeconfig }

// Existing says that the cluster is not ours: see [Open].
func (c *Cluster) Existing() bool { return c.existing }

// Name tells clusters of one checkout apart.
func (c *Cluster) Name() string { return c.state.Options.Name }

// NodeName is the name of the one node.
func (c *Cluster) NodeName() string { return c.state.node() }

// NodeIP is the node's address; the host reaches it, its pods and its services.
func (c *Cluster) NodeIP() netip.Addr { return c.state.Subnets.node() }

// HostIP is the host's address as the node and its pods see it.
func (c *Cluster) HostIP() netip.Addr { return c.state.Subnets.host() }

// Forwards are the ports on the host's 127.0.0.1 that lead to the node.
func (c *Cluster) Forwards() []Forward { return c.state.Options.Forwards }

// Logs is the folder with the output of each program, and of pods below pods/.
func (c *Cluster) Logs() string { return c.state.path("logs") }

// AuditLog is the path of the API server's audit log: one JSON event per line
// and request, at level Metadata, from the start of the cluster.
func (c *Cluster) AuditLog() string { return c.state.plane().auditLog() }

// Volumes is the folder with a folder for each dynamic volume.
func (c *Cluster) Volumes() string { return c.state.path("volumes") }

// Up starts a cluster and returns when its node is ready. A healthy cluster of
// that name is left as it is; one that is half dead is cleaned up first. The
// cluster outlives the calling process, unless Options.DieWithParent.
func Up(ctx context.Context, opts Options) (*Cluster, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	repo, err := here()
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, state{Dir: repo.state(opts.Name)}.id())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if c, err := open(repo, opts.Name); err == nil && c.healthy(ctx) {
		fmt.Fprintf(opts.Progress, "cluster %s runs already\n", opts.Name)
		if !slices.Equal(c.Forwards(), opts.Forwards) {
			fmt.Fprintf(opts.Progress, "with forwards %v; to change them, end it first\n", c.Forwards())
		}
		return c, nil
	}
	if os.Geteuid() != 0 {
		return nil, errNotRoot
	}
	if err := ensurePackages(ctx, opts.Progress); err != nil {
		return nil, err
	}
	if err := repo.build(ctx, opts.Progress, nodeTools); err != nil {
		return nil, err
	}
	if err := repo.buildSelf(ctx, opts.Progress); err != nil {
		return nil, err
	}
	if err := down(ctx, repo, opts.Name); err != nil {
		return nil, err
	}
	return up(ctx, repo, opts)
}

func up(ctx context.Context, repo repository, opts Options) (*Cluster, error) {
	start := time.Now()
	s := state{Options: opts, Root: repo.root, Dir: repo.state(opts.Name)}
	if err := ensureDirs(s.path("logs")); err != nil {
		return nil, err
	}
	if err := errors.Join(s.write(), s.writePauseImage()); err != nil {
		return nil, err
	}
	if err := s.startDaemon(ctx, opts); err != nil {
		return nil, fmt.Errorf("start cluster %s: %w", opts.Name, err)
	}
	s, err := readState(s.Dir)
	if err != nil {
		return nil, err
	}
	s.Ready = true
	if err := s.write(); err != nil {
		return nil, err
	}
	fmt.Fprintf(opts.Progress, "cluster %s is ready after %s\n", opts.Name, time.Since(start).Round(100*time.Millisecond))
	return &Cluster{state: s, kubeconfig: s.path("kubeconfig")}, nil
}

// buildSelf builds the command that the cluster's own parts are.
func (r repository) buildSelf(ctx context.Context, out io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", r.bin("vdi-cluster"), "./cmd/vdi-cluster")
	cmd.Dir = r.tests()
	return progress.Step(out, "build vdi-cluster", 0, func(note func(string)) error { return progress.GoBuild(cmd, note) })
}

// startDaemon starts the cluster and follows its reports until it is ready.
func (s state) startDaemon(ctx context.Context, opts Options) error {
	log, err := os.OpenFile(s.path("logs", "cluster.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	reports, reportTo, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reports.Close()
	cmd := exec.Command(s.repo().bin("vdi-cluster"), internalDaemon, s.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{reportTo}
	err = startDetached(cmd, opts.DieWithParent)
	reportTo.Close()
	if err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // no zombie, should it end before us
	stop := context.AfterFunc(ctx, func() { reports.Close() })
	defer stop()
	if err := follow(reports, opts.Progress); err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return errors.Join(err, ctx.Err())
	}
	return nil
}

func startDetached(cmd *exec.Cmd, dieWithParent bool) error {
	if dieWithParent {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
		return newSpawner().startCommand(cmd) // its thread lives as long as this process
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// follow prints reports until one says ready or why not.
func follow(reports io.Reader, progress io.Writer) error {
	lines := bufio.NewScanner(reports)
	for lines.Scan() {
		var line report
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("read report: %w", err)
		}
		switch {
		case line.Error != "":
			return errors.New(line.Error)
		case line.Ready:
			return nil
		default:
			fmt.Fprintf(progress, "%s: %s\n", line.Step, line.Took.Round(100*time.Millisecond))
		}
	}
	return errors.New("it ended without a word, see logs/cluster.log")
}

// Open finds a running cluster. With VDI_CLUSTER=existing in the environment it
// is the one that KUBECONFIG names, whatever runs it.
func Open(name string) (*Cluster, error) {
	if os.Getenv("VDI_CLUSTER") == "existing" {
		path := os.Getenv("KUBECONFIG")
		if path == "" {
			return nil, errors.New("VDI_CLUSTER=existing needs KUBECONFIG")
		}
		path, err := filepath.Abs(path) // programs that are given it run in other folders
		if err != nil {
			return nil, err
		}
		return &Cluster{existing: true, kubeconfig: path, state: state{Options: Options{Name: name}}}, nil
	}
	repo, err := here()
	if err != nil {
		return nil, err
	}
	return open(repo, name)
}

func open(repo repository, name string) (*Cluster, error) {
	s, err := readState(repo.state(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cluster %s is not up", name)
	}
	if err != nil {
		return nil, err
	}
	if !s.Daemon.alive() || !s.Init.alive() {
		return nil, fmt.Errorf("cluster %s has died; its logs are in %s", name, s.path("logs"))
	}
	return &Cluster{state: s, kubeconfig: s.path("kubeconfig")}, nil
}

// Names lists the clusters of this checkout, running or not.
func Names() ([]string, error) {
	repo, err := here()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(repo.state("*"), "cluster.json"))
	var names []string
	for _, file := range files {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	slices.Sort(names)
	return names, err
}

// healthy asks the API server for as long as a restart of it may take: a wrong
// no would cost somebody a cluster.
func (c *Cluster) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	config, err := c.RESTConfig()
	return err == nil && c.state.Ready && waitFor(ctx, "the API server", apiServerReady(config)) == nil
}

// Status is one line for a person.
func (c *Cluster) Status(ctx context.Context) string {
	if !c.healthy(ctx) {
		return fmt.Sprintf("%s: not healthy, see %s", c.Name(), c.Logs())
	}
	return fmt.Sprintf("%s: ready at %s, forwards %v, kubeconfig %s", c.Name(), c.NodeIP(), c.Forwards(), c.kubeconfig)
}
