package maintain

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// It needs no cluster: a pod without an account asks this.
func TestCheckReach(t *testing.T) {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = open.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	var said bytes.Buffer
	require.NoError(t, Run(t.Context(), []string{"check", "reach", closed.Addr().String(), open.Addr().String()}, "", &said))
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	require.Len(t, lines, 2)
	assert.Contains(t, lines[0], closed.Addr().String()+" not reached: ")
	assert.Contains(t, lines[0], "refused")
	assert.Equal(t, open.Addr().String()+" reached", lines[1])
}

func TestCheckReachRefuses(t *testing.T) {
	for _, args := range [][]string{{}, {"10.0.0.1"}, {"--timeout=1m"}} {
		err := Run(t.Context(), append([]string{"check", "reach"}, args...), "", discard{})
		require.ErrorIs(t, err, ErrRefused, "%v", args)
	}
}
