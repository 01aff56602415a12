package frontdoor

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// maker makes up what a stranger sends.
type maker struct{ *rand.Rand }

func (m maker) one(of []string) string { return of[m.IntN(len(of))] }

func (m maker) host() string { return m.one([]string{aliceHost, aliceHost, "auth." + domain, nobody}) }

// smuggled are requests that hide in others.
func (m maker) smuggled() string {
	return m.one([]string{
		"POST " + evilPath + " HTTP/1.1\r\nHost: " + aliceHost + "\r\nContent-Length: 0\r\n\r\n",
		"POST " + evilPath + " HTTP/1.1\r\nHost: " + aliceHost + "\r\nX-Junk: ",
		"POST /.vdi/login HTTP/1.1\r\nHost: " + aliceHost + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n\r\n",
		"POST /logout HTTP/1.1\r\nHost: auth." + domain + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n\r\n",
		"GET /login HTTP/1.1\r\nHost: auth." + domain + "\r\n\r\n",
		"0\r\n\r\nGET / HTTP/1.1\r\nX: ",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nfoo",
	})
}

// requests are one to three, as they are or changed, sent at once.
func (m maker) requests() (all string) {
	for range 1 + m.IntN(3) {
		one := m.request()
		if m.IntN(2) == 0 {
			one = string(m.mutated([]byte(one)))
		}
		all += one
	}
	return all
}

// request is of a kind that is refused or left unread, with another one behind it.
func (m maker) request() string {
	head, inner := " HTTP/1.1\r\nHost: "+m.host()+"\r\n", m.smuggled()
	long, twice := "Content-Length: "+strconv.Itoa(len(inner))+"\r\n", "Content-Length: "+strconv.Itoa(2*len(inner))+"\r\n"
	chunk := strconv.FormatInt(int64(len(inner)), 16) + "\r\n" + inner + "\r\n0\r\n\r\n"
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
	return m.one([]string{
		"CONNECT " + m.host() + ":443" + head + "\r\n" + inner,
		"TRACE /" + head + "\r\n" + inner,
		"PROPFIND /" + head + long + "\r\n" + inner,
		"GET /" + head + "\r\n",
		"GET /" + head + long + "\r\n" + inner,
		"HEAD /" + head + "\r\n" + inner,
		"OPTIONS *" + head + "\r\n" + inner,
		"POST /" + head + "Expect: 100-continue\r\n" + long + "\r\n" + inner,
		"POST /" + head + "Expect: a-miracle\r\n" + long + "\r\n" + inner,
		"GET /ws" + head + upgrade + "\r\n" + inner,
		"GET /ws" + head + upgrade + long + "\r\n" + inner,
		"POST /" + head + long + "\r\n" + inner,
		"POST /" + head + twice + "\r\n" + inner,
		"POST /" + head + "Transfer-Encoding: chunked\r\n\r\n" + chunk,
		"POST /" + head + "Transfer-Encoding: chunked\r\n" + long + "\r\n" + chunk,
		"POST /.vdi/login" + head + "Content-Type: application/x-www-form-urlencoded\r\n" + long + "\r\n" + inner,
		"POST /.vdi/resume" + head + "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n" + chunk,
		"GET /callback?state=a&code=b" + head + "Cookie: __Host-vdi-login=x\r\n\r\n",
	})
}

// words change what a request means.
var words = []string{
	"\r\n", "\n", "\r", "\x00", "\t", " ", ":", ",", "0\r\n\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding:\tchunked, identity\r\n",
	"Content-Length: 0\r\n", "Content-Length: +5\r\n", "Content-Length: 5, 5\r\n", "Expect: 100-continue\r\n", "Connection: close\r\n", "Connection: keep-alive, Content-Length\r\n",
	"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
	"HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / ", "CONNECT ", "Host: " + aliceHost + "\r\n", "X-Forwarded-Host: " + aliceHost + "\r\n",
}

// mutated is changed in one to four places.
func (m maker) mutated(b []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + m.IntN(4) {
		if len(b) == 0 {
			return b
		}
		at := m.IntN(len(b))
		to := at + m.IntN(min(len(b)-at, 40)+1)
		switch m.IntN(6) {
		case 0:
			b[at] ^= 1 << m.IntN(8)
		case 1:
			b = append(b[:at], b[to:]...)
		case 2:
			b = append(b[:to], append([]byte(string(b[at:to])), b[to:]...)...)
		case 3:
			b = b[:to]
		default:
			b = append(b[:at], append([]byte(m.one(words)), b[at:]...)...)
		}
	}
	return b
}

// fields are the headers of a request in HTTP/2; a third of them says what it must not.
func (m maker) fields() (all [][2]string) {
	host, wrong := m.host(), m.IntN(3) == 0
	or := func(right, strange []string) string {
		if wrong && m.IntN(2) == 0 {
			return m.one(strange)
		}
		return m.one(right)
	}
	method := or([]string{"CONNECT", "CONNECT", "GET", "HEAD", "POST", "TRACE", "PROPFIND", "OPTIONS"}, []string{"GET / HTTP/1.1\r\nX: ", "", "POST\x00"})
	all = append(all, [2]string{":method", method}, [2]string{":authority", or([]string{host, host + ":443"}, []string{"", host + "\r\nX: y", "*"})})
	if method != "CONNECT" || wrong && m.IntN(2) == 0 {
		all = append(all, [2]string{":scheme", or([]string{"https"}, []string{"http", ""})},
			[2]string{":path", or([]string{"/", "/.vdi/login", "//" + host + "/"}, []string{"*", "", "/ HTTP/1.1\r\nHost: x\r\n\r\n" + m.smuggled()})})
	}
	for range m.IntN(4) {
		fields := [][2]string{
			{"content-length", strconv.Itoa(m.IntN(200))},
			{"expect", "100-continue"},
			{"te", "trailers"},
			{"content-type", "application/x-www-form-urlencoded"},
			{"x-forwarded-host", aliceHost},
			{"cookie", strings.Repeat("a=b; ", m.IntN(50))},
			{"accept", "text/html"},
		}
		if wrong {
			fields = append(fields, [][2]string{
				{"transfer-encoding", "chunked"},
				{"connection", "keep-alive"},
				{"upgrade", "websocket"},
				{"host", m.host()},
				{":protocol", "websocket"},
				{"x-a", "b\r\nContent-Length: 0\r\n\r\n" + m.smuggled()},
				{"x\r\nb", "c"},
			}...)
		}
		all = append(all, fields[m.IntN(len(fields))])
	}
	return all
}

// bodies are what follows in HTTP/2.
func (m maker) bodies() string {
	body := m.smuggled()
	if m.IntN(3) == 0 {
		body = string(m.mutated([]byte(body)))
	}
	return body
}
