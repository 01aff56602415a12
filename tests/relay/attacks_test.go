package relay

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// withoutPassword is a relay as an administrator runs it who only wants it to work.
func withoutPassword(config string) string {
	return withoutLines(config, "use-auth-secret", "static-auth-secret", "lt-cred-mech") + "no-auth\n"
}

func withoutLines(config string, keys ...string) string {
	var kept strings.Builder
	for line := range strings.Lines(config) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		drop := false
		for _, k := range keys {
			drop = drop || key == k
		}
		if !drop {
			kept.WriteString(line)
		}
	}
	return kept.String() + "\n"
}

// anonymously asks for a relay address without saying who.
func anonymously(t *testing.T) (code int) {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(public4, relayPort))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return codeOf((&raw{conn: conn}).ask(t, stun.MethodAllocate, udpTransport))
}

// granted judges the code that a request for a relay address came back with.
func granted(code int) ledger.Outcome {
	return ledger.Judge(code == 0, ledger.Runtime, "the relay answers "+strconv.Itoa(code))
}

// TestA20RelayUse: nobody uses the relay without a valid credential of their own, nor
// more of it than their share.
func TestA20RelayUse(t *testing.T) {
	open := func(t *testing.T) ledger.Outcome {
		start(t, setup{edit: withoutPassword})
		return granted(anonymously(t))
	}
	endless := func(t *testing.T) ledger.Outcome { // a static credential, as browsers are often given
		start(t, setup{})
		_, code := rawAllocate(t, signed(secret, "mallory", time.Now().AddDate(10, 0, 0)), family4)
		return granted(code)
	}
	good := valid("alice")
	for name, c := range map[string]struct {
		without ledger.Attempt
		user    credential
	}{
		"an expired credential":            {endless, signed(secret, "mallory", time.Now().Add(-time.Minute))},
		"a credential of another secret":   {open, signed(otherSecret, "mallory", time.Now().Add(time.Hour))},
		"another session's name":           {open, credential{User: valid("bob").User, Password: good.Password}},
		"an expiry that was moved":         {open, credential{User: "9" + good.User, Password: good.Password}},
		"a user without the password":      {open, credential{User: good.User}},
		"a password with a letter too few": {open, credential{User: good.User, Password: good.Password[1:]}},
	} {
		ledger.Try(t, name, c.without, func(t *testing.T) ledger.Outcome {
			start(t, setup{})
			_, code := rawAllocate(t, c.user, family4)
			return granted(code)
		})
	}
	ledger.Try(t, "nobody's request", open, func(t *testing.T) ledger.Outcome {
		start(t, setup{})
		return granted(anonymously(t))
	})
	all := func(limits ...string) ledger.Attempt {
		return func(t *testing.T) ledger.Outcome {
			start(t, setup{set: limits})
			code := 0
			for i := range 3 { // under whatever expiry
				_, code = rawAllocate(t, signed(secret, "mallory", time.Now().Add(time.Duration(i+1)*time.Hour)), family4)
			}
			return granted(code)
		}
	}
	ledger.Try(t, "more addresses than one's share", all("limits.allocationsPerUser=100", "limits.allocations=100"), all("limits.allocationsPerUser=2", "limits.allocations=100"))
}

// TestA20RelayPeers: the relay is no way into the private network. Each peer is one that
// coturn reaches when the chart's ranges are not denied.
func TestA20RelayPeers(t *testing.T) {
	start(t, setup{
		set: []string{"peers.reach=Public", "limits.allocationsPerUser=1000"},
		edit: func(config string) string {
			return withoutLines(config, "denied-peer-ip", "no-multicast-peers") + "allow-loopback-peers\n"
		},
	})
	reached := map[string]bool{}
	for _, peer := range attacked {
		if reached[peer] = reaches(t, peer); !reached[peer] {
			t.Logf("%s is refused by coturn itself", peer)
		}
	}
	start(t, setup{set: []string{"peers.reach=Public", "limits.allocationsPerUser=1000"}})
	for _, peer := range attacked {
		if !reached[peer] {
			continue
		}
		ledger.Try(t, peer, func(*testing.T) ledger.Outcome { return ledger.Worked() }, func(t *testing.T) ledger.Outcome {
			return ledger.Judge(reaches(t, peer), ledger.Runtime, "the relay forbids the peer")
		})
	}
	for _, peer := range []string{"::1", private4, metadata, private6, "10.96.0.1", "192.168.1.1", "::ffff:10.77.0.1"} {
		require.True(t, reached[peer], "%s is reached without the ranges", peer)
	}
}

// reaches says whether a user may send to a peer, from a relay address of any family.
func reaches(t *testing.T, peer string) bool {
	t.Helper()
	for _, family := range []byte{family4, family6} {
		user, code := rawAllocate(t, valid("mallory"), family)
		require.Zero(t, code)
		if user.permit(t, netip.MustParseAddr(peer)) == 0 || user.bind(t, netip.MustParseAddr(peer)) == 0 {
			return true
		}
	}
	return false
}

// TestA30RelayAfterTheEnd: a session's credential gets nothing when its time is over.
func TestA30RelayAfterTheEnd(t *testing.T) {
	start(t, setup{set: []string{"limits.allocationsPerUser=1000"}})
	ledger.Try(t, "a credential that was valid", func(t *testing.T) ledger.Outcome {
		_, code := rawAllocate(t, signed(secret, "alice", time.Now().AddDate(10, 0, 0)), family4)
		return granted(code)
	}, func(t *testing.T) ledger.Outcome {
		end := time.Now().Add(2 * time.Second)
		theirs := signed(secret, "alice", end)
		_, code := rawAllocate(t, theirs, family4)
		require.Zero(t, code, "before its end")
		require.Eventually(t, func() bool {
			_, code = rawAllocate(t, theirs, family4)
			return code != 0
		}, time.Minute, 200*time.Millisecond)
		t.Logf("answered %d, %s after the end", code, time.Since(end).Round(time.Millisecond))
		return granted(code)
	})
}
