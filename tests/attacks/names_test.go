package attacks

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// foldedSlug is how platforms commonly make a name of a user: lower case, everything
// else a dash.
func foldedSlug(user string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(user), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
}

// TestA02SlugCollision: users that look alike are told apart, in labels, hosts and
// homes.
func TestA02SlugCollision(t *testing.T) {
	const victim = "alice@example.com"
	for name, twin := range map[string]string{
		"dashes":          "alice-example-com",
		"capitals":        "Alice@Example.com",
		"dots":            "alice.example.com",
		"doubled":         "alice@@example.com",
		"a homoglyph":     "аlice@example.com", // Cyrillic а
		"in front of it":  "-alice@example.com",
		"behind it":       "alice@example.com.",
		"a combined sign": "alice@exa\u0301mple.com",
	} {
		ledger.Try(t, name, func(*testing.T) ledger.Outcome {
			folded := foldedSlug(twin) == foldedSlug(victim) || strings.Contains(name, "glyph") || strings.Contains(name, "sign")
			return ledger.Judge(folded, ledger.Design, "another slug")
		}, func(t *testing.T) ledger.Outcome {
			cfg := platform.Sessions{Domain: domain}
			one, err := platform.Host(cfg, victim, "desk", "team", "uid-1")
			require.NoError(t, err)
			other, err := platform.Host(cfg, twin, "desk", "team", "uid-2")
			require.NoError(t, err)
			return ledger.Judge(platform.Identity(twin) == platform.Identity(victim) || one == other, ledger.Design, "they are two people")
		})
	}
	ledger.Try(t, "a million pairs", func(*testing.T) ledger.Outcome {
		return ledger.Judge(collisions(10_000, foldedSlug) > 0, ledger.Design, "no slug twice")
	}, func(t *testing.T) ledger.Outcome {
		found := collisions(1_000_000, platform.Identity)
		return ledger.Judge(found > 0, ledger.Design, "no identity twice")
	})
}

// collisions counts pairs of different users, alike but for a few edits, of which
// naming makes the same.
func collisions(pairs int, naming func(string) string) (found int) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range pairs {
		user := fmt.Sprintf("user.%d@example.com", i)
		twin := edited(random, user)
		if twin != user && naming(twin) == naming(user) {
			found++
		}
	}
	return found
}

// edited changes one to three places of a user in ways that the eye overlooks.
func edited(random *rand.Rand, user string) string {
	text := []rune(user)
	for range 1 + random.IntN(3) {
		at := random.IntN(len(text))
		switch random.IntN(4) {
		case 0:
			text[at] = []rune(strings.ToUpper(string(text[at])))[0]
		case 1:
			text[at] = []rune("-._@ +")[random.IntN(6)]
		case 2:
			text = append(text[:at], append([]rune{text[at]}, text[at:]...)...)
		default:
			text = append(text, []rune(".-@")[random.IntN(3)])
		}
	}
	return string(text)
}

// TestA03ChosenHash: nobody finds a user whose hash is a victim's. Against the 32 bits
// of FNV-1a, which peers use, it takes a moment; against 80 bits of SHA-256 the same
// effort finds nothing, and 2^80 tries are out of reach.
func TestA03ChosenHash(t *testing.T) {
	const victim = "alice@example.com"
	ledger.Try(t, "a user with the victim's hash", func(t *testing.T) ledger.Outcome {
		twin := secondPreimage(victim)
		require.NotEqual(t, victim, twin)
		t.Logf("%q has the FNV-1a hash of %q", twin, victim)
		return ledger.Judge(fnv1a(twin) == fnv1a(victim), ledger.Design, "another hash")
	}, func(t *testing.T) ledger.Outcome {
		want := platform.Identity(victim)
		require.GreaterOrEqual(t, len(want)*5, 80, "bits of base32")
		found := false
		for i := range tries {
			found = found || platform.Identity(candidate(i)) == want
		}
		return ledger.Judge(found, ledger.Design, "80 bits of SHA-256")
	})
}

const tries = 1 << 17

func candidate(i int) string { return fmt.Sprintf("m%x@example.com", i) }

func fnv1a(text string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text))
	return h.Sum32()
}

// fnvInverse is the inverse of FNV's 32-bit prime, 16777619, modulo 2^32.
const fnvInverse = 899433627

// secondPreimage meets in the middle: each step of FNV-1a can be undone, so that
// 2^17 beginnings and 2^17 ends make 2^34 users, of which a few have the victim's hash.
func secondPreimage(victim string) string {
	begun := map[uint32]string{}
	for i := range tries {
		begin := fmt.Sprintf("m%x", i)
		begun[fnv1a(begin)] = begin
	}
	for i := range tries {
		end := fmt.Sprintf(".%x@example.com", i)
		state := fnv1a(victim)
		for at := len(end) - 1; at >= 0; at-- {
			state = state*fnvInverse ^ uint32(end[at])
		}
		if begin, found := begun[state]; found {
			return begin + end
		}
	}
	return ""
}
