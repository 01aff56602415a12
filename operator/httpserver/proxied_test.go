package httpserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAnswerWaits: an answer to a stranger begins when what the request announced is there,
// even if its handler wants nothing of it.
func TestAnswerWaits(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 1)
	came := make(chan int64, 1)
	h := Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		w.WriteHeader(http.StatusForbidden)
	}))
	address := serveRaw(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &counter{Reader: r.Body}
		r.Body = io.NopCloser(counted)
		h.ServeHTTP(atHead{w, func() { came <- counted.n }}, r)
	}))
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
	require.NoError(t, err)
	<-entered
	_, err = io.WriteString(conn, "def")
	require.NoError(t, err)
	assert.EqualValues(t, 6, <-came, "bytes had arrived when the answer began")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	assert.True(t, answer.Close, "nobody read it, so nothing behind it counts")
}

// TestLongRestIsNotAwaited: a body that is announced as longer than anything of ours is
// refused at once.
func TestLongRestIsNotAwaited(t *testing.T) {
	t.Parallel()
	address := serve(t, http.HandlerFunc(handler))
	got := converse(t, "tcp", address, fmt.Sprintf("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nabc", maxRest+1), waiting)
	require.NotEmpty(t, got)
	assert.Equal(t, http.StatusForbidden, got[0].StatusCode)
}

// TestEndStays: the end of a body is its end also after net/http has closed it, as it does
// when an answer begins. A transport looks once more behind the last byte.
func TestEndStays(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		LetIn(w)
		_, _ = io.ReadFull(r.Body, make([]byte, 3))
		_ = http.NewResponseController(w).Flush()
		_, err := r.Body.Read(make([]byte, 1))
		read <- err
	}))
	answers(t, address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
	assert.ErrorIs(t, <-read, io.EOF)
}

// serveRaw is serve without [Guard].
func serveRaw(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// counter counts what is read.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// atHead runs something when the head of an answer is written.
type atHead struct {
	http.ResponseWriter
	run func()
}

func (a atHead) WriteHeader(status int) {
	a.run()
	a.ResponseWriter.WriteHeader(status)
}

func (a atHead) Unwrap() http.ResponseWriter { return a.ResponseWriter }
