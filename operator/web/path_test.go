package web

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestReturnPath(t *testing.T) {
	for _, kept := range []string{
		"/", "/a?b=c", "/a%2Fb", "/?next=https://example.com", "/files?a=1&b=//x", "/a//b", "/%2e%2e", "/a:b", "/" + strings.Repeat("a", MaxReturnPath-1),
	} {
		assert.Equal(t, kept, ReturnPath(kept))
	}
	for _, dropped := range []string{
		"", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, "https://evil.example/", "evil.example", "javascript:alert(1)",
		"/\tevil", "/\t/evil.example", "/\n/evil.example", "/a\x00", "/a\x7f", "/\r\nSet-Cookie: a=b", "/%zz",
		"/.vdi/callback?code=x", "/.vdi/logout", "/.vdi", "/%2evdi/logout", "/" + strings.Repeat("a", MaxReturnPath),
	} {
		assert.Equal(t, "/", ReturnPath(dropped), "%q", dropped)
	}
}

// Wherever the path leads, it is a path of the same host, to a browser too.
func FuzzReturnPath(f *testing.F) {
	for _, seed := range []string{"/", "//a", `/\a`, "/a?b#c", "/.vdi/x", "http://a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := url.Parse("https://a.example.com" + ReturnPath(text))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if at.Host != "a.example.com" || strings.HasPrefix(at.Path, wire.PathOwn) || strings.HasPrefix(ReturnPath(text), "//") {
			t.Fatalf("%q leads to %s", text, at)
		}
	})
}
