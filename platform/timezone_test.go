package platform

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimeZone(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"": "UTC", "UTC": "UTC", "Europe/Berlin": "Europe/Berlin"} {
		zone, err := TimeZone(name)
		require.NoError(t, err)
		require.Equal(t, want, zone.String())
	}
	for _, bad := range []string{"Local", "Mars/Olympus", "../../etc/passwd", "europe berlin"} {
		_, err := TimeZone(bad)
		require.ErrorContains(t, err, "use a name such as Europe/Berlin", bad)
	}
	require.Equal(t, time.UTC, Accounting{TimeZone: "Mars/Olympus"}.Zone())
}
