package ledger

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrint(t *testing.T) {
	var out strings.Builder
	Print(&out, nil)
	require.Empty(t, out.String())
	Print(&out, []Entry{
		{ID: "A02", Name: "b", Blocked: true, Stage: Admission, Took: 2e6},
		{ID: "A01", Name: "a", Took: 1e6},
		{ID: "A02", Name: "c", Blocked: true, Stage: Design},
	})
	require.Equal(t, `attack  blocked/total  by design  build  admission  operator  runtime  slowest
A01           0/1              0      0          0         0        0  1ms
A02           2/2              1      0          1         0        0  2ms
all           2/3              1      0          1         0        0  2ms
attacks blocked/total: 2/3
`, out.String())
}

func TestCommonFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attacks.jsonl")
	require.NoError(t, add("", []Entry{{ID: "A01"}}))
	for _, id := range []string{"A01", "A02"} {
		require.NoError(t, add(path, []Entry{{ID: id, Blocked: true, Stage: Runtime}}))
	}
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	got, err := Read(file)
	require.NoError(t, err)
	require.Equal(t, []Entry{{ID: "A01", Blocked: true, Stage: Runtime}, {ID: "A02", Blocked: true, Stage: Runtime}}, got)
}
