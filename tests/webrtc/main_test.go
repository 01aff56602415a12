// Package webrtc lets a person see a desktop through the relay, with nothing made
// up on the way: the real Selkies in WebRTC mode in the desktop image, with the
// settings that the renderer gives it, behind the real agent and the real Traefik;
// the real coturn with the file that the chart renders; and a real Chromium. Relay,
// proxy and browser have one network of their own, the desktop another, as a pod has.
//
// What the relay refuses is tests/relay's: strangers' and expired credentials
// (TestCredentials), denied peers (TestPeers), rotations (TestRotation).
package webrtc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/debian"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// desktopImage is what the local cluster's templates call the desktop image.
const desktopImage = "docker.io/vdi-platform/desktop:dev"

// insideVariable tells the inner run where the outer one has put what it built.
const insideVariable = "VDI_WEBRTC_TEST_DIR"

var (
	repository string
	built      = os.Getenv(insideVariable)
)

// TestMain runs the tests a second time inside: what may need the network comes
// first, and the tests themselves have a network and a /run of their own.
func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests/webrtc:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	if repository, err = standins.RepositoryRoot(); err != nil {
		return 0, err
	}
	if built == "" {
		return runInside()
	}
	if err := setUpNetwork(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func runInside() (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("run as root: the tests make network namespaces")
	}
	if err := prepare(context.Background()); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "vdi-webrtc-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := errors.Join(build(dir, "vdi-turn-secret"), build(dir, "vdi-agent"), unpackDesktop(filepath.Join(dir, "desktop"))); err != nil {
		return 0, err
	}
	inner := exec.Command(os.Args[0], os.Args[1:]...)
	inner.Env = append(os.Environ(), insideVariable+"="+dir)
	inner.Stdout, inner.Stderr = os.Stdout, os.Stderr
	inner.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = inner.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// prepare builds and installs what is used as it is.
func prepare(ctx context.Context) error {
	if err := cluster.BuildTools(ctx, os.Stderr, "helm", "traefik"); err != nil {
		return err
	}
	image := exec.CommandContext(ctx, "go", "run", "./cmd/vdi-image", "desktop", "--tag", desktopImage)
	image.Dir = filepath.Join(repository, "tests")
	if out, err := image.CombinedOutput(); err != nil {
		return fmt.Errorf("build the desktop image: %w\n%s", err, out)
	}
	for name, program := range map[string]string{"coturn": "turnserver", "chromium": "chromium"} {
		if err := debian.Ensure(ctx, name, program); err != nil {
			return err
		}
	}
	return nil
}

func build(dir, program string) error {
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, program), "./operator/cmd/"+program)
	command.Dir = repository
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}
