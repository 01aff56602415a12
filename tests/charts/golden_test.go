package charts

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGolden compares every scenario with its recorded manifests: three in whole, and of the
// others what is different from one of these, so that a line of a chart changes few files.
func TestGolden(t *testing.T) {
	t.Parallel()
	all := scenarios(t)
	for name, s := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := render(t, s)
			require.NoError(t, err)
			if base := baseOf(name); base != name {
				whole, err := render(t, all[base])
				require.NoError(t, err)
				got = different(base, whole, got)
			}
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

// baseOf is the scenario of which another's manifests are recorded as the difference.
func baseOf(name string) string {
	switch {
	case strings.HasPrefix(name, "vdi-operator-"):
		return "vdi-operator-minimal"
	case name == "vdi-platform-minimal":
		return name
	default:
		return "profile-production"
	}
}

// different are the objects of a rendering that are not in the base's, or are others there, and
// the names of those that are missing.
func different(base, whole, got string) string {
	before, after := documents(whole), documents(got)
	var out, missing strings.Builder
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if before[key] != after[key] {
			out.WriteString("---\n" + after[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if after[key] == "" {
			missing.WriteString("# - " + key + "\n")
		}
	}
	return "# What is different from " + base + ".yaml. Not here:\n" + missing.String() + out.String()
}

// kindAndName are the first of each in a manifest.
var kindAndName = regexp.MustCompile(`(?ms)^kind: (\S+).*?^  name: (\S+)`)

// documents are the manifests of a rendering by source, kind and name.
func documents(rendered string) map[string]string {
	found := map[string]string{}
	for _, text := range strings.Split("\n"+rendered, "\n---\n") {
		text = strings.TrimPrefix(text, "\n")
		source, _, _ := strings.Cut(strings.TrimPrefix(text, "# Source: "), "\n")
		key := source
		if m := kindAndName.FindStringSubmatch(text); m != nil {
			key += " " + m[1] + " " + m[2]
		}
		for text != "" && found[key] != "" {
			key += "+" // another namespace's
		}
		if text != "" {
			found[key] = strings.TrimSuffix(text, "\n") + "\n"
		}
	}
	return found
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
