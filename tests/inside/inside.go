// Package inside runs the tests of a package a second time in namespaces of their
// own, where they have a network and mounts that nobody else sees.
package inside

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// variable tells the inner run where the outer one has put what it made.
const variable = "VDI_TESTS_INSIDE"

// Dir is the folder that the outer run has filled; "" in the outer run itself.
func Dir() string { return os.Getenv(variable) }

// Run runs this program again with a network and mounts of its own, and further
// namespaces (unix.CLONE_NEW...), and returns its exit code. prepare comes first
// and fills a folder: it may use the machine's network.
func Run(namespaces uintptr, prepare func(dir string) error) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("run as root: the tests make network namespaces")
	}
	dir, err := os.MkdirTemp("", "vdi-inside-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := prepare(dir); err != nil {
		return 0, err
	}
	inner := exec.Command(os.Args[0], os.Args[1:]...)
	inner.Env = append(os.Environ(), variable+"="+dir)
	inner.Stdout, inner.Stderr = os.Stdout, os.Stderr
	inner.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | namespaces, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	err = inner.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// Build builds a program of the operator into a folder, as its image has it.
func Build(repository, dir, program string) error {
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, program), "./operator/cmd/"+program)
	command.Dir = repository
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}
