package renderer

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// someOf are a few elements of a list.
func someOf(r *rand.Rand, all []string) (out []string) {
	for _, e := range all {
		if r.Intn(4) == 0 {
			out = append(out, e)
		}
	}
	return out
}

// anyNetwork is a combination of settings.
func anyNetwork(r *rand.Rand) platform.Network {
	internet := r.Intn(3) > 0
	n := platform.Network{
		Internet:      &internet,
		OpenRanges:    someOf(r, platform.DefaultDeniedRanges()),
		DeniedRanges:  someOf(r, []string{"203.0.113.0/24", "10.0.0.0/8", "169.254.0.0/17", "2001:db8::/32", "fd00::/9", "8.8.8.0/24"}),
		AllowedRanges: someOf(r, []string{"0.0.0.0/0", "::/0", "10.9.8.0/24", "169.254.0.0/16", "169.254.169.254/32", "169.254.169.252/30", "100.100.100.200/31", "fd00:ec2::/64", "fd00:ec2::254/128", "64:ff9b::/96", "64:ff9b::a9fe:0/112", "168.63.129.16/32"}),
		DNSRanges:     someOf(r, []string{"169.254.20.10/32", "169.254.169.254/32", "169.254.0.0/16", "fd00::/8", "8.8.8.8/32"}),
	}
	if r.Intn(2) == 0 {
		n.DNSPorts = []int32{53, 80}
	}
	return n
}

// TestNothingOpensTheFloor: over combinations of settings, those that are refused make
// nothing; with the others no desktop reaches a metadata service, nor a range of the
// floor that was neither opened nor allowed, nor one that was denied.
func TestNothingOpensTheFloor(t *testing.T) {
	r, base, seed := newRenderer(t), goldenInputs(t)["defaults"], rand.New(rand.NewSource(1))
	rendered, refused := 0, 0
	for range 3000 {
		in := base
		in.Platform.Sessions.Network = anyNetwork(seed)
		config := in.Platform.WithDefaults()
		if config.Validate() != nil {
			refused++
			continue
		}
		got, err := r.Render(in)
		require.NoError(t, err, "%+v", in.Platform.Sessions.Network)
		rendered++
		requireFloor(t, config.Sessions.Network, typed[networkingv1.NetworkPolicy](t, got.ofKind(wire.KindNetworkPolicy)[0]))
	}
	require.Greater(t, rendered, 300)
	require.Greater(t, refused, 300)
}

func requireFloor(t *testing.T, n platform.Network, policy *networkingv1.NetworkPolicy) {
	t.Helper()
	for _, address := range platform.MetadataAddresses() {
		require.False(t, reaches(t, policy, address), "%s with %+v", address, n)
	}
	for _, ranges := range [][]string{platform.DefaultDeniedRanges(), n.DeniedRanges} {
		for _, text := range ranges {
			address := netip.MustParsePrefix(text).Addr()
			if within(n.Denied(), address) && !within(n.AllowedRanges, address) && !within(n.DNSRanges, address) {
				require.False(t, reaches(t, policy, address), "%s with %+v", address, n)
			}
		}
	}
	require.Equal(t, *n.Internet || within(n.AllowedRanges, netip.MustParseAddr("1.1.1.1")), reaches(t, policy, netip.MustParseAddr("1.1.1.1")), fmt.Sprintf("%+v", n))
}

func within(ranges []string, address netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(r string) bool { return netip.MustParsePrefix(r).Contains(address) })
}

// reaches by another port than that of names.
func reaches(t *testing.T, policy *networkingv1.NetworkPolicy, address netip.Addr) bool {
	t.Helper()
	for _, rule := range policy.Spec.Egress {
		other := len(rule.Ports) == 0 || slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port == nil || p.Port.IntValue() != 53 })
		for _, peer := range rule.To {
			if !other || peer.IPBlock == nil || !netip.MustParsePrefix(peer.IPBlock.CIDR).Contains(address) {
				continue
			}
			cidr := netip.MustParsePrefix(peer.IPBlock.CIDR)
			for _, e := range peer.IPBlock.Except {
				except := netip.MustParsePrefix(e)
				require.True(t, cidr.Contains(except.Addr()) && except.Bits() > cidr.Bits(), "the API server refuses %s in %s", e, cidr)
			}
			if !within(peer.IPBlock.Except, address) {
				return true
			}
		}
	}
	return false
}
