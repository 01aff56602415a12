package verdict

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestShorten(t *testing.T) {
	require.Equal(t, "short", Shorten("short", 10))
	long := Shorten(strings.Repeat("ä", 5000), MaxMessage)
	require.LessOrEqual(t, len(long), MaxMessage)
	require.True(t, utf8.ValidString(long))
	require.True(t, strings.HasSuffix(long, " …"))
}
