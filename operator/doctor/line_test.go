package doctor

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTable(t *testing.T) {
	lines := []Line{
		Of("CRDs", "apply them", Pass("two are served")),
		Of("keys", "restore the Secret", Fail("Secret %s is gone: running front doors go on, none can start, and nobody knows", "k")),
		Of("session", "look", Unjudged("no free slice").With("end a desktop")),
	}
	want := `check    result      what was seen                                          remedy
-------  ----------  -----------------------------------------------------  ------------------
CRDs     passed      two are served
keys     FAILED      Secret k is gone: running front doors go on, none can  restore the Secret
                     start, and nobody knows
session  not judged  no free slice                                          end a desktop

1 passed, 1 failed, 1 not judged
`
	assert.Equal(t, want, Table(lines))
	assert.Equal(t, []string{"keys"}, Red(lines), "what was not judged is neither passed nor red")
}

func TestOf(t *testing.T) {
	assert.Empty(t, Of("a", "do something", Pass("fine")).Remedy)
	assert.Equal(t, "do something", Of("a", "do something", Fail("bad")).Remedy)
	assert.Equal(t, "do this", Of("a", "do something", Fail("bad").With("do %s", "this")).Remedy)
}

func TestWrap(t *testing.T) {
	command := "kubectl-" + strings.Repeat("x", 80)
	assert.Equal(t, []string{"run", command, "now"}, wrap("run "+command+" now", 20), "a long word stays whole")
	assert.Empty(t, wrap("  ", 20))
}
