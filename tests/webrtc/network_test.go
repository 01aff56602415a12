package webrtc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Addresses: the relay's public one, and the two ends of the wire between its
// network and the desktop's.
const (
	public  = "203.0.113.10"
	gateway = "10.88.0.1"
	pod     = "10.88.0.2"
)

// noAddresses is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
const noAddresses = 1

// inPod is the network of the desktop and its agent.
var inPod netns.NsHandle

// setUpNetwork gives this process' namespaces the addresses and mounts they need.
func setUpNetwork() error {
	if err := mounts(); err != nil {
		return err
	}
	here, err := netns.Get()
	if err != nil {
		return err
	}
	if inPod, err = newNamespace(here); err != nil {
		return fmt.Errorf("make the desktop's network: %w", err)
	}
	if err := addWire(); err != nil {
		return fmt.Errorf("set up the network: %w", err)
	}
	return nil
}

// mounts are this process' own: its processes and a /run that is empty.
func mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return nil
}

func newNamespace(here netns.NsHandle) (netns.NsHandle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	made, err := netns.New()
	if err != nil {
		return 0, err
	}
	return made, netns.Set(here)
}

// addWire joins the two networks, as a node and a pod are.
func addWire() error {
	own, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	end := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wire"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(inPod)}
	if err := netlink.LinkAdd(end); err != nil {
		return err
	}
	there, err := netlink.NewHandleAt(inPod)
	if err != nil {
		return err
	}
	defer there.Close()
	lo, err := there.LinkByName("lo")
	if err != nil {
		return err
	}
	eth0, err := there.LinkByName("eth0")
	if err != nil {
		return err
	}
	return errors.Join(
		// An address that the kernel adds by itself, seconds after the wire is up, would
		// end the browser's requests in flight (ERR_NETWORK_CHANGED).
		netlink.LinkSetIP6AddrGenMode(end, noAddresses),
		netlink.LinkSetUp(own), netlink.AddrAdd(end, address(gateway, 24)), netlink.AddrAdd(end, address(public, 32)), netlink.LinkSetUp(end),
		there.LinkSetUp(lo), there.AddrAdd(eth0, address(pod, 24)), there.LinkSetUp(eth0),
		there.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: net.ParseIP(gateway)}),
	)
}

func address(text string, bits int) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(text).To4(), Mask: net.CIDRMask(bits, 32)}}
}

// startInPod starts a program in the desktop's network: a process inherits the
// one of the thread that starts it.
func startInPod(command *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	if err := netns.Set(inPod); err != nil {
		return err
	}
	err = command.Start()
	if back := netns.Set(here); back != nil {
		fmt.Fprintln(os.Stderr, "tests/webrtc: leave the desktop's network:", back)
		os.Exit(1) // this thread would go on in the wrong one
	}
	return err
}
