package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/agent"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// The agent has no right in the cluster, so it carries no way to use one.
func TestNoClusterClient(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	require.NoError(t, err, string(out))
	packages := strings.Fields(string(out))
	require.Contains(t, packages, "github.com/vdi-platform/vdi-platform/operator/agent")
	for _, p := range packages {
		for _, forbidden := range []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "helm.sh/"} {
			assert.False(t, strings.HasPrefix(p, forbidden), "the agent must not import %s", p)
		}
	}
}

func TestBadArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"is no command":  {"godbye"},
		"not defined":    {"--no-such-flag"},
		"--host is":      {"--session=a/b"},
		"--mode is":      {"--host=alice.vdi.example.com", "--session=a/b", "--session-uid=c", "--mode=None"},
		"no such file":   {"--host=alice.vdi.example.com", "--session=a/b", "--session-uid=c", "--credentials-dir=/missing"},
		"reach the agen": {"goodbye", "--local-listen=127.0.0.1:1"},
	} {
		require.ErrorContains(t, run(t.Context(), args), want)
	}
}

func credentialsDir(t *testing.T) string {
	dir := t.TempDir()
	for name, content := range map[string]string{"username": "desktop", "password": "secret", "cookie-key": strings.Repeat("k", 32)} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func TestLocalListenerStaysLocal(t *testing.T) {
	for _, address := range []string{":8092", "0.0.0.0:8092", "192.0.2.1:8092", "localhost"} {
		_, err := listen(t.Context(), addresses{local: address}, "", slog.New(slog.DiscardHandler))
		require.ErrorIs(t, err, agent.ErrConfig, address)
	}
}

// Where the socket for a goodbye cannot be made, people come in all the same.
func TestServeWithoutSocket(t *testing.T) {
	state := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(state, "goodbye.sock", "in the way"), 0o700))
	var log bytes.Buffer
	l, err := listen(t.Context(), addresses{session: "127.0.0.1:0", status: "127.0.0.1:0"}, state, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	assert.Nil(t, l.Local)
	assert.Contains(t, log.String(), "the socket for a goodbye cannot be made")
	a, err := agent.New(agent.Config{
		Host: "alice.vdi.example.com", Session: "team/alice", SessionUID: "uid", Mode: wire.AccessPassword, Input: "selkies", Endpoints: platform.EndpointsAny,
		Desktop: "127.0.0.1:1", MaxSessionAge: time.Hour, CredentialsDir: credentialsDir(t), StateDir: state, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer a.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Serve(ctx, l) }()
	answer, err := http.Get("http://" + l.Session.Addr().String() + "/.vdi/logout")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	stop()
	require.NoError(t, <-done)
}

// The program starts, says goodbye on command, and ends on a signal.
func TestServe(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	local := free.Addr().String()
	require.NoError(t, free.Close())
	state := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(state, "goodbye.sock"), nil, 0o600), "left by an earlier container")
	for name, where := range map[string]string{"socket": "--state-dir=" + state, "port": "--local-listen=" + local} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- run(ctx, []string{
					"--listen=127.0.0.1:0", "--status-listen=127.0.0.1:0", where, "--credentials-dir=" + credentialsDir(t),
					"--host=alice.vdi.example.com", "--session=team/alice", "--session-uid=uid", "--mode=Password",
				})
			}()
			require.Eventually(t, func() bool { return run(ctx, []string{"goodbye", where}) == nil }, time.Minute, 5*time.Millisecond)
			stop()
			require.NoError(t, <-done)
		})
	}
}
