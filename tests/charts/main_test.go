// Package charts tests the charts with the real helm: what they render, what
// they refuse and in which words. It needs no cluster.
package charts

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// update rewrites the goldens; read the diff before committing it.
var update = flag.Bool("update", false, "rewrite testdata/golden")

// Paths that TestMain finds.
var (
	repository string // root of the repository
	umbrella   string // the umbrella chart with its dependencies
	scratch    string // folder that goes with the tests
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests/charts:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	if repository, err = standins.RepositoryRoot(); err != nil {
		return 0, err
	}
	for _, tool := range []string{"helm", "helm4"} {
		if _, err := os.Stat(binary(tool)); err != nil {
			return 0, fmt.Errorf("bin/%s is missing: run `make bin/%s`", tool, tool)
		}
	}
	// terratest calls the helm of the PATH.
	if err := os.Setenv("PATH", filepath.Join(repository, "bin")+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return 0, err
	}
	if scratch, err = os.MkdirTemp("", "vdi-charts-"); err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if umbrella, err = standins.Assemble(context.Background(), scratch); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func binary(name string) string { return filepath.Join(repository, "bin", name) }

func inRepository(path ...string) string {
	return filepath.Join(append([]string{repository}, path...)...)
}
