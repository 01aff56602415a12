package attacks

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRemovals: every guard that the attacks take away is still where it is said to be, and
// the operator builds without them. It needs no cluster and runs with the unit tests.
func TestRemovals(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	without, err := overlay(root, t.TempDir())
	require.NoError(t, err)
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", without, "-o", filepath.Join(t.TempDir(), "operator"), "./operator/cmd/vdi-operator")
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
