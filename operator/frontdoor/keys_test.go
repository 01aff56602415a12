package frontdoor

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/folder"
	"github.com/vdi-platform/vdi-platform/platform"
)

func signingFile(t *testing.T) (ed25519.PublicKey, []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return public, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func cookieFile(t *testing.T) []byte {
	t.Helper()
	content := make([]byte, minCookieKey)
	_, err := rand.Read(content)
	require.NoError(t, err)
	return content
}

// The newest key is used for new things, keys of tomorrow for nothing yet, and
// all of them count.
func TestReadKeysOrder(t *testing.T) {
	old, oldFile := signingFile(t)
	newest, newestFile := signingFile(t)
	next, nextFile := signingFile(t)
	keys, err := ReadKeys(fstest.MapFS{
		"2026-01.pem": {Data: oldFile}, "2026-02.pem": {Data: newestFile}, "next-2026-03.pem": {Data: nextFile},
		"a.key": {Data: cookieFile(t)}, "..data": {Data: []byte("x")}, "README": {Data: []byte("x")},
	})
	require.NoError(t, err)
	var order []any
	for _, key := range keys.signing {
		order = append(order, key.Public())
	}
	assert.Equal(t, []any{newest, old, next}, order)
	published := map[string]ed25519.PublicKey{}
	for name, text := range keys.statementKeys {
		assert.NotContains(t, text, "PRIVATE")
		published[name], err = platform.ParseStatementKey([]byte(text))
		require.NoError(t, err)
	}
	assert.Equal(t, map[string]ed25519.PublicKey{"2026-01.pem": old, "2026-02.pem": newest, "next-2026-03.pem": next}, published, "agents know keys before they are used")
	assert.Len(t, keys.sealing, 1)
}

func TestReadKeysNamesFileAndRemedy(t *testing.T) {
	_, good := signingFile(t)
	key := cookieFile(t)
	for want, files := range map[string]fstest.MapFS{
		`no file NAME.pem without "next-"`:                    {"a.key": {Data: key}, "next-a.pem": {Data: good}},
		`no file NAME.key without "next-"`:                    {"a.pem": {Data: good}},
		`file "b.key": it must hold at least 32 random bytes`: {"a.pem": {Data: good}, "b.key": {Data: key[:31]}},
		`file "b.pem": it is no PEM block PRIVATE KEY`:        {"b.pem": {Data: key}, "a.key": {Data: key}},
		`file "b.pem": it holds more than one key`:            {"b.pem": {Data: append(good, good...)}, "a.key": {Data: key}},
	} {
		_, err := ReadKeys(files)
		require.ErrorIs(t, err, ErrKeys)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), string(key))
	}
}

// The kubelet swaps a link, so all files change at once; a bad state is not taken.
func TestKeysFollowTheFolder(t *testing.T) {
	dir := t.TempDir()
	_, pemFile := signingFile(t)
	state := func(name string, files map[string][]byte) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		for file, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name, file), content, 0o600))
		}
		link := filepath.Join(dir, "..new")
		require.NoError(t, os.Symlink(name, link))
		require.NoError(t, os.Rename(link, filepath.Join(dir, "..data")))
	}
	state("..1", map[string][]byte{"a.pem": pemFile, "a.key": cookieFile(t)})
	mounted, err := folder.Watch(dir, slog.New(slog.DiscardHandler), ReadKeys, func(_, _ Keys) {})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mounted.Close()) })
	old, err := mounted.Get().seal(forLogin, ticket{Expires: 1 << 40})
	require.NoError(t, err)

	state("..2", map[string][]byte{"a.pem": pemFile})
	state("..3", map[string][]byte{"a.pem": pemFile, "b.key": cookieFile(t)})
	require.Eventually(t, func() bool {
		_, err := mounted.Get().open(forLogin, old, time.Unix(0, 0))
		return err != nil
	}, 30*time.Second, time.Millisecond, "the removed key counts no more")
	assert.Len(t, mounted.Get().sealing, 1)
}
