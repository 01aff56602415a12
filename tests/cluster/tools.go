package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vdi-platform/vdi-platform/tests/progress"
)

// tool is a program built from a pinned Go module under tests/tools, so that
// its dependencies enter no other module graph.
type tool struct {
	name    string        // of the binary
	module  string        // folder under tests/tools
	pkg     string        // package to build there
	ldflags string        // stamps the version: unstamped, clients choke on v0.0.0-master
	links   []string      // further names of a multi-call binary
	usually time.Duration // to build it on two cores, with nothing in Go's cache; 0: seconds
}

const (
	kubernetesVersion = "v1.37.2"

	versionPackage    = "k8s.io/component-base/version"
	containerdPackage = "github.com/containerd/containerd/v2"
	traefikPackage    = "github.com/traefik/traefik/v3"
	containerdLdflags = "-X " + containerdPackage + "/version.Version=v2.4.2"
)

var tools = []tool{
	{
		name: "kube", module: "kube", pkg: ".",
		ldflags: "-X " + versionPackage + ".gitVersion=" + kubernetesVersion +
			" -X " + versionPackage + ".gitMajor=1 -X " + versionPackage + ".gitMinor=37" +
			" -X " + versionPackage + ".gitTreeState=clean",
		links:   []string{"etcd", "etcdutl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"},
		usually: 7 * time.Minute,
	},
	{name: "pause", module: "pause", pkg: "."},
	{name: "containerd", module: "containerd", pkg: containerdPackage + "/cmd/containerd", ldflags: containerdLdflags, usually: time.Minute},
	{name: "containerd-shim-runc-v2", module: "containerd", pkg: containerdPackage + "/cmd/containerd-shim-runc-v2", ldflags: containerdLdflags},
	{name: "ctr", module: "containerd", pkg: containerdPackage + "/cmd/ctr", ldflags: containerdLdflags},
	{name: "coredns", module: "coredns", pkg: ".", usually: time.Minute},
	{name: "kube-router", module: "kuberouter", pkg: "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router", usually: 2 * time.Minute},
	{name: "helm", module: "helm3", pkg: "helm.sh/helm/v3/cmd/helm", ldflags: "-X helm.sh/helm/v3/internal/version.version=v3.22.0", usually: time.Minute},
	{name: "helm4", module: "helm4", pkg: "helm.sh/helm/v4/cmd/helm", ldflags: "-X helm.sh/helm/v4/internal/version.version=v4.3.1", usually: time.Minute},
	{name: "ct", module: "ct", pkg: "github.com/helm/chart-testing/v3/ct", ldflags: "-X github.com/helm/chart-testing/v3/ct/cmd.Version=v3.14.0"},
	{name: "kwok", module: "kwok", pkg: "sigs.k8s.io/kwok/cmd/kwok", ldflags: "-X sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0", usually: time.Minute},
	{name: "agent-sandbox-controller", module: "agentsandbox", pkg: "sigs.k8s.io/agent-sandbox/cmd/agent-sandbox-controller"},
	{name: "traefik", module: "traefik", pkg: traefikPackage + "/cmd/traefik", ldflags: "-X " + traefikPackage + "/pkg/version.Version=3.6.25", usually: 4 * time.Minute},
	// Has the hole CVE-2026-71324, which the attack list is made through.
	{name: "traefik-vulnerable", module: "traefik-vulnerable", pkg: traefikPackage + "/cmd/traefik", ldflags: "-X " + traefikPackage + "/pkg/version.Version=3.6.0", usually: 4 * time.Minute},
	{name: "traefik-rules", module: "rules", pkg: "."},
	{name: "cyclonedx-gomod", module: "supply", pkg: "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod"},
	{name: "govulncheck", module: "supply", pkg: "golang.org/x/vuln/cmd/govulncheck"},
	{name: "actionlint", module: "supply", pkg: "github.com/rhysd/actionlint/cmd/actionlint"},
	{name: "syft", module: "syft", pkg: "github.com/anchore/syft/cmd/syft"},
	{name: "crane", module: "cosign", pkg: "github.com/google/go-containerregistry/cmd/crane"},
	{name: "cosign", module: "cosign", pkg: "github.com/sigstore/cosign/v3/cmd/cosign"},
}

// controlPlaneTools and nodeTools are what the two sizes of cluster need.
var (
	controlPlaneTools = []string{"kube"}
	nodeTools         = []string{"kube", "pause", "containerd", "containerd-shim-runc-v2", "ctr", "coredns", "kube-router"}
)

// ToolNames lists every tool that [BuildTools] knows.
func ToolNames() []string {
	var names []string
	for _, t := range tools {
		names = append(names, t.name)
	}
	return names
}

// BuildTools builds the named tools (all that a node needs when none is named)
// into bin/ of the repository, unless they are there and nothing they are made
// of has changed, and reports on each.
func BuildTools(ctx context.Context, out io.Writer, names ...string) error {
	repo, err := here()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = nodeTools
	}
	return repo.build(ctx, out, names)
}

func (r repository) build(ctx context.Context, out io.Writer, names []string) error {
	for _, name := range names {
		i := slices.IndexFunc(tools, func(t tool) bool { return t.name == name })
		if i < 0 {
			return fmt.Errorf("no tool %q; there are %s", name, strings.Join(ToolNames(), ", "))
		}
		if err := r.buildTool(ctx, out, tools[i]); err != nil {
			return err
		}
	}
	return nil
}

// buildTool builds one tool when its stamp differs. A lock file keeps test
// suites that start together from building the same thing twice.
func (r repository) buildTool(ctx context.Context, out io.Writer, t tool) error {
	stamps := r.bin(".stamps")
	if err := ensureDirs(stamps); err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	unlock, err := lockFile(filepath.Join(stamps, t.name+".lock"))
	if err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	defer unlock()
	want, err := r.stampOf(t)
	if err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	stamp := filepath.Join(stamps, t.name)
	if have, _ := os.ReadFile(stamp); string(have) == want && isFile(r.bin(t.name)) {
		return nil
	}
	err = progress.Step(out, "build "+t.name, t.usually, func(note func(string)) error { return r.compile(ctx, t, note) })
	if err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(want), 0o644)
}

// compile replaces the binary at once: the old one may be running.
func (r repository) compile(ctx context.Context, t tool, note func(string)) error {
	next := r.bin(".stamps/" + t.name + ".next")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", strings.TrimSpace("-s -w "+t.ldflags), "-o", next, t.pkg)
	cmd.Dir = r.tool(t.module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if err := progress.GoBuild(cmd, note); err != nil {
		return err
	}
	if err := os.Rename(next, r.bin(t.name)); err != nil {
		return err
	}
	for _, link := range t.links {
		if err := replaceLink(t.name, r.bin(link)); err != nil {
			return err
		}
	}
	return nil
}

// stampOf is a hash of all that a tool is made of.
func (r repository) stampOf(t tool) (string, error) {
	files, err := filepath.Glob(filepath.Join(r.tool(t.module), "*"))
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), t.pkg, t.ldflags, t.links)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, filepath.Base(file), len(content))
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func replaceLink(target, link string) error {
	if have, err := os.Readlink(link); err == nil && have == target {
		return nil
	}
	if err := os.RemoveAll(link); err != nil {
		return err
	}
	return os.Symlink(target, link)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// lockFile takes an advisory lock, which the kernel drops if this process dies.
func lockFile(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}
