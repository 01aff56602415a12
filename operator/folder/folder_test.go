package folder

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	waitFor   = 30 * time.Second
	lookEvery = time.Millisecond
)

func text(f fs.FS) (string, error) {
	content, err := fs.ReadFile(f, "a")
	return string(content), err
}

func write(t *testing.T, content string, path ...string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(path...), []byte(content), 0o600))
}

// A plain folder, without the kubelet's links, is followed as well.
func TestPlainFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, "one", dir, "a")
	f, err := Watch(dir, slog.New(slog.DiscardHandler), text, func(string, string) {})
	require.NoError(t, err)
	assert.Equal(t, "one", f.Get())
	write(t, "two", dir, "a")
	require.Eventually(t, func() bool { return f.Get() == "two" }, waitFor, lookEvery)
	require.NoError(t, f.Close())
	_, err = Watch(filepath.Join(dir, "missing"), slog.New(slog.DiscardHandler), text, nil)
	require.ErrorContains(t, err, "missing")
}

// The kubelet swaps a link, so all files change at once; content that cannot be
// used is not taken, and each change is reported with what was there before.
func TestMountedFolder(t *testing.T) {
	dir := t.TempDir()
	state := func(name string) string {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		return filepath.Join(dir, name)
	}
	swap := func(name string) {
		link := filepath.Join(dir, "..new")
		require.NoError(t, os.Symlink(name, link))
		require.NoError(t, os.Rename(link, filepath.Join(dir, kubeletData)))
	}
	write(t, "one", state("..1"), "a")
	swap("..1")
	reported := make(chan [2]string, 100) // also of events that changed nothing
	f, err := Watch(dir, slog.New(slog.DiscardHandler), text, func(before, after string) { reported <- [2]string{before, after} })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })

	state("..2") // without the file
	swap("..2")
	write(t, "three", state("..3"), "a")
	swap("..3")
	for change := range reported {
		if change[1] == "three" {
			assert.Equal(t, "one", change[0], "the state without the file was not taken")
			break
		}
	}
	assert.Equal(t, "three", f.Get())
}

// The kubelet removes a state once there is another: what was read half is read again.
func TestStateThatGoesWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	swap := func(name string) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, name, dir, name, "a")
		require.NoError(t, os.Symlink(name, filepath.Join(dir, "..new")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, kubeletData)))
	}
	swap("..1")
	reads := 0
	f, err := Watch(dir, slog.New(slog.DiscardHandler), func(files fs.FS) (string, error) {
		if reads++; reads == 1 {
			swap("..2")
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "..1")))
		}
		return text(files)
	}, func(string, string) {})
	require.NoError(t, err)
	assert.Equal(t, "..2", f.Get())
	require.NoError(t, f.Close())
}
