package agent

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// ways are a connection through the agent and one straight to the desktop.
type ways struct{ agent, direct *websocket.Conn }

func newWays(b *testing.B, w *world, path string) ways {
	b.Helper()
	dial := func(address string, header http.Header) *websocket.Conn {
		c, _, err := websocket.Dial(b.Context(), "ws://"+address+path, &websocket.DialOptions{Host: testHost, HTTPHeader: header})
		require.NoError(b, err)
		c.SetReadLimit(-1)
		b.Cleanup(func() { _ = c.CloseNow() })
		return c
	}
	return ways{
		agent:  dial(w.session, http.Header{"Cookie": {w.login()}, "Origin": {testOrigin}}),
		direct: dial(w.desktop.address(), http.Header{"Origin": {testOrigin}}),
	}
}

// BenchmarkRoundTrip sends a key stroke and waits for its echo, in turn through
// the agent and straight, so that both see the same machine. Medians.
func BenchmarkRoundTrip(b *testing.B) {
	w := newWorld(b, nil)
	both := newWays(b, w, "/api/websockets")
	roundTrip := func(c *websocket.Conn) time.Duration {
		started := time.Now()
		if c.Write(b.Context(), websocket.MessageText, []byte("kd,65")) != nil {
			b.Fatal("write")
		}
		if _, _, err := c.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
		return time.Since(started)
	}
	var agent, direct []time.Duration
	for b.Loop() {
		direct = append(direct, roundTrip(both.direct))
		agent = append(agent, roundTrip(both.agent))
	}
	a, d := median(agent), median(direct)
	b.ReportMetric(float64(d.Nanoseconds())/1e3, "direct-µs")
	b.ReportMetric(float64(a.Nanoseconds())/1e3, "agent-µs")
	b.ReportMetric(float64((a-d).Nanoseconds())/1e3, "added-µs")
	b.ReportMetric(float64(a)/float64(d), "agent/direct")
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// videoFrame is what one frame of a 1080p desktop at 20 Mbit/s and 60 Hz takes,
// in bytes; videoBatch of them are received in one turn.
const (
	videoFrame = 40 << 10
	videoBatch = 500
)

// BenchmarkThroughput receives video frames as fast as they come, in turn through
// the agent and straight.
func BenchmarkThroughput(b *testing.B) {
	w := newWorld(b, nil)
	w.desktop.handle = sendVideo
	both := newWays(b, w, "/video")
	var agent, direct []time.Duration
	for b.Loop() {
		direct = append(direct, receiveVideo(b, both.direct))
		agent = append(agent, receiveVideo(b, both.agent))
	}
	rate := func(d time.Duration) float64 { return videoFrame * videoBatch / d.Seconds() / 1e6 }
	a, d := median(agent), median(direct)
	b.ReportMetric(rate(d), "direct-MB/s")
	b.ReportMetric(rate(a), "agent-MB/s")
	b.ReportMetric(float64(d)/float64(a), "agent/direct")
}

// sendVideo sends one batch for each message that it gets.
func sendVideo(rw http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	defer c.CloseNow()
	frame := make([]byte, videoFrame)
	for {
		if _, _, err := c.Read(r.Context()); err != nil {
			return
		}
		for range videoBatch {
			if c.Write(context.WithoutCancel(r.Context()), websocket.MessageBinary, frame) != nil {
				return
			}
		}
	}
}

func receiveVideo(b *testing.B, c *websocket.Conn) time.Duration {
	started := time.Now()
	if err := c.Write(b.Context(), websocket.MessageText, []byte("CLIENT_FRAME_ACK 1")); err != nil {
		b.Fatal(err)
	}
	for range videoBatch {
		if _, _, err := c.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(started)
}
