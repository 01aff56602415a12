package agent

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// minCookieKey is the length of the key of an HMAC-SHA256 (RFC 2104 §3), in bytes.
const minCookieKey = 32

// credentials are what the mounted Secret holds. They never leave the process
// but for the desktop's own login.
type credentials struct {
	// username and password are the visitor's login.
	username, password string
	// cookieKey signs cookies.
	cookieKey []byte
	// desktopUsername and desktopPassword are what the desktop asks for; both
	// empty: it asks for nothing.
	desktopUsername, desktopPassword string
}

// sameLogin reports whether a visitor's login of before still holds.
func (c credentials) sameLogin(other credentials) bool {
	return c.username == other.username && c.password == other.password && bytes.Equal(c.cookieKey, other.cookieKey)
}

// readCredentials returns a function that reads the Secret's files for a mode.
// Its errors name files, never contents.
func readCredentials(mode wire.AccessMode) func(fs.FS) (credentials, error) {
	return func(dir fs.FS) (credentials, error) {
		var c credentials
		var err error
		text := func(name string) string {
			content, e := optional(dir, name)
			err = errors.Join(err, e)
			return strings.TrimSpace(string(content))
		}
		c.username, c.password = text(wire.KeyUsername), text(wire.KeyPassword)
		c.desktopUsername, c.desktopPassword = text(wire.KeyDesktopUsername), text(wire.KeyDesktopPassword)
		key, e := optional(dir, wire.KeyCookie)
		c.cookieKey = key
		if err = errors.Join(err, e); err != nil {
			return credentials{}, err
		}
		return c, c.check(mode)
	}
}

func (c credentials) check(mode wire.AccessMode) error {
	switch {
	case (c.desktopUsername == "") != (c.desktopPassword == ""):
		return fmt.Errorf("%w: give both of the files %s and %s, or none", ErrConfig, wire.KeyDesktopUsername, wire.KeyDesktopPassword)
	case strings.Contains(c.username+c.desktopUsername, ":"):
		return fmt.Errorf("%w: a user name must not hold a colon (RFC 7617)", ErrConfig)
	case mode != wire.AccessPassword:
		return nil
	case c.username == "" || c.password == "":
		return fmt.Errorf("%w: the files %s and %s are required in mode %s", ErrConfig, wire.KeyUsername, wire.KeyPassword, wire.AccessPassword)
	case len(c.cookieKey) < minCookieKey:
		return fmt.Errorf("%w: the file %s must hold at least %d random bytes", ErrConfig, wire.KeyCookie, minCookieKey)
	}
	return nil
}

// optional returns nothing for a file that is not there.
func optional(dir fs.FS, name string) ([]byte, error) {
	content, err := fs.ReadFile(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

// readStatementKeys reads the front door's statement keys. Hidden files are the
// kubelet's own.
func readStatementKeys(dir fs.FS) ([]ed25519.PublicKey, error) {
	files, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	var keys []ed25519.PublicKey
	for _, file := range files {
		if strings.HasPrefix(file.Name(), ".") {
			continue
		}
		content, err := fs.ReadFile(dir, file.Name())
		if err != nil {
			return nil, err
		}
		key, err := platform.ParseStatementKey(content)
		if err != nil {
			return nil, fmt.Errorf("%w: statement key %q: %w", ErrConfig, file.Name(), err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: the folder of statement keys holds none; nobody could come in", ErrConfig)
	}
	return keys, nil
}
