package relaysecret

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/platform"
)

// ConfigOptions are the flags of WriteConfig.
type ConfigOptions struct {
	// Base is the configuration without secrets and addresses, Secrets a folder with
	// the Secret's keys, Out the file to write.
	Base, Secrets, Out string
	// Listen are the relay's own addresses, External those that users see; empty: the
	// same. Both are lists with commas.
	Listen, External string
	// Node takes the external addresses from this node's status instead.
	Node string
}

// Register declares the flags.
func (o *ConfigOptions) Register(f *flag.FlagSet) {
	f.StringVar(&o.Base, "base", "", "configuration without secrets and addresses")
	f.StringVar(&o.Secrets, "secrets", "", "folder with the Secret's keys")
	f.StringVar(&o.Out, "out", "", "file to write")
	f.StringVar(&o.Listen, "listen", "", "comma-separated addresses of the relay")
	f.StringVar(&o.External, "external", "", "comma-separated addresses that users see; empty: those of --listen")
	f.StringVar(&o.Node, "external-of-node", "", "take the external addresses from this node's status")
}

// WriteConfig writes the relay's configuration file, which the relay's own user
// alone can read.
func WriteConfig(ctx context.Context, o ConfigOptions) error {
	base, err := os.ReadFile(o.Base)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	secrets, err := secretsOf(func(key string) ([]byte, error) { return readKey(o.Secrets, key) })
	if err != nil {
		return err
	}
	if o.Node != "" {
		if o.External, err = externalOf(ctx, o.Node); err != nil {
			return err
		}
	}
	addresses, err := addressesOf(o.Listen, o.External)
	if err != nil {
		return err
	}
	return os.WriteFile(o.Out, configOf(base, addresses, secrets), 0o400)
}

// readKey returns nothing for a key that the Secret does not hold.
func readKey(dir, key string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// secretsOf returns the valid secrets, the current one first. Errors name keys,
// never contents.
func secretsOf(read func(key string) ([]byte, error)) ([]string, error) {
	var secrets []string
	for _, key := range []string{keyCurrent, keyNext, keyPrevious} {
		data, err := read(key)
		if err != nil {
			return nil, fmt.Errorf("read key %q: %w", key, err)
		}
		secret := string(bytes.TrimSpace(data))
		switch {
		case secret == "" && key == keyCurrent:
			return nil, fmt.Errorf("key %q is missing or empty", key)
		case secret == "":
		case !platform.ValidTURNSecret(secret):
			return nil, fmt.Errorf("key %q must be 32 to 512 letters, digits or + / = _ -", key)
		default:
			secrets = append(secrets, secret)
		}
	}
	return secrets, nil
}

// externalOf are the public addresses that the cloud wrote into a node's status.
func externalOf(ctx context.Context, name string) (string, error) {
	client, err := connect()
	if err != nil {
		return "", err
	}
	node, err := client.Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read node %q: %w", name, err)
	}
	return externalIPs(node)
}

func externalIPs(node *corev1.Node) (string, error) {
	var found []string
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeExternalIP {
			found = append(found, a.Address)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("node %q has no ExternalIP in its status: set address.external, or address.externalFrom to Pod", node.Name)
	}
	return strings.Join(found, ","), nil
}

// address is one of the relay's own, and how users see it.
type address struct{ listen, external netip.Addr }

// addressesOf pairs each address with the external one of its family.
func addressesOf(listen, external string) ([]address, error) {
	own, err := parseAddresses(listen)
	if err != nil {
		return nil, err
	}
	seen, err := parseAddresses(external)
	if err != nil {
		return nil, err
	}
	if len(own) == 0 {
		return nil, errors.New("--listen names no address")
	}
	var pairs []address
	for _, ip := range own {
		pair := address{ip, ip}
		sameFamily := func(other netip.Addr) bool { return other.Is4() == ip.Is4() }
		if i := slices.IndexFunc(seen, sameFamily); i >= 0 {
			pair.external = seen[i]
		}
		pairs = append(pairs, pair)
	}
	return pairs, nil
}

func parseAddresses(list string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range program.List(list) {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no address: %w", text, err)
		}
		if ip.IsUnspecified() || ip.Is4In6() || ip.Zone() != "" {
			return nil, fmt.Errorf("%q is no address a relay can have", text)
		}
		all = append(all, ip)
	}
	return all, nil
}

// configOf adds to the rendered file what only the pod knows. The relay's own
// addresses are always allowed: two users of the relay meet there, and coturn
// would deny even that.
func configOf(base []byte, addresses []address, secrets []string) []byte {
	out := bytes.NewBuffer(append(bytes.TrimSpace(base), '\n'))
	line := func(key, value string) { fmt.Fprintf(out, "%s=%s\n", key, value) }
	for _, a := range addresses {
		line("listening-ip", a.listen.String())
		line("relay-ip", a.listen.String())
		line("allowed-peer-ip", a.listen.String())
		if a.external != a.listen {
			line("external-ip", a.external.String()+"/"+a.listen.String())
			line("allowed-peer-ip", a.external.String())
		}
	}
	for _, secret := range secrets {
		line("static-auth-secret", secret)
	}
	return out.Bytes()
}
