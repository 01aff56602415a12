package kubectl

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Bounds of a release.
const (
	startBound = 150 * time.Millisecond
	sizeBound  = 60 << 20
)

// lines are what a program prints, as it prints it.
type lines struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *bufio.Scanner
}

func (w *world) start(t *testing.T, args ...string) *lines {
	t.Helper()
	c := w.command(t, "kubectl-vdi", args...)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	return &lines{t, c, bufio.NewScanner(out)}
}

// shows reads on until a line that holds some words.
func (l *lines) shows(words string) {
	l.t.Helper()
	for l.in.Scan() {
		if strings.Contains(l.in.Text(), words) {
			return
		}
	}
	require.Fail(l.t, "the output ended", "without %q", words)
}

// ends returns the exit code.
func (l *lines) ends() int {
	for l.in.Scan() { // what is left
	}
	_ = l.cmd.Wait()
	return l.cmd.ProcessState.ExitCode()
}

// made makes a session that ends with the test.
func (w *world) made(t *testing.T, name string) {
	t.Helper()
	out, err := w.command(t, "kubectl-vdi", "create", name, "-n", "desktops", "--template", "plain", "--user", name).CombinedOutput()
	require.NoError(t, err, string(out))
	w.ends(t, "desktops", name)
}

func running(name string) map[string]any {
	return map[string]any{"phase": "Running", "message": "The desktop is ready", "url": "https://" + name + ".vdi.example.com"}
}

// A script waits with a line for each change, and goes on when the desktop runs.
func TestWaitInAScript(t *testing.T) {
	w.made(t, "script")
	l := w.start(t, "wait", "script", "-n", "desktops", "--timeout", "2m")
	l.shows(" - the operator has not looked at it yet")
	w.operator(t, "desktops", "script", map[string]any{"phase": "Creating", "message": "The node is preparing the image"})
	l.shows("Creating - The node is preparing the image")
	w.operator(t, "desktops", "script", running("script"))
	l.shows("Running - The desktop is ready")
	assert.Equal(t, 0, l.ends())
}

// A wait ends when the session is gone.
func TestWaitEndsWithTheSession(t *testing.T) {
	w.made(t, "short")
	running, gone := w.start(t, "wait", "short", "-n", "desktops"), w.start(t, "wait", "short", "-n", "desktops", "--for", "deleted")
	running.shows("not looked at it yet")
	gone.shows("not looked at it yet")
	require.NoError(t, w.command(t, "kubectl-vdi", "delete", "short", "-n", "desktops", "--yes").Run())
	assert.Equal(t, 1, running.ends())
	assert.Equal(t, 0, gone.ends())
}

// A list goes on with each change, until it is interrupted.
func TestListWatches(t *testing.T) {
	w.made(t, "seen")
	l := w.start(t, "list", "-n", "desktops", "-w", "--user", "seen")
	l.shows("seen")
	w.operator(t, "desktops", "seen", running("seen"))
	l.shows("https://seen.vdi.example.com")
	require.NoError(t, l.cmd.Process.Signal(syscall.SIGINT))
	assert.Equal(t, 130, l.ends())
}

// For machines, too, a list that goes on shows each object once, and then its changes.
func TestListWatchesForMachines(t *testing.T) {
	l := w.start(t, "list", "-n", "desktops", "-w", "-o", "name")
	l.shows("/alice")
	w.made(t, "later")
	for l.in.Scan() && !strings.HasSuffix(l.in.Text(), "/later") {
		assert.NotContains(t, l.in.Text(), "/alice")
	}
	require.NoError(t, l.cmd.Process.Signal(syscall.SIGINT))
	assert.Equal(t, 130, l.ends())
}

// What is asked for is what is waited for: a status of before does not count.
func TestSuspendAndResumeWait(t *testing.T) {
	w.made(t, "pausing")
	w.operator(t, "desktops", "pausing", running("pausing"))
	l := w.start(t, "suspend", "pausing", "-n", "desktops", "--wait")
	l.shows("vdisession.vdi.kasm.io/pausing suspended")
	w.operator(t, "desktops", "pausing", map[string]any{"phase": "Suspended", "message": "Suspended"})
	assert.Equal(t, 0, l.ends())
	policy := w.start(t, "list", "pausing", "-n", "desktops", "-w", "-o", "jsonpath={.spec.runPolicy}{'\\n'}")
	policy.shows("Suspended")
	l = w.start(t, "open", "pausing", "-n", "desktops", "--resume")
	policy.shows("Running")
	wait := w.start(t, "wait", "pausing", "-n", "desktops", "--for", "suspended", "--timeout", "100ms")
	assert.Equal(t, 2, wait.ends(), "it is asked to run")
	w.operator(t, "desktops", "pausing", running("pausing"))
	l.shows("https://pausing.vdi.example.com")
	assert.Equal(t, 0, l.ends())
	require.NoError(t, policy.cmd.Process.Signal(syscall.SIGINT))
	assert.Equal(t, 130, policy.ends())
}

// A home goes only where it is said.
func TestDeleteWithHome(t *testing.T) {
	w.made(t, "leaving")
	w.operator(t, "desktops", "leaving", map[string]any{"phase": "Running", "home": map[string]any{"claimName": "vdi-data-leaving", "createdByOperator": true}})
	watch := w.start(t, "list", "leaving", "-n", "desktops", "-w", "-o", "jsonpath={.spec.persistence.reclaimPolicy}{'\\n'}")
	watch.shows("Retain")
	require.NoError(t, w.command(t, "kubectl-vdi", "delete", "leaving", "-n", "desktops", "--home", "--yes").Run())
	watch.shows("Delete")
	require.NoError(t, watch.cmd.Process.Signal(syscall.SIGINT))
	assert.Equal(t, 130, watch.ends())
}

// A home that was to go with a session stays where the session does.
func TestDeleteThatIsRefused(t *testing.T) {
	w.made(t, "staying")
	out, err := w.command(t, "kubectl-vdi", "delete", "staying", "-n", "desktops", "--home", "--yes", "--as", "paula@example.com").CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), `"paula@example.com" cannot delete`)
	assert.NotContains(t, string(out), "one day")
	s := w.session(t, "desktops", "staying")
	assert.Equal(t, int64(3), s.GetGeneration(), "it was changed, and changed back")
	policy, _, _ := unstructured.NestedString(s.Object, "spec", "persistence", "reclaimPolicy")
	assert.Equal(t, "Retain", policy)
}

// What cannot be read leaves the rest of the story as it is.
func TestWhyWithWhatCanBeRead(t *testing.T) {
	w.made(t, "odd")
	status := running("odd")
	status["home"] = map[string]any{"claimName": "no/claim"}
	w.operator(t, "desktops", "odd", status)
	out, err := w.command(t, "kubectl-vdi", "why", "odd", "-n", "desktops").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, string(out), "odd: Running")
	assert.Contains(t, string(out), "Not read   claim no/claim: ")
}

// Whoever is not there is not followed.
func TestListWatchesNobody(t *testing.T) {
	for _, output := range []string{"", "name"} {
		out, err := w.command(t, "kubectl-vdi", "list", "nobody", "-n", "desktops", "-w", "-o", output).CombinedOutput()
		require.Error(t, err)
		assert.Contains(t, string(out), `"nobody" not found`)
	}
}

// kubectl finds the program as its plugin, and completes its words.
func TestAsPlugin(t *testing.T) {
	kubectl := func(args ...string) string {
		c := exec.CommandContext(t.Context(), filepath.Join(w.bin, "kubectl"), args...)
		c.Env = w.command(t, "kubectl-vdi").Env
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	assert.Equal(t, "https://alice.vdi.example.com\n", kubectl("vdi", "open", "alice", "-n", "desktops"))
	assert.Contains(t, kubectl("vdi", "--help"), "kubectl vdi [command]")
	names := kubectl("__complete", "vdi", "-n", "desktops", "open", "")
	assert.Contains(t, names, "alice\tRunning\n")
	assert.Contains(t, names, "bob\tPending\n")
	assert.Contains(t, kubectl("__complete", "vdi", "create", "x", "--template", ""), "plain\tPlain desktop\n")
	assert.Contains(t, kubectl("__complete", "vdi", "wait", "--for", ""), "suspended\n")
	assert.NotContains(t, kubectl("__complete", "vdi", "-n", "desktops", "open", "alice", ""), "bob")
}

// It starts at once, and is not large. The first start reads it from the disk; of some more,
// the fastest shows what the program itself takes.
func TestStartAndSize(t *testing.T) {
	fastest := time.Hour
	for range 10 {
		begun := time.Now()
		require.NoError(t, w.command(t, "vdi", "version", "--client").Run())
		fastest = min(fastest, time.Since(begun))
	}
	info, err := os.Stat(filepath.Join(w.dir, "vdi"))
	require.NoError(t, err)
	t.Logf("it starts in %s and has %.1f MiB", fastest.Round(time.Millisecond), float64(info.Size())/(1<<20))
	assert.LessOrEqual(t, fastest, startBound)
	assert.LessOrEqual(t, info.Size(), int64(sizeBound))
}

// administrator holds the role vdi-admin in the whole cluster, and no other right.
const administrator = "ada@example.com"

// pod makes a desktop's pod on a node. It goes with the test.
func (w *world) pod(t *testing.T, name, node, claim string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "desktops", Labels: map[string]string{"app.kubernetes.io/name": "vdi-session", "app.kubernetes.io/managed-by": "vdi-operator"}},
		Spec: corev1.PodSpec{
			NodeName: node,
			Containers: []corev1.Container{{Name: "selkies", Image: "registry.example.com/desktop:1", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi"), "nvidia.com/gpu": resource.MustParse("1")},
				Limits:   corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")},
			}}},
			Volumes: []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}},
		},
	}
	require.NoError(t, w.client.Create(t.Context(), pod))
	t.Cleanup(func() {
		require.NoError(t, w.client.Delete(context.WithoutCancel(t.Context()), pod, client.GracePeriodSeconds(0)))
	})
	return pod
}

// An administrator sees what a desktop holds, by the pod of its present run.
func TestAdministratorSeesWhatRuns(t *testing.T) {
	w.made(t, "busy")
	pod := w.pod(t, "busy", "gpu-1", "vdi-data-busy")
	status := running("busy")
	status["podName"] = pod.Name
	status["run"] = map[string]any{"podUID": string(pod.UID), "begin": "2026-01-02T12:00:00Z", "gpuSlices": 1}
	w.operator(t, "desktops", "busy", status)
	for _, c := range []struct{ command, want string }{
		{"top", "NAMESPACE   NAME   USER   NODE    GPUS   CPU   MEMORY\ndesktops    busy   busy   gpu-1   1      2     4096Mi\n"},
		{"nodes --no-headers", "gpu-1   Ready,SchedulingDisabled   -     -     4     1     3     -     Unknown   -\n"},
		{"top --by node", "NODE    SESSIONS   GPUS   CPU   MEMORY\ngpu-1   1          1      2     4096Mi\n"},
	} {
		out, err := w.command(t, "kubectl-vdi", append(strings.Fields(c.command), "--as", administrator)...).Output()
		require.NoError(t, err, c.command)
		assert.Contains(t, string(out), c.want, c.command)
	}
}
