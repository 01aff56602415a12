package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// repository is a checkout of this project; every path of the harness hangs off it.
type repository struct{ root string }

// findRepository walks up from dir to the checkout that holds the tools' modules.
func findRepository(dir string) (repository, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return repository{}, fmt.Errorf("find repository: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "tests", "tools", "kube", "go.mod")); err == nil {
			return repository{root: at}, nil
		}
		if at == filepath.Dir(at) {
			return repository{}, fmt.Errorf("no checkout of the VDI platform at or above %s", dir)
		}
	}
}

// here is the repository around the working directory, where go test and the
// command are run.
func here() (repository, error) {
	wd, err := os.Getwd()
	if err != nil {
		return repository{}, fmt.Errorf("find repository: %w", err)
	}
	return findRepository(wd)
}

func (r repository) tests() string           { return filepath.Join(r.root, "tests") }
func (r repository) bin(name string) string  { return filepath.Join(r.root, "bin", name) }
func (r repository) tool(name string) string { return filepath.Join(r.root, "tests", "tools", name) }

func (r repository) state(name string) string {
	return filepath.Join(r.root, ".cluster", name)
}

// BinDir is the folder that holds the built tools (kubectl, helm, helm4, ctr …).
func BinDir() (string, error) {
	repo, err := here()
	return filepath.Join(repo.root, "bin"), err
}

// ensureDirs creates folders that may exist already.
func ensureDirs(dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, os.MkdirAll(dir, 0o755))
	}
	return errors.Join(errs...)
}
