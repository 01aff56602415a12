package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// subnets are the address ranges of one cluster. They differ between clusters,
// so that the host can reach the pods and services of all of them.
type subnets struct {
	Link     netip.Prefix `json:"link"` // host and node, nobody else
	Pods     netip.Prefix `json:"pods"`
	Services netip.Prefix `json:"services"`
}

// maxClusters is how many clusters fit beside each other on one machine.
const maxClusters = 16

func subnetsAt(n int) subnets {
	return subnets{
		Link:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, 0, byte(4 * n)}), 30),
		Pods:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 214, byte(16 * n), 0}), 20),
		Services: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 215, byte(16 * n), 0}), 20),
	}
}

func (s subnets) host() netip.Addr { return s.Link.Addr().Next() }
func (s subnets) node() netip.Addr { return s.host().Next() }

// dns is the ClusterIP of the name service.
func (s subnets) dns() netip.Addr {
	a := s.Services.Addr().As4()
	a[3] = 10
	return netip.AddrFrom4(a)
}

func (s subnets) all() []netip.Prefix { return []netip.Prefix{s.Link, s.Pods, s.Services} }

// freeSubnets picks the first ranges that no route of the host overlaps.
func freeSubnets(used []netip.Prefix) (subnets, error) {
	for n := range maxClusters {
		s := subnetsAt(n)
		if !overlap(s.all(), used) {
			return s, nil
		}
	}
	return subnets{}, fmt.Errorf("no free address range: %d clusters run, or the host has routes into 10.213.0.0-10.215.255.255", maxClusters)
}

func overlap(some, others []netip.Prefix) bool {
	for _, a := range some {
		for _, b := range others {
			if a.Overlaps(b) {
				return true
			}
		}
	}
	return false
}

// usedPrefixes are the destinations that the host routes somewhere special.
func usedPrefixes() ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var used []netip.Prefix
	for _, route := range routes {
		if route.Dst == nil {
			continue
		}
		if prefix, err := netip.ParsePrefix(route.Dst.String()); err == nil && prefix.Bits() > 0 {
			used = append(used, prefix)
		}
	}
	return used, nil
}

// connect joins the network namespace of process pid to the host's by a pair of
// interfaces and routes the cluster's ranges through it. It returns the ranges.
func connect(ctx context.Context, link string, pid int) (subnets, error) {
	// Clusters that start together must not choose the same ranges.
	unlock, err := lock(ctx, "subnets")
	if err != nil {
		return subnets{}, err
	}
	defer unlock()
	used, err := usedPrefixes()
	if err != nil {
		return subnets{}, err
	}
	s, err := freeSubnets(used)
	if err != nil {
		return subnets{}, err
	}
	return s, s.addLink(link, pid)
}

func (s subnets) addLink(name string, pid int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: nodeLink, PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add interface %s: %w", name, err)
	}
	if err := addressUp(name, s.host(), s.Link.Bits()); err != nil {
		return err
	}
	return errors.Join(
		addRoute(name, s.Pods, s.node()),
		addRoute(name, s.Services, s.node()),
	)
}

// nodeLink is the node's end of the pair.
const nodeLink = "eth0"

// setUpNode brings up the interfaces of the network namespace we are in.
func (s subnets) setUpNode() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find interface lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	if err := addressUp(nodeLink, s.node(), s.Link.Bits()); err != nil {
		return err
	}
	// A process of the node that calls a ClusterIP needs some route before the
	// rules of kube-proxy see the packet. There is no default route: what leads
	// out of the machine fails at once instead of hanging.
	return addRoute(nodeLink, s.Services, netip.Addr{})
}

func addressUp(name string, address netip.Addr, bits int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	err = netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(address, bits))})
	if err != nil {
		return fmt.Errorf("set address of %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	return nil
}

func addRoute(name string, to netip.Prefix, via netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to), Scope: netlink.SCOPE_LINK}
	if via.IsValid() {
		route.Scope, route.Gw = netlink.SCOPE_UNIVERSE, via.AsSlice()
	}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("route %s through %s: %w", to, name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// removeLink removes what a cluster that died badly may have left.
func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

// lock waits until no other process holds what; an abstract socket is a lock
// that leaves no file and cannot become stale.
func lock(ctx context.Context, what string) (unlock func(), err error) {
	var listener net.Listener
	err = waitFor(ctx, "the lock of "+what, func(context.Context) error {
		var err error
		listener, err = net.Listen("unix", "@vdi-cluster-"+what)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func() { listener.Close() }, nil
}
