package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cameFrom is the address of the desktop's latest request.
func (w *world) cameFrom() string {
	w.t.Helper()
	host, _, err := net.SplitHostPort(w.desktop.last(w.t).RemoteAddr)
	require.NoError(w.t, err)
	return host
}

// Every visitor has an address, and keeps it; what is only read comes over
// connections that all share.
func TestVisitorsHaveAddresses(t *testing.T) {
	w := newWorld(t, nil)
	w.agent.desktop.byAddress = true // as Selkies does
	first, second := w.login(), w.login()
	from := func(cookie string) string {
		say(t, w.dial(cookie), "hello")
		return w.cameFrom()
	}
	one, other := from(first), from(second)
	assert.NotEqual(t, one, other)
	assert.Equal(t, one, from(first))
	for _, address := range []string{one, other} {
		assert.True(t, net.ParseIP(address).IsLoopback(), address)
		assert.NotEqual(t, "127.0.0.1", address)
	}
	w.ask(http.MethodPost, "/", map[string]string{"Cookie": second, "Origin": testOrigin}, "a file")
	assert.Equal(t, other, w.cameFrom(), "an upload is known by its stream")
	w.ask(http.MethodGet, "/", map[string]string{"Cookie": first}, "")
	assert.Equal(t, "127.0.0.1", w.cameFrom())
	w.agent.desktop.byAddress = false // others may serve that address alone
	assert.Equal(t, "127.0.0.1", from(first))
}

func TestSources(t *testing.T) {
	s, again := newSources(&net.Dialer{}), newSources(&net.Dialer{})
	same, net127 := 0, net.IPNet{IP: net.IPv4(127, 0, 0, 0), Mask: net.CIDRMask(8, 32)}
	for i := range 1000 {
		key := fmt.Sprint("cookie:", i)
		ip := s.of(key)
		assert.True(t, net127.Contains(ip) && ip.To4()[1] != 0 && ip.To4()[3] != 0 && ip.To4()[3] != 255, ip)
		assert.Equal(t, ip, s.of(key))
		if ip.Equal(again.of(key)) {
			same++
		}
	}
	assert.Less(t, same, 10, "another process has other addresses")
}

func TestHasManyLoopbacks(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:8080": true, "127.9.9.9:1": true, "[::1]:8080": false, "10.0.0.1:8080": false, "localhost:8080": false, "[::ffff:127.0.0.1]:1": false, "": false,
	} {
		assert.Equal(t, want && runtime.GOOS == "linux", hasManyLoopbacks(address), address)
	}
}

// Where nobody is known, or the desktop is elsewhere, nothing is special.
func TestDialWithoutVisitor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := newSources(&net.Dialer{}).dial(context.Background(), "tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1", host)
}
