package httpserver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// form is what a test's server reads of a body at most.
const form = 1 << 10

// handler serves one form; of what it refuses it reads nothing.
func handler(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/quiet": // leaves the answer to net/http
	case r.URL.Path == "/flushed":
		_ = http.NewResponseController(w).Flush()
		fmt.Fprint(w, "flushed")
	case !Serves(r.Method):
		http.Error(w, "no such method", http.StatusMethodNotAllowed)
	case r.URL.Path == "/refused":
		http.Error(w, "not you", http.StatusForbidden)
	case r.URL.Path == "/in": // what the desktop answers to its owner
		LetIn(wrapper{w})
		http.Error(w, "no such file", http.StatusNotFound)
	case r.URL.Path == "/left": // what a reverse proxy does whose server answers early
		LetIn(w)
		go func() { _, _ = io.Copy(io.Discard, r.Body) }()
		time.Sleep(10 * time.Millisecond) // the copy waits for bytes by then, else this shows less
	case r.URL.Path == "/form":
		if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, form)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	case r.Header.Get("Upgrade") != "":
		http.Error(w, "no other protocol here", http.StatusForbidden)
	default:
		fmt.Fprint(w, "page "+r.URL.Path)
	}
}

// wrapper is what a handler makes of its writer.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serve returns the address of a guarded server.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return serveOn(t, l, h)
}

func serveOn(t testing.TB, l net.Listener, h http.Handler) string {
	t.Helper()
	server := New(Guard(h), slog.New(slog.DiscardHandler), 32<<10)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return l.Addr().String()
}

// answers sends bytes on one connection, and that no more will come, and reads answers
// until the server ends it.
func answers(t testing.TB, address, sent string) []*http.Response {
	t.Helper()
	return converse(t, "tcp", address, sent, halfClosed.CloseWrite)
}

// halfClosed is what connections of both networks can be.
type halfClosed interface{ CloseWrite() error }

// waiting leaves a connection open.
func waiting(halfClosed) error { return nil }

func converse(t testing.TB, network, address, sent string, then func(halfClosed) error) []*http.Response {
	t.Helper()
	conn, err := net.Dial(network, address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, sent)
	require.NoError(t, err)
	require.NoError(t, then(conn.(halfClosed)))
	var all []*http.Response
	for from := bufio.NewReader(conn); ; {
		answer, err := http.ReadResponse(from, nil)
		if err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection is held: %.100q", sent)
			return all
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body = io.NopCloser(bytes.NewReader(body))
		all = append(all, answer)
		if err != nil { // a connection that is closed over unread bytes is reset
			return all
		}
	}
}

const next = "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// unserved are requests behind which no byte may be taken for a request.
func unserved() map[string]string {
	large := strconv.Itoa(form + len(next))
	return map[string]string{
		"CONNECT":                       "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
		"CONNECT with a path":           "CONNECT /form HTTP/1.1\r\nHost: a\r\n\r\n",
		"CONNECT with a length":         "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 3\r\n\r\nabc",
		"CONNECT in chunks":             "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"CONNECT left to net/http":      "CONNECT /quiet HTTP/1.1\r\nHost: a\r\n\r\n",
		"TRACE":                         "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
		"TRACE with a body":             "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"an unknown method":             "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a method of Selkies' own":      "SELKIES / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a method in small letters":     "get / HTTP/1.1\r\nHost: a\r\n\r\n",
		"an unknown method, answered":   "BREW /quiet HTTP/1.1\r\nHost: a\r\n\r\n",
		"an unknown expectation":        "POST /form HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\nContent-Length: 3\r\n\r\nabc",
		"an expectation, not met":       "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: " + strconv.Itoa(len(next)) + "\r\n\r\n",
		"an upgrade to WebSocket":       "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"an upgrade to another":         "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"an upgrade, answered":          "GET /quiet HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"a refusal":                     "GET /refused HTTP/1.1\r\nHost: a\r\n\r\n",
		"a body that is not read":       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"a body, answered":              "POST /quiet HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"chunks that are not read":      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"a body, flushed":               "POST /flushed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"an unknown method, flushed":    "BREW /flushed HTTP/1.1\r\nHost: a\r\n\r\n",
		"an upgrade, flushed":           "GET /flushed HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"a body of GET":                 "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"a body that is too long":       "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: " + large + "\r\n\r\n" + strings.Repeat("a", form),
		"chunks that are too long":      "POST /form HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + strings.Repeat("a", 0x1000) + "\r\n0\r\n\r\n",
		"chunks that are none":          "POST /form HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"a body that is a request":      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + strconv.Itoa(len(next)) + "\r\n\r\n",
		"two lengths":                   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		"a length and chunks":           "POST /quiet HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"no request":                    "\x16\x03\x01\x02\x00\r\n\r\n",
		"the preface of HTTP/2":         "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"a blank in a header's name":    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
		"OPTIONS of all, with a body":   "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.0 that wants to stay":   "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
		"CONNECT that wants to stay":    "CONNECT a:443 HTTP/1.0\r\nHost: a:443\r\nConnection: keep-alive\r\n\r\n",
		"an upgrade that wants to stay": "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
	}
}

// TestOneAnswer: what follows a request that is not served gets no answer.
func TestOneAnswer(t *testing.T) {
	t.Parallel()
	address := serve(t, http.HandlerFunc(handler))
	for name, request := range unserved() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := answers(t, address, request+next)
			require.Len(t, got, 1)
			assert.True(t, got[0].Close, "the proxy must not use the connection again: %v", got[0].Header)
		})
	}
}

// TestServedStay: what is served and was read to its end costs no connection.
func TestServedStay(t *testing.T) {
	t.Parallel()
	address := serve(t, http.HandlerFunc(handler))
	for name, request := range map[string]string{
		"GET":            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD, answered": "GET /quiet HTTP/1.1\r\nHost: a\r\n\r\n",
		"not found":      "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"let in, error":  "GET /in HTTP/1.1\r\nHost: a\r\n\r\n",
		"a form":         "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"an empty form":  "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"chunks":         "PUT /form HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"expected":       "POST /form HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	} {
		var final []*http.Response
		for _, answer := range answers(t, address, request+next) {
			if answer.StatusCode >= http.StatusOK {
				final = append(final, answer)
			}
		}
		if assert.Len(t, final, 2, name) {
			body, _ := io.ReadAll(final[1].Body)
			assert.Equal(t, "page /smuggled", string(body), name)
		}
	}
}

// TestPayload: the answer to CONNECT says whether bytes came behind it.
func TestPayload(t *testing.T) {
	t.Parallel()
	address := serve(t, http.HandlerFunc(handler))
	for sent, want := range map[string]string{
		"\r\n": PayloadWithheld, "\r\n\r\n": PayloadArrived, "\r\n" + next: PayloadArrived,
		"Content-Length: 2\r\n\r\n\r\n": PayloadFramed, "Transfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n": PayloadFramed,
		"Content-Length: 2\r\n\r\n": PayloadFramed,
	} {
		got := converse(t, "tcp", address, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n"+sent, waiting)
		require.Len(t, got, 1)
		assert.Equal(t, want, got[0].Header.Get(PayloadHeader))
		assert.Equal(t, http.StatusMethodNotAllowed, got[0].StatusCode)
		body, _ := io.ReadAll(got[0].Body)
		assert.Equal(t, "no such method\n", string(body), "in the handler's words")
	}
}

// TestNoTunnel: a handler that would grant a tunnel does not get to.
func TestNoTunnel(t *testing.T) {
	t.Parallel()
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("welcome")) }))
	got := answers(t, address, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"+next)
	require.Len(t, got, 1)
	assert.Equal(t, http.StatusMethodNotAllowed, got[0].StatusCode)
}

// TestDeadlines: a body that does not come is not waited for, whether it is refused,
// read, or never gets to a handler; a handler can wait for one; and no deadline ends a
// long answer, nor its context.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	forms := serve(t, http.HandlerFunc(handler))
	patient := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		LetIn(w)
		_, err := io.ReadAll(r.Body)
		fmt.Fprint(w, err)
	}))
	long := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			fmt.Fprint(w, "cut")
		case <-time.After(BodyTimeout + time.Second):
			fmt.Fprint(w, "whole")
		}
	}))
	var all sync.WaitGroup // most of them wait
	for _, head := range []string{"POST / HTTP/1.1", "POST /form HTTP/1.1", "POST /form HTTP/1.1\r\nExpect: a-miracle", "POST /form HTTP/1.1\r\nExpect: 100-continue", "POST /left HTTP/1.1", "CONNECT /form HTTP/1.1"} {
		all.Go(func() {
			got := converse(t, "tcp", forms, head+"\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", waiting)
			if assert.NotEmpty(t, got, head) {
				assert.True(t, got[len(got)-1].Close, head)
			}
		})
	}
	late := func(address, sent, later, want string) {
		conn, err := net.Dial("tcp", address)
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		_, err = io.WriteString(conn, sent)
		assert.NoError(t, err)
		time.Sleep(BodyTimeout + time.Second)
		_, err = io.WriteString(conn, later)
		assert.NoError(t, err)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if !assert.NoError(t, err, sent) {
			return
		}
		body, err := io.ReadAll(answer.Body)
		assert.NoError(t, err)
		assert.Equal(t, want, string(body), sent)
	}
	all.Go(func() { late(patient, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc", "def", "<nil>") })
	all.Go(func() { late(long, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", "whole") })
	all.Go(func() { late(long, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "", "whole") })
	all.Wait()
}

// FuzzOneAnswer: whatever comes in, no request that is hidden behind one that is not
// served gets an answer.
func FuzzOneAnswer(f *testing.F) {
	for _, request := range unserved() {
		f.Add(request)
	}
	// Not TCP, which runs out of ports at thousands of connections a second.
	l, err := net.Listen("unix", filepath.Join(f.TempDir(), "s"))
	require.NoError(f, err)
	address := serveOn(f, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Served", strconv.FormatBool(Serves(r.Method) && r.Header.Get("Upgrade") == ""))
		handler(w, r)
	}))
	f.Fuzz(func(t *testing.T, head string) {
		got := converse(t, "unix", address, head+next, halfClosed.CloseWrite)
		for i, answer := range got {
			if answer.StatusCode >= http.StatusOK && answer.Header.Get("Served") == "false" {
				require.Len(t, got, i+1, "an answer behind what is not served")
			}
		}
	})
}
