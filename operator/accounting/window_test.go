package accounting

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestShare: what is counted of a use lies in exactly the windows that it lies in.
func TestShare(t *testing.T) {
	t.Parallel()
	at := func(hour int) time.Time { return time.Date(2026, 1, 2, hour, 0, 0, 0, time.UTC) }
	w := Window{at(6), at(12)}
	for name, c := range map[string]struct {
		begin, end int
		want       int64
	}{
		"within":                  {7, 9, 100},
		"all of it":               {6, 12, 100},
		"half before":             {4, 8, 50},
		"half behind":             {10, 14, 50},
		"longer than it":          {0, 24, 25},
		"before":                  {1, 3, 0},
		"behind":                  {13, 15, 0},
		"up to its begin":         {4, 6, 0},
		"from its end":            {12, 14, 0},
		"a moment":                {8, 8, 100},
		"the moment of its begin": {6, 6, 100},
		"the moment of its end":   {12, 12, 0},
		"a moment before":         {5, 5, 0},
		"a moment behind":         {13, 13, 0},
	} {
		require.Equal(t, c.want, w.share(100, at(c.begin), at(c.end)), name)
	}
}
