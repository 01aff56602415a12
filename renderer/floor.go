package renderer

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// excludeMetadataServices takes the clouds' metadata services out of every wider range that a
// desktop may reach, whoever opened it.
func excludeMetadataServices(r *Rendered) error {
	metadata := platform.MetadataAddresses()
	for _, policy := range r.ofKind(wire.KindNetworkPolicy) {
		for _, rule := range manifest.Maps(manifest.Nested(policy.Object, "spec", "egress")) {
			if onlyDNS(rule["ports"]) {
				continue // clouds resolve names at these addresses, too
			}
			for _, peer := range manifest.Maps(rule["to"]) {
				if block, isMap := peer["ipBlock"].(map[string]any); isMap {
					excludeFrom(block, metadata)
				}
			}
		}
	}
	return nil
}

// excludeFrom leaves alone what has no wider range: the guard judges that.
func excludeFrom(block map[string]any, metadata []netip.Addr) {
	for _, address := range reached(block, metadata) {
		if cidr, err := netip.ParsePrefix(manifest.Text(block["cidr"])); err == nil && !cidr.IsSingleIP() {
			block["except"] = append(list(block["except"]), netip.PrefixFrom(address, address.BitLen()).String())
		}
	}
}

// reached are the addresses that a block lets a desktop reach.
func reached(block map[string]any, addresses []netip.Addr) (out []netip.Addr) {
	cidr, err := netip.ParsePrefix(manifest.Text(block["cidr"]))
	if err != nil {
		return nil
	}
	for _, address := range addresses {
		if cidr.Contains(address) && !slices.ContainsFunc(list(block["except"]), func(e any) bool {
			except, err := netip.ParsePrefix(manifest.Text(e))
			return err == nil && except.Contains(address)
		}) {
			out = append(out, address)
		}
	}
	return out
}

// checkEgress: a policy adds to others, so that one rule is enough to open an address.
func checkEgress(f *findings, spec map[string]any) {
	metadata := platform.MetadataAddresses()
	for i, rule := range manifest.Maps(spec["egress"]) {
		at := fmt.Sprintf("spec.egress[%d]", i)
		f.refuse(len(manifest.Maps(rule["to"])) == 0, "%s.to is empty, which means every address; name some", at)
		for j, peer := range manifest.Maps(rule["to"]) {
			block, isMap := peer["ipBlock"].(map[string]any)
			if !isMap {
				continue
			}
			cidr, err := netip.ParsePrefix(manifest.Text(block["cidr"]))
			f.refuse(err != nil || cidr.Addr().Is4In6(), "%s.to[%d].ipBlock.cidr: %v is no address range", at, j, block["cidr"])
			for _, address := range reached(block, metadata) {
				// Clouds resolve names at these addresses too, on port 53 alone.
				f.refuse(!onlyDNS(rule["ports"]), "%s.to[%d] reaches %s, the metadata service of a cloud", at, j, address)
			}
		}
	}
}

func onlyDNS(ports any) bool {
	named := manifest.Maps(ports)
	return len(named) > 0 && !slices.ContainsFunc(named, func(p map[string]any) bool {
		_, ranged := p["endPort"]
		return ranged || p["port"] != int64(platform.DefaultDNSPort)
	})
}
