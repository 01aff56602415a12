package maintain

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/httpserver"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck"
	"github.com/vdi-platform/vdi-platform/operator/proxycheck/proxytest"
)

func TestCheckProxy(t *testing.T) {
	t.Parallel()
	ours := httpserver.Guard(http.NotFoundHandler())
	check := func(address string, patience time.Duration) (string, error) {
		var said bytes.Buffer
		j := job{out: &said, options: options{proxy: address, proxyHost: "auth.vdi.example.com"}}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := j.checkProxy(ctx)
		return said.String(), err
	}
	_, err := check(proxytest.Start(t, ours, nil).Address, time.Minute)
	require.ErrorIs(t, err, ErrRefused, "a second try cannot help")
	require.ErrorContains(t, err, proxycheck.Advice)

	said, err := check(proxytest.Start(t, ours, func(r *http.Request) { r.Body = http.NoBody }).Address, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, "the proxy keeps what follows a CONNECT to itself\n", said)

	_, err = check(proxytest.Start(t, http.NotFoundHandler(), nil).Address, time.Second)
	require.ErrorIs(t, err, proxycheck.ErrNotOurs)
	require.ErrorContains(t, err, "check sessions.proxy")

	said, err = check("", time.Minute)
	require.NoError(t, err)
	assert.Contains(t, said, "the proxy was not asked")
}
