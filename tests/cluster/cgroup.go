package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroupHierarchies are the mount points below which the kubelet makes groups:
// one on cgroup v2, one per controller on v1, and the unified one beside them
// on hybrid hosts.
func cgroupHierarchies() []string {
	if isFile(filepath.Join(cgroupRoot, "cgroup.controllers")) {
		return []string{cgroupRoot}
	}
	var all []string
	entries, _ := os.ReadDir(cgroupRoot)
	for _, entry := range entries {
		if entry.IsDir() { // the links are second names
			all = append(all, filepath.Join(cgroupRoot, entry.Name()))
		}
	}
	return all
}

// makeCgroups makes the cluster's own group in every hierarchy; the kubelet
// refuses to start without it.
func makeCgroups(name string) error {
	for _, hierarchy := range cgroupHierarchies() {
		group := filepath.Join(hierarchy, name)
		if err := ensureDirs(group); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		delegate(hierarchy)
		copyCpuset(hierarchy, group)
	}
	return nil
}

// delegate lets groups below use the controllers of cgroup v2. Which of them
// exist differs by host, so each is tried on its own and none is required here:
// the kubelet says which it misses.
func delegate(group string) {
	controllers, _ := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	for _, controller := range strings.Fields(string(controllers)) {
		_ = os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
}

// copyCpuset gives the group its parent's processors; on v1 it starts with none.
func copyCpuset(parent, group string) {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if content, err := os.ReadFile(filepath.Join(parent, file)); err == nil {
			_ = os.WriteFile(filepath.Join(group, file), content, 0o644)
		}
	}
}

// removeCgroups removes the cluster's groups once their processes are gone.
func removeCgroups(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// The kernel lets go of a group shortly after the last of its processes.
	return waitFor(ctx, "the end of cgroup "+name, func(context.Context) error {
		var errs []error
		for _, hierarchy := range cgroupHierarchies() {
			errs = append(errs, removeGroup(filepath.Join(hierarchy, name)))
		}
		return errors.Join(errs...)
	})
}

// removeGroup removes a group and the groups in it, deepest first.
func removeGroup(group string) error {
	var dirs []string
	_ = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // a group that vanished meanwhile is what we want
	})
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
