package agent

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// random makes the same nonsense from the same seed.
type random struct{ *rand.Rand }

func newRandom(seed int) random {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], uint64(seed))
	return random{rand.New(rand.NewChaCha8(key))}
}

func (r random) of(choices ...string) string { return choices[r.IntN(len(choices))] }

// text may hold any byte, and often those that mean something.
func (r random) text() string {
	const special = "/.:;,=%\\\"'<> \t-_~@?#[]"
	b := make([]byte, r.IntN(64))
	for i := range b {
		if b[i] = byte(r.IntN(256)); r.IntN(2) == 0 {
			b[i] = special[r.IntN(len(special))]
		}
	}
	return string(b)
}

// load is what the process holds.
type load struct {
	goroutines int
	heap       uint64 // bytes
}

func measure() load {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return load{runtime.NumGoroutine(), m.HeapAlloc}
}

// steady measures after a first visit, with no connection open that may close
// by itself.
func steady(t testing.TB, w *world) load {
	t.Helper()
	w.login()
	var l load
	w.expect(t, func() bool {
		l = measure()
		return w.agent.activity.openStreams() == 0
	})
	return l
}

func (w *world) expect(t testing.TB, condition func() bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		w.client.CloseIdleConnections()
		w.agent.desktop.shared.CloseIdleConnections()
		return condition()
	}, waitFor, lookEvery)
}

// expectSteady waits until the process holds no more than before: the same
// goroutines, and a heap that has grown by less than 2 MiB.
func (w *world) expectSteady(t testing.TB, before load) {
	t.Helper()
	w.log.mu.Lock()
	w.log.text.Reset()
	w.log.mu.Unlock()
	w.expect(t, func() bool {
		now := measure()
		return now.goroutines <= before.goroutines && now.heap < before.heap+2<<20
	})
}

func TestManyStreams(t *testing.T) {
	w := newWorld(t, nil)
	before := steady(t, w)
	const streams = 200
	cookie := w.login()
	var wait sync.WaitGroup
	conns := make([]*websocket.Conn, streams)
	for i := range conns {
		wait.Go(func() {
			c, _, err := w.tryDial(map[string]string{"Cookie": cookie, "Origin": testOrigin})
			if assert.NoError(t, err) {
				conns[i] = c
			}
		})
	}
	wait.Wait()
	require.False(t, t.Failed())
	assert.Equal(t, streams, w.agent.activity.openStreams())
	assert.EqualValues(t, 1, w.agent.activity.status().Clients, "one visitor, however many tabs")
	video := strings.Repeat("v", 64<<10)
	for _, c := range conns {
		wait.Go(func() {
			c.SetReadLimit(-1)
			for range 3 {
				assert.NoError(t, sayTo(t.Context(), c, video))
				assert.NoError(t, sayTo(t.Context(), c, "m,1,1,0,0"))
			}
		})
	}
	wait.Wait()
	require.False(t, t.Failed())
	for i, c := range conns {
		if i%2 == 0 {
			assert.NoError(t, c.CloseNow()) // gone without a word
			continue
		}
		assert.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	}
	w.expectSteady(t, before)
	assert.Zero(t, w.agent.activity.openStreams())
	assert.Zero(t, w.agent.activity.clients())
	assert.Zero(t, w.underWay())
}

// A viewer who does not read holds up nobody but himself, also at a goodbye.
func TestSlowClient(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, nil)
	w.desktop.handle = func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			return
		case "/api/websockets":
			echo(rw, r)
			return
		}
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for frame := make([]byte, 64<<10); c.Write(r.Context(), websocket.MessageBinary, frame) == nil; {
			continue
		}
	}
	cookie := w.login()
	slow, _, err := websocket.Dial(t.Context(), "ws://"+w.session+"/flood", &websocket.DialOptions{
		Host: testHost, HTTPClient: w.client, HTTPHeader: http.Header{"Cookie": {cookie}, "Origin": {testOrigin}},
	})
	require.NoError(t, err)
	defer slow.CloseNow()
	// The buffers on the way are full when nothing moves any more.
	var moved int64
	require.Eventually(t, func() bool {
		before := moved
		moved = w.agent.metrics.bytes.out.Load()
		return moved > 64<<10 && moved == before
	}, waitFor, 10*lookEvery)

	quick := w.dial(cookie)
	for range 100 {
		say(t, quick, "m,1,1,0,0")
	}
	assert.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/page", map[string]string{"Cookie": cookie}, "").StatusCode)
	w.stop()
	assert.EqualValues(t, closeGoingAway, closedWith(t, quick).Code)
	require.NoError(t, <-w.done)
	w.done <- nil
	require.Eventually(t, func() bool { return w.underWay() == 0 }, waitFor, lookEvery, "the slow one is cut")
}

// Each part of a long answer arrives when the desktop has sent it.
func TestLongAnswerIsNotBuffered(t *testing.T) {
	w := newWorld(t, nil)
	next := make(chan string)
	w.desktop.handle = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/octet-stream")
		for part := range next {
			_, _ = io.WriteString(rw, part)
			_ = http.NewResponseController(rw).Flush()
		}
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+w.session+"/stream", nil)
	require.NoError(t, err)
	r.Host = testHost
	r.Header.Set("Cookie", w.login())
	go func() { next <- "first" }()
	response, err := w.client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	for _, part := range []string{"first", "second"} {
		got := make([]byte, len(part))
		_, err := io.ReadFull(response.Body, got)
		require.NoError(t, err)
		assert.Equal(t, part, string(got))
		if part == "first" {
			next <- "second"
		}
	}
	close(next)
}

// Uploads pass while they come in.
func TestUploadIsNotBuffered(t *testing.T) {
	w := newWorld(t, nil)
	arrived := make(chan string)
	w.desktop.handle = func(_ http.ResponseWriter, r *http.Request) {
		part := make([]byte, 5)
		for {
			if _, err := io.ReadFull(r.Body, part); err != nil {
				return
			}
			arrived <- string(part)
		}
	}
	body, send := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, "http://"+w.session+"/api/upload", body)
	require.NoError(t, err)
	r.Host = testHost
	r.Header = http.Header{"Cookie": {w.login()}, "Origin": {testOrigin}}
	done := make(chan error, 1)
	go func() {
		response, err := w.client.Do(r)
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	for _, part := range []string{"part1", "part2"} {
		_, err := io.WriteString(send, part)
		require.NoError(t, err)
		assert.Equal(t, part, <-arrived)
	}
	require.NoError(t, send.Close())
	require.NoError(t, <-done)
}
