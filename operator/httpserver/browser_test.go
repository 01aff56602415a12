package httpserver

import (
	"net/http"
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
