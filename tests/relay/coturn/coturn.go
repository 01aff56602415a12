// Package coturn runs the real coturn of this machine as the chart's pod does:
// with the file that the chart renders, not root and without rights. Its caller
// has network and mount namespaces of its own, with a /run that nobody else sees.
package coturn

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Nobody is the user of the chart's pod.
const Nobody = 65534

// Parts are what the pod is made of.
type Parts struct {
	// Repository is the top folder of the repository.
	Repository string
	// Tool is the operator's program vdi-turn-secret.
	Tool string
}

// Setup is one way to run the relay.
type Setup struct {
	// Set are values of the chart, KEY=VALUE.
	Set []string
	// Listen and External are the pod's addresses, comma-separated.
	Listen, External string
	// Secrets are the keys of the relay's Secret.
	Secrets map[string]string
	// Edit changes the finished file; nil: it stays.
	Edit func(config string) string
}

// Server is a running coturn.
type Server struct {
	process *exec.Cmd
	stop    func() // returns when no thread of it is left
	mutex   sync.Mutex
	lines   bytes.Buffer
}

// Rendered is the ConfigMap's file, rendered with Helm's arguments.
func (p Parts) Rendered(t *testing.T, args ...string) string {
	t.Helper()
	all := append([]string{
		"template", "vdi", filepath.Join(p.Repository, "charts", "coturn"), "--kube-version", "1.37.2",
		"--show-only", "templates/configmap.yaml",
	}, args...)
	command := exec.CommandContext(t.Context(), filepath.Join(p.Repository, "bin", "helm"), all...)
	var words bytes.Buffer
	command.Stderr = &words
	out, err := command.Output()
	require.NoError(t, err, words.String())
	var config corev1.ConfigMap
	require.NoError(t, yaml.UnmarshalStrict(out, &config))
	return config.Data["turnserver.conf"]
}

// configFile is made as the pod makes it: by the small program, from the
// rendered file, the mounted Secret and the pod's addresses.
func (p Parts) configFile(t *testing.T, s Setup) string {
	t.Helper()
	dir := t.TempDir()
	base, out := filepath.Join(dir, "base.conf"), filepath.Join(dir, "turnserver.conf")
	args := []string{"--set", "realm=turn.vdi.example.com"}
	for _, value := range s.Set {
		args = append(args, "--set", value)
	}
	require.NoError(t, os.WriteFile(base, []byte(p.Rendered(t, args...)), 0o600))
	for key, value := range s.Secrets {
		require.NoError(t, os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600))
	}
	words, err := exec.CommandContext(t.Context(), p.Tool, "config", "--base="+base, "--secrets="+dir, "--out="+out,
		"--listen="+s.Listen, "--external="+s.External).CombinedOutput()
	require.NoError(t, err, string(words))
	if s.Edit != nil {
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(out, []byte(s.Edit(string(data))), 0o600))
	}
	return forNobody(t, out)
}

// forNobody puts the file where only the pod's user can read it.
func forNobody(t *testing.T, file string) string {
	t.Helper()
	to, err := os.MkdirTemp("/run", "coturn-config-")
	require.NoError(t, err)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	out := filepath.Join(to, "turnserver.conf")
	require.NoError(t, os.WriteFile(out, data, 0o400))
	require.NoError(t, os.Chown(out, Nobody, Nobody))
	require.NoError(t, os.Chmod(to, 0o755))
	return out
}

// Start runs coturn until the test ends or Stop, its state below /run/coturn.
func (p Parts) Start(t *testing.T, s Setup) *Server {
	t.Helper()
	require.NoError(t, os.RemoveAll("/run/coturn"))
	require.NoError(t, os.Mkdir("/run/coturn", 0o700))
	require.NoError(t, os.Chown("/run/coturn", Nobody, Nobody))
	relay := &Server{process: exec.Command("turnserver", "-c", p.configFile(t, s))}
	relay.process.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody, NoSetGroups: false},
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := relay.process.StdoutPipe()
	require.NoError(t, err)
	relay.process.Stderr = relay.process.Stdout
	require.NoError(t, relay.process.Start())
	ready := make(chan struct{})
	ended := make(chan struct{})
	go func() { defer close(ended); relay.read(bufio.NewScanner(out), ready) }()
	relay.stop = sync.OnceFunc(func() {
		_ = relay.process.Process.Kill()
		<-ended
		_ = relay.process.Wait()
	})
	t.Cleanup(relay.stop)
	select {
	case <-ready:
	case <-ended:
		require.Fail(t, "coturn ended", relay.Log())
	case <-time.After(20 * time.Second):
		require.Fail(t, "coturn does not start", relay.Log())
	}
	return relay
}

// read collects the log; the admin thread is the last that coturn starts.
func (s *Server) read(lines *bufio.Scanner, ready chan<- struct{}) {
	for lines.Scan() {
		s.mutex.Lock()
		fmt.Fprintln(&s.lines, lines.Text())
		s.mutex.Unlock()
		if ready != nil && strings.Contains(lines.Text(), "(admin thread)") {
			close(ready)
			ready = nil
		}
	}
}

// Log is what it has written so far.
func (s *Server) Log() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.lines.String()
}

// PID is its process.
func (s *Server) PID() int { return s.process.Process.Pid }

// Stop ends it; more than once is well.
func (s *Server) Stop() { s.stop() }
