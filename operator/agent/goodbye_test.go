package agent

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func TestGoodbye(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.login()
	streams := []*websocket.Conn{w.dial(cookie), w.dial(w.login())}
	for _, s := range streams {
		say(t, s, "hello")
	}
	done := make(chan error, 1)
	go func() { done <- SendGoodbye(t.Context(), "tcp", w.local) }()
	for _, s := range streams {
		why := closedWith(t, s)
		assert.EqualValues(t, closeGoingAway, why.Code)
		assert.Equal(t, "this desktop is stopping", why.Reason)
	}
	require.NoError(t, <-done, "it returns when the viewers have gone")
	assert.Zero(t, w.agent.activity.openStreams())

	page := w.ask(http.MethodGet, "/", map[string]string{"Cookie": cookie, "Accept": acceptHTML}, "")
	assert.Equal(t, http.StatusServiceUnavailable, page.StatusCode)
	assert.NotEmpty(t, page.Header.Get("Retry-After"))
	assert.Contains(t, page.body, "this desktop is stopping")
	_, response, err := w.tryDial(map[string]string{"Cookie": cookie, "Origin": testOrigin})
	require.Error(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	assert.Equal(t, http.StatusServiceUnavailable, w.askStatus(wire.PathReady).StatusCode)
	assert.Equal(t, http.StatusOK, w.askStatus(wire.PathActivity).StatusCode)
	require.NoError(t, SendGoodbye(t.Context(), "tcp", w.local), "saying it twice harms nobody")
}

// Pages in the desktop's own browser reach the local listener, too.
func TestGoodbyeOnlyByCommand(t *testing.T) {
	w := newWorld(t, nil)
	stream := w.dial(w.login())
	for name, change := range map[string]func(*http.Request){
		"a form":         func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.com") },
		"a rebound name": func(r *http.Request) { r.Host = "evil.example.com:8092"; r.Header.Set(goodbyeHeader, "goodbye") },
	} {
		r, err := http.NewRequest(http.MethodPost, "http://"+w.local+pathGoodbye, nil)
		require.NoError(t, err)
		change(r)
		response, err := w.client.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, http.StatusForbidden, response.StatusCode, name)
	}
	say(t, stream, "still here")
	assert.False(t, w.agent.stopping.Load())
	require.Error(t, SendGoodbye(t.Context(), "tcp", w.status), "another listener does not take it")
}

// wire is a pair of ends of one TCP connection.
func onWire(t *testing.T) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	far, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	near, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { near.Close(); far.Close() })
	require.NoError(t, far.SetDeadline(time.Now().Add(waitFor)))
	return near, far
}

// The goodbye waits for the end of the frame that is being sent, and nothing
// comes after it.
func TestFarewellBetweenFrames(t *testing.T) {
	near, far := onWire(t)
	s := newStream(near, nil, &counts{}, nil, func() {})
	video := frame(fin|opBinary, make([]byte, 200), nil)
	_, err := s.Write(video[:50])
	require.NoError(t, err)
	s.farewell(closeGoingAway, "ends")
	s.farewell(closePolicy, "only the first one counts")
	for _, part := range [][]byte{video[50:120], append(video[120:len(video):len(video)], frame(fin|opText, []byte("late"), nil)...), []byte("dropped")} {
		n, err := s.Write(part)
		require.NoError(t, err)
		assert.Equal(t, len(part), n)
	}
	want := append(video[:len(video):len(video)], closeFrame(closeGoingAway, "ends")...)
	require.NoError(t, near.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// Where no frame can be distinguished from another, the connection just ends.
func TestFarewellWithoutFrames(t *testing.T) {
	near, far := onWire(t)
	s := newStream(near, nil, &counts{}, nil, func() {})
	_, err := s.Write([]byte("these are no frames, and never were"))
	require.NoError(t, err)
	s.farewell(closeGoingAway, "ends")
	rest, err := io.ReadAll(far)
	require.NoError(t, err, "it ends before the test's deadline")
	assert.NotContains(t, string(rest), "ends")
}
