package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
)

const password = "correct horse 'battery' \\ staple"

// answers is a terminal where somebody types these.
func answers(lines ...string) func(context.Context, string) ([]byte, error) {
	return func(context.Context, string) ([]byte, error) {
		if len(lines) == 0 {
			return nil, io.EOF
		}
		line := lines[0]
		lines = lines[1:]
		return []byte(line), nil
	}
}

// What hash writes is a list with a line before it, check finds no fault, and its people
// log in.
func TestHashMakesEntries(t *testing.T) {
	list := bytes.NewBufferString("people:\n")
	piped := func(text string) console { return console{in: strings.NewReader(text), out: list} }
	for _, err := range []error{
		hash(t.Context(), []string{"alice", "--user", "alice@example.com", "--groups=artists,night shift"}, piped(password+"\n")),
		hash(t.Context(), []string{"--user=no", "yes"}, piped(password+"\r\n")),
		hash(t.Context(), []string{"--", "-null-"}, piped(password)),
		hash(t.Context(), []string{"carol"}, console{in: strings.NewReader("other"), out: list, ask: answers(password, password)}),
	} {
		require.NoError(t, err)
	}
	assert.NotContains(t, list.String(), "battery")
	assert.True(t, strings.HasPrefix(list.String(), "people:\n- name: alice\n  user: alice@example.com\n  hash: $2a$12$"), list.String())
	file := filepath.Join(t.TempDir(), "people.yaml")
	require.NoError(t, os.WriteFile(file, list.Bytes(), 0o600))
	for _, name := range []string{file, "-"} {
		var out bytes.Buffer
		require.NoError(t, check([]string{name}, console{in: bytes.NewReader(list.Bytes()), out: &out}))
		assert.Equal(t, "4 people, no fault found\n", out.String())
	}
	l, err := people.Parse(list.Bytes())
	require.NoError(t, err)
	for name, user := range map[string]string{"Alice": "alice@example.com", "yes": "no", "-null-": "-null-", "carol": "carol"} {
		p, ok := l.Check(name, password)
		assert.True(t, ok, name)
		assert.Equal(t, user, p.User)
	}
	p, _ := l.ByUser("alice@example.com")
	assert.Equal(t, []string{"artists", "night shift"}, p.Groups)
}

// Whatever is refused, the password is not repeated, and nothing is written.
func TestHashRefuses(t *testing.T) {
	const secret = "hunter2"
	for _, c := range []struct {
		want  string
		args  []string
		input string
		ask   func(context.Context, string) ([]byte, error)
	}{
		{want: "hash: give one name", args: []string{"alice", secret}},
		{want: "hash: give one name", args: []string{"alice", "-" + secret}},
		{want: "hash: give one name", args: []string{"alice", "--password", secret}},
		{want: "hash: give one name", args: []string{"alice", "--user", "a", secret}},
		{want: "hash: give one name", args: []string{"alice", "--user"}},
		{want: "hash: give one name", args: []string{"--help"}},
		{want: "hash: name: it begins or ends with a blank", args: []string{" alice"}, input: secret},
		{want: "hash: user: it holds a character", args: []string{"alice", "--user", "a\tb"}, input: secret},
		{want: "hash: groups[1]: it is no group", args: []string{"alice", "--groups=a,"}, input: secret},
		{want: "hash: the password is empty", args: []string{"alice"}, input: "\n"},
		{want: "hash: the password has more than one line", args: []string{"alice"}, input: secret + "\n\n"},
		{want: "hash: the password has more than one line", args: []string{"alice"}, input: secret + "\r\r\n"},
		{want: "hash: the password holds a NUL byte", args: []string{"alice"}, input: secret + "\x00"},
		{want: "bytes; use a shorter one", args: []string{"alice"}, input: strings.Repeat(secret, 10_000)},
		{want: "hash: the two passwords differ; try again", args: []string{"alice"}, ask: answers(secret, secret+" ")},
		{want: "hash: EOF", args: []string{"alice"}, ask: answers(secret)},
	} {
		var out bytes.Buffer
		err := hash(t.Context(), c.args, console{in: strings.NewReader(c.input), out: &out, ask: c.ask})
		require.ErrorContains(t, err, c.want)
		assert.NotContains(t, err.Error(), secret)
		assert.Empty(t, out.String())
	}
}

// Each problem is a line, and no line is a password.
func TestCheckRefuses(t *testing.T) {
	var out bytes.Buffer
	file := "people:\n- {name: alice, hash: hunter2}\n- {name: bob, hash: hunter2}\n"
	require.ErrorContains(t, check([]string{"-"}, console{in: strings.NewReader(file), out: &out}), "check: problems found: 2")
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 2)
	assert.True(t, strings.HasPrefix(lines[1], `people[1].hash ("bob"): it is no bcrypt hash`), lines[1])
	assert.NotContains(t, out.String(), "hunter2")
	require.ErrorIs(t, check([]string{filepath.Join(t.TempDir(), "none")}, console{}), os.ErrNotExist)
	broken := io.MultiReader(strings.NewReader("people: []"), failing{})
	require.ErrorIs(t, check([]string{"-"}, console{in: broken, out: &out}), errRead)
}

var errRead = errors.New("cannot be read")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errRead }
