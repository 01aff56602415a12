package release_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/release"
)

var top = filepath.Join("..", "..")

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{top}, path...)...))
	require.NoError(t, err)
	return string(text)
}

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// TestChartsByDigest: what is packaged by tag is refused, what is pinned passes, also as a
// part of the umbrella.
func TestChartsByDigest(t *testing.T) {
	charts, bin := t.TempDir(), tools(t, "helm")
	require.NoError(t, os.CopyFS(charts, os.DirFS(filepath.Join(top, "charts"))))
	archives := func() (all []string) {
		umbrella := filepath.Join(charts, "vdi-platform")
		require.NoError(t, os.RemoveAll(filepath.Join(umbrella, "charts")))
		out := t.TempDir()
		pack := func(chart, to string) {
			said, err := exec.CommandContext(t.Context(), filepath.Join(bin, "helm"), "package", chart, "--destination", to).CombinedOutput()
			require.NoError(t, err, "%s", said)
		}
		for _, name := range []string{"vdi-operator", "coturn"} {
			pack(filepath.Join(charts, name), out)
			pack(filepath.Join(charts, name), filepath.Join(umbrella, "charts"))
		}
		// Without the charts of others, which cannot be fetched everywhere.
		text, err := os.ReadFile(filepath.Join(umbrella, "Chart.yaml"))
		require.NoError(t, err)
		ours, _, _ := strings.Cut(string(text), "\ndependencies:")
		require.NoError(t, os.WriteFile(filepath.Join(umbrella, "Chart.yaml"), []byte(ours+"\n"), 0o600))
		_ = os.Remove(filepath.Join(umbrella, "Chart.lock"))
		pack(umbrella, out)
		all, err = filepath.Glob(filepath.Join(out, "*.tgz"))
		require.NoError(t, err)
		require.Len(t, all, 3)
		return all
	}
	err := release.CheckCharts(archives()...)
	for _, words := range []string{
		"chart vdi-operator names image vdi-operator by its tag", "chart coturn names image coturn by its tag", "(tool.image.digest is \"\")",
		"chart vdi-platform names image traefik by its tag", "vdi-platform-0.1.0.tgz: chart vdi-operator", "package with DIGESTS=FILE",
	} {
		require.ErrorContains(t, err, words)
	}

	digests, err := release.ReadDigests("# made by a test\nvdi-operator " + someDigest + "\ncoturn " + someDigest + "\n\ntraefik " + someDigest + "\n")
	require.NoError(t, err)
	require.NoError(t, release.Pin(charts, digests))
	pinned := archives()
	require.NoError(t, release.CheckCharts(pinned...))
	require.ErrorContains(t, release.CheckCharts(pinned[:1]...), "no archive holds chart")

	for _, archive := range pinned[:2] {
		said, err := exec.CommandContext(t.Context(), filepath.Join(bin, "helm"), "template", "vdi", archive, "--kube-version", "1.37.2",
			"--set", map[bool]string{true: "realm=turn.example.com", false: "sessions.domain=vdi.example.com"}[strings.Contains(archive, "coturn")]).Output()
		require.NoError(t, err)
		images := regexp.MustCompile(`(?m)^\s+image: "?(\S+?)"?$`).FindAllStringSubmatch(string(said), -1)
		require.NotEmpty(t, images)
		for _, image := range images {
			require.True(t, strings.HasSuffix(image[1], "@"+someDigest), image[1])
		}
	}
}

func TestDigestsAreComplete(t *testing.T) {
	for text, words := range map[string]string{
		"":                                  "there is none for image vdi-operator",
		"vdi-operator v0.1.0":               "is not an image's name and its sha256",
		"vdi-operator sha256:12":            "is not an image's name and its sha256",
		"vdi-operator " + someDigest:        "there is none for image coturn, which chart coturn starts (image.digest)",
		"vdi-operator " + someDigest + " x": "is not an image's name",
	} {
		_, err := release.ReadDigests(text)
		require.ErrorContains(t, err, words)
	}
}

func TestBasesByDigest(t *testing.T) {
	dockerfile := read(t, "operator", "Dockerfile")
	require.Equal(t, []string{"docker.io/library/golang:1.26", "gcr.io/distroless/static:nonroot"}, release.Bases(dockerfile, nil))
	err := release.CheckBases(dockerfile, nil)
	require.ErrorContains(t, err, "base image docker.io/library/golang:1.26 is named by its tag")
	require.ErrorContains(t, err, "base image gcr.io/distroless/static:nonroot is named by its tag")
	require.NoError(t, release.CheckBases(dockerfile, map[string]string{
		"GO_IMAGE": "docker.io/library/golang@" + someDigest, "BASE_IMAGE": "gcr.io/distroless/static:nonroot@" + someDigest,
	}))
	require.Error(t, release.CheckBases("FROM a@sha256:12\n", nil))
	require.NoError(t, release.CheckBases("FROM scratch\nFROM b@"+someDigest+" AS x\nFROM x\n", nil))
}

// TestWorkflows: no action and no image by a tag, and the toolchain that go.mod names.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(top, ".github", "workflows", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, release.CheckWorkflow(string(text)), file)
	}
	named := regexp.MustCompile(`(?m)^toolchain (\S+)$`).FindStringSubmatch(read(t, "go.mod"))
	require.NotNil(t, named)
	for _, file := range files {
		require.Contains(t, read(t, ".github", "workflows", filepath.Base(file)), "GOTOOLCHAIN: "+named[1]+"\n", file)
	}

	job := "jobs:\n  a:\n    steps:\n      - uses: "
	require.ErrorContains(t, release.CheckWorkflow(job+"actions/checkout@v4\n"), `line 4: action "actions/checkout@v4" is not named by a commit of 40 digits`)
	require.Error(t, release.CheckWorkflow(job+"actions/checkout@0123456\n"))
	require.NoError(t, release.CheckWorkflow(job+"actions/checkout@0123456789012345678901234567890123456789 # v4\n"))
	require.NoError(t, release.CheckWorkflow(job+"./.github/actions/ours\n"))
	require.ErrorContains(t, release.CheckWorkflow("jobs:\n  a:\n    container:\n      image: golang:1.26\n"), `image "golang:1.26" is not named by its digest`)
}

func TestProvenance(t *testing.T) {
	_, err := release.Provenance(func(string) string { return "" }, "go1.26.11")
	require.ErrorContains(t, err, "it is made in a run of the release workflow")
	text, err := release.Provenance(func(name string) string { return strings.ToLower(name) }, "go1.26.11")
	require.NoError(t, err)
	var predicate struct {
		BuildDefinition struct {
			ResolvedDependencies []struct{ Digest map[string]string }
		}
		RunDetails struct{ Builder struct{ ID string } }
	}
	require.NoError(t, json.Unmarshal(text, &predicate))
	require.Equal(t, "github_sha", predicate.BuildDefinition.ResolvedDependencies[0].Digest["gitCommit"])
	require.Equal(t, "github_server_url/github_workflow_ref", predicate.RunDetails.Builder.ID)
}

// TestListOfParts: the list that 'make sbom' makes of a program names every module that
// `go version -m` does, and one that lacks a single module is refused.
func TestListOfParts(t *testing.T) {
	bin, dir := tools(t, "cyclonedx-gomod"), t.TempDir()
	program, list := filepath.Join(dir, "vdi-agent"), filepath.Join(dir, "vdi-agent.cdx.json")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./operator/cmd/vdi-agent")
	build.Dir, build.Env = top, append(os.Environ(), "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	said, err = exec.CommandContext(t.Context(), filepath.Join(bin, "cyclonedx-gomod"), "bin", "-json", "-std", "-noserial", "-output", list, program).CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.NoError(t, release.CheckList(list, program))

	version, err := exec.CommandContext(t.Context(), "go", "version", "-m", program).Output()
	require.NoError(t, err)
	parts, err := release.PartsOf(program)
	require.NoError(t, err)
	require.Len(t, parts, 1+strings.Count(string(version), "\n\tdep\t"))
	text, err := os.ReadFile(list)
	require.NoError(t, err)
	for _, part := range parts[1:] {
		require.Contains(t, string(version), "\tdep\t"+part.Name+"\t"+part.Version)
		lacking := bytes.ReplaceAll(text, []byte(`"name": "`+part.Name+`"`), []byte(`"name": "harmless"`))
		require.NotEqual(t, text, lacking)
		require.NoError(t, os.WriteFile(list, lacking, 0o600))
		require.ErrorContains(t, release.CheckList(list, program), "does not name "+part.Name+" "+part.Version)
	}
}

// TestNobodyLooked: without a database it is said that nobody has looked, and with one
// that knows of a hole in the toolchain or a module, the search fails.
func TestNobodyLooked(t *testing.T) {
	bin := tools(t, "govulncheck")
	var said bytes.Buffer
	s := release.Search{Govulncheck: filepath.Join(bin, "govulncheck"), Folder: top, Database: "file://" + t.TempDir(), Say: &said}
	require.NoError(t, s.Run(t.Context(), "./platform/..."))
	require.Contains(t, said.String(), "govulncheck did NOT look for known holes")
}

// tools are built where they are not yet; it returns their folder.
func tools(t *testing.T, names ...string) string {
	t.Helper()
	require.NoError(t, cluster.BuildTools(t.Context(), os.Stderr, names...))
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	return bin
}

// TestCheckVersion: an empty version would be the folder of all releases.
func TestCheckVersion(t *testing.T) {
	for _, good := range []string{"0.1.0", "1.2.3-rc.1"} {
		require.NoError(t, release.CheckVersion(good))
	}
	for _, bad := range []string{"", "v1.2.3", "1.2", ".", "../x", "1.2.3+dirty", "1.2.3 4"} {
		require.ErrorContains(t, release.CheckVersion(bad), "is no version of a release", bad)
		require.Error(t, release.SetVersion(t.TempDir(), bad))
	}
}
