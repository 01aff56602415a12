// Package install puts the whole platform on a local cluster the way a person
// does: images, a certificate, and the helm command. The demo and the
// end-to-end tests share it. It knows nothing about what they then do.
package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/progress"
	"github.com/vdi-platform/vdi-platform/tests/registry"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// Names the demo and the tests agree on.
const (
	// Namespace of the release.
	Namespace = "vdi-system"
	// Release is the Helm release's name.
	Release = "vdi"
	// Sessions is the namespace where desktops live.
	Sessions = "vdi-sessions"
	// Domain of the desktops' hosts.
	Domain = "vdi.localhost"
	// NodePort leads to the proxy's TLS entry point (values/local.yaml).
	NodePort = 30443
)

// PageImage serves a page instead of a desktop, for tests that need many.
const PageImage = "docker.io/vdi-platform/page:dev"

// Image is one image of the local cluster.
type Image struct {
	Tag     string // name in the cluster
	Archive string // OCI archive, relative to the repository
	build   []string
	// sources are the packages of its programs that are ours, relative to the repository.
	sources []string
}

// Images are what the platform, its desktops and tests of many need on the node.
func Images() []Image { return append(DemoImages(), pageImage()) }

// DemoImages are what the platform and one desktop need.
func DemoImages() []Image {
	return []Image{
		programs("docker.io/vdi-platform/vdi-operator:dev", "operator/cmd/vdi-operator", "operator/cmd/vdi-agent", "operator/cmd/vdi-frontdoor", "operator/cmd/vdi-turn-secret"),
		{"docker.io/vdi-platform/traefik:dev", "bin/images/traefik.tar", []string{"binary", "--binary", "../bin/traefik"}, nil},
		DesktopImage(),
	}
}

// DesktopImage is the plain desktop.
func DesktopImage() Image {
	return Image{"docker.io/vdi-platform/desktop:dev", "bin/images/desktop.tar", []string{"desktop"}, nil}
}

func pageImage() Image { return programs(PageImage, "tests/images/page") }

// RelayImage is Debian's coturn, for those who try the relay.
func RelayImage() Image {
	return Image{"docker.io/vdi-platform/relay:dev", "bin/images/relay.tar", []string{"relay"}, nil}
}

// programs is an image of our own programs, named after the first.
func programs(tag string, sources ...string) Image {
	i := Image{Tag: tag, Archive: "bin/images/" + path.Base(sources[0]) + ".tar", build: []string{"binary"}, sources: sources}
	for _, source := range sources {
		i.build = append(i.build, "--binary", "../bin/"+path.Base(source))
	}
	return i
}

// Platform is the platform on one cluster.
type Platform struct {
	Cluster *cluster.Cluster
	Client  client.WithWatch
	// CA is the authority (PEM) of the certificate the proxy shows.
	CA     []byte
	root   string
	out    io.Writer
	images []Image

	delivery delivery
	registry *registry.Registry // with delivery byRegistry
	values   []string           // for helm, beside the caller's
}

// Install builds what is missing, loads it, and installs the release. It may be
// run again; values are given to helm after values/local.yaml.
func Install(ctx context.Context, c *cluster.Cluster, out io.Writer, values ...string) (*Platform, error) {
	p, err := Prepare(ctx, c, out, Images()...)
	if err != nil {
		return nil, err
	}
	return p, p.Release(ctx, values...)
}

// Release installs the release, or upgrades it to other values.
func (p *Platform) Release(ctx context.Context, values ...string) error {
	return Step(p.out, "helm upgrade --install "+Release, func() error { return p.release(ctx, values) })
}

// Prepare does all that comes before helm, with the images that are wanted.
func Prepare(ctx context.Context, c *cluster.Cluster, out io.Writer, images ...Image) (*Platform, error) {
	p, err := Open(c, out)
	if err != nil {
		return nil, err
	}
	p.images = images
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"build the platform's programs", p.buildPrograms},
		{"build Helm and Traefik", p.buildTools},
		{"look whose the cluster is", p.CheckOwn},
		{"build images", p.buildImages},
		{"deliver images", p.deliver},
		{"namespaces", p.namespaces},
		{"certificate for *." + Domain, p.certificate},
	}
	for _, step := range steps {
		if err := Step(out, step.name, func() error { return step.do(ctx) }); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Open finds a platform that may be installed already.
func Open(c *cluster.Cluster, out io.Writer) (*Platform, error) {
	root, err := standins.RepositoryRoot()
	if err != nil {
		return nil, err
	}
	config, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	kube, err := client.NewWithWatch(config, client.Options{Scheme: run.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("build client: %w", err)
	}
	p := &Platform{Cluster: c, Client: kube, root: root, out: out}
	return p, p.decideDelivery()
}

// Step reports what is done and how long it took.
func Step(out io.Writer, name string, do func() error) error {
	return progress.Step(out, name, 0, func(func(string)) error { return do() })
}

// buildPrograms builds our own programs that the images hold, statically.
func (p *Platform) buildPrograms(ctx context.Context) error {
	for _, image := range p.images {
		for _, source := range image.sources {
			if err := p.build(ctx, source); err != nil {
				return err
			}
		}
	}
	return nil
}

// build builds a program in the module that it belongs to.
func (p *Platform) build(ctx context.Context, source string) error {
	module := p.root
	if below, found := strings.CutPrefix(source, "tests/"); found {
		module, source = filepath.Join(p.root, "tests"), below
	}
	name := path.Base(source)
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(p.root, "bin", name), "./"+source)
	command.Dir, command.Env = module, append(p.environment(), "CGO_ENABLED=0")
	return progress.Step(p.out, "build "+name, 0, func(note func(string)) error { return progress.GoBuild(command, note) })
}

func (p *Platform) buildTools(ctx context.Context) error {
	return cluster.BuildTools(ctx, p.out, "helm", "traefik")
}

// Provide builds further images and loads them.
func (p *Platform) Provide(ctx context.Context, images ...Image) error {
	more := *p
	more.images = images
	return errors.Join(more.buildImages(ctx), more.deliver(ctx))
}

func (p *Platform) buildImages(ctx context.Context) error {
	for _, image := range p.images {
		if err := image.Build(ctx, p.root, p.out); err != nil {
			return err
		}
	}
	return nil
}

// Build writes the image's archive, unless it is current, from programs that are built.
func (i Image) Build(ctx context.Context, root string, out io.Writer) error {
	args := slices.Concat([]string{"run", "./cmd/vdi-image"}, i.build, []string{"--tag", i.Tag, "--out", filepath.Join(root, i.Archive)})
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir, command.Stdout, command.Stderr = filepath.Join(root, "tests"), out, out
	if err := command.Run(); err != nil {
		return fmt.Errorf("build image %s: %w", i.Tag, err)
	}
	return nil
}

// namespaces: desktops never live beside the platform, keep to the strictest
// Pod Security level, and nobody else writes routes there.
func (p *Platform) namespaces(ctx context.Context) error {
	restricted := map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "vdi.kasm.io/sessions": "true"}
	return errors.Join(
		p.ensure(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}),
		p.ensure(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Sessions, Labels: restricted}}),
	)
}

func (p *Platform) ensure(ctx context.Context, o client.Object) error {
	err := p.Client.Create(ctx, o)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *Platform) release(ctx context.Context, values []string) error {
	dir, err := os.MkdirTemp("", "vdi-umbrella-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	chart, err := standins.Assemble(ctx, dir)
	if err != nil {
		return err
	}
	args := []string{
		"upgrade", "--install", Release, chart, "--namespace", Namespace,
		"--values", "values/local.yaml", "--labels", markKey + "=" + markValue, "--wait", "--timeout", "5m",
	}
	if node := p.Cluster.NodeIP(); node.IsValid() { // the name service is a program of the node, not a pod
		args = append(args, "--set", "vdi-operator.sessions.network.dnsRanges={"+node.String()+"/32}")
	}
	return p.Helm(ctx, slices.Concat(args, p.values, values)...)
}

// Helm runs the real helm command against the cluster.
func (p *Platform) Helm(ctx context.Context, args ...string) error {
	return p.helm(ctx, args...).Run()
}

func (p *Platform) helm(ctx context.Context, args ...string) *exec.Cmd {
	return p.command(ctx, p.root, filepath.Join(p.root, "bin", "helm"), args...)
}

// Kubectl runs the real kubectl against the cluster and returns what it printed.
func (p *Platform) Kubectl(ctx context.Context, args ...string) (string, error) {
	out, err := p.kubectl(ctx, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %v: %w\n%s", args, err, out)
	}
	return string(out), nil
}

// kubectl is the one of a local cluster, or whichever those who have a cluster use.
func (p *Platform) kubectl(ctx context.Context, args ...string) *exec.Cmd {
	program := filepath.Join(p.root, "bin", "kubectl")
	if _, err := os.Stat(program); err != nil {
		program = "kubectl"
	}
	command := exec.CommandContext(ctx, program, args...)
	command.Env = p.environment()
	return command
}

// PortForward is a command that leads a port of this machine to the same one of the release.
func (p *Platform) PortForward(ctx context.Context, to, port string) *exec.Cmd {
	return p.kubectl(ctx, "port-forward", "--namespace", Namespace, to, port)
}

func (p *Platform) command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir, command.Stdout, command.Stderr, command.Env = dir, p.out, p.out, p.environment()
	return command
}

func (p *Platform) environment() []string {
	return append(os.Environ(), "KUBECONFIG="+p.Cluster.KubeconfigPath())
}
