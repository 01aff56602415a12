package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// gateFD tells process 1 that the daemon has connected its network.
const gateFD = 4

// runInit is process 1 of a cluster's namespaces: it sets them up, starts the
// supervisor and collects orphans. It does nothing else, since when it ends the
// kernel ends everything in the namespaces with it.
func runInit(dir string) error {
	if _, err := io.Copy(io.Discard, os.NewFile(gateFD, "gate")); err != nil {
		return fmt.Errorf("wait for the network: %w", err)
	}
	s, err := readState(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(s.setUpMounts(), s.setUpKernel()); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.Command(self, internalSupervise, dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{newReporter().file}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	return reapUntil(cmd.Process.Pid)
}

// reapUntil collects ended children until the one given has ended.
func reapUntil(pid int) error {
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for children: %w", err)
		case ended == pid:
			return fmt.Errorf("supervisor ended with status %d", status.ExitStatus())
		}
	}
}

// hidden are the folders where the node's programs keep state under fixed
// names. Each cluster gets its own, empty and in memory; short paths also fit
// the limit of socket names, however deep the checkout lies.
var hidden = []string{"/run", "/var/lib", "/var/log"}

// kept maps such paths to folders of the cluster's state, for what is too large
// for memory or worth reading from outside.
func (s state) kept() map[string]string {
	return map[string]string{
		"/var/lib/kubelet":    s.path("kubelet"),
		"/var/lib/containerd": s.path("containerd"),
		"/var/log/pods":       s.path("logs", "pods"),
	}
}

// setUpMounts makes the mounts of the namespace we are in, none of which the
// host sees.
func (s state) setUpMounts() error {
	checkout, err := os.Open(s.Root)
	if err != nil {
		return err
	}
	defer checkout.Close()
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC); err != nil {
		return err
	}
	for _, dir := range hidden {
		if err := mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV); err != nil {
			return err
		}
	}
	if err := s.uncover(checkout); err != nil {
		return err
	}
	for path, from := range s.kept() {
		if err := bind(from, path); err != nil {
			return err
		}
	}
	if err := ensureDirs("/run/lock", "/run/netns"); err != nil {
		return err
	}
	if err := s.shieldKernelSettings(); err != nil {
		return err
	}
	// Pods may ask for mounts that spread; among ourselves they may.
	return mount("", "/", "", unix.MS_REC|unix.MS_SHARED)
}

// uncover brings the checkout back when it lies below a hidden folder.
func (s state) uncover(checkout *os.File) error {
	for _, dir := range hidden {
		if strings.HasPrefix(s.Root, dir+"/") {
			return bind(fmt.Sprintf("/proc/self/fd/%d", checkout.Fd()), s.Root)
		}
	}
	return nil
}

// kernelSettings are what the kubelet wants to set. They are the whole
// machine's, so it gets files to look at in their place.
var kernelSettings = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

func (s state) shieldKernelSettings() error {
	for setting, value := range kernelSettings {
		target := filepath.Join("/proc/sys", setting)
		if !isFile(target) {
			continue
		}
		shield := filepath.Join("/run/vdi-sysctl", setting)
		if err := ensureDirs(filepath.Dir(shield)); err != nil {
			return err
		}
		if err := os.WriteFile(shield, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(shield, target, "", unix.MS_BIND); err != nil {
			return err
		}
	}
	return nil
}

// setUpKernel sets what belongs to the namespaces we are in.
func (s state) setUpKernel() error {
	if err := unix.Sethostname([]byte(s.node())); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := s.Subnets.setUpNode(); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

func bind(from, to string) error {
	if err := ensureDirs(from, to); err != nil {
		return err
	}
	return mount(from, to, "", unix.MS_BIND)
}

func mount(source, target, kind string, flags uintptr) error {
	if err := unix.Mount(source, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// runDaemon is the host side of a cluster: it makes the namespaces, connects
// them, forwards ports, and cleans up when process 1 or itself is told to end.
func runDaemon(ctx context.Context, dir string) error {
	report := newReporter()
	err := superviseNamespaces(ctx, dir, report)
	if err != nil {
		report.send(reportError(err))
	}
	return err
}

func superviseNamespaces(ctx context.Context, dir string, report reporter) error {
	s, err := readState(dir)
	if err != nil {
		return err
	}
	if s.Daemon, err = identityOf(os.Getpid()); err != nil {
		return err
	}
	if err := s.write(); err != nil {
		return err
	}
	defer removeCgroups(context.WithoutCancel(ctx), s.cgroup()) //nolint:errcheck // down looks again and tells
	if err := makeCgroups(s.cgroup()); err != nil {
		return err
	}
	spawner := newSpawner()
	defer spawner.close()
	return s.runNamespaces(ctx, spawner, report)
}

func (s state) runNamespaces(ctx context.Context, spawner *spawner, report reporter) error {
	gate, open, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make gate: %w", err)
	}
	defer open.Close()
	cmd, err := s.startInit(spawner, report, gate)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill() // and with it everything in the namespaces
		<-ended
	}()
	if s.Init, err = identityOf(cmd.Process.Pid); err != nil {
		return err
	}
	if s.Subnets, err = connect(ctx, s.link(), cmd.Process.Pid); err != nil {
		return err
	}
	if err := s.write(); err != nil {
		return err
	}
	stop, err := forward(s.Options.Forwards, s.Subnets.node())
	if err != nil {
		return err
	}
	defer stop()
	open.Close() // the gate
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		ended <- err
		return fmt.Errorf("cluster ended: %w", err)
	}
}

func (s state) startInit(spawner *spawner, report reporter, gate *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	defer gate.Close() // the child has its own copy
	cmd := exec.Command(self, internalInit, s.Dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{report.file, gate}
	cmd.SysProcAttr = namespaceAttributes()
	if err := spawner.startCommand(cmd); err != nil {
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	return cmd, nil
}
