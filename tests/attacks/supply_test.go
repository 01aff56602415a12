package attacks

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/release"
)

// TestA33SupplyChain: what goes into a release is not changed unnoticed on its way.
func TestA33SupplyChain(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]struct{ without, with ledger.Attempt }{
		"a module's content on its proxy":    {builds(evilProxy, false), builds(evilProxy, true)},
		"a module's content on this machine": {builds(evilCache, false), builds(evilCache, true)},
		"where an image's tag leads":         {pulls(byTag), pulls(byDigest)},
		"where a base image's tag leads":     {pulls(baseByTag), pulls(baseByDigest)},
		"what an action's tag stands for":    {workflow(false), workflow(true)},
		"an image's archive on its way":      {archive(false), archive(true)},
		"a part that the list does not name": {parts(false), parts(true)},
		"a part with a hole that is known":   {hole(false), hole(true)},
	} {
		ledger.TryAlongside(t, name, a.without, a.with)
	}
}

// refused is Blocked where a check before a release fails.
func refused(err error) ledger.Outcome {
	if err == nil {
		return ledger.Worked()
	}
	return ledger.Blocked(ledger.Build, err.Error())
}

// --- modules

const evil = "evil"

// lib is a module that says what it is.
func lib(says string) map[string]string {
	return map[string]string{"go.mod": "module example.com/lib\n\ngo 1.26.0\n", "lib.go": "package lib\n\nconst Says = \"" + says + "\"\n"}
}

// workshop is a program that uses the module, and where the module comes from.
type workshop struct {
	t           *testing.T
	proxy, dir  string
	moduleCache string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{t: t, proxy: t.TempDir(), dir: t.TempDir(), moduleCache: t.TempDir()}
	w.publish(lib("good"))
	w.write("go.mod", "module example.com/program\n\ngo 1.26.0\n\nrequire example.com/lib v1.0.0\n")
	w.write("main.go", "package main\n\nimport \"example.com/lib\"\n\nfunc main() { print(lib.Says) }\n")
	_, err := w.run("go", "mod", "tidy")
	require.NoError(t, err)
	return w
}

func (w *workshop) write(name, text string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600))
}

// publish puts the module's version on the proxy, whatever was there.
func (w *workshop) publish(files map[string]string) {
	w.t.Helper()
	at := filepath.Join(w.proxy, "example.com", "lib", "@v")
	require.NoError(w.t, os.MkdirAll(at, 0o755))
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	for name, text := range files {
		file, err := z.Create("example.com/lib@v1.0.0/" + name)
		require.NoError(w.t, err)
		_, err = file.Write([]byte(text))
		require.NoError(w.t, err)
	}
	require.NoError(w.t, z.Close())
	for name, text := range map[string]string{
		"list": "v1.0.0\n", "v1.0.0.info": `{"Version":"v1.0.0"}`, "v1.0.0.mod": files["go.mod"], "v1.0.0.zip": packed.String(),
	} {
		require.NoError(w.t, os.WriteFile(filepath.Join(at, name), []byte(text), 0o600))
	}
}

func (w *workshop) run(program string, args ...string) (said string, err error) {
	command := exec.CommandContext(w.t.Context(), program, args...)
	command.Dir = w.dir
	command.Env = append(os.Environ(), "GOPROXY=file://"+w.proxy, "GONOSUMDB=*", "GOMODCACHE="+w.moduleCache, "GOFLAGS=-mod=mod -modcacherw", "GOWORK=off", "GOTOOLCHAIN=local")
	out, err := command.CombinedOutput()
	return string(out), err
}

// evilProxy serves another module under the version that was used before.
func evilProxy(w *workshop) {
	w.publish(lib(evil))
	w.moduleCache = w.t.TempDir() // another machine
}

// evilCache changes the module where it lies.
func evilCache(w *workshop) {
	require.NoError(w.t, os.WriteFile(filepath.Join(w.moduleCache, "example.com", "lib@v1.0.0", "lib.go"), []byte(lib(evil)["lib.go"]), 0o600))
}

// builds runs the program after the attack. The guards are go.sum and 'go mod verify', which
// 'make lint' and the release run.
func builds(attack func(*workshop), guarded bool) ledger.Attempt {
	return func(t *testing.T) ledger.Outcome {
		t.Helper()
		w := newWorkshop(t)
		attack(w)
		if !guarded {
			require.NoError(t, os.Remove(filepath.Join(w.dir, "go.sum")))
		} else if said, err := w.run("go", "mod", "verify"); err != nil {
			require.Regexp(t, "checksum mismatch|has been modified", said)
			return ledger.Blocked(ledger.Build, said)
		}
		said, err := w.run("go", "run", ".")
		if err != nil {
			require.Contains(t, said, "checksum mismatch")
			return ledger.Blocked(ledger.Build, said)
		}
		return ledger.Judge(strings.Contains(said, evil), ledger.Build, "the program is "+said)
	}
}

// --- images

// pulls asks a registry for an image after somebody has moved its tag.
func pulls(reference func(tag string, good v1.Hash) (string, error)) ledger.Attempt {
	return func(t *testing.T) ledger.Outcome {
		t.Helper()
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		defer server.Close()
		tag := strings.TrimPrefix(server.URL, "http://") + "/vdi/image:1"
		push := func(label string) v1.Hash {
			img, err := image.New(image.Config{Labels: map[string]string{"is": label}})
			require.NoError(t, err)
			to, err := name.NewTag(tag)
			require.NoError(t, err)
			require.NoError(t, remote.Write(to, img))
			digest, err := img.Digest()
			require.NoError(t, err)
			return digest
		}
		good := push("good")
		bad := push(evil)
		asked, err := reference(tag, good)
		require.NoError(t, err)
		ref, err := name.ParseReference(asked)
		require.NoError(t, err)
		got, err := remote.Get(ref)
		require.NoError(t, err)
		return ledger.Judge(got.Digest == bad, ledger.Build, "asked for "+asked+": "+got.Digest.String())
	}
}

func byTag(tag string, _ v1.Hash) (string, error) { return tag, nil }

// byDigest is how a chart of a release names an image: release.CheckCharts, which is tried
// by tests/release, demands it.
func byDigest(tag string, good v1.Hash) (string, error) {
	repository, _, _ := strings.Cut(tag, ":1")
	return repository + "@" + good.String(), nil
}

const dockerfile = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"

func baseByTag(tag string, _ v1.Hash) (string, error) {
	return release.Bases(dockerfile, map[string]string{"BASE_IMAGE": tag})[0], nil
}

func baseByDigest(tag string, good v1.Hash) (string, error) {
	if release.CheckBases(dockerfile, map[string]string{"BASE_IMAGE": tag}) == nil {
		return tag, nil // what the check lets pass is what is built from
	}
	asked, err := byDigest(tag, good)
	if err == nil {
		err = release.CheckBases(dockerfile, map[string]string{"BASE_IMAGE": asked})
	}
	return asked, err
}

// archive is read after somebody has put another program into it.
func archive(guarded bool) ledger.Attempt {
	return func(t *testing.T) ledger.Outcome {
		t.Helper()
		file := filepath.Join(t.TempDir(), "image.tar")
		var digests []v1.Hash
		for _, says := range []string{"good", evil} {
			layer, err := image.FilesLayer(image.File{Path: "/program", Mode: 0o755, Data: []byte(says)})
			require.NoError(t, err)
			img, err := image.New(image.Config{}, layer)
			require.NoError(t, err)
			require.NoError(t, image.WriteFile(file, "example.test/image:1", img))
			digest, err := img.Digest()
			require.NoError(t, err)
			digests = append(digests, digest)
		}
		if guarded {
			return refused(image.Check(file, digests[0]))
		}
		got, err := image.Digest(file)
		require.NoError(t, err, "nothing is wrong with it")
		return ledger.Judge(got == digests[1], ledger.Build, "it is the former image")
	}
}

// workflow runs an action after its owner, or who has taken their place, has moved its tag.
func workflow(guarded bool) ledger.Attempt {
	return func(t *testing.T) ledger.Outcome {
		t.Helper()
		dir := t.TempDir()
		git := func(args ...string) string {
			command := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
			out, err := command.CombinedOutput()
			require.NoError(t, err, "%s", out)
			return strings.TrimSpace(string(out))
		}
		git("init", "--quiet")
		var commits []string
		for _, does := range []string{"good", evil} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "action.yaml"), []byte(does), 0o600))
			git("add", ".")
			git("commit", "--quiet", "-m", does)
			git("tag", "--force", "v1")
			commits = append(commits, git("rev-parse", "HEAD"))
		}
		ref := "v1"
		uses := func() error {
			return release.CheckWorkflow("jobs: {publish: {steps: [{uses: somebody/publish@" + ref + "}]}}")
		}
		if guarded && uses() != nil {
			ref = commits[0]
			require.NoError(t, uses())
		}
		does := git("show", ref+":action.yaml")
		return ledger.Judge(does == evil, ledger.Build, "somebody/publish@"+ref+" is "+does)
	}
}

// --- lists of parts

// aProgram is a program of ours, and a list of its parts.
func aProgram(t *testing.T) (bin, program, list string) {
	t.Helper()
	require.NoError(t, cluster.BuildTools(t.Context(), os.Stderr, "cyclonedx-gomod", "govulncheck"))
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	dir := t.TempDir()
	program, list = filepath.Join(dir, "vdi-agent"), filepath.Join(dir, "list.json")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./operator/cmd/vdi-agent")
	build.Dir, build.Env = filepath.Dir(bin), append(os.Environ(), "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	said, err = exec.CommandContext(t.Context(), filepath.Join(bin, "cyclonedx-gomod"), "bin", "-json", "-std", "-noserial", "-output", list, program).CombinedOutput()
	require.NoError(t, err, "%s", said)
	return bin, program, list
}

const hidden = "golang.org/x/sys"

// parts looks for a module in a list that was made to hide it.
func parts(guarded bool) ledger.Attempt {
	return func(t *testing.T) ledger.Outcome {
		t.Helper()
		_, program, list := aProgram(t)
		text, err := os.ReadFile(list)
		require.NoError(t, err)
		require.Contains(t, string(text), hidden)
		text = bytes.ReplaceAll(text, []byte(hidden), []byte("example.com/x"))
		require.NoError(t, os.WriteFile(list, text, 0o600))
		if guarded {
			return refused(release.CheckList(list, program))
		}
		return ledger.Judge(!bytes.Contains(text, []byte(hidden)), ledger.Build, "it is found in the list")
	}
}

// hole is in a module of a program, and a database knows of it.
func hole(guarded bool) ledger.Attempt {
	return func(t *testing.T) ledger.Outcome {
		t.Helper()
		bin, program, _ := aProgram(t)
		if !guarded { // it was built, and nobody has looked
			made, err := release.PartsOf(program)
			require.NoError(t, err)
			return ledger.Judge(slices.ContainsFunc(made, func(p release.Part) bool { return p.Name == hidden }), ledger.Build, "it is not in there")
		}
		entries, database := t.TempDir(), t.TempDir()
		entry, err := json.Marshal(map[string]any{
			"schema_version": "1.3.1", "id": "GO-2026-9999", "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z", "details": "a hole",
			"affected": []any{map[string]any{
				"package":            map[string]string{"name": hidden, "ecosystem": "Go"},
				"ranges":             []any{map[string]any{"type": "SEMVER", "events": []any{map[string]string{"introduced": "0"}}}},
				"ecosystem_specific": map[string]any{"imports": []any{map[string]string{"path": hidden + "/unix"}}},
			}},
			"database_specific": map[string]string{"url": "https://pkg.go.dev/vuln/GO-2026-9999"}, // without it govulncheck crashes, with whatever exit code
		})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(entries, "GO-2026-9999.json"), entry, 0o600))
		require.NoError(t, release.Index(entries, database))
		var said bytes.Buffer
		s := release.Search{Govulncheck: filepath.Join(bin, "govulncheck"), Folder: filepath.Dir(program), Database: "file://" + database, Say: &said}
		err = s.Run(t.Context(), "-mode", "binary", program)
		require.Contains(t, said.String(), "GO-2026-9999")
		if err != nil {
			require.ErrorIs(t, err, release.ErrHole, "%s", said.String())
		}
		return refused(err)
	}
}
