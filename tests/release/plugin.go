package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// site is where the project lives, and its releases below it.
const site = "https://github.com/vdi-platform/vdi-platform"

// platforms are those that kubectl-vdi is built for, as folders name them: OS-ARCH.
var platforms = []string{"darwin-amd64", "darwin-arm64", "linux-amd64", "linux-arm64", "windows-amd64"}

// krewManifest is what krew reads to install a plugin (its docs, "Writing Plugin Manifests").
type krewManifest struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       krewSpec          `json:"spec"`
}

type krewSpec struct {
	Version          string         `json:"version"`
	Homepage         string         `json:"homepage"`
	ShortDescription string         `json:"shortDescription"`
	Description      string         `json:"description"`
	Platforms        []krewPlatform `json:"platforms"`
}

type krewPlatform struct {
	Selector map[string]map[string]string `json:"selector"`
	URI      string                       `json:"uri"`
	Sha256   string                       `json:"sha256"`
	Bin      string                       `json:"bin"`
}

// packed is a file of an archive.
type packed struct {
	from, name string
	mode       int64
}

// Plugin packs kubectl-vdi for all platforms, from folders OS-ARCH, into an archive each, and
// writes krew's manifest beside them. The same programs give the same bytes.
func Plugin(built, repository, version, out string) error {
	manifest := krewManifest{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin", Metadata: map[string]string{"name": "vdi"},
		Spec: krewSpec{
			Version: "v" + version, Homepage: site, ShortDescription: "Run desktops, and ask why one does not",
			Description: "Makes, opens, suspends and ends the desktops of a VDI platform with your own rights,\n" +
				"and says why one does not run: what it waits for, its place, and who has to do what.\n",
		},
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, platform := range platforms {
		system, machine, _ := strings.Cut(platform, "-")
		program, files := "kubectl-vdi", []packed{{filepath.Join(repository, "LICENSE"), "LICENSE", 0o644}}
		if system == "windows" {
			program += ".exe"
		} else {
			files = append(files, packed{filepath.Join(repository, "operator", "kubectl-vdi", "kubectl_complete-vdi"), "kubectl_complete-vdi", 0o755})
		}
		files = append(files, packed{filepath.Join(built, platform, program), program, 0o755})
		archive, err := pack(files)
		if err != nil {
			return fmt.Errorf("pack kubectl-vdi for %s: %w", platform, err)
		}
		name := fmt.Sprintf("kubectl-vdi_%s_%s_%s.tar.gz", version, system, machine)
		if err := os.WriteFile(filepath.Join(out, name), archive, 0o644); err != nil {
			return err
		}
		manifest.Spec.Platforms = append(manifest.Spec.Platforms, krewPlatform{
			Selector: map[string]map[string]string{"matchLabels": {"os": system, "arch": machine}},
			URI:      fmt.Sprintf("%s/releases/download/v%s/%s", site, version, name),
			Sha256:   fmt.Sprintf("%x", sha256.Sum256(archive)),
			Bin:      program,
		})
	}
	text, err := yaml.Marshal(manifest)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "vdi.yaml"), text, 0o644)
}

// pack writes files into a tar.gz, without times and owners.
func pack(files []packed) ([]byte, error) {
	var out bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(zipped)
	for _, file := range files {
		text, err := os.ReadFile(file.from)
		if err != nil {
			return nil, err
		}
		if err := archive.WriteHeader(&tar.Header{Name: file.name, Mode: file.mode, Size: int64(len(text)), Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := archive.Write(text); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	err = zipped.Close()
	return out.Bytes(), err
}
