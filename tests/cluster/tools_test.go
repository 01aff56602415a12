package cluster

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toolRepo is a checkout with one tiny tool.
func toolRepo(t *testing.T) (repository, tool) {
	t.Helper()
	repo := repository{root: t.TempDir()}
	tiny := tool{name: "tiny", module: "tiny", pkg: ".", links: []string{"alias"}}
	require.NoError(t, ensureDirs(repo.tool("tiny")))
	writeTool(t, repo, "go.mod", "module tiny\n\ngo 1.26.0\n")
	writeTool(t, repo, "main.go", "package main\n\nfunc main() {}\n")
	return repo, tiny
}

func writeTool(t *testing.T, repo repository, file, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(repo.tool("tiny"), file), []byte(content), 0o644))
}

func TestToolIsBuiltOnlyWhenItChanges(t *testing.T) {
	repo, tiny := toolRepo(t)
	require.NoError(t, repo.buildTool(t.Context(), io.Discard, tiny))
	assert.FileExists(t, repo.bin("alias"), "a further name of the binary")

	writeMark := func() { require.NoError(t, os.WriteFile(repo.bin("tiny"), []byte("mark"), 0o755)) }
	isMarked := func() bool { content, _ := os.ReadFile(repo.bin("tiny")); return string(content) == "mark" }
	writeMark()
	require.NoError(t, repo.buildTool(t.Context(), io.Discard, tiny))
	assert.True(t, isMarked(), "nothing changed")

	writeTool(t, repo, "main.go", "package main\n\nfunc main() { println() }\n")
	require.NoError(t, repo.buildTool(t.Context(), io.Discard, tiny))
	assert.False(t, isMarked(), "the source changed")
}

func TestBrokenToolSaysWhy(t *testing.T) {
	repo, tiny := toolRepo(t)
	writeTool(t, repo, "main.go", "package main\n\nfunc main() { missing() }\n")
	require.ErrorContains(t, repo.buildTool(t.Context(), io.Discard, tiny), "undefined: missing")
}

func TestUnknownToolNamesTheKnown(t *testing.T) {
	require.ErrorContains(t, repository{}.build(t.Context(), io.Discard, []string{"nope"}), "containerd")
}

func TestEveryToolHasAModuleWithSums(t *testing.T) {
	repo, err := here()
	require.NoError(t, err)
	for _, tool := range tools {
		assert.FileExists(t, filepath.Join(repo.tool(tool.module), "go.mod"), tool.name)
	}
}
