package charts

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
)

// vulnerable are versions of Traefik by whose holes strangers or tenants reach others'
// desktops, from its advisories and its list of changes.
var vulnerable = map[string]string{
	"CVE-2026-39858: headers that only look like the proxy's own reach forward auth":                                    "<3.6.14 || >=3.7.0-0, <3.7.0",
	"CVE-2026-48020: a path that is stripped leads around forward auth":                                                 "<3.6.19 || >=3.7.0-0, <3.7.3",
	"CVE-2026-71324: what follows a CONNECT becomes another visitor's request":                                          "<3.6.24 || >=3.7.0-0, <3.7.9",
	"changes 13572 and 13573: one visitor's forward auth answers another; a route reaches another namespace's services": "<3.6.25 || >=3.7.0-0, <3.7.10",
}

func holes(t *testing.T, version string) (names []string) {
	t.Helper()
	v, err := semver.NewVersion(version)
	require.NoError(t, err, version)
	for name, versions := range vulnerable {
		c, err := semver.NewConstraint(versions)
		require.NoError(t, err)
		if c.Check(v) {
			names = append(names, name)
		}
	}
	return names
}

// TestProxyVersion: no version of Traefik that we install, run or call new enough has
// a known hole, and all places say the same.
func TestProxyVersion(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, holes(t, "3.6.23"))
	require.NotEmpty(t, holes(t, "3.7.8"))
	floors := []string{"3.6.25", "3.7.11"}
	versions := slices.Clone(floors)
	named := regexp.MustCompile(`\b3\.[67]\.\d+\b`)
	for _, file := range []string{"charts/README.md", "values/bring-your-own.yaml", "charts/vdi-platform/values.yaml", "charts/vdi-operator/templates/_proxy.tpl", "operator/proxycheck/proxycheck.go"} {
		text, err := os.ReadFile(inRepository(strings.Split(file, "/")...))
		require.NoError(t, err)
		found := named.FindAllString(string(text), -1)
		for _, floor := range floors {
			assert.Contains(t, found, floor, file)
		}
	}
	pinned := valuesFor(t, inRepository("charts", "vdi-platform", "values.yaml"), "traefik")["image"].(map[string]any)["tag"].(string)
	versions = append(versions, pinned, readYAML[chart.Metadata](t, inRepository("tests", "standins", "traefik", "Chart.yaml")).AppVersion)
	for _, version := range versions {
		assert.Empty(t, holes(t, version), version)
	}
	readme, err := os.ReadFile(inRepository("charts", "README.md"))
	require.NoError(t, err)
	assert.Contains(t, string(readme), "The umbrella installs "+strings.TrimPrefix(pinned, "v"))
	for _, module := range []string{"traefik", "rules"} {
		mod, err := os.ReadFile(inRepository("tests", "tools", module, "go.mod"))
		require.NoError(t, err)
		built := regexp.MustCompile(`github.com/traefik/traefik/v3 (v\S+)`).FindSubmatch(mod)
		require.NotNil(t, built, module)
		assert.Empty(t, holes(t, string(built[1])), module)
		assert.Equal(t, versions[len(versions)-1], string(built[1]), "the stand-in says what it runs")
	}
}

// TestOldProxyNotes: what the templates call too old is what has a known hole or is
// below the floor.
func TestOldProxyNotes(t *testing.T) {
	t.Parallel()
	for tag, old := range map[string]bool{
		"v3.6.14": true, "v3.6.23": true, "v3.6.24": true, "v3.6.25": false, "v3.6.26": false, "3.6.0": true,
		"v3.7.0": true, "v3.7.8": true, "v3.7.10": true, "v3.7.11": false, "v3.7.12": false, "v3.8.0": false,
		"v2.11.40": true, "v3.6.20-alpine": true, "v3.7.11-rc.1": true, "v3.7.12-rc.1": false, "v3.7": false, "3.7": false, "latest": false, "dev": false, "": false,
	} {
		s := platformChart(map[string]string{"traefik.image.tag": tag})
		said := strings.Contains(notesOf(t, s), "WARNING: traefik.image.tag is "+tag+", which is too old")
		assert.Equal(t, old, said, tag)
	}
}

// TestEgressProxyForms: what the operator takes for an address of a proxy, the chart takes.
func TestEgressProxyForms(t *testing.T) {
	t.Parallel()
	for _, proxy := range []string{"HTTP://proxy.example.com:3128", "https://proxy.example.com", "http://proxy.example.com/", "http://proxy.example.com:3128/path@1"} {
		objs := objects(t, operator(map[string]string{"sessions.egress.httpsProxy": proxy}))
		require.Equal(t, proxy, settingsOf(t, objs).Sessions.Egress.HTTPSProxy)
	}
}
