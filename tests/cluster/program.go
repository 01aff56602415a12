package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// Program is a process beside a control plane, which dies with it.
type Program struct{ process *process }

// StartProgram starts a program whose output goes to NAME.log in
// [ControlPlane.Logs]. Its environment is this process's own and env.
func (c *ControlPlane) StartProgram(name, path string, args, env []string) (*Program, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.spawner.start(program{name: name, path: path, args: args, env: env}, c.plane.logs())
	if err != nil {
		return nil, err
	}
	c.beside = append(c.beside, p)
	return &Program{process: p}, nil
}

// PID is the program's process ID.
func (p *Program) PID() int { return p.process.cmd.Process.Pid }

// Log is the path of the file with its output.
func (p *Program) Log() string { return p.process.log }

// Kill ends it without grace, as a crash or a lost node does.
func (p *Program) Kill() { p.process.stop(0) }

// Terminate asks it to end, and kills it when that takes longer than grace.
func (p *Program) Terminate(grace time.Duration) { p.process.stop(grace) }

// Running reports whether it has not ended; else the error says how it did.
func (p *Program) Running() error {
	select {
	case <-p.process.exited:
		return fmt.Errorf("%s ended (%w), see %s", p.process.name, errors.Join(p.process.err, errEndedEarly), p.process.log)
	default:
		return p.process.cmd.Process.Signal(syscall.Signal(0))
	}
}

// While returns a context that also ends, with the reason, when the program does.
func (p *Program) While(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-p.process.exited:
			cancel(p.Running())
		}
	}()
	return ctx, func() { cancel(nil) }
}

var errEndedEarly = errors.New("it should still run")

// PID is the process ID of one of the control plane's programs (kube-apiserver, etcd …).
func (c *ControlPlane) PID(name string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range slices.Concat([]*process{c.etcd, c.apiServer}, c.others, c.beside) {
		if p != nil && p.name == name {
			return p.cmd.Process.Pid, nil
		}
	}
	return 0, fmt.Errorf("no program %q runs in this control plane", name)
}

// UserKubeconfig is the path of a kubeconfig that authenticates as user by a
// certificate, in no group: what it may do is for RBAC to say.
func (c *ControlPlane) UserKubeconfig(user string) (string, error) {
	path := c.plane.kubeconfig(user)
	return path, c.plane.pki.writeKubeconfig(path, c.plane.server(), user)
}

// UserConfig is the same as a client's settings, without client-side throttling.
func (c *ControlPlane) UserConfig(user string) (*rest.Config, error) {
	path, err := c.UserKubeconfig(user)
	if err != nil {
		return nil, err
	}
	return restConfig(path)
}

// ModuleFile is the path of a file in the source of one of the pinned tools
// under tests/tools, such as the definitions of a proxy's kinds. A module that is not
// here yet is fetched.
func ModuleFile(ctx context.Context, tool, module, file string) (string, error) {
	repo, err := here()
	if err != nil {
		return "", err
	}
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	download.Dir = repo.tool(tool)
	download.Env = append(download.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := download.Output()
	source := struct{ Dir, Error string }{}
	if parsed := json.Unmarshal(out, &source); parsed != nil || source.Error != "" || source.Dir == "" {
		return "", fmt.Errorf("fetch the source of %s: %w %s", module, errors.Join(err, parsed), source.Error)
	}
	return filepath.Join(source.Dir, file), nil
}
