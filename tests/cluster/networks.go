package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Network is the network of the node or of one of its pods. What is opened in it
// speaks with that one's address and stays there, whoever uses it.
type Network struct{ file *os.File }

// Close gives the network up; connections made in it stay.
func (n Network) Close() error { return n.file.Close() }

// NodeNetwork is the node's own, whose traffic no NetworkPolicy refuses.
func (c *Cluster) NodeNetwork() (Network, error) {
	if c.existing {
		return Network{}, errElsewhere
	}
	return networkOf(c.state.Init.PID)
}

// errElsewhere is said where networks and processes would have to be this machine's.
var errElsewhere = errors.New("node and pods of an existing cluster are not on this machine: run the test on a local cluster (without VDI_CLUSTER=existing), or leave it out with -skip")

// PodNetwork is that of a running pod. It takes any process of the pod, so it is
// there before the pod's status says so.
func (c *Cluster) PodNetwork(pod *corev1.Pod) (Network, error) {
	pids, err := c.PodProcesses(pod)
	if err != nil {
		return Network{}, err
	}
	own, err := os.Readlink(networkFile(c.state.Init.PID))
	if err != nil {
		return Network{}, fmt.Errorf("find the node's network: %w", err)
	}
	for _, pid := range pids { // of a pod that begins, some are still in the node's network
		if at, err := os.Readlink(networkFile(pid)); err == nil && at != own {
			return networkOf(pid)
		}
	}
	return Network{}, fmt.Errorf("pod %s/%s has no network of its own yet", pod.Namespace, pod.Name)
}

// PodProcesses are the process IDs of a pod's containers, as this machine sees
// them, the sandbox's own among them.
func (c *Cluster) PodProcesses(pod *corev1.Pod) ([]int, error) {
	if c.existing {
		return nil, errElsewhere
	}
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		groups, _ := os.ReadFile(file) // it may have ended
		if strings.Contains(string(groups), c.state.cgroup()) && strings.Contains(string(groups), "pod"+string(pod.UID)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func networkOf(pid int) (Network, error) {
	file, err := os.Open(networkFile(pid))
	if err != nil {
		return Network{}, fmt.Errorf("find the network of process %d: %w", pid, err)
	}
	return Network{file}, nil
}

func networkFile(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }

// do runs what opens a socket on a thread of its own, which ends with it.
func (n Network) do(open func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: nothing else may run in that network
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter a network: %w", err)
			return
		}
		done <- open()
	}()
	return <-done
}

// DialContext connects to a numeric address; a name would be looked up here.
func (n Network) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen waits for connections at a numeric address.
func (n Network) Listen(address string) (listener net.Listener, err error) {
	err = n.do(func() error {
		listener, err = net.Listen("tcp", address)
		return err
	})
	return listener, err
}

// ListenPacket waits for datagrams at a numeric address.
func (n Network) ListenPacket(address string) (conn net.PacketConn, err error) {
	err = n.do(func() error {
		conn, err = net.ListenPacket("udp", address)
		return err
	})
	return conn, err
}

// AddAddress gives the network an address of another place in the world, as if
// that were one hop away.
func (n Network) AddAddress(address netip.Addr) error {
	return n.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find interface lo: %w", err)
		}
		err = netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(address, 32))})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add address %s: %w", address, err)
		}
		return nil
	})
}

// Addresses are the network's own, but for loopback ones.
func (n Network) Addresses() (addresses []netip.Addr, err error) {
	err = n.do(func() error {
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if prefix, bad := netip.ParsePrefix(a.String()); bad == nil && !prefix.Addr().IsLoopback() && prefix.Addr().Is4() {
				addresses = append(addresses, prefix.Addr())
			}
		}
		return err
	})
	return addresses, err
}
