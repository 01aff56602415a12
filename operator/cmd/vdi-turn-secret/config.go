package main

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

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/platform"
)

// options of `config`.
type options struct {
	base, secrets, out string
	listen, external   string
	node               string
}

func runConfig(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("vdi-turn-secret config", flag.ContinueOnError)
	flags.StringVar(&o.base, "base", "", "configuration without secrets and addresses")
	flags.StringVar(&o.secrets, "secrets", "", "folder with the Secret's keys")
	flags.StringVar(&o.out, "out", "", "file to write")
	flags.StringVar(&o.listen, "listen", "", "comma-separated addresses of the relay")
	flags.StringVar(&o.external, "external", "", "comma-separated addresses that users see; empty: those of --listen")
	flags.StringVar(&o.node, "external-of-node", "", "take the external addresses from this node's status")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return writeConfig(ctx, o)
}

func writeConfig(ctx context.Context, o options) error {
	base, err := os.ReadFile(o.base)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	secrets, err := secretsOf(func(key string) ([]byte, error) { return readKey(o.secrets, key) })
	if err != nil {
		return err
	}
	if o.node != "" {
		if o.external, err = externalOf(ctx, o.node); err != nil {
			return err
		}
	}
	addresses, err := addressesOf(o.listen, o.external)
	if err != nil {
		return err
	}
	// Only the relay's own user reads it.
	return os.WriteFile(o.out, configOf(base, addresses, secrets), 0o400)
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
	node, err := client.Nodes().Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read node %q: %w", name, err)
	}
	return externalIPs(node)
}

func externalIPs(node *core.Node) (string, error) {
	var found []string
	for _, a := range node.Status.Addresses {
		if a.Type == core.NodeExternalIP {
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
	own, err := parse(listen)
	if err != nil {
		return nil, err
	}
	seen, err := parse(external)
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

func parse(list string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
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
