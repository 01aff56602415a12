package webrtc

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxyPort is the proxy's TLS port.
const proxyPort = "8443"

// startProxy runs the real Traefik before the session's agent.
func startProxy(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "routes.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(`
http:
  routers:
    alice: {rule: "Host(`+"`%s`"+`)", priority: 100, service: alice, tls: {}}
  services:
    alice: {loadBalancer: {servers: [{url: "http://%s:8090"}]}}
`, host, pod)), 0o600))
	var log bytes.Buffer
	traefik := exec.Command(filepath.Join(repository, "bin", "traefik"), "--entryPoints.websecure.address="+net.JoinHostPort(public, proxyPort),
		"--providers.file.filename="+file, "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=WARN")
	traefik.Stdout, traefik.Stderr = &log, &log
	require.NoError(t, traefik.Start())
	t.Cleanup(func() {
		require.NoError(t, traefik.Process.Kill())
		_ = traefik.Wait() // killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort(public, proxyPort))
		return err == nil && conn.Close() == nil
	}, patience, 20*time.Millisecond)
}
