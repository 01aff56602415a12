package httpserver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTooManyCookies: whoever a page elsewhere has given too many cookies gets rid of
// them with the answer.
func TestTooManyCookies(t *testing.T) {
	inHall(t, func(h hall) {
		g := h.opens()
		go g.read()
		go func() {
			for _, part := range []string{"GET / HTTP/1.1\r\nHost: a\r\nCookie: ", strings.Repeat("bomb=x; ", 16<<10), "\r\n\r\n"} {
				_, _ = g.Write([]byte(part)) // the server stops to read
			}
		}()
		<-g.ended
		require.Len(t, g.got, 1)
		assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, g.got[0].StatusCode)
		assert.Equal(t, `"cookies"`, g.got[0].Header.Get(HeaderClearSiteData))
		assert.Equal(t, "text/plain; charset=utf-8", g.got[0].Header.Get("Content-Type"))

		g = h.comes("GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("bomb=x; ", 2<<10) + "\r\n\r\n")
		require.True(t, g.isOpen())
		require.Len(t, g.got, 1)
		assert.Equal(t, http.StatusOK, g.got[0].StatusCode)
		assert.Empty(t, g.got[0].Header.Get(HeaderClearSiteData))
		require.NoError(t, g.Close())
	})
}

// TestLongHeadsKeepCookies: a link of another page that is too long takes no cookies away,
// whichever part of the head it makes long.
func TestLongHeadsKeepCookies(t *testing.T) {
	const first = "GET / HTTP/1.1\r\nHost: a\r\n"
	for name, c := range map[string]struct {
		head  string
		clear bool
	}{
		"address":             {"GET /?" + strings.Repeat("x", 68<<10) + " HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\n\r\n", false},
		"another field":       {first + "Cookie: a=b\r\nReferer: " + strings.Repeat("x", 68<<10) + "\r\n\r\n", false},
		"a similar field":     {first + "Cookies: " + strings.Repeat("x", 68<<10) + "\r\n\r\n", false},
		"half are cookies":    {first + "Cookie: a=" + strings.Repeat("x", 15<<10) + "\r\nA: " + strings.Repeat("x", 68<<10) + "\r\n\r\n", false},
		"most are cookies":    {first + "Cookie: a=" + strings.Repeat("x", 17<<10) + "\r\nA: " + strings.Repeat("x", 68<<10) + "\r\n\r\n", true},
		"many lines, by HTTP": {first + strings.Repeat("cookie: a="+strings.Repeat("x", 1<<10)+"\r\n", 60) + "\r\n", true},
	} {
		for _, piece := range []int{1 << 20, 1} {
			t.Run(fmt.Sprint(name, " in pieces of ", piece), func(t *testing.T) {
				inHall(t, func(h hall) {
					g := h.opens()
					go g.read()
					go func() {
						for sent := range slices.Chunk([]byte(c.head), piece) {
							if _, err := g.Write(sent); err != nil {
								return // the server stops to read
							}
						}
					}()
					<-g.ended
					require.Len(t, g.got, 1)
					assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, g.got[0].StatusCode)
					assert.Equal(t, c.clear, g.got[0].Header.Get(HeaderClearSiteData) != "")
				})
			})
		}
	}
}
