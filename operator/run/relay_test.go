package run

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
)

const noSecret = "its shared secret (key \"current\")"

var someRelay = platform.TURN{Host: "turn.example.com"}

// TestRelaySecret: a Secret that is mounted later is taken up, and every change
// of the key that signs is signalled; the other keys of a rotation are the relay's.
func TestRelaySecret(t *testing.T) {
	dir := t.TempDir()
	s, err := watchRelaySecret(t.Context(), someRelay, dir)
	require.NoError(t, err)
	_, err = s.Get()
	require.ErrorContains(t, err, noSecret+" is not there")

	requireSigner := func(secret string) {
		t.Helper()
		require.Eventually(t, func() bool { got, err := s.Get(); return err == nil && got == secret }, time.Minute, 5*time.Millisecond)
		<-s.Changed()
	}
	mount := mounter(t, dir)
	first, second := strings.Repeat("c0ffee", 10), strings.Repeat("decade", 10)
	mount(map[string]string{"current": first + "\n"})
	requireSigner(first)
	mount(map[string]string{"current": second, "previous": first})
	requireSigner(second)

	mount(map[string]string{"current": second})
	mount(map[string]string{"current": "too short, canary"})
	require.Eventually(t, func() bool { _, err := s.Get(); return err != nil }, time.Minute, 5*time.Millisecond)
	_, err = s.Get()
	require.ErrorContains(t, err, noSecret+" must be 32 to 512 letters")
	require.NotContains(t, err.Error(), "canary")
	<-s.Changed()
	require.Empty(t, s.Changed(), "what did not change the signing key is not signalled")
}

// mounter changes a folder as the kubelet does: all files at once.
func mounter(t *testing.T, dir string) func(map[string]string) {
	return func(files map[string]string) {
		t.Helper()
		data, err := os.MkdirTemp(dir, "..")
		require.NoError(t, err)
		for name, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(data, name), []byte(content), 0o600))
		}
		link := filepath.Join(dir, "..data_tmp")
		require.NoError(t, os.Symlink(filepath.Base(data), link))
		require.NoError(t, os.Rename(link, filepath.Join(dir, "..data")))
	}
}

func TestNoRelaySecret(t *testing.T) {
	s, err := watchRelaySecret(context.Background(), platform.TURN{}, "")
	require.NoError(t, err)
	require.Nil(t, s)
	_, err = watchRelaySecret(context.Background(), someRelay, "")
	require.ErrorContains(t, err, "--turn-secret-dir is empty")
	_, err = watchRelaySecret(context.Background(), someRelay, filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "--turn-secret-dir")
}
