package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The wait before a pod that ended is replaced grows with each failure in a row and has a
// ceiling.
func TestRestartAfter(t *testing.T) {
	for failures, wait := range map[int32]time.Duration{
		0: 10 * time.Second, 1: 20 * time.Second, 4: 160 * time.Second, 5: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		require.Equal(t, wait, restartAfter(failures), "after %d failures", failures)
	}
}
