package frontdoor

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func keysOf(t *testing.T, cookieKeys map[string][]byte) Keys {
	t.Helper()
	_, signing := signingFile(t)
	files := fstest.MapFS{"a.pem": {Data: signing}}
	for name, key := range cookieKeys {
		files[name] = &fstest.MapFile{Data: key}
	}
	keys, err := ReadKeys(files)
	require.NoError(t, err)
	return keys
}

func TestTicketsOpenForTheirPurposeOnly(t *testing.T) {
	keys := keysOf(t, map[string][]byte{"a.key": cookieFile(t)})
	purposes := []purpose{forStart, forFlow, forLogin, forCode, forDesktop, forSignOut, forForm}
	for _, made := range purposes {
		want := ticket{Expires: noon.Unix() + 1, Host: "h.example.com", User: "álice@example.com", Path: "/a?b"}
		sealed, err := keys.seal(made, want)
		require.NoError(t, err)
		assert.NotContains(t, sealed, "example")
		for _, asked := range purposes {
			got, err := keys.open(asked, sealed, noon)
			if asked == made {
				require.NoError(t, err)
				assert.Equal(t, want, got)
				continue
			}
			require.ErrorIs(t, err, errTicket)
		}
		_, err = keys.open(made, sealed, noon.Add(time.Second))
		require.ErrorIs(t, err, errTicket, "expired")
	}
}

func TestTicketsOfOthersDoNotOpen(t *testing.T) {
	keys := keysOf(t, map[string][]byte{"a.key": cookieFile(t)})
	others, err := keysOf(t, map[string][]byte{"a.key": cookieFile(t)}).seal(forLogin, ticket{Expires: noon.Unix() + 9})
	require.NoError(t, err)
	ours, err := keys.seal(forLogin, ticket{Expires: noon.Unix() + 9})
	require.NoError(t, err)
	parts := strings.Split(ours, ".")
	for name, text := range map[string]string{
		"another key":      others,
		"nothing":          "",
		"not encrypted":    "eyJhbGciOiJub25lIn0..e30..",
		"too long":         ours + strings.Repeat("A", maxTicket),
		"another nonce":    strings.Join([]string{parts[0], parts[1], parts[2][1:] + "A", parts[3], parts[4]}, "."),
		"another header":   strings.Join([]string{strings.Split(others, ".")[0] + "A", parts[1], parts[2], parts[3], parts[4]}, "."),
		"another tag":      strings.Join([]string{parts[0], parts[1], parts[2], parts[3], "AAAAAAAAAAAAAAAAAAAAAA"}, "."),
		"another contents": strings.Join([]string{parts[0], parts[1], parts[2], "AAAA" + parts[3][4:], parts[4]}, "."),
	} {
		_, err := keys.open(forLogin, text, noon)
		require.ErrorIs(t, err, errTicket, name)
	}
}

// A cookie of the old key counts until that key is removed.
func TestTicketsThroughARotation(t *testing.T) {
	first, second := cookieFile(t), cookieFile(t)
	before := keysOf(t, map[string][]byte{"1.key": first})
	during := keysOf(t, map[string][]byte{"1.key": first, "2.key": second})
	after := keysOf(t, map[string][]byte{"2.key": second})
	old, err := before.seal(forLogin, ticket{Expires: noon.Unix() + 9})
	require.NoError(t, err)
	_, err = during.open(forLogin, old, noon)
	require.NoError(t, err)
	_, err = after.open(forLogin, old, noon)
	require.ErrorIs(t, err, errTicket)
	young, err := during.seal(forLogin, ticket{Expires: noon.Unix() + 9})
	require.NoError(t, err)
	_, err = after.open(forLogin, young, noon)
	require.NoError(t, err)
	early := keysOf(t, map[string][]byte{"1.key": first, "next-2.key": second})
	_, err = early.open(forLogin, young, noon)
	require.NoError(t, err, "a replica that has the key as the next one")
}

func TestRandomIsLongAndNew(t *testing.T) {
	assert.Len(t, random(), 32)
	assert.NotEqual(t, random(), random())
}
