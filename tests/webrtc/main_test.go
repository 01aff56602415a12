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
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/debian"
	"github.com/vdi-platform/vdi-platform/tests/inside"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// desktopImage is what the local cluster's templates call the desktop image.
const desktopImage = "docker.io/vdi-platform/desktop:dev"

var repository string

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
	if inside.Dir() == "" {
		return inside.Run(unix.CLONE_NEWPID, build)
	}
	if err := setUpNetwork(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// build puts what the tests run into the folder.
func build(dir string) error {
	if err := prepare(context.Background()); err != nil {
		return err
	}
	return errors.Join(
		inside.Build(repository, dir, "vdi-turn-secret"), inside.Build(repository, dir, "vdi-agent"),
		unpackDesktop(filepath.Join(dir, "desktop")))
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
