// Package relay runs the real coturn with the file that the chart renders, in
// namespaces of its own, and attacks it.
package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/debian"
	"github.com/vdi-platform/vdi-platform/tests/inside"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// Addresses of the relay's node. Peers at the others would answer, if they could be reached.
const (
	public4  = "203.0.113.10"
	public6  = "2001:db8::10"
	private4 = "10.77.0.1"
	metadata = "169.254.169.254"
	private6 = "fd77::1"
)

// operatorTool is the operator's small program for the relay's Secret.
const operatorTool = "vdi-turn-secret"

var repository string

// TestMain runs the tests a second time inside: what may need the network comes
// first, and the tests themselves have a network and a /run of their own.
func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests/relay:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	if repository, err = standins.RepositoryRoot(); err != nil {
		return 0, err
	}
	if inside.Dir() == "" {
		return inside.Run(0, prepare)
	}
	if err := setUp(); err != nil {
		return 0, err
	}
	return ledger.Main(m), nil
}

func prepare(dir string) error {
	if _, err := os.Stat(filepath.Join(repository, "bin", "helm")); err != nil {
		return errors.New("bin/helm is missing: run `make tools-helm`")
	}
	if err := debian.Ensure(context.Background(), "coturn", "turnserver"); err != nil {
		return err
	}
	return inside.Build(repository, dir, operatorTool)
}

func tool() string { return filepath.Join(inside.Dir(), operatorTool) }

// setUp gives this process' namespaces the addresses and the folder that the
// pod would have.
func setUp() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := ownEtc(); err != nil {
		return fmt.Errorf("mount /etc: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	node := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "node"}, PeerName: "wire"}
	if err := netlink.LinkAdd(node); err != nil {
		return fmt.Errorf("make the node's interface: %w", err)
	}
	wire, err := netlink.LinkByName("wire")
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(wire), netlink.LinkSetUp(node)); err != nil {
		return fmt.Errorf("set up the network: %w", err)
	}
	for _, ip := range []string{public4, public6, private4, metadata, private6} {
		if err := netlink.AddrAdd(node, hostAddress(ip)); err != nil {
			return fmt.Errorf("add %s: %w", ip, err)
		}
	}
	// An API server starts only where it finds a default route.
	return netlink.RouteAdd(&netlink.Route{LinkIndex: node.Index, Dst: everywhere()})
}

// ownEtc lets the tests put a certificate where the pod has it, and the machine
// does not see it.
func ownEtc() error {
	for _, dir := range []string{"/run/etc", "/run/etc/upper", "/run/etc/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	return unix.Mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work")
}

func everywhere() *net.IPNet { return &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)} }

// hostAddress is usable at once: nobody else could hold it.
func hostAddress(text string) *netlink.Addr {
	ip, bits := net.ParseIP(text), 128
	if ip.To4() != nil {
		ip, bits = ip.To4(), 32
	}
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)}, Flags: unix.IFA_F_NODAD}
}
