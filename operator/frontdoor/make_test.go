package frontdoor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What make-keys writes is what the front door reads, and a later one sorts after
// an earlier one.
func TestNewKeys(t *testing.T) {
	now := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	first, err := newKeys(now)
	require.NoError(t, err)
	old, err := keysIn(first)
	require.NoError(t, err)
	second, err := newKeys(now.Add(time.Second))
	require.NoError(t, err)
	require.NotEqual(t, first["20261123T070000.pem"], second["20261123T070001.pem"])
	assert.Len(t, second["20261123T070001.key"], minCookieKey)

	both := map[string][]byte{}
	for _, files := range []map[string][]byte{first, second} {
		for name, content := range files {
			both[name] = content
		}
	}
	keys, err := keysIn(both)
	require.NoError(t, err)
	assert.Equal(t, old.signing[0], keys.signing[1], "the newer one signs")
	assert.Equal(t, old.sealing[0], keys.sealing[1])
}
