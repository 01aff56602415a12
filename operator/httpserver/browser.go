package httpserver

import (
	"net/http"
	"strings"
)

// Strict makes browsers come by TLS alone from now on, to this very host (RFC 6797).
// Half a year is long enough for whoever comes now and then; names under the host
// are not ours to decide about.
func Strict(h http.Header) { h.Set("Strict-Transport-Security", "max-age=15552000") }

// HeaderClearSiteData makes browsers forget what this host has left there
// (https://www.w3.org/TR/clear-site-data/).
const HeaderClearSiteData = "Clear-Site-Data"

// tooLarge is net/http's own answer to a head that is too long, which no handler sees
// (server.go, errTooLarge).
const tooLarge = "HTTP/1.1 431 Request Header Fields Too Large\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
	"431 Request Header Fields Too Large"

// forgetCookies makes browsers forget the site's cookies with that answer. A desktop's
// page can set some for all hosts of the domain that are too many to be read: its
// visitor could not come to any desktop any more, nor to the login. Where something else
// makes the head long, such as the address of a link, the cookies stay: else any page
// elsewhere could take them away.
func forgetCookies() []byte {
	line, rest, _ := strings.Cut(tooLarge, "\r\n")
	return []byte(line + "\r\n" + HeaderClearSiteData + ": \"cookies\"\r\n" + rest)
}
