package contract

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// Desk is a small image that keeps the contract, or one that breaks it.
type Desk struct {
	// Way is how it breaks the contract (testdata/desk); empty: it keeps it.
	Way string
	// Mode and UID of its program; 0: anybody may run it.
	Mode os.FileMode
	UID  int
	// Change of the image's configuration.
	Change func(*image.Config)
}

// BuildDesk builds the program of these images in a folder, once for all of them.
func BuildDesk(folder string) (program string, err error) {
	root, err := standins.RepositoryRoot()
	if err != nil {
		return "", err
	}
	program = filepath.Join(folder, "desk")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", program, "./image/contract/testdata/desk")
	build.Dir, build.Env = filepath.Join(root, "tests"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build desk: %w\n%s", err, out)
	}
	return program, nil
}

// Image is the image of the program.
func (d Desk) Image(program string) (v1.Image, error) {
	if d.Mode == 0 {
		d.Mode = 0o755
	}
	layer, err := image.FilesLayer(
		image.File{Path: "/usr/bin/desk", Mode: d.Mode, UID: d.UID, Source: program},
		image.File{Path: "/etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0::/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/sh\nother:x:2000:2000::/home/other:/bin/sh\n")},
		image.File{Path: "/opt/desk", Mode: os.ModeDir | 0o755, UID: 1000, GID: 1000},
		image.File{Path: "/tmp", Mode: os.ModeDir | os.ModeSticky | 0o777},
	)
	if err != nil {
		return nil, err
	}
	config := image.Config{
		Entrypoint: []string{"/usr/bin/desk"}, User: "1000:1000", Ports: []string{"8080/tcp"},
		Env: map[string]string{"HOME": "/home/ubuntu"},
	}
	if d.Way != "" {
		config.Cmd = []string{d.Way}
	}
	if d.Change != nil {
		d.Change(&config)
	}
	return image.New(config, layer)
}
