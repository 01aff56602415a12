package cluster

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

// importTimeout of containerd's client; large images on slow disks take long.
const importTimeout = "30m"

// LoadImage makes the image in an OCI archive available to the node, under the
// name in the archive. It does nothing when the node has that very image.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	if c.existing {
		return errors.New("images cannot be loaded into an existing cluster from here")
	}
	name, digest, err := archived(archive)
	if err != nil {
		return err
	}
	socket := c.state.inside(containerdSocket)
	out, err := ctr(ctx, c.state.repo(), socket, "images", "list", "name=="+name)
	if err != nil {
		return err
	}
	if strings.Contains(out, digest) {
		return nil
	}
	return importImage(ctx, c.state.repo(), socket, archive)
}

// PullPlain lets the node pull from a registry at HOST:PORT that speaks plain HTTP.
// containerd looks for it at each pull (hosts.toml).
func (c *Cluster) PullPlain(registry string) error {
	if c.existing {
		return errors.New("how an existing cluster pulls is for those who run it to say")
	}
	folder := filepath.Join(c.state.registries(), registry)
	if err := ensureDirs(folder); err != nil {
		return err
	}
	server := fmt.Sprintf("server = \"http://%[1]s\"\n\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", registry)
	return os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(server), 0o644)
}

// registries is where containerd looks for how to reach a registry.
func (s state) registries() string { return s.path("etc", "registries") }

func importImage(ctx context.Context, repo repository, socket, archive string) error {
	_, err := ctr(ctx, repo, socket, "images", "import", archive)
	return err
}

// ctr runs containerd's client in the namespace that the kubelet uses.
func ctr(ctx context.Context, repo repository, socket string, args ...string) (string, error) {
	args = append([]string{"--address", socket, "--timeout", importTimeout, "--namespace", "k8s.io"}, args...)
	out, err := exec.CommandContext(ctx, repo.bin("ctr"), args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// archived reads the name and digest of the one image in an OCI archive.
func archived(archive string) (name, digest string, err error) {
	file, err := os.Open(archive)
	if err != nil {
		return "", "", err
	}
	defer file.Close()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return "", "", fmt.Errorf("%s is not an OCI archive: no index.json", archive)
		}
		if err != nil {
			return "", "", fmt.Errorf("read archive %s: %w", archive, err)
		}
		if header.Name == "index.json" {
			return indexed(reader, archive)
		}
	}
}

func indexed(content io.Reader, archive string) (name, digest string, err error) {
	var index struct {
		Manifests []struct {
			Digest      string            `json:"digest"`
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	if err := json.NewDecoder(content).Decode(&index); err != nil {
		return "", "", fmt.Errorf("read index of %s: %w", archive, err)
	}
	if len(index.Manifests) != 1 {
		return "", "", fmt.Errorf("archive %s holds %d images, want one", archive, len(index.Manifests))
	}
	m := index.Manifests[0]
	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if m.Annotations[key] != "" {
			return m.Annotations[key], m.Digest, nil
		}
	}
	return "", "", fmt.Errorf("image in %s has no name", archive)
}

// writePauseImage packs the program that holds a pod's namespaces.
func (s state) writePauseImage() error {
	img, err := image.Binaries(image.Config{}, s.repo().bin("pause"))
	if err != nil {
		return fmt.Errorf("build pause image: %w", err)
	}
	return image.WriteFile(s.path("pause.tar"), pauseImage, img)
}
