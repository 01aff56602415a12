package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	helmyaml "sigs.k8s.io/yaml"
)

// CheckVersion refuses what charts, tags and folders cannot be called after.
func CheckVersion(version string) error {
	if v, err := semver.StrictNewVersion(version); err != nil || v.Metadata() != "" {
		return fmt.Errorf("VERSION=%s is no version of a release such as 0.2.0 or 0.2.0-rc.1", version)
	}
	return nil
}

// SetVersion gives our charts in a folder the version of a release: their own, that of the
// programs, and where the umbrella names its parts.
func SetVersion(charts, version string) error {
	if err := CheckVersion(version); err != nil {
		return err
	}
	metadata, err := filepath.Glob(filepath.Join(charts, "*", "Chart.yaml"))
	if err != nil {
		return err
	}
	if len(metadata) == 0 {
		return fmt.Errorf("set version: %s holds no charts", charts)
	}
	for _, file := range metadata {
		if err := setVersion(file, version); err != nil {
			return fmt.Errorf("set version of %s: %w", file, err)
		}
	}
	return nil
}

func setVersion(file, version string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil || len(node.Content) != 1 {
		return fmt.Errorf("read it: %w", err)
	}
	var was chart.Metadata
	if err := helmyaml.Unmarshal(text, &was); err != nil {
		return err
	}
	top := node.Content[0]
	set(top, version, "version")
	if was.AppVersion == was.Version { // coturn's is that of coturn
		set(top, version, "appVersion")
	}
	if images := was.Annotations["artifacthub.io/images"]; images != "" {
		set(top, strings.ReplaceAll(images, ":"+was.AppVersion, ":"+version), "annotations", "artifacthub.io/images")
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == "dependencies" {
			setDependencies(top.Content[i+1], version)
		}
	}
	if text, err = yaml.Marshal(&node); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	return relock(text, filepath.Join(filepath.Dir(file), "Chart.lock"))
}

// setDependencies changes those of our own, which lie beside the chart.
func setDependencies(list *yaml.Node, version string) {
	for _, dependency := range list.Content {
		var is chart.Dependency
		if dependency.Decode(&is) == nil && strings.HasPrefix(is.Repository, "file://") {
			set(dependency, version, "version")
		}
	}
}

// relock writes the lock that belongs to a chart's dependencies, where it has one. They are
// exact versions, so that there is nothing to resolve.
func relock(metadata []byte, file string) error {
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var lock chart.Lock
	var now chart.Metadata
	if err := helmyaml.Unmarshal(text, &lock); err != nil {
		return err
	}
	if err := helmyaml.Unmarshal(metadata, &now); err != nil {
		return err
	}
	for i, dependency := range now.Dependencies {
		if i >= len(lock.Dependencies) || lock.Dependencies[i].Name != dependency.Name {
			return fmt.Errorf("%s names other charts than Chart.yaml: run 'helm dependency update'", file)
		}
		lock.Dependencies[i].Version = dependency.Version
	}
	// As helm does, internal/resolver.HashReq.
	digested, err := json.Marshal([2][]*chart.Dependency{now.Dependencies, lock.Dependencies})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(digested)
	lock.Digest = "sha256:" + hex.EncodeToString(sum[:])
	if text, err = helmyaml.Marshal(lock); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
