package platform

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestMetadataIsInTheFloor: whoever changes nothing reaches none of them.
func TestMetadataIsInTheFloor(t *testing.T) {
	for _, address := range MetadataAddresses() {
		assert.True(t, covered(t, address.String()), address)
	}
}

// TestDeniedAdds: a list is beside the floor, and what is opened is named.
func TestDeniedAdds(t *testing.T) {
	floor := DefaultDeniedRanges()
	assert.Equal(t, floor, Network{}.Denied())
	assert.Equal(t, append(slices.Clone(floor), "203.0.113.0/24"), Network{DeniedRanges: []string{"10.0.0.0/8", "203.0.113.0/24"}}.Denied())
	assert.NotContains(t, Network{OpenRanges: []string{"10.0.0.0/8"}}.Denied(), "10.0.0.0/8")
	assert.Contains(t, Network{OpenRanges: []string{"10.0.0.0/8"}, DeniedRanges: []string{"10.1.0.0/16"}}.Denied(), "10.1.0.0/16")
}

// TestDeniedBehindNAT64: the translator is no way round the floor.
func TestDeniedBehindNAT64(t *testing.T) {
	denied := Network{OpenRanges: []string{nat64}}.Denied()
	reaches := func(address string) bool {
		return !slices.ContainsFunc(denied, func(r string) bool { return netip.MustParsePrefix(r).Contains(netip.MustParseAddr(address)) })
	}
	assert.True(t, reaches("64:ff9b::101:101"), "1.1.1.1")
	assert.False(t, reaches("64:ff9b::a00:5"), "10.0.0.5")
	assert.False(t, reaches("64:ff9b::c0a8:101"), "192.168.1.1")
}

// TestLost: what a list opened while it replaced the floor.
func TestLost(t *testing.T) {
	assert.Empty(t, Network{}.Lost(DefaultDeniedRanges()))
	assert.Empty(t, Network{}.Lost([]string{"0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"}))
	assert.Equal(t, []string{"172.16.0.0/12"}, Network{}.Lost(slices.DeleteFunc(DefaultDeniedRanges(), func(r string) bool { return r == "172.16.0.0/12" })))
	lost := Network{OpenRanges: []string{"10.0.0.0/8"}}.Lost([]string{"203.0.113.0/24"})
	assert.Contains(t, lost, "192.168.0.0/16")
	assert.NotContains(t, lost, "10.0.0.0/8", "the settings open it by name")
	assert.NotContains(t, lost, "168.63.129.16/32", "nothing opens it")
}

func TestAllowsAnnotation(t *testing.T) {
	a := Allowed{Annotations: []string{"example.com/*", "backup"}}
	for key, want := range map[string]bool{"example.com/a": true, "example.com": false, "backup": true, "backups": false, "other.example.com/a": false} {
		assert.Equal(t, want, a.AllowsAnnotation(key), key)
	}
	assert.True(t, Allowed{Annotations: []string{"*"}}.AllowsAnnotation("anything"))
}
