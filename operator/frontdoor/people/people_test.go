package people

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// hashed is a hash, made once for each password and cost: that takes long.
func hashed(t testing.TB, password string, cost int) string {
	t.Helper()
	of := fmt.Sprint(cost, password)
	if made, known := hashes.Load(of); known {
		return made.(string)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	require.NoError(t, err)
	hashes.Store(of, string(hash))
	return string(hash)
}

var hashes sync.Map

// cheaply makes hashes, and decoys of empty lists, with the least work for a test.
func cheaply(t *testing.T) {
	t.Helper()
	before := hashCost
	hashCost = minCost
	t.Cleanup(func() { hashCost = before })
}

// lines are a list of people, an entry in flow style each.
func lines(entries ...string) []byte {
	if len(entries) == 0 {
		return []byte("people: []\n")
	}
	return []byte("people:\n- {" + strings.Join(entries, " }\n- {") + " }\n")
}

func parse(t testing.TB, entries ...string) *List {
	t.Helper()
	l, err := Parse(lines(entries...))
	require.NoError(t, err)
	return l
}

// quick compares as bcrypt does, without its work.
func quick(passwords map[string]string) func(hash, password []byte) error {
	return func(hash, password []byte) error {
		if right, known := passwords[string(hash)]; known && right == string(password) {
			return nil
		}
		return bcrypt.ErrMismatchedHashAndPassword
	}
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("ü", maxPassword/2)
	right, longs, a, nul := hashed(t, "right", 10), strings.Replace(hashed(t, long, 10), "$2a$", "$2y$", 1), hashed(t, "a", 11), hashed(t, "-", 10)
	l := parse(t,
		"name: Alice, user: alice@example.com, groups: [b, a], hash: "+right,
		"name: bob, hash: "+longs,
		"name: 'zoë', hash: "+a,
		"name: 'nul', hash: "+nul,
	)
	byBcrypt := map[string]bool{"right": true, long: true, "a\x00a": true}
	for _, c := range []struct {
		name, password, user string
	}{
		{"Alice", "right", "alice@example.com"},
		{"aLICE", "right", "alice@example.com"},
		{"alice@example.com", "right", ""},
		{" alice", "right", ""},
		{"alice", "Right", ""},
		{"alice", "", ""},
		{"bob", long, "bob"},
		{"bob", long + "x", ""},
		{"ZOË", "a", "zoë"},
		{"zoe\u0308", "a", "zoë"},
		{"zoë", "a\x00a", ""},
		{"zoë", "a\x00", ""},
		{"nul", "-", "nul"},
		{"nul", "", ""}, // what is compared in place of no password is no password
		{"nul", strings.Repeat("-", 73), ""},
		{"mallory", "right", ""},
		{"", "right", ""},
		{strings.Repeat("a", 1<<20), "right", ""},
	} {
		l.compare = quick(map[string]string{right: "right", longs: long, a: "a", nul: "-"})
		if byBcrypt[c.password] {
			l.compare = bcrypt.CompareHashAndPassword
			delete(byBcrypt, c.password)
		}
		p, ok := l.Check(c.name, c.password)
		assert.Equal(t, c.user != "", ok, "%.20q %.20q", c.name, c.password)
		assert.Equal(t, c.user, p.User)
	}
	p, _ := l.Check("alice", "right")
	assert.Equal(t, "Alice", p.Name)
	assert.Equal(t, []string{"a", "b"}, p.Groups)
}

// Nobody learns by the time of an answer who is in the list.
func TestCheckWorksTheSame(t *testing.T) {
	mixed := []string{
		"name: ten, hash: " + hashed(t, "right", 10), "name: eleven, hash: " + hashed(t, "right", 11),
		"name: twelve, hash: " + hashed(t, "right", 12),
	}
	for _, c := range []struct {
		highest int
		l       *List
	}{{10, parse(t, mixed[0])}, {12, parse(t, mixed...)}, {hashCost, parse(t)}} {
		highest, l := c.highest, c.l
		work := 0
		l.compare = func(hash, password []byte) error {
			cost, err := bcrypt.Cost(hash)
			require.NoError(t, err)
			work += 1 << cost
			if string(password) != "right" {
				return bcrypt.ErrMismatchedHashAndPassword
			}
			return nil
		}
		for _, name := range []string{"ten", "eleven", "twelve", "mallory", "", strings.Repeat("a", 10_000)} {
			for _, password := range []string{"right", "wrong", "", "right\x00", strings.Repeat("a", 73), strings.Repeat("a", 10_000)} {
				work = 0
				_, ok := l.Check(name, password)
				_, known := l.byName[name]
				assert.Equal(t, known && password == "right", ok)
				assert.Equal(t, 1<<highest, work, "%.20q %.20q", name, password)
			}
		}
	}
}

// A decoy lets nobody in, whatever it says.
func TestDecoysNeverCount(t *testing.T) {
	l := parse(t, "name: ten, hash: "+hashed(t, "right", 10), "name: eleven, hash: "+hashed(t, "right", 11))
	ten := l.people[0].secret().hash
	l.compare = func(hash, _ []byte) error {
		if bytes.Equal(hash, ten) {
			return bcrypt.ErrMismatchedHashAndPassword
		}
		return nil
	}
	for _, name := range []string{"ten", "mallory"} {
		_, ok := l.Check(name, "right")
		assert.False(t, ok, name)
	}
	_, ok := l.Check("eleven", "right")
	assert.True(t, ok)
}

func TestDecoysAreHashes(t *testing.T) {
	for cost := minCost; cost <= maxCost; cost++ {
		assert.Regexp(t, hashForm, string(decoy(cost)))
		assert.Equal(t, cost, costOf(string(decoy(cost))))
	}
	assert.Equal(t, bcrypt.ErrMismatchedHashAndPassword, bcrypt.CompareHashAndPassword(decoy(10), []byte("right")))
}

func TestEmptyLists(t *testing.T) {
	cheaply(t)
	for _, l := range []*List{nil, {}, parse(t)} {
		if l == nil || l.compare != nil {
			_, ok := l.Check("alice", "right")
			assert.False(t, ok)
		}
		_, ok := l.ByUser("alice")
		assert.False(t, ok)
		assert.Zero(t, l.Len())
		assert.Empty(t, slices.Collect(l.All()))
	}
}

func TestByUser(t *testing.T) {
	l := parse(t, "name: alice, user: Alice A., hash: "+hashed(t, "a", 10), "name: bob, hash: "+hashed(t, "b", 10))
	assert.Equal(t, 2, l.Len())
	assert.Len(t, slices.Collect(l.All()), 2)
	p, ok := l.ByUser("Alice A.")
	assert.True(t, ok)
	assert.Equal(t, "alice", p.Name)
	assert.Nil(t, p.Groups, "the list does not say")
	for _, other := range []string{"alice", "alice a.", ""} {
		_, ok = l.ByUser(other)
		assert.False(t, ok, other)
	}
}

// A new hash, name or user is another account; nothing else is, nor the place in the list.
func TestAccount(t *testing.T) {
	one, two := hashed(t, "a", 10), hashed(t, "another", 10)
	account := func(entry string) string {
		for p := range parse(t, "name: other, hash: "+one, entry).All() {
			if p.Name != "other" {
				return p.Account()
			}
		}
		return ""
	}
	first := account("name: alice, user: u, hash: " + one)
	assert.Len(t, first, 43)
	assert.Equal(t, first, account("user: u, name: alice, groups: [a], hash: "+one))
	for _, entry := range []string{
		"name: alice, user: u, hash: " + two, "name: alic, user: eu, hash: " + one, "name: alice, user: v, hash: " + one,
	} {
		assert.NotEqual(t, first, account(entry), entry)
	}
	assert.NotPanics(t, func() { Person{}.Account() })
}

// Nobody shows a hash by mistake.
func TestHashesAreNotShown(t *testing.T) {
	hash := hashed(t, "a", 10)
	l := parse(t, "name: alice, hash: "+hash)
	p, _ := l.ByUser("alice")
	var out bytes.Buffer
	type holder struct{ p Person }
	for _, value := range []any{p, &p, []Person{p}, holder{p}, l} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "value", value)
		data, err := json.Marshal(value)
		require.NoError(t, err)
		out.Write(data)
	}
	salt := hash[7:20]
	require.Contains(t, out.String(), "alice")
	for _, shown := range []string{salt, fmt.Sprintf("%x", salt), strings.Trim(fmt.Sprint([]byte(salt)), "[]")} {
		assert.NotContains(t, out.String(), shown)
	}
}

func TestHash(t *testing.T) {
	hash, err := Hash([]byte(strings.Repeat("\xff", maxPassword)))
	require.NoError(t, err)
	assert.Empty(t, wrongHash(hash))
	assert.Equal(t, hashCost, costOf(hash))
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(hash), bytes.Repeat([]byte{0xff}, maxPassword)))
	for want, password := range map[string]string{
		"empty": "",
		"73 bytes; use a shorter one; bcrypt reads 72": strings.Repeat("s", 73),
		"NUL":                "secret\x00",
		"more than one line": "secret\nsecret",
		"than one line":      "secret\r",
	} {
		_, err := Hash([]byte(password))
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
}

// An entry is read as it was meant, whatever YAML makes of its words.
func TestEntry(t *testing.T) {
	cheaply(t)
	for _, p := range []Person{
		{Name: "alice", User: "alice@example.com", Groups: []string{"artists", "yes"}},
		{Name: "yes"},
		{Name: "null"},
		{Name: "007"},
		{Name: "~"},
		{Name: "1e3", User: "0x10", Groups: []string{"1", "a, b]", "- c", "null"}},
		{Name: "it's: #\"x\"", User: "{a: b}"},
		{Name: "日本", User: "*a &b"},
	} {
		entry, err := p.Entry([]byte("right"))
		require.NoError(t, err)
		l, err := Parse(append([]byte("people:\n"), entry...))
		require.NoError(t, err, string(entry))
		l.compare = func(_, _ []byte) error { return nil }
		got, ok := l.Check(p.Name, "-")
		require.True(t, ok)
		assert.Equal(t, p.Name, got.Name)
		if p.User == "" {
			p.User = p.Name
		}
		assert.Equal(t, p.User, got.User)
		assert.ElementsMatch(t, p.Groups, got.Groups)
	}
	for want, p := range map[string]Person{
		"name: it is empty":                        {},
		"user: it begins or ends with a blank":     {Name: "alice", User: " a"},
		"groups[1]: it is no group":                {Name: "alice", Groups: []string{"a", "system:masters"}},
		"groups[1]: it is groups[0] again; remove": {Name: "alice", Groups: []string{"a", "a"}},
	} {
		_, err := p.Entry([]byte("right"))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, p.Validate(), want)
	}
}
