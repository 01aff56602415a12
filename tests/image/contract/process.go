package contract

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// What the kernel of this machine knows of a container.

// processOf is a process of a container, of those of its pod.
func processOf(pids []int, container string) (pid int, found bool) {
	for _, pid := range pids {
		groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)) // it may have ended
		if container != "" && strings.Contains(string(groups), container) {
			return pid, true
		}
	}
	return 0, false
}

// listening are the ports on which something in a process's network waits, without the agent's.
func listening(pid int) (ports []int64) {
	for _, table := range []string{"tcp", "tcp6"} {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table)) // without IPv6 there is one
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != "0A" { // TCP_LISTEN, include/net/tcp_states.h
				continue
			}
			_, written, _ := strings.Cut(fields[1], ":")
			port, err := strconv.ParseInt(written, 16, 64)
			if err == nil && (port < wire.AgentVisitorPort || port > wire.AgentLocalPort+1) {
				ports = append(ports, port)
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// changed are the files outside of mounts that a container has written or changed since its
// start: what overlayfs keeps in its upper folder.
func changed(pid int) (files []string, err error) {
	upper, mounts, err := mountsOf(pid)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(upper, func(file string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // it has gone meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		at := "/" + strings.TrimPrefix(strings.TrimPrefix(file, upper), "/")
		switch {
		case slices.Contains(mounts, at): // made for the mount
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.Type().IsRegular():
			files = append(files, at)
		}
		return nil
	})
	return files, err
}

// mountsOf finds the upper folder of a process's root, as this machine reaches it, and what
// else is mounted (man 5 proc_pid_mountinfo).
func mountsOf(pid int) (upper string, mounts []string, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if len(fields) < 5 {
			continue
		}
		if fields[4] != "/" {
			mounts = append(mounts, fields[4])
			continue
		}
		_, options, found := strings.Cut(after, ",upperdir=")
		if !found {
			return "", nil, fmt.Errorf("the root of process %d is no overlay", pid)
		}
		upper, _, _ = strings.Cut(options, ",")
	}
	parent, err := parentOf(pid)
	return fmt.Sprintf("/proc/%d/root%s", parent, upper), mounts, err
}

// parentOf is the process outside of the container that sees the node's files: the parent of
// the first one inside, whatever forked between.
func parentOf(pid int) (int, error) {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return 0, err
	}
	for at := pid; at > 1; {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", at))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
		line, _, _ := strings.Cut(rest, "\n")
		if at, err = strconv.Atoi(line); err != nil {
			return 0, fmt.Errorf("find the parent of process %d: %w", pid, err)
		}
		if space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", at)); err == nil && space != own {
			return at, nil
		}
	}
	return 0, fmt.Errorf("process %d has no parent outside of its container", pid)
}

// random is n bytes as text.
func random(read func([]byte) (int, error), n int) (string, error) {
	data := make([]byte, n)
	if _, err := read(data); err != nil {
		return "", err
	}
	return hex.EncodeToString(data), nil
}
