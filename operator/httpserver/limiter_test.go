package httpserver

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pipes is a listener whose connections need no network.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (pipes) Addr() net.Addr { return &net.UnixAddr{} }

// hall is a server in which time does not pass by itself.
type hall struct {
	t    *testing.T
	door pipes
}

// inHall runs a test with a server whose handler lets in whoever asks for /in, and
// answers when it has the body.
func inHall(t *testing.T, test func(hall)) {
	synctest.Test(t, func(t *testing.T) {
		h := hall{t, pipes{make(chan net.Conn), make(chan struct{})}}
		server := New(Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/in":
				LetIn(w)
			case "/known":
				LoggedIn(w)
			}
			if _, err := io.ReadAll(r.Body); err != nil {
				http.Error(w, "", http.StatusRequestTimeout)
				return
			}
			fmt.Fprint(w, "all of it")
		})), slog.New(slog.DiscardHandler), 32<<10)
		done := make(chan error, 1)
		go func() { done <- server.Serve(h.door) }()
		test(h)
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
}

// visitorConn is the visitor's end of a connection.
type visitorConn struct {
	net.Conn
	ended chan struct{} // no more will come
	got   []*http.Response
}

// comes opens a connection, sends bytes on it and reads all answers.
func (h hall) comes(sent string) *visitorConn {
	h.t.Helper()
	g := h.opens()
	go g.read()
	h.sends(g, sent)
	return g
}

func (h hall) opens() *visitorConn {
	here, there := net.Pipe()
	h.door.conns <- there
	return &visitorConn{Conn: here, ended: make(chan struct{})}
}

func (g *visitorConn) read() {
	defer close(g.ended)
	from := bufio.NewReader(g)
	for {
		answer, err := http.ReadResponse(from, nil)
		if err != nil {
			return
		}
		_, _ = io.ReadAll(answer.Body)
		g.got = append(g.got, answer)
	}
}

func (h hall) sends(g *visitorConn, sent string) {
	h.t.Helper()
	_, err := io.WriteString(g, sent)
	require.NoError(h.t, err)
	synctest.Wait()
}

func (g *visitorConn) isOpen() bool {
	synctest.Wait()
	select {
	case <-g.ended:
		return false
	default:
		return true
	}
}

const (
	// slow are beginnings of requests.
	slowHead = "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "
	slowBody = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc"
	whole    = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	// connect waits for nothing to follow.
	connect = "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
)

// TestCrowd: of those who send slowly, those who came first end; whoever sends a whole
// request is answered, and nobody cuts who was let in.
func TestCrowd(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{"", "G", slowHead, slowBody} {
		inHall(t, func(h hall) {
			let := h.comes(strings.Replace(slowBody, "/", "/in", 1))
			var strangers []*visitorConn
			for range maxWaiting + 10 {
				strangers = append(strangers, h.comes(sent))
			}
			answered := h.comes(whole)
			require.Len(t, answered.got, 1, "after %q", sent)
			require.Equal(t, http.StatusOK, answered.got[0].StatusCode)
			for i, s := range strangers {
				// The one that was answered was new, too.
				assert.Equal(t, i > 10, s.isOpen(), "%q: stranger %d", sent, i)
			}
			h.sends(let, "def")
			require.Len(t, let.got, 1)
			require.Equal(t, http.StatusOK, let.got[0].StatusCode)
			time.Sleep(max(headerTimeout, BodyTimeout) + time.Second)
			for _, s := range strangers {
				require.False(t, s.isOpen(), "nobody waits for ever")
			}
		})
	}
}

// TestGrace: nobody is cut at once, however many come, and who comes later is served
// as soon as there is room.
func TestGrace(t *testing.T) {
	t.Parallel()
	for sent, lasts := range map[string]time.Duration{"": silentGrace, slowBody: grace} {
		inHall(t, func(h hall) {
			first := h.comes(sent)
			for range maxWaiting - 1 {
				h.comes(sent)
			}
			require.True(t, first.isOpen())
			began := time.Now()
			late := h.comes(whole)
			require.Len(t, late.got, 1)
			require.Equal(t, lasts, time.Since(began))
			require.False(t, first.isOpen())
		})
	}
	inHall(t, func(h hall) {
		var others []*visitorConn
		for range maxWaiting {
			others = append(others, h.comes(""))
		}
		began := time.Now()
		go func() {
			time.Sleep(grace / 2)
			_, _ = io.WriteString(others[10], whole)
		}()
		require.Len(t, h.comes(whole).got, 1)
		require.Equal(t, grace/2, time.Since(began))
	})
}

// TestAgain: who comes again and again on one connection gets no grace, or nobody
// else would ever come in.
func TestAgain(t *testing.T) {
	t.Parallel()
	inHall(t, func(h hall) {
		var others []*visitorConn
		for range maxWaiting {
			others = append(others, h.comes(whole))
		}
		for range maxWaiting {
			others = append(others, h.comes(""))
		}
		stop := make(chan struct{})
		for _, g := range others {
			go func() {
				for {
					if _, err := io.WriteString(g, "GET / HTTP"); err != nil {
						return
					}
					time.Sleep(grace - 1)
					if _, err := io.WriteString(g, "/1.1\r\nHost: a\r\n\r\n"); err != nil {
						return
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			}()
		}
		time.Sleep(3 * grace)
		began := time.Now()
		require.Len(t, h.comes(whole).got, 1)
		require.LessOrEqual(t, time.Since(began), grace)
		close(stop)
		time.Sleep(grace)
	})
}

// TestShutdownWhileFull: the end does not wait for room.
func TestShutdownWhileFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hall{t, pipes{make(chan net.Conn), make(chan struct{})}}
		server := New(Guard(http.NotFoundHandler()), slog.New(slog.DiscardHandler), 32<<10)
		done := make(chan error, 1)
		go func() { done <- server.Serve(h.door) }()
		for range maxWaiting {
			h.comes("")
		}
		late := h.opens()
		go late.read()
		began := time.Now()
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
		require.Equal(t, began, time.Now())
		require.False(t, late.isOpen())
	})
}

// TestSilent: who has not begun a request stays as long as somebody else can be cut.
func TestSilent(t *testing.T) {
	t.Parallel()
	inHall(t, func(h hall) {
		silent := h.comes("")
		var slow []*visitorConn
		for range maxWaiting {
			slow = append(slow, h.comes(slowBody))
		}
		require.Len(t, h.comes(whole).got, 1)
		require.True(t, silent.isOpen())
		require.False(t, slow[0].isOpen())
		h.sends(silent, whole)
		require.Len(t, silent.got, 1)
	})
}

// TestConnectCrowd: who asks for a tunnel counts until the connection is over.
func TestConnectCrowd(t *testing.T) {
	t.Parallel()
	inHall(t, func(h hall) {
		began := time.Now()
		for range maxWaiting {
			h.comes(connect)
		}
		require.Equal(t, began, time.Now())
		require.Len(t, h.comes(whole).got, 1)
		require.Equal(t, grace, time.Since(began))
		time.Sleep(payloadWait + lingering) // the server does not wait for them
	})
}

// TestIdleCrowd: a connection between requests may be taken away, one that is served not.
func TestIdleCrowd(t *testing.T) {
	t.Parallel()
	inHall(t, func(h hall) {
		var idle []*visitorConn
		for range maxIdle + 10 {
			idle = append(idle, h.comes(whole))
		}
		for i, g := range idle {
			require.Len(t, g.got, 1)
			require.Equal(t, i >= 10, g.isOpen(), i)
		}
		h.sends(idle[20], whole)
		require.Len(t, idle[20].got, 2, "it is still of use")
	})
}

// TestUnread: who does not read an answer holds no more than who does not send a request,
// unless they were let in.
func TestUnread(t *testing.T) {
	t.Parallel()
	inHall(t, func(h hall) {
		ask := func(sent string) *visitorConn {
			g := h.opens()
			h.sends(g, sent)
			return g
		}
		let := ask(strings.Replace(whole, "/", "/in", 1))
		var strangers []*visitorConn
		for range maxWaiting + 10 {
			strangers = append(strangers, ask(whole))
		}
		require.Len(t, h.comes(whole).got, 1)
		first, last := strangers[0], strangers[len(strangers)-1]
		go first.read()
		go last.read()
		synctest.Wait()
		require.Empty(t, first.got)
		require.Len(t, last.got, 1, "it is not too late")
		time.Sleep(answerTimeout + time.Second)
		strangers = strangers[1 : len(strangers)-1]
		for _, g := range append(strangers, let) {
			go g.read()
		}
		synctest.Wait()
		for _, g := range strangers {
			require.Empty(t, g.got)
		}
		require.Len(t, let.got, 1, "a download may take its time")
	})
}

// TestKnown: people with a login make room for each other, and for nobody else.
func TestKnown(t *testing.T) {
	t.Parallel()
	inHall(t, func(h hall) {
		with := strings.Replace(slowBody, "/", "/known", 1)
		first, second := h.comes(with), h.comes(with)
		time.Sleep(grace)
		for range maxWaiting + 10 {
			h.comes(slowBody)
		}
		require.True(t, first.isOpen())
		for range maxWaiting - 1 {
			h.comes(with)
		}
		require.False(t, first.isOpen())
		h.sends(second, "def")
		require.Len(t, second.got, 1)
		require.Equal(t, http.StatusOK, second.got[0].StatusCode)
		again := h.comes(with)
		time.Sleep(BodyTimeout + time.Second)
		require.False(t, again.isOpen(), "they have no more time")
	})
}

// TestManyLines: what costs many times its length is refused, however it comes, and as
// soon as it comes.
func TestManyLines(t *testing.T) {
	t.Parallel()
	inHall(t, func(h hall) {
		head := func(lines int) string {
			return "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("a:\r\n", lines-2)
		}
		fits := h.comes(head(maxLines) + "\r\n")
		require.Len(t, fits.got, 1)
		require.Equal(t, http.StatusOK, fits.got[0].StatusCode)
		tooLong := h.comes(head(maxLines + 1))
		require.Len(t, tooLong.got, 1)
		require.Equal(t, http.StatusBadRequest, tooLong.got[0].StatusCode)
		for _, open := range []*visitorConn{tooLong, fits, h.comes(whole)} {
			_, _ = io.WriteString(open, head(maxLines+1)) // it may be over before all is sent
			require.False(t, open.isOpen())
		}
		again := h.comes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.WriteString(again, "\r\n\r\n"+head(maxLines))
		require.False(t, again.isOpen(), "empty lines in front end no head")
		lines := strings.Repeat("\n", 2*maxLines)
		body := h.comes(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(lines), lines))
		require.Len(t, body.got, 1)
		require.Equal(t, http.StatusOK, body.got[0].StatusCode, "lines of a body are no head's")
	})
}

// TestHead: it does not matter in which pieces a head comes.
func TestHead(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n", "\r\n"} {
		for size := range 5 {
			h := &head{}
			h.begin()
			text := end + end + "a" + end + "b" + strings.Repeat(end+"c", maxLines-4) + end
			pieces := func(text string) bool {
				for piece := range slices.Chunk([]byte(text), size+1) {
					if !h.takes(piece) {
						return false
					}
				}
				return true
			}
			require.True(t, pieces(text))
			require.True(t, h.under.Load())
			require.True(t, pieces(end))
			require.False(t, h.under.Load(), "%q by %d", end, size+1)
			h.begin()
			require.False(t, pieces(text+"d"+end+"e"+end))
		}
	}
}

// TestPause: who was let in may take any time for a body, and no pause of a minute.
func TestPause(t *testing.T) {
	t.Parallel()
	inHall(t, func(h hall) {
		goes := h.comes("POST /in HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
		for range 20 {
			time.Sleep(PauseTimeout - time.Second)
			h.sends(goes, "x")
		}
		require.Len(t, goes.got, 1)
		require.Equal(t, http.StatusOK, goes.got[0].StatusCode)
		pauses := h.comes(strings.Replace(slowBody, "/", "/in", 1))
		time.Sleep(PauseTimeout - time.Second)
		require.True(t, pauses.isOpen())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, pauses.got, 1)
		require.Equal(t, http.StatusRequestTimeout, pauses.got[0].StatusCode)
		require.True(t, pauses.got[0].Close)
	})
}
