package frontdoor

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// A list that is missing or cannot be used stops nothing, and the one before stays in force;
// each is logged once, however often the folder is read.
func TestRoster(t *testing.T) {
	dir := t.TempDir()
	var log lockedBuffer
	flags := Flags{PeopleDir: dir}
	r, err := flags.followPeople(platform.Access{Mode: wire.AccessLocal}, slog.New(slog.NewJSONHandler(&log, nil)))
	require.NoError(t, err)
	assert.Nil(t, r.get())
	assert.False(t, r.isUsable())
	is := func(list string, usable bool, names int) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(dir, people.File), []byte(list), 0o600))
		require.Eventually(t, func() bool { return r.isUsable() == usable && r.get().Len() == names }, 30*time.Second, time.Millisecond)
	}
	entry := func(name string) string {
		text, err := people.Person{Name: name}.Entry([]byte("secret"))
		require.NoError(t, err)
		return string(text)
	}
	alice := entry("alice")
	is("people:\n"+alice, true, 1)
	is("people: nobody", false, 1)
	is("people: []", true, 0)
	is("people:\n"+alice+entry("bob"), true, 2)
	r.close()
	for range 3 {
		r.take(r.folder.Get())
	}
	text := log.String()
	assert.Equal(t, 1, strings.Count(text, `"people":2`), text)
	assert.NotContains(t, text, "secret")
	assert.NotContains(t, text, "$2")

	r, err = flags.followPeople(platform.Access{Mode: wire.AccessOIDC}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	assert.Nil(t, r.get())
	r.close()
	flags.PeopleDir = filepath.Join(dir, "missing")
	_, err = flags.followPeople(platform.Access{Mode: wire.AccessLocal}, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, ErrFlags)
}

// lockedBuffer is written by whoever follows a folder.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
