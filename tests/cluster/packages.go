package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// packages are the Debian packages a node needs, by a file of each.
var packages = map[string]string{
	"runc":                        "/usr/sbin/runc",
	"containernetworking-plugins": "/usr/lib/cni/ptp",
	"iptables":                    "/usr/sbin/iptables",
	"nftables":                    "/usr/sbin/nft",
	"conntrack":                   "/usr/sbin/conntrack",
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
	install := append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, missing...)
	if _, err := os.Stat("/etc/debian_version"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("packages are missing; as root run: %s", strings.Join(install, " "))
	}
	start := time.Now()
	fmt.Fprintf(progress, "install %s …\n", strings.Join(missing, ", "))
	for _, args := range [][]string{{"apt-get", "update"}, install} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	fmt.Fprintf(progress, "installed packages in %s\n", time.Since(start).Round(time.Second))
	return nil
}

// errNotRoot is told before anything is built in vain.
var errNotRoot = errors.New("a node cluster needs root: it makes namespaces, mounts and network interfaces")
