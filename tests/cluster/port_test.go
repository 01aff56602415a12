package cluster

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFreePort: a port is nobody's, comes once, and is not one that the kernel gives away.
func TestFreePort(t *testing.T) {
	seen := map[int]bool{}
	for range 100 {
		port, err := FreePort()
		require.NoError(t, err)
		assert.False(t, seen[port])
		assert.Less(t, port, 30000)
		seen[port] = true
	}
	port, err := FreePort()
	require.NoError(t, err)
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	require.NoError(t, err)
	defer taken.Close()
	lastPort.Store(uint32(port - firstPort - 1))
	next, err := FreePort()
	require.NoError(t, err)
	assert.NotEqual(t, port, next)
}
