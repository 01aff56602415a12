package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// downGrace is how long the daemon gets to end by itself.
const downGrace = 10 * time.Second

// Down ends a cluster and removes all of it. It is no error when there is none,
// but it is one when anything is left afterwards.
func Down(ctx context.Context, name string) error {
	repo, err := here()
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, state{Dir: repo.state(name)}.id())
	if err != nil {
		return err
	}
	defer unlock()
	return down(ctx, repo, name)
}

func down(ctx context.Context, repo repository, name string) error {
	s, err := readState(repo.state(name))
	if errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(repo.state(name))
	}
	if err != nil {
		return err
	}
	traces := s.traces()
	if err := s.endProcesses(ctx); err != nil {
		return fmt.Errorf("end cluster %s: %w", name, err)
	}
	err = errors.Join(
		removeCgroups(ctx, s.cgroup()),
		removeLink(s.link()),
		os.RemoveAll(s.Dir),
		os.Remove(filepath.Dir(s.Dir)), // when it was the last
	)
	if left := s.left(traces); len(left) > 0 {
		return fmt.Errorf("cluster %s left behind: %s (%w)", name, strings.Join(left, ", "), err)
	}
	return nil
}

// endProcesses ends the daemon, which ends the namespaces and so all in them.
func (s state) endProcesses(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*downGrace)
	defer cancel()
	s.signal(s.Daemon, syscall.SIGTERM)
	kill := time.AfterFunc(downGrace, func() { s.signal(s.Daemon, syscall.SIGKILL) })
	defer kill.Stop()
	if err := waitGone(ctx, s.Daemon); err != nil {
		return err
	}
	s.signal(s.Init, syscall.SIGKILL)
	return waitGone(ctx, s.Init)
}

// signal reaches the process only if it is still the one we started.
func (s state) signal(who identity, signal syscall.Signal) {
	if who.alive() {
		_ = syscall.Kill(who.PID, signal) // it may end meanwhile
	}
}

func waitGone(ctx context.Context, who identity) error {
	return waitFor(ctx, fmt.Sprintf("the end of process %d", who.PID), func(context.Context) error {
		if who.alive() {
			return errors.New("it lives")
		}
		return nil
	})
}

// traces are the namespaces of a running cluster, by which its processes are
// known even when they have lost their parents.
func (s state) traces() []string {
	if !s.Init.alive() {
		return nil
	}
	var found []string
	for _, kind := range []string{"mnt", "net", "pid"} {
		if id, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", s.Init.PID, kind)); err == nil {
			found = append(found, id)
		}
	}
	return found
}

// left names everything of the cluster that still exists. Bridges and nft
// tables lie in its network namespace, which ends with its last process.
func (s state) left(traces []string) []string {
	var left []string
	for _, hierarchy := range cgroupHierarchies() {
		if _, err := os.Stat(filepath.Join(hierarchy, s.cgroup())); err == nil {
			left = append(left, "cgroup "+filepath.Join(hierarchy, s.cgroup()))
		}
	}
	if _, err := netlink.LinkByName(s.link()); err == nil {
		left = append(left, "interface "+s.link())
	}
	if _, err := os.Stat(s.Dir); err == nil {
		left = append(left, "folder "+s.Dir)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), s.Dir+"/") {
		left = append(left, "mounts below "+s.Dir)
	}
	return append(left, s.processesLeft(traces)...)
}

func (s state) processesLeft(traces []string) []string {
	var left []string
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && s.isOurs(pid, traces) {
			left = append(left, fmt.Sprintf("process %d", pid))
		}
	}
	return left
}

func (s state) isOurs(pid int, traces []string) bool {
	for _, kind := range []string{"mnt", "net", "pid"} {
		id, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		for _, trace := range traces {
			if err == nil && id == trace {
				return true
			}
		}
	}
	groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return strings.Contains(string(groups), "/"+s.cgroup())
}
