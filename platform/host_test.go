package platform

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sessionNameRule is what the API demands of metadata.name of a session.
var sessionNameRule = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

func TestSessionName(t *testing.T) {
	assert.Equal(t, "alice-example-njggnfm3kfo3bw6s", SessionName("Alice.Example@example.com", "Drawings"), "homes hang on it: the format never changes")
	for name, c := range map[string]struct{ user, typed, readable string }{
		"plain":               {"alice@example.com", "Drawings", "alice"},
		"digits first":        {"007bond@example.com", "Drawings", "u007bond"},
		"digits alone":        {"4711", "Drawings", "u4711"},
		"no ASCII letters":    {"李雷", "設計", "user"},
		"nothing before @":    {"@example.com", "Drawings", "user"},
		"dashes at the ends":  {"--a__b--@x", "Drawings", "a-b"},
		"256 characters":      {strings.Repeat("a", 256), "Drawings", strings.Repeat("a", 35)},
		"256, digits first":   {strings.Repeat("1", 256), "Drawings", "u" + strings.Repeat("1", 34)},
		"cut at a dash":       {strings.Repeat("a", 34) + "." + strings.Repeat("b", 200), "Drawings", strings.Repeat("a", 34)},
		"nothing typed":       {"alice@example.com", "", "alice"},
		"typed like a name":   {"alice@example.com", "bob-njggnfm3kfo3bw6s", "alice"},
		"typed with controls": {"alice@example.com", "\x00/../\n", "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			got := SessionName(c.user, c.typed)
			assert.LessOrEqual(t, len(got), 52)
			assert.Regexp(t, sessionNameRule, got)
			assert.Regexp(t, `^`+c.readable+`-[a-z2-7]{16}$`, got)
			assert.Equal(t, got, SessionName(c.user, c.typed), "the same words give the same session")
		})
	}
}

// TestSessionNamesOfOthers: another person or another word gives another name, however alike
// they are. A NUL parts the two, which no user has (ValidateUser).
func TestSessionNamesOfOthers(t *testing.T) {
	seen := map[string][2]string{}
	for _, user := range []string{"alice", "alice@example.com", "alice@example.org", "Alice@example.com", "alicea", "alic", "李雷", "韩梅梅"} {
		for _, typed := range []string{"", "a", "A", "aa", "b", " a", "ea", "Drawings", "drawings", "李雷"} {
			name := SessionName(user, typed)
			require.NotContains(t, seen, name, "%q and %q", user, typed)
			seen[name] = [2]string{user, typed}
		}
	}
	require.ErrorIs(t, ValidateUser("alice\x00a"), ErrUser)
}

func FuzzSessionName(f *testing.F) {
	f.Add("alice@example.com", "Drawings", "drawings")
	f.Add("1", "", "\x00")
	f.Fuzz(func(t *testing.T, user, one, other string) {
		name := SessionName(user, one)
		require.LessOrEqual(t, len(name), 52)
		require.Regexp(t, sessionNameRule, name)
		require.Equal(t, one == other, name == SessionName(user, other))
	})
}
