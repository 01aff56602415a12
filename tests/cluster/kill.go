package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Kill kills one program of the node (etcd, kube-apiserver, kubelet, gpu …)
// without grace. It is started again at once: use it for faults, and to make a
// program read its configuration anew.
func (c *Cluster) Kill(name string) error { return c.Signal(name, syscall.SIGKILL) }

// Signal sends a signal to one program of the node: a kubelet that is stopped
// (SIGSTOP) and continued later (SIGCONT) is a node that does not answer for a while.
func (c *Cluster) Signal(name string, signal syscall.Signal) error {
	pids, err := c.state.pidsOf(name)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return fmt.Errorf("no program %q runs in cluster %s", name, c.Name())
	}
	var errs []error
	for _, pid := range pids {
		errs = append(errs, syscall.Kill(pid, signal))
	}
	return errors.Join(errs...)
}

// pidsOf finds a program among the processes of the node's own process
// namespace, to which pods do not belong.
func (s state) pidsOf(name string) ([]int, error) {
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", s.Init.PID))
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		if err == nil && own == namespace && programOf(pid) == name {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// programOf is the name by which the process is known in logs/.
func programOf(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(string(line), "\x00")
	if len(args) > 1 && slices.Contains([]string{internalGPU, internalVolumes}, args[1]) {
		return strings.TrimPrefix(args[1], "internal-")
	}
	return filepath.Base(args[0])
}
