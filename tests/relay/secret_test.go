package relay

import (
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

const (
	namespace  = "turn"
	secretName = "vdi-coturn-secret"
	maker      = "vdi-coturn-maker"
)

// world is an API server with the rights that the chart's hook gets.
type world struct {
	client     *kubernetes.Clientset
	admin      string // kubeconfig
	kubeconfig string // of the hook's account
}

func newWorld(t *testing.T) world {
	t.Helper()
	plane, err := cluster.StartControlPlane(t.Context(), cluster.ControlPlaneOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, plane.Stop()) })
	w := world{admin: plane.Kubeconfig(), kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	w.client, err = kubernetes.NewForConfig(plane.RESTConfig())
	require.NoError(t, err)
	w.kubectl(t, "", "create", "namespace", namespace)
	w.kubectl(t, hookOf(t), "apply", "-n", namespace, "-f", "-")
	w.logIn(t, strings.TrimSpace(w.kubectl(t, "", "create", "token", "-n", namespace, maker)))
	return w
}

// hookOf is what the chart renders for the account that makes the Secret.
func hookOf(t *testing.T) string {
	t.Helper()
	args := []string{"template", "vdi", filepath.Join(repository, "charts", "coturn"), "-n", namespace, "--kube-version", "1.37.2", "--set", "realm=a"}
	for _, name := range []string{"makeraccount", "makerrole", "makerrolebinding"} {
		args = append(args, "--show-only", "templates/"+name+".yaml")
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(repository, "bin", "helm"), args...).Output()
	require.NoError(t, err)
	return string(out)
}

func (w world) kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(repository, "bin", "kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+w.admin)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// logIn writes a kubeconfig with the account's token instead of the administrator's certificate.
func (w world) logIn(t *testing.T, token string) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(w.admin)
	require.NoError(t, err)
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	}
	require.NoError(t, clientcmd.WriteToFile(*config, w.kubeconfig))
}

func (w world) create(ctx context.Context, name string) (string, error) {
	command := exec.CommandContext(ctx, tool(), "create", "--namespace="+namespace, "--name="+name)
	command.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfig)
	out, err := command.CombinedOutput()
	return string(out), err
}

func (w world) read(t *testing.T) *corev1.Secret {
	t.Helper()
	found, err := w.client.CoreV1().Secrets(namespace).Get(t.Context(), secretName, metav1.GetOptions{})
	require.NoError(t, err)
	return found
}

// TestCreateOnce: with the rights of the chart's hook and no others, the Secret
// is made once, whoever asks how often, and stays through a rotation.
func TestCreateOnce(t *testing.T) {
	w := newWorld(t)
	w.createAtOnce(t)
	first := w.read(t)
	require.Regexp(t, "^[0-9a-f]{64}$", string(first.Data["current"]))
	require.Len(t, first.Data, 1)

	out, err := w.create(t.Context(), secretName)
	require.NoError(t, err, out)
	require.Contains(t, out, "stays as it is")
	require.NotContains(t, out, string(first.Data["current"]))
	require.Equal(t, first.ResourceVersion, w.read(t).ResourceVersion)

	w.rotate(t, first)
	w.requireNoMore(t)
}

// createAtOnce runs several installs at the same time.
func (w world) createAtOnce(t *testing.T) {
	t.Helper()
	var group sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		group.Go(func() { _, errs[i] = w.create(t.Context(), secretName) })
	}
	group.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// rotate follows the chart README's recipe word for word.
func (w world) rotate(t *testing.T, first *corev1.Secret) {
	t.Helper()
	w.stage(t, "prepare")
	prepared := w.read(t)
	require.Equal(t, first.Data["current"], prepared.Data["current"])
	require.Regexp(t, "^[0-9a-f]{64}$", string(prepared.Data["next"]))
	w.stage(t, "switch")
	switched := w.read(t)
	require.Equal(t, map[string][]byte{"current": prepared.Data["next"], "previous": first.Data["current"]}, switched.Data)
	w.stage(t, "finish")
	require.Equal(t, map[string][]byte{"current": prepared.Data["next"]}, w.read(t).Data)
}

// stage runs the chart README's command of one stage.
func (w world) stage(t *testing.T, name string) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(repository, "charts", "coturn", "README.md.gotmpl"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "# "+name+"\n")
	require.True(t, found, "the README has no stage %q", name)
	script, _, _ := strings.Cut(rest, "\n\n")
	script, _, _ = strings.Cut(script, "\n```")
	script = strings.NewReplacer("vdi-turn", namespace, `{{"{{"}}`, "{{", `{{"}}"}}`, "}}").Replace(script)
	command := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", script)
	command.Env = append(os.Environ(), "KUBECONFIG="+w.admin, "PATH="+filepath.Join(repository, "bin")+":"+os.Getenv("PATH"))
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s: %s", script, out)
	require.NotContains(t, string(out), base64.StdEncoding.EncodeToString(w.read(t).Data["current"]))
}

// requireNoMore: the account that made the Secret may neither change it nor
// read another.
func (w world) requireNoMore(t *testing.T) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", w.kubeconfig)
	require.NoError(t, err)
	account, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = account.CoreV1().Secrets(namespace).Get(t.Context(), "other", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = account.CoreV1().Secrets(namespace).Update(t.Context(), w.read(t), metav1.UpdateOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = account.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
}

// TestObjectsAreValid: a real API server takes what the chart renders, hooks too.
func TestObjectsAreValid(t *testing.T) {
	w := newWorld(t)
	files, err := filepath.Glob(filepath.Join(repository, "charts", "coturn", "ci", "*-values.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	w.kubectl(t, "", "delete", "serviceaccount,role,rolebinding", "-n", namespace, maker)
	for _, file := range files {
		out, err := exec.CommandContext(t.Context(), filepath.Join(repository, "bin", "helm"), "template", "vdi",
			filepath.Join(repository, "charts", "coturn"), "-n", namespace, "--kube-version", "1.37.2", "--values", file).Output()
		require.NoError(t, err)
		w.kubectl(t, string(out), "create", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-")
	}
}

// TestCreateFindsBadSecret: a Secret of the name without a usable key is told at once.
func TestCreateFindsBadSecret(t *testing.T) {
	w := newWorld(t)
	w.kubectl(t, "", "create", "secret", "generic", "-n", namespace, secretName, "--from-literal=password=a")
	out, err := w.create(t.Context(), secretName)
	require.Error(t, err)
	require.Contains(t, out, `not usable: key "current" is missing or empty`)
}
