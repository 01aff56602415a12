package cluster

import (
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseForward(t *testing.T) {
	f, err := ParseForward("8443:443")
	require.NoError(t, err)
	assert.Equal(t, Forward{Host: 8443, Node: 443}, f)
	for _, bad := range []string{"", "8443", "8443:", ":443", "0:443", "8443:65536", "a:b", "1:2:3"} {
		_, err := ParseForward(bad)
		assert.Error(t, err, bad)
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"", "demo", "test-2", "a"} {
		_, err := Options{Name: good}.withDefaults()
		assert.NoError(t, err, good)
	}
	for _, bad := range []string{"Demo", "-a", "a-", "a/b", "..", "an-endless-name-that-does-not-fit-anywhere"} {
		_, err := Options{Name: bad}.withDefaults()
		assert.Error(t, err, bad)
	}
}

func TestDefaultsKeepWhatIsSaid(t *testing.T) {
	opts := Options{}
	opts.GPU.Product = "NVIDIA-A100"
	opts, err := opts.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, "NVIDIA-A100", opts.GPU.Product)
	assert.Equal(t, "time-slicing-config", opts.GPU.ConfigMap)
	assert.Equal(t, 1, opts.GPU.Cards)
}

func TestClustersGetDifferentRanges(t *testing.T) {
	var used []netip.Prefix
	for range maxClusters {
		s, err := freeSubnets(used)
		require.NoError(t, err)
		require.False(t, overlap(s.all(), used))
		used = append(used, s.all()...)
	}
	_, err := freeSubnets(used)
	require.ErrorContains(t, err, "no free address range")
}

func TestAddressesLieInTheirRanges(t *testing.T) {
	s := subnetsAt(maxClusters - 1)
	assert.True(t, s.Link.Contains(s.host()))
	assert.True(t, s.Link.Contains(s.node()))
	assert.True(t, s.Services.Contains(s.dns()))
	assert.NotEqual(t, s.host(), s.node())
}

func TestIdentityKnowsWhenAProcessEnds(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	who, err := identityOf(cmd.Process.Pid)
	require.NoError(t, err)
	assert.True(t, who.alive())
	assert.False(t, identity{PID: who.PID, Start: who.Start + 1}.alive(), "another process got the number")

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	assert.False(t, who.alive())
	assert.False(t, identity{}.alive())
}

func TestStateSurvivesTheDisk(t *testing.T) {
	s := state{Dir: t.TempDir(), Options: Options{Name: "x", Forwards: []Forward{{1, 2}}}, Subnets: subnetsAt(3)}
	require.NoError(t, s.write())
	again, err := readState(s.Dir)
	require.NoError(t, err)
	assert.Equal(t, s, again)
}

func TestRepositoryIsFoundFromBelow(t *testing.T) {
	wd, err := os.Getwd()
	require.NoError(t, err)
	repo, err := findRepository(wd)
	require.NoError(t, err)
	assert.FileExists(t, repo.tool("kube")+"/main.go")
	_, err = findRepository(t.TempDir())
	require.ErrorContains(t, err, "no checkout")
}
