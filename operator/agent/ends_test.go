package agent

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform"
)

// heard is a desktop that notes what a stream says, and how it ends.
type heard struct {
	said  chan string
	ended chan error
}

func (w *world) listens() heard {
	h := heard{make(chan string, 16), make(chan error, 1)}
	w.desktop.handle = func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			_, text, err := c.Read(r.Context())
			if err != nil {
				h.ended <- err
				return
			}
			h.said <- string(text)
		}
	}
	return h
}

// open opens a WebSocket by hand, so that nothing is answered by itself.
func (w *world) open(path, cookie string) (net.Conn, *bufio.Reader) {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.session)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(waitFor)))
	_, err = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+testHost+"\r\nCookie: "+cookie+"\r\nOrigin: "+testOrigin+
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	require.NoError(w.t, err)
	from := bufio.NewReader(conn)
	answer, err := http.ReadResponse(from, nil)
	require.NoError(w.t, err)
	require.Equal(w.t, http.StatusSwitchingProtocols, answer.StatusCode)
	return conn, from
}

func typed(text string) []byte { return frame(fin|opText, []byte(text), []byte{1, 2, 3, 4}) }

// The desktop learns of the end from the agent, not from the visitor, who may keep
// silent; and nothing of what the visitor sends then gets there.
func TestEndDoesNotNeedTheVisitor(t *testing.T) {
	w := newWorld(t, nil)
	desktop := w.listens()
	conn, from := w.open("/api/websockets", w.login())
	_, err := conn.Write(typed("kd,1"))
	require.NoError(t, err)
	require.Equal(t, "kd,1", <-desktop.said)

	w.agent.exchanges.end(everybody, ending{closePolicy, "revoked"})
	_, err = conn.Write(typed("kd,2"))
	require.NoError(t, err)
	var received websocket.CloseError
	require.ErrorAs(t, <-desktop.ended, &received, "a cut would be a failure of the network")
	assert.EqualValues(t, closeGoingAway, received.Code)
	assert.Empty(t, desktop.said)
	rest, err := io.ReadAll(from)
	require.NoError(t, err)
	assert.Equal(t, closeFrame(closePolicy, "revoked"), rest)
}

// In the middle of a visitor's frame there is no place for a close frame.
func TestEndWithinAFrame(t *testing.T) {
	w := newWorld(t, nil)
	desktop := w.listens()
	conn, from := w.open("/api/websockets", w.login())
	whole, half := typed("kd,1"), typed("cmd,half of it")
	_, err := conn.Write(append(whole, half[:9]...))
	require.NoError(t, err)
	require.Equal(t, "kd,1", <-desktop.said)
	w.agent.exchanges.end(everybody, ending{closePolicy, "revoked"})
	_, _ = conn.Write(half[9:])
	require.Error(t, <-desktop.ended)
	assert.Empty(t, desktop.said)
	_, _ = io.ReadAll(from) // it ends, if by a reset
}

// A page of Selkies learns of it such that it does not come back, but it shall when its
// desktop stops: the front door says what happens.
func TestFarewellOfSelkies(t *testing.T) {
	kill := append(textFrame("KILL revoked"), closeFrame(closePolicy, "revoked")...)
	for name, c := range map[string]struct {
		list, path string
		why        ending
		want       []byte
	}{
		"websockets": {platform.EndpointsSelkies, "/api/websockets", ending{closePolicy, "revoked"}, kill},
		"signaling":  {platform.EndpointsSelkies, "/api/webrtc/signaling/", ending{closePolicy, "revoked"}, closeFrame(closeSuperseded, "revoked")},
		"stopping":   {platform.EndpointsSelkies, "/api/websockets", goodbye(), closeFrame(closeGoingAway, stoppingSentence)},
		"another":    {platform.EndpointsAny, "/api/websockets", ending{closePolicy, "revoked"}, closeFrame(closePolicy, "revoked")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c2 *Config) { c2.Endpoints = c.list })
			desktop := w.listens()
			conn, from := w.open(c.path, w.login())
			_, err := conn.Write(typed("hello"))
			require.NoError(t, err)
			require.Equal(t, "hello", <-desktop.said)
			w.agent.exchanges.end(everybody, c.why)
			got, err := io.ReadAll(from)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

// A message may not begin within another one.
func TestFarewellWithinAMessage(t *testing.T) {
	near, far := onWire(t)
	s := newStream(near, nil, &counts{}, nil, func() {})
	s.page = platform.FarewellKill
	begun := frame(opText, []byte("begun"), nil)
	_, err := s.Write(begun)
	require.NoError(t, err)
	s.farewell(closePolicy, "revoked")
	require.NoError(t, near.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	assert.Equal(t, append(begun, closeFrame(closePolicy, "revoked")...), got)
}

// A desktop that reads nothing does not keep an ended stream.
func TestEndOfADeafDesktop(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, nil)
	deaf, ctx := make(chan struct{}), t.Context()
	w.desktop.handle = func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		close(deaf)
		<-ctx.Done()
	}
	w.open("/api/websockets", w.login())
	<-deaf
	w.agent.exchanges.end(everybody, ending{closePolicy, "revoked"})
	patience, stop := context.WithTimeout(ctx, waitFor)
	defer stop()
	w.agent.exchanges.drained(patience)
	assert.NoError(t, patience.Err())
}

// What the desktop answers to its own end comes after the visitor got the reason.
func TestVisitorHearsOurReasonFirst(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	s := newStream(near, bufio.NewReader(near), &counts{}, func(byte, []byte) {}, func() {})
	s.begin.Do(func() { close(s.begun) })
	why := ending{closePolicy, "revoked"}
	s.why.Store(&why) // decided; nobody has come to say it yet
	go func() {
		_, _ = s.Write(closeFrame(closeGoingAway, "the desktop's own"))
		_ = s.Close()
	}()
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	assert.Equal(t, closeFrame(closePolicy, "revoked"), got)
}

// A stream that is closed before it begins takes nothing to a desktop that is not there,
// however much came together with the handshake.
func TestStreamClosedBeforeItBegins(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	early := bufio.NewReader(bytes.NewReader([]byte{0x81, 0x80, 0, 0, 0, 0}))
	s := newStream(near, early, &counts{}, func(byte, []byte) {}, func() {})
	require.NoError(t, s.Close())
	n, err := s.WriteTo(&bytes.Buffer{})
	assert.Zero(t, n)
	assert.ErrorIs(t, err, net.ErrClosed)
}
