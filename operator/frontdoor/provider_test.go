package frontdoor

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
)

// TestNobodyWaits: whoever has gone does not wait for a provider that hangs.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	asked, hung := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-hung
	}))
	defer server.Close()
	defer close(hung)
	p := NewProvider(platform.OIDC{IssuerURL: server.URL}, func() (string, error) { return "", nil }, nil, "", http.DefaultTransport)
	ctx, goes := context.WithCancel(t.Context())
	go func() {
		<-asked
		goes()
	}()
	_, err := p.address(ctx, newFlow(), false)
	require.ErrorIs(t, err, errProvider)
	require.ErrorIs(t, err, context.Canceled)
}
