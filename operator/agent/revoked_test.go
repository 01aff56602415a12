package agent

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// add ends a login and keeps that.
func (v *revoked) add(c cookie) error {
	v.revoke(c)
	return v.save()
}

func TestRevokedIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	v := newRevoked(func() time.Time { return now }, "")
	a, b := cookie{"a", now.Add(time.Hour)}, cookie{"b", now.Add(2 * time.Hour)}
	require.NoError(t, errors.Join(v.add(a), v.add(b)))
	assert.True(t, v.contains(a) && v.contains(b))
	assert.False(t, v.contains(cookie{"x", a.expires}))
	now = now.Add(90 * time.Minute)
	require.NoError(t, v.add(cookie{"c", now.Add(time.Hour)}))
	assert.Len(t, v.ids, 2, "cookies that have expired need no mark")

	const age = time.Hour
	var all []cookie
	for n := range 10 * maxRevoked {
		c := cookie{strconv.Itoa(n), v.nextExpiry(age)}
		assert.False(t, v.contains(c), "a login after any number of logouts holds")
		require.NoError(t, v.add(c))
		all = append(all, c)
		assert.LessOrEqual(t, len(v.ids), maxRevoked)
		for _, ended := range all {
			assert.True(t, v.contains(ended))
		}
	}
	now = now.Add(age)
	assert.Equal(t, now.Add(age), v.nextExpiry(age), "nobody's login becomes longer by it")
}

// TestLogoutOutlivesTheContainer: the agent starts again in the same pod.
func TestLogoutOutlivesTheContainer(t *testing.T) {
	dir := t.TempDir()
	first := newWorld(t, func(c *Config) { c.StateDir = dir })
	cookies := []string{first.login(), first.login()}
	kept := first.login()
	require.NoFileExists(t, filepath.Join(dir, fileRevoked), "written by a logout alone")
	for _, ended := range cookies {
		first.post(wire.PathLogout, map[string]string{"Cookie": ended}, nil)
	}
	second := newWorld(t, func(c *Config) { c.StateDir = dir })
	status := func(cookie string) int {
		return second.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie}, "").StatusCode
	}
	for _, ended := range cookies {
		assert.Equal(t, http.StatusUnauthorized, status(ended))
	}
	assert.Equal(t, http.StatusOK, status(kept))
	assert.Equal(t, http.StatusOK, status(second.login()))
	assert.NotContains(t, second.log.String(), "list of ended logins")
}

// TestManyLogoutsOutliveTheContainer: also those beyond the ones that are kept one by one.
func TestManyLogoutsOutliveTheContainer(t *testing.T) {
	now, dir := time.Unix(1_800_000_000, 0), t.TempDir()
	clock := func() time.Time { return now }
	v := newRevoked(clock, dir)
	var ended []cookie
	for n := range 3*maxRevoked + 5 {
		ended = append(ended, cookie{strings.Repeat("x", 24) + strconv.Itoa(n), v.nextExpiry(time.Hour)})
		require.NoError(t, v.add(ended[n]))
		again := newRevoked(clock, dir)
		require.NoError(t, again.load(time.Hour))
		for _, c := range ended {
			require.True(t, again.contains(c))
		}
		next := cookie{"new", again.nextExpiry(time.Hour)}
		require.False(t, again.contains(next), "a login after any number of logouts holds")
	}
	info, err := os.Stat(filepath.Join(dir, fileRevoked))
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(maxRevokedFile/2))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing else is left there")
}

// TestLogoutsAtOnce: one write may be for many, and none returns before its own is kept.
func TestLogoutsAtOnce(t *testing.T) {
	dir := t.TempDir()
	v := newRevoked(time.Now, dir)
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			c := cookie{strconv.Itoa(n), v.nextExpiry(time.Hour)}
			assert.NoError(t, v.add(c))
			again := newRevoked(time.Now, dir)
			assert.NoError(t, again.load(time.Hour))
			assert.True(t, again.contains(c))
		})
	}
	all.Wait()
}

// TestDamagedListOfLogouts: where the list cannot be read, nobody comes in who logged in
// before, and the log says so.
func TestDamagedListOfLogouts(t *testing.T) {
	good := `{"version":1,"all":0,"ids":{}}`
	for name, damage := range map[string]func(path string) error{
		"empty":           func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"cut short":       func(path string) error { return os.WriteFile(path, []byte(good[:9]), 0o600) },
		"two of them":     func(path string) error { return os.WriteFile(path, []byte(good+good), 0o600) },
		"another version": func(path string) error { return os.WriteFile(path, []byte(`{"version":2}`), 0o600) },
		"too long": func(path string) error {
			return os.WriteFile(path, []byte(good+strings.Repeat(" ", maxRevokedFile)), 0o600)
		},
		"no file": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := newWorld(t, nil)
			before := first.login()
			require.NoError(t, damage(filepath.Join(dir, fileRevoked)))
			for range 2 { // the next container finds a good one, or again none
				second := newWorld(t, func(c *Config) { c.StateDir = dir })
				assert.Equal(t, http.StatusUnauthorized, second.ask(http.MethodGet, "/", map[string]string{"Cookie": before}, "").StatusCode)
				assert.Equal(t, http.StatusOK, second.ask(http.MethodGet, "/", map[string]string{"Cookie": second.login()}, "").StatusCode)
				if second.agent.revoked.saved == 0 && name != "no file" {
					assert.NotContains(t, second.log.String(), "cannot be read", "it was replaced")
				} else {
					assert.Contains(t, second.log.String(), "whoever logged in before has to do so again")
				}
			}
		})
	}
}

// TestLogoutWithoutDisk: a logout counts although it cannot be kept, and the log says so.
func TestLogoutWithoutDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	w := newWorld(t, func(c *Config) { c.StateDir = dir })
	ended := w.login()
	require.NoError(t, os.RemoveAll(dir))
	assert.Equal(t, http.StatusSeeOther, w.post(wire.PathLogout, map[string]string{"Cookie": ended}, url.Values{}).StatusCode)
	assert.Equal(t, http.StatusUnauthorized, w.ask(http.MethodGet, "/", map[string]string{"Cookie": ended}, "").StatusCode)
	assert.Contains(t, w.log.String(), "the list of ended logins cannot be written")
	c := w.agent.config
	_, err := New(c)
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "--state-dir")
}
