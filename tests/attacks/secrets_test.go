package attacks

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// canaries are the secret values of all Secrets of a namespace, by "Secret/key".
func (w *world) canaries(t *testing.T, ns string) map[string]string {
	t.Helper()
	list := &corev1.SecretList{}
	require.NoError(t, w.Driver.List(t.Context(), list, client.InNamespace(ns)))
	found := map[string]string{}
	for _, s := range list.Items {
		for key, value := range s.Data {
			if !strings.HasSuffix(key, "username") { // "desktop" for everybody
				found[s.Name+"/"+key] = string(value)
			}
		}
	}
	require.Subset(t, slices.Collect(maps.Keys(found)), []string{
		renderer.CredentialsName("desk") + "/password", renderer.CredentialsName("desk") + "/desktop-password", renderer.CredentialsName("desk") + "/cookie-key",
	})
	return found
}

// leaks names the canaries that stand in a text, as they are or encoded.
func leaks(canaries map[string]string, where, text string) (found []string) {
	for name, value := range canaries {
		for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value)), base64.URLEncoding.EncodeToString([]byte(value)), url.QueryEscape(value)} {
			if strings.Contains(text, form) {
				found = append(found, name+" in "+where)
				break
			}
		}
	}
	return found
}

// TestA15SecretLeakage searches for every secret value of a session in everything
// but its Secrets.
func TestA15SecretLeakage(t *testing.T) {
	t.Parallel()
	unguarded, guarded := worlds(t)
	judged := func(found []string) ledger.Outcome {
		slices.Sort(found)
		return ledger.Judge(len(found) > 0, ledger.Design, "found nowhere")
	}
	lived := func(t *testing.T, w *world) (ns string) {
		t.Helper()
		ns = w.namespace(t)
		s := w.opens(t, desk(ns, "desk", userIn(ns)))
		for _, policy := range []vdi.RunPolicy{vdi.RunPolicySuspended, vdi.RunPolicyRunning} {
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"runPolicy":"`+string(policy)+`"}}`))
			require.NoError(t, w.Driver.Patch(t.Context(), s, patch))
			require.Empty(t, w.settles(t, s))
		}
		return ns
	}
	attack(t, "in what the API server stores", func(t *testing.T, w *world) ledger.Outcome {
		canaries := w.canaries(t, lived(t, w))
		var found []string
		objects := 0
		w.everything(t, func(resource string, o *unstructured.Unstructured) {
			text, err := json.Marshal(o.Object)
			require.NoError(t, err)
			objects++
			found = append(found, leaks(canaries, resource+" "+o.GetName(), string(text))...)
		})
		require.Greater(t, objects, 100)
		t.Logf("%d objects searched, %d found", objects, len(found))
		return judged(found)
	})
	attack(t, "in the operator's log and metrics, and the audit log", func(t *testing.T, w *world) ledger.Outcome {
		canaries := w.canaries(t, lived(t, w))
		var found []string
		for _, file := range []string{w.replica.Log(), w.AuditLog()} {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Contains(t, string(text), "desk")
			found = append(found, leaks(canaries, filepath.Base(file), string(text))...)
		}
		return judged(append(found, leaks(canaries, "metrics", w.metrics(t))...))
	})
	ledger.TryAlongside(t, "in the agent's log, metrics, arguments and environment", func(t *testing.T) ledger.Outcome {
		// A naive desktop is given its password as a variable.
		ns := lived(t, unguarded)
		canaries := unguarded.canaries(t, ns)
		process := exec.CommandContext(t.Context(), "cat")
		process.Env = []string{"PASSWORD=" + canaries[renderer.CredentialsName("desk")+"/password"]}
		hold, err := process.StdinPipe()
		require.NoError(t, err)
		says, err := process.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, process.Start())
		defer func() { _ = hold.Close(); _ = process.Wait() }()
		_, err = hold.Write([]byte("x"))
		require.NoError(t, err)
		_, err = says.Read(make([]byte, 1)) // it runs: before that the kernel shows no environment
		require.NoError(t, err)
		return judged(leaks(canaries, "process", processText(t, process.Process.Pid)))
	}, func(t *testing.T) ledger.Outcome {
		ns := lived(t, guarded)
		return judged(leaks(guarded.canaries(t, ns), "agent", guarded.agentTells(t, ns)))
	})
}

// everything visits every object but Secrets that the API server lists.
func (w *world) everything(t *testing.T, visit func(resource string, o *unstructured.Unstructured)) {
	t.Helper()
	config, err := w.UserConfig(scale.DriverUser)
	require.NoError(t, err)
	served, err := discovery.NewDiscoveryClientForConfig(config)
	require.NoError(t, err)
	lists, err := served.ServerPreferredResources()
	require.NoError(t, err)
	reader, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || r.Name == "secrets" {
				continue
			}
			objects, err := reader.Resource(group.WithResource(r.Name)).List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err, r.Name)
			for i := range objects.Items {
				visit(r.Name, &objects.Items[i])
			}
		}
	}
}

func (w *world) metrics(t *testing.T) string {
	t.Helper()
	return get(t, "http://"+w.replica.Metrics+"/metrics", nil)
}

func get(t *testing.T, address string, change func(*http.Request)) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	if change != nil {
		change(r)
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(text)
}

// logged says whether the operator wrote a line about a namespace after a moment.
func (w *world) logged(t *testing.T, message, ns string, after time.Time) bool {
	t.Helper()
	for line := range w.logLines(t) {
		if strings.Contains(line.Text, message) && strings.Contains(line.Text, `"`+ns+`"`) && line.Time.After(after) {
			return true
		}
	}
	return false
}

// logLine is a line of the operator's log.
type logLine struct {
	Level string
	Time  time.Time
	Text  string `json:"-"`
}

func (w *world) logLines(t *testing.T) func(yield func(logLine) bool) {
	t.Helper()
	text, err := os.ReadFile(w.replica.Log())
	require.NoError(t, err)
	return func(yield func(logLine) bool) {
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			line := logLine{Text: lines.Text()}
			_ = json.Unmarshal(lines.Bytes(), &line) // what other libraries write has no level
			if !yield(line) {
				return
			}
		}
	}
}

// processText is what everybody on a node may see of a process, and its environment.
func processText(t *testing.T, pid int) (text string) {
	t.Helper()
	for _, name := range []string{"cmdline", "environ", "comm"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		require.NoError(t, err)
		text += string(data)
	}
	return text
}

// agentTells runs the agent's program as the pod of a session does, with the
// session's Secret mounted, lets people in and turns some away, and returns all that
// it tells.
func (w *world) agentTells(t *testing.T, ns string) string {
	t.Helper()
	program, err := w.Build(t.Context(), "", t.TempDir(), "./operator/cmd/vdi-agent")
	require.NoError(t, err)
	pod, secret := &corev1.Pod{}, &corev1.Secret{}
	w.read(t, pod, ns, "desk")
	w.read(t, secret, ns, renderer.CredentialsName("desk"))
	folder := t.TempDir()
	for name, content := range secret.Data {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), content, 0o600))
	}
	people, status := freeAddress(t), freeAddress(t)
	args := append(slices.Clone(pod.Spec.InitContainers[0].Args), // flags: the last of a name counts
		"--listen="+people, "--status-listen="+status, "--credentials-dir="+folder, "--state-dir="+t.TempDir())
	var log bytes.Buffer
	process := exec.CommandContext(t.Context(), program, args...)
	process.Stdout, process.Stderr = &log, &log
	require.NoError(t, process.Start())
	ask := func(user, password, path string) string {
		return get(t, "http://"+people+path, func(r *http.Request) {
			r.Host = hostOf(userIn(ns))
			r.SetBasicAuth(user, password)
		})
	}
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", people)
		return err == nil && conn.Close() == nil
	}, patience, glance)
	password := string(secret.Data["password"])
	text := ask("desktop", password, "/?token="+password) + ask("desktop", password+"x", "/") + ask(password, "x", "/a") + get(t, "http://"+status+"/metrics", nil)
	text += processText(t, process.Process.Pid)
	require.NoError(t, process.Process.Kill())
	_ = process.Wait() // killed
	require.Contains(t, log.String(), `"status"`, "it logs requests")
	return text + log.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := cluster.FreeAddress()
	require.NoError(t, err)
	return address
}

// TestA16PasswordQuality: what is public about a session tells nothing about its
// password, and it stays what it is.
func TestA16PasswordQuality(t *testing.T) {
	t.Parallel()
	attack(t, "a password computed from what is public", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		w.opens(t, desk(ns, "desk", userIn(ns)))
		secret := &corev1.Secret{}
		w.read(t, secret, ns, renderer.CredentialsName("desk"))
		guess := sha256.Sum256([]byte("desk"))
		guessed := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(guess[:20]))
		return ledger.Judge(guessed == string(secret.Data["password"]), ledger.Design, "160 bits of the kernel's")
	})
	attack(t, "a password that repeats", func(t *testing.T, w *world) ledger.Outcome {
		seen := map[string]bool{}
		for range 3 {
			ns := w.namespace(t)
			w.opens(t, desk(ns, "desk", userIn(ns)))
			secret := &corev1.Secret{}
			w.read(t, secret, ns, renderer.CredentialsName("desk"))
			for _, key := range []string{"password", "desktop-password"} {
				require.Regexp(t, "^[a-z2-7]{32}$", string(secret.Data[key])) // 160 bits
				seen[string(secret.Data[key])] = true
			}
		}
		return ledger.Judge(len(seen) < 6, ledger.Design, "all differ")
	})
}

// TestA32PersonalData: whose desktop it is stands in no name, label, metric or
// ordinary log line.
func TestA32PersonalData(t *testing.T) {
	t.Parallel()
	attack(t, "an e-mail address where operators look", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		user := "someone.rare." + userIn(ns)
		w.opens(t, desk(ns, "desk", user))
		var found []string
		look := func(where, text string) {
			if strings.Contains(strings.ToLower(text), user) {
				found = append(found, where)
			}
		}
		w.everything(t, func(resource string, o *unstructured.Unstructured) {
			names := append(slices.Collect(maps.Values(o.GetLabels())), o.GetName(), o.GetNamespace())
			look(resource, strings.Join(names, "\n"))
		})
		look("metrics", w.metrics(t))
		for line := range w.logLines(t) {
			if line.Level != "DEBUG" {
				look("log", line.Text)
			}
		}
		return ledger.Judge(len(found) > 0, ledger.Design, "found nowhere")
	})
}
