package webrtc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/inside"
)

const (
	sessionUID = "6f1c2a52-0c3e-4c7e-9f57-3b9f6f2a1d11"
	host       = "alice.vdi.example.com"
	password   = "a-visitors-password"
)

// relay is where the platform's settings say that it is.
func relay() platform.TURN { return platform.TURN{Host: public} }

// unpackDesktop lays the desktop image's files into a folder.
func unpackDesktop(dir string) error {
	archive := dir + "-image"
	if err := errors.Join(os.Mkdir(archive, 0o755), os.Mkdir(dir, 0o755)); err != nil {
		return err
	}
	if out, err := exec.Command("tar", "-xf", filepath.Join(repository, "bin", "images", "desktop.tar"), "-C", archive).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack the desktop image: %w: %s", err, out)
	}
	img, err := imageIn(archive)
	if err != nil {
		return fmt.Errorf("read the desktop image: %w", err)
	}
	files := mutate.Extract(img)
	defer files.Close()
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = files
	if out, err := unpack.CombinedOutput(); err != nil {
		return fmt.Errorf("unpack the desktop: %w: %s", err, out)
	}
	return os.RemoveAll(archive)
}

func imageIn(archive string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(archive)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	return index.Image(manifest.Manifests[0].Digest)
}

// desktop is one session's pod: the desktop image and the agent, with what the
// renderer gives to both.
type desktop struct {
	t    *testing.T
	root string // of its files
	pod  *corev1.Pod
	log  *lines
}

// lines is what both programs write.
type lines struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// renderPod is the pod of a session whose template streams over WebRTC.
func renderPod(t *testing.T) *corev1.Pod {
	t.Helper()
	render, err := renderer.New()
	require.NoError(t, err)
	in := renderer.Input{Host: host, Platform: platform.Config{Sessions: platform.Sessions{Domain: "vdi.example.com", TURN: relay()}}}
	in.Session.Name, in.Session.Namespace, in.Session.UID = "alice", "desktops", sessionUID
	in.Session.Spec = vdi.VDISessionSpec{User: "alice", Template: "desktop", Resources: vdi.SessionResources{GPU: new(int32)}}
	in.Template.Name = "desktop"
	in.Template.Spec = vdi.VDITemplateSpec{Image: "desktop", Transport: vdi.TransportWebRTC}
	rendered, err := render.Render(in)
	require.NoError(t, err)
	pod := &corev1.Pod{}
	for _, o := range rendered.Objects {
		if o.GetKind() == "Pod" {
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, pod))
		}
	}
	require.NotEmpty(t, pod.Spec.Containers)
	return pod
}

// startDesktop starts agent and desktop as the kubelet does: the agent first, in
// one network, each as its own user.
func startDesktop(t *testing.T, expires time.Time) *desktop {
	t.Helper()
	d := &desktop{t: t, root: filepath.Join(inside.Dir(), "desktop"), pod: renderPod(t), log: &lines{}}
	d.mount()
	d.secret("etc/vdi/credentials", map[string]string{
		"username": "desktop", "password": password, "cookie-key": strings.Repeat("k", 32),
		"desktop-username": "desktop", "desktop-password": "the-desktops-password",
	})
	d.giveLogin(expires)
	program, err := os.ReadFile(filepath.Join(inside.Dir(), "vdi-agent"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(d.root, "usr/local/bin/vdi-agent"), program, 0o755))
	agent := d.pod.Spec.InitContainers[0]
	d.start(agent.Command[0], agent.Args, nil, 65532)
	d.await("ready for visitors")
	d.start("/usr/local/bin/start", nil, d.environment(), 1000)
	return d
}

// mount gives the desktop the file systems of a container.
func (d *desktop) mount() {
	d.t.Helper()
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"proc", "proc", "proc", 0},
		{"/dev", "dev", "", unix.MS_BIND | unix.MS_REC},
		{"tmpfs", "tmp", "tmpfs", 0},
		{"tmpfs", "run", "tmpfs", 0},
		{"tmpfs", "var/lib/vdi-agent", "tmpfs", 0},
		{"tmpfs", "home/ubuntu", "tmpfs", 0},
		{"tmpfs", "dev/shm", "tmpfs", 0},
	} {
		target := filepath.Join(d.root, m.target)
		require.NoError(d.t, os.MkdirAll(target, 0o755))
		require.NoError(d.t, unix.Mount(m.source, target, m.kind, m.flags, ""), target)
		d.t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
	require.NoError(d.t, os.Chown(filepath.Join(d.root, "home/ubuntu"), 1000, 1000))
	hosts := "127.0.0.1\tlocalhost\n" + pod + "\talice\n" // the kubelet writes it
	require.NoError(d.t, os.WriteFile(filepath.Join(d.root, "etc/hosts"), []byte(hosts), 0o644))
}

// secret writes a mounted Secret as the kubelet does: a link that is swapped.
func (d *desktop) secret(folder string, files map[string]string) {
	d.t.Helper()
	dir := filepath.Join(d.root, folder)
	require.NoError(d.t, os.MkdirAll(dir, 0o755))
	data, err := os.MkdirTemp(dir, "..")
	require.NoError(d.t, err)
	require.NoError(d.t, os.Chmod(data, 0o755))
	for name, content := range files {
		require.NoError(d.t, os.WriteFile(filepath.Join(data, name), []byte(content), 0o444))
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); !errors.Is(err, os.ErrExist) {
			require.NoError(d.t, err)
		}
	}
	link := filepath.Join(dir, "..data_tmp")
	require.NoError(d.t, os.Symlink(filepath.Base(data), link))
	require.NoError(d.t, os.Rename(link, filepath.Join(dir, "..data")))
}

// giveLogin writes what the operator writes into the Secret NAME-turn.
func (d *desktop) giveLogin(expires time.Time) platform.TURNLogin {
	d.t.Helper()
	settings := platform.Config{Sessions: platform.Sessions{TURN: relay()}}.WithDefaults().Sessions.TURN
	login := platform.SignTURNLogin(settings, sharedSecret, sessionUID, expires)
	text, err := json.Marshal(login)
	require.NoError(d.t, err)
	d.secret("etc/vdi/turn", map[string]string{wire.KeyTURNLogin: string(text)})
	return login
}

// environment is the container's, with the references to the Secret followed.
func (d *desktop) environment() []string {
	env := []string{"HOME=/home/ubuntu", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/games", "VDI_SCREEN=1280x800"}
	for _, v := range d.pod.Spec.Containers[0].Env {
		value := v.Value
		if v.ValueFrom != nil {
			content, err := os.ReadFile(filepath.Join(d.root, "etc/vdi/credentials", v.ValueFrom.SecretKeyRef.Key))
			require.NoError(d.t, err)
			value = string(content)
		}
		env = append(env, v.Name+"="+value)
	}
	return env
}

func (d *desktop) start(program string, args, env []string, user uint32) {
	d.t.Helper()
	command := exec.Command(program, args...)
	command.Dir, command.Env = "/", append([]string{}, env...)
	command.Stdout, command.Stderr = d.log, d.log
	command.SysProcAttr = &syscall.SysProcAttr{
		Chroot: d.root, Setpgid: true, Credential: &syscall.Credential{Uid: user, Gid: user},
	}
	require.NoError(d.t, startInPod(command))
	d.t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		_ = command.Wait() // killed
		if d.t.Failed() {
			_, _ = io.WriteString(os.Stderr, d.log.String())
		}
	})
}

func (d *desktop) await(words string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool { return strings.Contains(d.log.String(), words) }, patience, 20*time.Millisecond, words)
}
