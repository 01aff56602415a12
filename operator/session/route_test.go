package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRouteRetry(t *testing.T) {
	require.Equal(t, firstRouteRetry, routeRetry(0))
	require.Equal(t, 5*time.Second, routeRetry(10*time.Second))
	require.Equal(t, lastRouteRetry, routeRetry(time.Hour))
	require.Equal(t, firstRouteRetry, routeRetry(-time.Hour), "a clock that jumped")
}
