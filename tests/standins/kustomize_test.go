package standins_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// TestKustomize renders what docs/gitops.md says, and finds the plain Jobs and no hooks.
func TestKustomize(t *testing.T) {
	root, err := standins.RepositoryRoot()
	require.NoError(t, err)
	page, err := os.ReadFile(filepath.Join(root, "charts", "vdi-operator", "docs", "gitops.md"))
	require.NoError(t, err)
	recipe := regexp.MustCompile("(?s)```yaml\n(# kustomization.yaml\n.*?)```").FindSubmatch(page)
	require.NotNil(t, recipe)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), recipe[1], 0o600))
	require.NoError(t, os.CopyFS(filepath.Join(dir, "charts", "vdi-operator"), os.DirFS(filepath.Join(root, "charts", "vdi-operator"))))

	bin := filepath.Join(root, "bin")
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "kubectl"), "kustomize", "--enable-helm", "--helm-command", filepath.Join(bin, "helm"), dir).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "helm.sh/hook")
	var made []string
	for _, match := range regexp.MustCompile(`(?m)^  name: (vdi-vdi-operator-[a-z]+-[0-9a-f]{8}|vdisessions\.vdi\.kasm\.io|vdi-frontdoor)$`).FindAllSubmatch(out, -1) {
		made = append(made, regexp.MustCompile(`-[0-9a-f]{8}$`).ReplaceAllString(string(match[1]), ""))
	}
	slices.Sort(made)
	require.Subset(t, made, []string{"vdi-frontdoor", "vdi-vdi-operator-crds", "vdi-vdi-operator-keys", "vdisessions.vdi.kasm.io"})
}
