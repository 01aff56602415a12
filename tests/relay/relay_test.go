package relay

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/relay/visitor"
)

// bad is what coturn says of a line it does not know, and then ignores.
const bad = "Bad configuration format"

// TestFileIsUnderstood: the file that the chart renders holds no line that
// coturn 4.6.1 would ignore, and the log would tell.
func TestFileIsUnderstood(t *testing.T) {
	for _, set := range [][]string{nil, {"peers.reach=Public", "peers.allowed={10.244.0.0-10.244.255.255}", "limits.bytesPerSecond=1000000"}} {
		log := start(t, setup{set: set}).Log()
		require.NotContains(t, log, bad)
		require.NotContains(t, log, "WARNING")
		require.NotContains(t, log, "ERROR")
	}
	log := start(t, setup{edit: func(config string) string { return config + "dnied-peer-ip=10.0.0.1\n" }}).Log()
	require.Contains(t, log, bad)
}

// TestKeysExist: coturn 4.17.1, which does not run here, knows every key too.
func TestKeysExist(t *testing.T) {
	data, err := os.ReadFile("testdata/coturn-4.17.1.keys")
	require.NoError(t, err)
	known := strings.Fields(string(data))
	files, err := filepath.Glob(filepath.Join(repository, "charts", "coturn", "ci", "*-values.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		for line := range strings.Lines(rendered(t, "--values", file)) {
			key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
			require.Contains(t, known, key, file)
		}
	}
	for _, key := range []string{"listening-ip", "relay-ip", "external-ip", "allowed-peer-ip", "static-auth-secret"} {
		require.Contains(t, known, key, "written by vdi-turn-secret")
	}
}

// TestRelays: two users with valid credentials meet at the relay.
func TestRelays(t *testing.T) {
	start(t, setup{})
	meet(t, valid("alice"), valid("alice-desktop"), public4)
}

// TestRelaysBehindNAT: the relay tells an address that is not on its machine, and two users still
// meet there.
func TestRelaysBehindNAT(t *testing.T) {
	start(t, setup{listen: private4, external: "198.51.100.7"})
	_, relayed, err := visitor.Path{From: private4, Relay: private4}.Allocate(t, valid("alice"))
	require.NoError(t, err)
	require.Contains(t, relayed.LocalAddr().String(), "198.51.100.7:")
	meet(t, valid("alice"), valid("bob"), private4)
}

// TestCredentials: whoever has no credential, an old one or somebody else's
// gets nothing.
func TestCredentials(t *testing.T) {
	start(t, setup{})
	good := valid("alice")
	for name, c := range map[string]credential{
		"anonymous":      {},
		"no password":    {User: good.User},
		"wrong password": {User: good.User, Password: good.Password[1:]},
		"expired":        signed(secret, "alice", time.Now().Add(-time.Minute)),
		"other secret":   signed(otherSecret, "alice", time.Now().Add(time.Hour)),
		"other user":     {User: valid("bob").User, Password: good.Password},
		"longer expiry":  {User: "9" + good.User, Password: good.Password},
	} {
		t.Run(name, func(t *testing.T) {
			_, code := rawAllocate(t, c, family4)
			require.Equal(t, 401, code)
		})
	}
	_, code := rawAllocate(t, good, family4)
	require.Zero(t, code)
}

// attacked are peers that no relay may reach, whatever its reach is.
var attacked = []string{
	"127.0.0.1", "127.1.2.3", "0.0.0.0", "10.77.0.1", "10.96.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", metadata,
	"224.0.0.1", "255.255.255.255", "::", "::1", "::2", "fe80::1", private6, "fd00:ec2::254", "ff02::1", "64:ff9b::a4d:1",
	"2002:a4d:1::1", "::ffff:127.0.0.1", "::ffff:10.77.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:" + public4,
	"::ffff:255.255.255.255", "::127.0.0.1",
	// Zero bytes behind a prefix, which a comparison byte by byte mistakes.
	"::100", "::1:0", "::100:0", "::1:0:0:0", "0:1::", "1::", "64:ff9b::", "fd00::", "fd00::100", "fc00:1::", "fe80::", "2002:a00::", "::ffff:10.0.0.0",
}

// somewhere are peers that only a relay with reach Public may send to.
var somewhere = []string{"198.51.100.1", "8.8.8.8", "2606:4700::1111", "2606:4700::"}

// TestPeers attacks the relay with both families of relay addresses, as
// IPv4-mapped peers get past the denied ranges of 4.6.1 (CVE-2026-27624).
func TestPeers(t *testing.T) {
	for reach, denied := range map[string][]string{"Self": append(somewhere, attacked...), "Public": attacked} {
		t.Run(reach, func(t *testing.T) {
			start(t, setup{set: []string{"peers.reach=" + reach, "limits.allocationsPerUser=1000"}})
			for _, peer := range denied {
				requireRefused(t, netip.MustParseAddr(peer))
			}
			allowed := []string{public4, public6}
			if reach == "Public" {
				allowed = append(allowed, somewhere...)
			}
			for _, peer := range allowed {
				requireAdmitted(t, netip.MustParseAddr(peer))
			}
		})
	}
}

func requireRefused(t *testing.T, peer netip.Addr) {
	t.Helper()
	for _, family := range []byte{family4, family6} {
		user, code := rawAllocate(t, valid("mallory"), family)
		require.Zero(t, code)
		require.NotZero(t, user.permit(t, peer), "permission for %s", peer)
		require.NotZero(t, user.bind(t, peer), "channel to %s", peer)
	}
}

func requireAdmitted(t *testing.T, peer netip.Addr) {
	t.Helper()
	family := family6
	if peer.Is4() {
		family = family4
	}
	user, code := rawAllocate(t, valid("alice"), family)
	require.Zero(t, code)
	require.Zero(t, user.permit(t, peer), peer)
	require.Zero(t, user.bind(t, peer), peer)
}

// TestPeersBite: without the denied ranges the same attacks work. The ranges
// alone stand between 4.6.1 and the private network.
func TestPeersBite(t *testing.T) {
	without := func(ranges ...string) func(string) string {
		return func(config string) string {
			for _, denied := range ranges {
				require.Contains(t, config, "denied-peer-ip="+denied)
				config = strings.ReplaceAll(config, "denied-peer-ip="+denied, "# ")
			}
			return config
		}
	}
	for name, c := range map[string]struct {
		without []string
		peer    string
	}{
		"private":  {[]string{"10.0.0.0"}, private4},
		"metadata": {[]string{"169.254"}, metadata},
		"mapped":   {[]string{"::ffff:0:0", "0:0:0:0:0:100:0:0"}, "::ffff:10.77.0.1"},
		"NAT64":    {[]string{"1::"}, "64:ff9b::a4d:1"},
		"ULA":      {[]string{"fc00"}, private6},
	} {
		t.Run(name, func(t *testing.T) {
			start(t, setup{set: []string{"peers.reach=Public"}, edit: without(c.without...)})
			requireAdmitted(t, netip.MustParseAddr(c.peer))
		})
	}
}

// TestQuota: one user cannot take all relay addresses, under whatever expiry.
func TestQuota(t *testing.T) {
	start(t, setup{set: []string{"limits.allocationsPerUser=2", "limits.allocations=3"}})
	for i := range 2 {
		_, code := rawAllocate(t, signed(secret, "mallory", time.Now().Add(time.Duration(i+1)*time.Hour)), family4)
		require.Zero(t, code)
	}
	_, code := rawAllocate(t, signed(secret, "mallory", time.Now().Add(9*time.Hour)), family4)
	require.Equal(t, 486, code, "per user")
	_, code = rawAllocate(t, valid("alice"), family4)
	require.Zero(t, code)
	_, code = rawAllocate(t, valid("bob"), family4)
	require.Equal(t, 486, code, "in all")
}

// TestRotation: during each stage of a rotation, what was signed before it and
// what is signed in it are valid, and after the last the old secret is not.
func TestRotation(t *testing.T) {
	before, after := valid("alice"), signed(otherSecret, "alice", time.Now().Add(time.Hour))
	for _, stage := range []struct {
		keys         map[string]string
		before, then int
	}{
		{map[string]string{"current": secret}, 0, 401},
		{map[string]string{"current": secret, "next": otherSecret}, 0, 0},
		{map[string]string{"current": otherSecret, "previous": secret}, 0, 0},
		{map[string]string{"current": otherSecret}, 401, 0},
	} {
		t.Run(fmt.Sprint(stage.before, stage.then, len(stage.keys)), func(t *testing.T) {
			start(t, setup{secrets: stage.keys})
			_, code := rawAllocate(t, before, family4)
			require.Equal(t, stage.before, code)
			_, code = rawAllocate(t, after, family4)
			require.Equal(t, stage.then, code)
		})
	}
}

// TestSecretIsHidden: neither arguments, environment nor log tell it, and coturn
// runs without rights.
func TestSecretIsHidden(t *testing.T) {
	relay := start(t, setup{})
	meet(t, valid("alice"), valid("bob"), public4)
	for _, name := range []string{"cmdline", "environ"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", relay.PID(), name))
		require.NoError(t, err)
		require.NotContains(t, string(data), secret)
	}
	require.NotContains(t, relay.Log(), secret)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", relay.PID()))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^CapEff:\t0+$`, string(status))
	require.Regexp(t, `(?m)^Uid:\t65534\t65534\t65534\t65534$`, string(status))
}
