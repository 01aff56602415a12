package web

import (
	"net/url"
	"strings"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// MaxReturnPath is the longest path to come back to after a login, in bytes: on its way
// it may travel in a cookie.
const MaxReturnPath = 1 << 10

// ReturnPath is a path of this host, with its query, to come back to after a login: the
// text itself, or "/" for everything that could lead elsewhere or to our own pages.
func ReturnPath(text string) string {
	const home = "/"
	if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || len(text) > MaxReturnPath {
		return home
	}
	// Browsers read a backslash as a slash and drop tabs and line ends.
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
		return home
	}
	target, err := url.Parse(text)
	if err != nil || target.Scheme != "" || target.Host != "" || IsOwnPath(target.Path) {
		return home
	}
	return text
}

// IsOwnPath reports whether a path is the platform's own on the host of a session.
func IsOwnPath(path string) bool { return strings.HasPrefix(path+"/", wire.PathOwn) }
