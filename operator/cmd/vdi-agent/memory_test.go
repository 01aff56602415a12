package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxResident is what a sidecar may cost beside every desktop, in KiB.
const maxResident = 20 << 10

// resident is the memory of a process, in KiB.
func resident(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib
		}
	}
	t.Fatal("the kernel shows no VmRSS")
	return 0
}

// video answers every message with a video frame.
func video(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for frame := make([]byte, 40<<10); ; {
		if _, _, err := c.Read(r.Context()); err != nil || c.Write(r.Context(), websocket.MessageBinary, frame) != nil {
			return
		}
	}
}

// The binary as it is shipped, with 50 viewers who get video.
func TestMemory(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "vdi-agent")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	desktop := httptest.NewServer(http.HandlerFunc(video))
	defer desktop.Close()
	session, local := freeAddress(t), freeAddress(t)
	agent := exec.Command(binary, "--listen="+session, "--status-listen=127.0.0.1:0", "--local-listen="+local, "--credentials-dir="+credentialsDir(t),
		"--host=alice.vdi.example.com", "--session=team/alice", "--session-uid=uid", "--desktop="+desktop.Listener.Addr().String())
	require.NoError(t, agent.Start())
	defer func() { _ = agent.Wait() }()
	defer func() { _ = agent.Process.Kill() }()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", session)
		return err == nil && conn.Close() == nil
	}, time.Minute, 5*time.Millisecond)

	idle := resident(t, agent.Process.Pid)
	for range 50 {
		watchVideo(t, session)
	}
	busy := resident(t, agent.Process.Pid)
	size, err := os.Stat(binary)
	require.NoError(t, err)
	t.Logf("resident: idle %d KiB, with 50 viewers %d KiB; binary %d KiB", idle, busy, size.Size()>>10)
	assert.LessOrEqual(t, idle, maxResident)
	assert.LessOrEqual(t, busy, maxResident)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// watchVideo opens a stream that stays open, and takes 20 frames.
func watchVideo(t *testing.T, session string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "/", nil)
	require.NoError(t, err)
	request.SetBasicAuth("desktop", "secret")
	c, _, err := websocket.Dial(t.Context(), "ws://"+session+"/", &websocket.DialOptions{Host: "alice.vdi.example.com", HTTPHeader: request.Header})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(-1)
	for range 20 {
		require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte("CLIENT_FRAME_ACK 1")))
		_, _, err := c.Read(t.Context())
		require.NoError(t, err)
	}
}
