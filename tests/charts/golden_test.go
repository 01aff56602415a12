package charts

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGolden compares every scenario with its recorded manifests.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := render(t, s)
			require.NoError(t, err)
			golden := filepath.Join("testdata", "golden", name+".yaml")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err, "record it with -update")
			require.Equal(t, string(want), got)
		})
	}
}

// TestGoldenLeftOvers fails on recorded manifests that no scenario renders.
func TestGoldenLeftOvers(t *testing.T) {
	if *update {
		t.Skip("the goldens are being written")
	}
	t.Parallel()
	all := scenarios(t)
	for _, file := range glob(t, "tests", "charts", "testdata", "golden", "*.yaml") {
		require.Contains(t, all, caseName(file), "remove %s", file)
	}
}

// TestTwice renders everything again and compares bytes.
func TestTwice(t *testing.T) {
	t.Parallel()
	s := scenarios(t)["vdi-operator-everything"]
	first, err := render(t, s)
	require.NoError(t, err)
	second, err := render(t, s)
	require.NoError(t, err)
	require.Equal(t, first, second)
}
