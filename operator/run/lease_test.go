package run

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLease: what counts is the last write of this lease that succeeded, from when it was
// sent.
func TestLease(t *testing.T) {
	const one = "https://10.0.0.1/apis/coordination.k8s.io/v1/namespaces/vdi-system/leases/vdi-operator"
	synctest.Test(t, func(t *testing.T) {
		status, failed, took := http.StatusOK, error(nil), time.Duration(0)
		l := newLease("vdi-system", "vdi-operator")
		through := l.listen(transport(func(*http.Request) (*http.Response, error) {
			time.Sleep(took)
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(""))}, failed
		}))
		send := func(method, address string) {
			request, err := http.NewRequestWithContext(t.Context(), method, address, nil)
			require.NoError(t, err)
			answer, err := through.RoundTrip(request)
			require.Equal(t, failed, err)
			require.NoError(t, answer.Body.Close())
		}
		time.Sleep(time.Second)
		require.False(t, l.isFresh(), "it was never renewed")
		send(http.MethodGet, one)
		send(http.MethodPut, strings.Replace(one, "vdi-operator", "another", 1))
		send(http.MethodPut, strings.Replace(one, "vdi-system", "other", 1))
		status = http.StatusConflict
		send(http.MethodPut, one)
		status, failed = http.StatusOK, errors.New("connection reset")
		send(http.MethodPut, one)
		require.False(t, l.isFresh())

		failed = nil
		send(http.MethodPost, strings.TrimSuffix(one, "/vdi-operator"))
		require.True(t, l.isFresh(), "it was made")
		time.Sleep(renewDeadline)
		require.False(t, l.isFresh())
		took = 4 * time.Second
		send(http.MethodPut, one)
		require.True(t, l.isFresh())
		time.Sleep(renewDeadline - took)
		require.False(t, l.isFresh(), "the answer was late")
	})
}
