package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/vdi-platform/vdi-platform/tests/debian"
)

// packages are the Debian packages a node needs, by a file of each.
var packages = map[string]string{
	"runc":                        "/usr/sbin/runc",
	"containernetworking-plugins": "/usr/lib/cni/ptp",
	"iptables":                    "/usr/sbin/iptables",
	"nftables":                    "/usr/sbin/nft",
	"conntrack":                   "/usr/sbin/conntrack",
	"ipset":                       "/usr/sbin/ipset",
}

// ensurePackages installs what is missing, where that is ours to do.
func ensurePackages(ctx context.Context, progress io.Writer) error {
	var missing []string
	for name, file := range packages {
		if _, err := os.Stat(file); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := os.Stat("/etc/debian_version"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("packages are missing; as root run: apt-get install -y --no-install-recommends %s", strings.Join(missing, " "))
	}
	start := time.Now()
	fmt.Fprintf(progress, "install %s …\n", strings.Join(missing, ", "))
	if err := debian.Install(ctx, missing...); err != nil {
		return err
	}
	fmt.Fprintf(progress, "installed packages in %s\n", time.Since(start).Round(time.Second))
	return nil
}

// errNotRoot is told before anything is built in vain.
var errNotRoot = errors.New("a node cluster needs root: it makes namespaces, mounts and network interfaces")
