package program

import (
	"flag"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for want, args := range map[string][]string{
		`"now" is no command; give flags, or later`: {"--a=1", "now"},
		"not defined: -b": {"--b"},
		"":                {"--a=1"},
	} {
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.String("a", "", "")
		err := Parse(flags, args, "flags, or later")
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
	}
}

func TestList(t *testing.T) {
	require.Equal(t, []string{"a", "b", "c"}, List(" a,b, ,c"))
	require.Empty(t, List(""))
}
