// Package debian installs Debian packages that tests run as their users would,
// without starting the services they bring.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// noServices is what invoke-rc.d asks before it starts a service.
const noServices = "/usr/sbin/policy-rc.d"

// Ensure installs a package unless its program is there.
func Ensure(ctx context.Context, name, program string) (err error) {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if _, err := os.Stat("/etc/debian_version"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%s is missing; as root on Debian run: apt-get install -y --no-install-recommends %s", program, name)
	}
	allow, err := denyServices()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, allow()) }()
	return Install(ctx, name)
}

// Install installs packages, for one caller on this machine at a time: tests run
// side by side, and "apt-get update" waits for nobody.
func Install(ctx context.Context, names ...string) error {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "vdi-packages.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	install := append([]string{"apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends"}, names...)
	for _, args := range [][]string{{"apt-get", "update"}, install} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// denyServices keeps services from starting until the returned function is
// called. Where the machine has a policy of its own, that one stays.
func denyServices() (allow func() error, err error) {
	file, err := os.OpenFile(noServices, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = file.WriteString("#!/bin/sh\nexit 101\n")
	return func() error { return os.Remove(noServices) }, errors.Join(err, file.Close())
}
