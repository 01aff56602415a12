package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// spawner starts processes that the kernel kills when this one dies. That wish
// (Pdeathsig) is tied to the thread that made the child, so all are started
// from one thread which lives as long as the spawner.
type spawner struct {
	calls  chan func()
	closed chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{calls: make(chan func()), closed: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for {
			select {
			case call := <-s.calls:
				call()
			case <-s.closed:
				return
			}
		}
	}()
	return s
}

// close ends the thread, and so kills whatever of its children still runs.
func (s *spawner) close() { close(s.closed) }

// program says how to start one process of a cluster.
type program struct {
	name string // also the name of its log file
	path string
	args []string
	env  []string // added to this process's own
}

// process is a started program.
type process struct {
	program
	log    string
	cmd    *exec.Cmd
	exited chan struct{} // closed once it has ended and err is set
	err    error
}

// start runs the program with its output appended to NAME.log in logs.
func (s *spawner) start(p program, logs string) (*process, error) {
	log := filepath.Join(logs, p.name+".log")
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer output.Close() // the child has its own copy
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // an interrupt on the terminal is for the parent, which then ends us in order
	}
	if err := s.startCommand(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	proc := &process{program: p, log: log, cmd: cmd, exited: make(chan struct{})}
	go func() {
		proc.err = cmd.Wait()
		close(proc.exited)
	}()
	return proc, nil
}

// startCommand starts a command on the spawner's thread.
func (s *spawner) startCommand(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	select {
	case s.calls <- func() { result <- cmd.Start() }:
		return <-result
	case <-s.closed:
		return errors.New("spawner is closed")
	}
}

// stop asks the process to end and kills it when it takes longer than grace.
func (p *process) stop(grace time.Duration) {
	if grace > 0 {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-p.exited:
			return
		case <-time.After(grace):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// waitFor polls until check has nothing to complain about. It gives up when one
// of the processes ends, since then the wait is in vain.
func waitFor(ctx context.Context, what string, check func(context.Context) error, needs ...*process) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		for _, p := range needs {
			select {
			case <-p.exited:
				return fmt.Errorf("%s ended while waiting for %s (%v), see %s", p.name, what, p.err, p.log)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last: %w", what, ctx.Err(), err)
		case <-ticker.C:
		}
	}
}
