package platform

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// DefaultDeniedRanges are addresses that are not the public internet: private,
// link-local (with the clouds' metadata services), carrier-grade NAT, reserved
// and multicast ranges (IANA special-purpose registries), and the one public
// address that is a metadata service (Azure's 168.63.129.16).
func DefaultDeniedRanges() []string {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", azureMetadata, "169.254.0.0/16",
		"172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
		"::1/128", nat64, localNAT64, "fc00::/7", "fe80::/10", "ff00::/8",
	}
}

const (
	azureMetadata = "168.63.129.16/32"
	// nat64 is the prefix behind which a network's translator puts all of IPv4 (RFC 6052);
	// localNAT64 holds those that networks choose themselves (RFC 8215).
	nat64      = "64:ff9b::/96"
	localNAT64 = "64:ff9b:1::/48"
)

// MetadataAddresses are where clouds answer whoever asks with the credentials of the
// node or the pod, under each address by which a desktop could get there: AWS (instance,
// ECS, EKS), Google, Azure, Alibaba, Oracle, Scaleway. No setting opens them.
func MetadataAddresses() []netip.Addr {
	var out []netip.Addr
	for _, v4 := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.42.42",
	} {
		address := netip.MustParseAddr(v4)
		out = append(out, address, behindNAT64(address))
	}
	for _, v6 := range []string{"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42"} {
		out = append(out, netip.MustParseAddr(v6))
	}
	return out
}

// behindNAT64 is an IPv4 address as a translator of the well-known prefix shows it.
func behindNAT64(address netip.Addr) netip.Addr {
	full := netip.MustParsePrefix(nat64).Addr().As16()
	v4 := address.As4()
	copy(full[12:], v4[:])
	return netip.AddrFrom16(full)
}

// Denied are the ranges that are taken out of the public addresses: those of the floor
// that nobody has opened, and those that the settings add. Where the translator's prefix
// is opened, what is denied in IPv4 stays denied behind it.
func (n Network) Denied() []string {
	out := slices.DeleteFunc(DefaultDeniedRanges(), func(r string) bool { return slices.Contains(n.OpenRanges, r) })
	for _, r := range n.DeniedRanges {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	if !slices.Contains(n.OpenRanges, nat64) {
		return out
	}
	for _, r := range slices.Clone(out) {
		if p, err := netip.ParsePrefix(r); err == nil && p.Addr().Is4() {
			out = append(out, netip.PrefixFrom(behindNAT64(p.Addr()), 96+p.Bits()).String())
		}
	}
	return out
}

// Lost are the ranges of the floor that a list of denied ranges lacks: where such a list
// replaced the floor, desktops could reach them. Metadata services are none of them,
// since nothing opens those now.
func (n Network) Lost(replacing []string) (out []string) {
	for _, r := range n.Denied() {
		floor, err := netip.ParsePrefix(r)
		if err != nil || r == azureMetadata || !slices.Contains(DefaultDeniedRanges(), r) {
			continue
		}
		if !slices.ContainsFunc(replacing, func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && p.Bits() <= floor.Bits() && p.Contains(floor.Addr())
		}) {
			out = append(out, r)
		}
	}
	return out
}

func (n Network) problems() (out []string) {
	for field, ranges := range map[string][]string{
		"deniedRanges": n.DeniedRanges, "allowedRanges": n.AllowedRanges, "dnsRanges": n.DNSRanges,
	} {
		everything := ""
		if field == "deniedRanges" {
			everything = "denies everything; set sessions.network.internet: false instead"
		}
		out = append(out, rangeProblems("sessions.network."+field, ranges, everything)...)
	}
	out = append(out, openingMetadata("sessions.network.allowedRanges", n.AllowedRanges)...)
	if slices.ContainsFunc(n.DNSPorts, func(port int32) bool { return port != DefaultDNSPort }) {
		// Clouds resolve names at these addresses too, on port 53 alone.
		out = append(out, openingMetadata("sessions.network.dnsRanges", n.DNSRanges)...)
	}
	slices.Sort(out)
	out = append(out, n.openProblems()...)
	if !isLabel(n.DNSNamespace) {
		out = append(out, fmt.Sprintf("sessions.network.dnsNamespace: %q is no namespace", n.DNSNamespace))
	}
	return append(out, n.dnsPortProblems()...)
}

func (n Network) openProblems() (out []string) {
	defaults := DefaultDeniedRanges()
	for i, r := range n.OpenRanges {
		at := fmt.Sprintf("sessions.network.openRanges[%d]: %s", i, r)
		switch {
		case !slices.Contains(defaults, r):
			out = append(out, fmt.Sprintf("%s is no range of the floor; use one of %s as it is written here, or allowedRanges for a part of it", at, strings.Join(defaults, ", ")))
		case r == azureMetadata:
			out = append(out, at+" is the metadata service of a cloud, which stays closed; remove it")
		case r == localNAT64:
			out = append(out, at+" hides IPv4 addresses, metadata services among them, where only your network knows; let desktops reach what they need by its own address in allowedRanges")
		case slices.Contains(n.DeniedRanges, r):
			out = append(out, at+" is also in deniedRanges; remove it from one of them")
		}
	}
	return out
}

// openingMetadata are the ranges that are nothing but a metadata service. Wider ones are
// opened without it.
func openingMetadata(field string, ranges []string) (out []string) {
	for i, r := range ranges {
		p, err := netip.ParsePrefix(r)
		if err == nil && p.IsSingleIP() && slices.Contains(MetadataAddresses(), p.Addr()) {
			out = append(out, fmt.Sprintf("%s[%d]: %s is the metadata service of a cloud, which stays closed; remove it", field, i, r))
		}
	}
	return out
}

// maxDNSPorts is what the session chart's schema takes.
const maxDNSPorts = 8

func (n Network) dnsPortProblems() (out []string) {
	for i, port := range n.DNSPorts {
		at := fmt.Sprintf("sessions.network.dnsPorts[%d]: %d", i, port)
		switch {
		case port < 1 || port > 65535:
			out = append(out, at+" is no port; use 1 to 65535")
		case slices.Contains(n.DNSPorts[:i], port):
			out = append(out, at+" is given twice")
		}
	}
	if len(n.DNSPorts) > maxDNSPorts {
		out = append(out, fmt.Sprintf("sessions.network.dnsPorts: %d ports; at most %d", len(n.DNSPorts), maxDNSPorts))
	}
	return out
}

// rangeProblems judges ranges. everything is what is wrong with one that holds all addresses; "":
// nothing.
func rangeProblems(field string, ranges []string, everything string) (out []string) {
	for i, r := range ranges {
		prefix, err := netip.ParsePrefix(r)
		switch {
		case err != nil:
			out = append(out, fmt.Sprintf("%s[%d]: %q is no address range; use CIDR notation such as 10.0.0.0/8", field, i, r))
		case prefix.Addr().Is4In6():
			out = append(out, fmt.Sprintf("%s[%d]: %q is IPv4 in the clothes of IPv6; write it as IPv4", field, i, r))
		case prefix.Masked() != prefix:
			out = append(out, fmt.Sprintf("%s[%d]: %q has bits beyond its mask; use %s", field, i, r, prefix.Masked()))
		case prefix.Bits() == 0 && everything != "":
			out = append(out, fmt.Sprintf("%s[%d]: %q %s", field, i, r, everything))
		}
	}
	return out
}
