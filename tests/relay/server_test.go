package relay

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

var (
	secret      = strings.Repeat("c0ffee", 10)
	otherSecret = strings.Repeat("decade", 10)
)

// setup is one way to run the relay.
type setup struct {
	set              []string          // values of the chart
	listen, external string            // the pod's addresses
	secrets          map[string]string // keys of the Secret
	edit             func(config string) string
}

// server is a running coturn.
type server struct {
	process *exec.Cmd
	stop    func() // returns when no thread of it is left
	mutex   sync.Mutex
	lines   bytes.Buffer
}

// rendered is the ConfigMap's file.
func rendered(t *testing.T, args ...string) string {
	t.Helper()
	all := append([]string{
		"template", "vdi", filepath.Join(repository, "charts", "coturn"), "--kube-version", "1.37.2",
		"--show-only", "templates/configmap.yaml",
	}, args...)
	command := exec.CommandContext(t.Context(), filepath.Join(repository, "bin", "helm"), all...)
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
func configFile(t *testing.T, s setup) string {
	t.Helper()
	dir := t.TempDir()
	base, out := filepath.Join(dir, "base.conf"), filepath.Join(dir, "turnserver.conf")
	args := []string{"--set", "realm=turn.vdi.example.com"}
	for _, value := range s.set {
		args = append(args, "--set", value)
	}
	require.NoError(t, os.WriteFile(base, []byte(rendered(t, args...)), 0o600))
	if s.secrets == nil {
		s.secrets = map[string]string{"current": secret}
	}
	for key, value := range s.secrets {
		require.NoError(t, os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600))
	}
	if s.listen == "" {
		s.listen = public4 + "," + public6
	}
	words, err := exec.CommandContext(t.Context(), tool, "config", "--base="+base, "--secrets="+dir, "--out="+out,
		"--listen="+s.listen, "--external="+s.external).CombinedOutput()
	require.NoError(t, err, string(words))
	if s.edit != nil {
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(out, []byte(s.edit(string(data))), 0o600))
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
	require.NoError(t, os.Chown(out, nobody, nobody))
	require.NoError(t, os.Chmod(to, 0o755))
	return out
}

// running is the last server that was started; it may run no more.
var running *server

// start runs coturn as the pod does: not root, without rights, its state below
// /run/coturn. As in a pod it is alone there: the one before is ended first.
func start(t *testing.T, s setup) *server {
	t.Helper()
	if running != nil {
		running.stop()
	}
	require.NoError(t, os.RemoveAll("/run/coturn"))
	require.NoError(t, os.Mkdir("/run/coturn", 0o700))
	require.NoError(t, os.Chown("/run/coturn", nobody, nobody))
	relay := &server{process: exec.Command("turnserver", "-c", configFile(t, s))}
	relay.process.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: false},
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
	running = relay
	select {
	case <-ready:
	case <-ended:
		require.Fail(t, "coturn ended", relay.log())
	case <-time.After(20 * time.Second):
		require.Fail(t, "coturn does not start", relay.log())
	}
	return relay
}

// read collects the log; the admin thread is the last that coturn starts.
func (s *server) read(lines *bufio.Scanner, ready chan<- struct{}) {
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

func (s *server) log() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.lines.String()
}
