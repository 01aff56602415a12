package agent

import (
	"flag"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var soak = flag.Duration("soak", time.Second, "how long TestSoak keeps an agent busy; 'make test-long' takes longer")

// TestSoak keeps an agent busy with all that visitors do, in no order: logins and
// wrong passwords, pages, uploads, streams that end well, are cut or are left, nonsense.
// Afterwards it holds what it held before.
func TestSoak(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Log = slog.New(slog.DiscardHandler) }) // the test's own would fill memory
	before := steady(t, w)
	const visitors = 16
	var did [5]atomic.Int64
	var wait sync.WaitGroup
	end := time.Now().Add(*soak)
	for visitor := range visitors {
		wait.Go(func() {
			random := newRandom(visitor)
			cookie := w.login()
			for round := 0; time.Now().Before(end); round++ {
				what := random.IntN(len(did))
				w.visit(t, random, what, cookie, visitor<<32+round)
				did[what].Add(1)
			}
		})
	}
	wait.Wait()
	require.False(t, t.Failed())
	w.expectSteady(t, before)
	assert.Zero(t, w.agent.activity.openStreams())
	assert.Zero(t, w.underWay())
	after := measure()
	t.Logf("%s: %d pages, %d uploads, %d streams, %d wrong logins, %d nonsense; goroutines %d, then %d; heap %d KiB, then %d KiB", *soak,
		did[0].Load(), did[1].Load(), did[2].Load(), did[3].Load(), did[4].Load(), before.goroutines, after.goroutines, before.heap>>10, after.heap>>10)
}

// visit does one thing that visitors do.
func (w *world) visit(t *testing.T, random random, what int, cookie string, seed int) {
	w.desktop.forget()
	switch what {
	case 0:
		assert.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/page?"+url.QueryEscape(random.text()), map[string]string{"Cookie": cookie}, "").StatusCode)
	case 1:
		header := map[string]string{"Cookie": cookie, "Origin": testOrigin}
		assert.Equal(t, http.StatusOK, w.ask(http.MethodPost, "/page", header, strings.Repeat("u", random.IntN(256<<10))).StatusCode)
	case 2:
		w.visitStream(t, random, cookie)
	case 3:
		status := w.ask(http.MethodGet, "/", map[string]string{"Authorization": basic(testUser, random.text()), "X-Forwarded-For": random.of("192.0.2.1", "192.0.2.2")}, "").StatusCode
		assert.Contains(t, []int{http.StatusUnauthorized, http.StatusTooManyRequests}, status)
	default:
		assert.False(t, w.randomRequest(seed), "somebody came in")
	}
}

// visitStream opens a stream, uses it and leaves it in one of three ways.
func (w *world) visitStream(t *testing.T, random random, cookie string) {
	c, _, err := w.tryDial(map[string]string{"Cookie": cookie, "Origin": testOrigin})
	if !assert.NoError(t, err) {
		return
	}
	c.SetReadLimit(-1)
	for range random.IntN(10) {
		if !assert.NoError(t, sayTo(t.Context(), c, random.of("kd,65", "m,1,1,0,0", strings.Repeat("v", random.IntN(128<<10)+1)))) {
			break
		}
	}
	if random.IntN(2) == 0 {
		_ = c.Close(websocket.StatusNormalClosure, "") // the other end may be gone
		return
	}
	_ = c.CloseNow()
}

// forget drops the requests seen, which a long run would fill memory with.
func (d *fakeDesktop) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = nil
}
