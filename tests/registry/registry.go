// Package registry puts a release's images and charts into a registry, under the names that
// charts give them with global.imageRegistry. It asks a registry for nothing else, and
// builds nothing.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

// Registry is where to push to.
type Registry struct {
	base name.Repository
	// prefix as the caller wrote it, for names that charts will write.
	prefix  string
	plain   bool // speaks HTTP without TLS
	options []name.Option
}

// Pushed is something that lies in the registry now.
type Pushed struct {
	Name   string // with its tag
	Digest string
	// Before is the digest that the name had until now. Empty: none.
	Before string
}

// String is a line for a person.
func (p Pushed) String() string {
	switch p.Before {
	case "":
		return fmt.Sprintf("%s@%s", p.Name, p.Digest)
	case p.Digest:
		return fmt.Sprintf("%s@%s was there already", p.Name, p.Digest)
	}
	return fmt.Sprintf("%s@%s, which was %s before", p.Name, p.Digest, p.Before)
}

// form is that of global.imageRegistry in the schemas of the umbrella and of coturn. A host
// without a dot, a port or the name localhost would be a path on Docker Hub.
var form = regexp.MustCompile(`^((localhost|[a-zA-Z0-9-]+([.][a-zA-Z0-9-]+)+)(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*|[a-zA-Z0-9-]+:[0-9]+(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)$`)

// New reads a registry such as localhost:5000 or registry.example.com/team/vdi. A registry
// on this machine speaks plain HTTP, and another does if plain is set: for images and charts
// alike, since a login goes with both.
func New(prefix string, plain bool) (*Registry, error) {
	r := &Registry{prefix: prefix}
	if plain {
		r.options = append(r.options, name.Insecure)
	}
	// The library would take a name without a host for one on Docker Hub.
	base, err := name.NewRepository(prefix+"/any", append(r.options, name.StrictValidation)...)
	if err != nil || !form.MatchString(prefix) {
		return nil, fmt.Errorf("registry %q: want HOST[:PORT][/PATH], such as localhost:5000 or registry.example.com/vdi", prefix)
	}
	r.base = base
	r.plain = plain || loopback(base.RegistryStr())
	return r, nil
}

// loopback says whether a registry is on this machine.
func loopback(registry string) bool {
	machine, _, err := net.SplitHostPort(registry)
	if err != nil {
		machine = registry
	}
	address, err := netip.ParseAddr(machine)
	return machine == "localhost" || err == nil && address.IsLoopback()
}

// onlyTLS refuses to go on without TLS. The library would, at private addresses, where a
// registry does not answer https.
type onlyTLS struct{ http.RoundTripper }

func (o onlyTLS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s does not speak TLS; PLAIN_HTTP=yes sends images, charts and logins to it in plain text", r.URL.Host)
	}
	return o.RoundTripper.RoundTrip(r)
}

// host is the part of an image's name that global.imageRegistry replaces: a first part
// with a dot or a colon (distribution/reference).
var host = regexp.MustCompile(`^([^/]*[.:][^/]*|localhost)/`)

// NameOf is an image's name in the registry.
func (r *Registry) NameOf(image string) string {
	return r.prefix + "/" + host.ReplaceAllString(image, "")
}

// PushImages pushes what the archives hold, reports each, and stops at the first that fails.
// Layers that the registry has already are not sent again.
func (r *Registry) PushImages(ctx context.Context, report func(Pushed), archives ...string) error {
	for _, archive := range archives {
		pushed, err := r.pushImage(ctx, archive)
		if err != nil {
			return fmt.Errorf("push %s: %w", archive, err)
		}
		report(pushed)
	}
	return nil
}

func (r *Registry) pushImage(ctx context.Context, archive string) (pushed Pushed, err error) {
	folder, err := os.MkdirTemp("", "vdi-push-*")
	if err != nil {
		return pushed, err
	}
	defer os.RemoveAll(folder)
	opened, err := image.Open(archive, folder)
	if err != nil {
		return pushed, err
	}
	tag, err := name.NewTag(r.NameOf(opened.Name), r.options...)
	if err != nil {
		return pushed, err
	}
	pushed = Pushed{Name: tag.String(), Digest: opened.Digest.String()}
	if pushed.Before, err = r.digestOf(ctx, tag); err != nil || pushed.Before == pushed.Digest {
		return pushed, err
	}
	options := r.remoteOptions(ctx)
	switch content := opened.Content.(type) {
	case v1.Image:
		err = remote.Write(tag, content, options...)
	case v1.ImageIndex:
		err = remote.WriteIndex(tag, content, options...)
	default:
		err = fmt.Errorf("%s holds neither an image nor an index of images", archive)
	}
	return pushed, err
}

// digestOf is what lies under a name. Empty: nothing.
func (r *Registry) digestOf(ctx context.Context, ref name.Reference) (string, error) {
	found, err := remote.Head(ref, r.remoteOptions(ctx)...)
	if refused := new(transport.Error); errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", ref, err)
	}
	return found.Digest.String(), nil
}

func (r *Registry) remoteOptions(ctx context.Context) []remote.Option {
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if !r.plain {
		options = append(options, remote.WithTransport(onlyTLS{remote.DefaultTransport}))
	}
	return options
}
