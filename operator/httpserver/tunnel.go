package httpserver

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"time"
)

// PayloadHeader is a header of the answer to CONNECT. It says whether bytes arrived
// behind the request although no tunnel had been granted: [PayloadArrived] by way
// of a proxy means that the proxy is not safe (CVE-2026-71324), [PayloadWithheld]
// that it waited, as RFC 9931 demands, [PayloadFramed] that the request has a length,
// so that nothing can be mistaken for another one.
const (
	PayloadHeader   = "Vdi-Connect-Payload"
	PayloadArrived  = "arrived"
	PayloadWithheld = "withheld"
	PayloadFramed   = "framed"
)

const (
	// payloadWait is how long bytes behind a CONNECT are waited for.
	payloadWait = 300 * time.Millisecond
	// lingering is how long, and maxLinger how many bytes of it, what still arrives
	// is thrown away: a connection that is closed over unread bytes is reset, and the
	// answer may be lost by it.
	lingering = 500 * time.Millisecond
	maxLinger = 256 << 10
	// answerTimeout is how long one answer to somebody who was not let in may take to be
	// read.
	answerTimeout = 10 * time.Second
)

// refuseTunnel answers CONNECT as the handler does and gives the connection up.
// The handler must refuse, and for this request gets no connection of its own.
func refuseTunnel(w http.ResponseWriter, r *http.Request, next http.Handler) {
	recorded := &recorder{header: http.Header{}}
	next.ServeHTTP(recorded, r)
	conn, early, err := http.NewResponseController(w).Hijack()
	if err != nil { // no connection of HTTP/1.1
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	defer conn.Close()
	if g := connOf(r); g != nil {
		g.enter(&g.limiter.waiting) // net/http knows it no more
		defer g.leave()
	}
	recorded.header.Set(PayloadHeader, payload(r, conn, early.Reader))
	if recorded.send(conn) == nil {
		linger(conn, early.Reader)
	}
}

// payload finds out whether anything follows.
func payload(r *http.Request, conn net.Conn, early *bufio.Reader) string {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return PayloadFramed
	}
	if conn.SetReadDeadline(time.Now().Add(payloadWait)) != nil {
		return PayloadWithheld // it is closed
	}
	if _, err := early.Peek(1); err != nil {
		return PayloadWithheld
	}
	return PayloadArrived
}

func linger(conn net.Conn, early *bufio.Reader) {
	if half, can := conn.(interface{ CloseWrite() error }); can && half.CloseWrite() != nil {
		return
	}
	if conn.SetReadDeadline(time.Now().Add(lingering)) == nil {
		_, _ = io.CopyN(io.Discard, early, maxLinger) // whatever it is, and however it ends
	}
}

// recorder keeps an answer that is sent later.
type recorder struct {
	header http.Header
	status int
	text   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (s *recorder) Header() http.Header { return s.header }

// WriteHeader implements http.ResponseWriter.
func (s *recorder) WriteHeader(status int) {
	if s.status == 0 && status >= http.StatusOK {
		s.status = status
	}
}

// Write implements http.ResponseWriter.
func (s *recorder) Write(p []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	return s.text.Write(p)
}

// send writes the answer, and that it is the last one. Whatever the handler answered, no tunnel
// is granted.
func (s *recorder) send(conn net.Conn) error {
	if s.status < http.StatusBadRequest {
		s.status = http.StatusMethodNotAllowed
	}
	if err := conn.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	answer := http.Response{
		StatusCode: s.status, ProtoMajor: 1, ProtoMinor: 1, Header: s.header, Close: true,
		ContentLength: int64(s.text.Len()), Body: io.NopCloser(&s.text),
	}
	// In one piece: Traefik ends the connection when it has read the head, and has the rest
	// only if it came with it.
	var whole bytes.Buffer
	if err := answer.Write(&whole); err != nil {
		return err
	}
	_, err := whole.WriteTo(conn)
	return err
}
