package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// TestBinaryInNamespacedMode runs the operator's own program, limited to one
// namespace by the chart, ends it in order and starts it again.
func TestBinaryInNamespacedMode(t *testing.T) {
	t.Parallel()
	p, err := startPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.installRouteKind(t.Context()))
	served, elsewhere := newWorldOn(t, p), newWorldOn(t, p)
	objects := chartObjects(t, "watchNamespaces={"+served.ns+"}")
	p.grant(t, objects)
	program := buildOperator(t)

	stop := p.runOperator(t, program, argsOf(t, objects))
	served.createTemplate()
	served.createSession()
	elsewhere.createTemplate()
	elsewhere.createSession()
	served.eventually(served.routeExists, "the session is served")
	served.podStarts(desk)
	served.eventually(served.isRunning, "the session runs")
	secret := &corev1.Secret{}
	served.read(secret, renderer.CredentialsName(desk))
	before := served.versions()
	log := stop()
	require.NotContains(t, log, string(secret.Data["password"]))
	require.Contains(t, log, "created")

	stop = p.runOperator(t, program, argsOf(t, objects))
	served.change(func(s *vdi.VDISession) { s.Spec.Timeout = "12h" })
	served.eventually(func() bool { s := served.session(); return s.Status.ObservedGeneration == s.Generation }, "the next operator goes on")
	require.Equal(t, before, served.versions(), "a restart disturbs no desktop")
	served.deleteSession()
	served.eventually(func() bool { return served.pod().DeletionTimestamp != nil }, "the desktop is told to end")
	served.podEnds(desk)
	served.eventually(func() bool { return !served.sessionExists() }, "the session goes")
	stop()

	require.Empty(t, elsewhere.existing(), "other namespaces are none of its business")
	require.Equal(t, int64(-1), elsewhere.session().Status.ObservedGeneration)
	installed{plane: p}.wasNeverForbidden(t)
}

func buildOperator(t *testing.T) string {
	t.Helper()
	return build(t, operatorName)
}

// build compiles one of the platform's programs.
func build(t *testing.T, name string) string {
	t.Helper()
	root, err := repositoryRoot()
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./operator/cmd/"+name)
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// runOperator starts the program as its ServiceAccount. The returned function
// asks it to end, as the kubelet would, and returns its log.
func (p *plane) runOperator(t *testing.T, program string, args []string) (stop func() string) {
	t.Helper()
	return p.runAs(t, operatorName, program, args)
}

// runAs does so under any account of the release.
func (p *plane) runAs(t *testing.T, account, program string, args []string) (stop func() string) {
	t.Helper()
	var log bytes.Buffer
	command := exec.Command(program, args...)
	command.Env = append(os.Environ(), "POD_NAMESPACE="+operatorNamespace, "KUBECONFIG="+p.kubeconfigOf(t, account))
	command.Stdout, command.Stderr = &log, &log
	require.NoError(t, command.Start())
	ended := false
	end := func() error {
		if ended {
			return nil
		}
		ended = true
		_ = command.Process.Signal(syscall.SIGTERM)
		return command.Wait()
	}
	t.Cleanup(func() { _ = end() })
	return func() string {
		t.Helper()
		err := end()
		require.NoError(t, err, log.String())
		return log.String()
	}
}

// kubeconfigOf is a file with a token of a ServiceAccount of the release.
func (p *plane) kubeconfigOf(t *testing.T, account string) string {
	t.Helper()
	config := p.asAccount(t, account)
	file := clientcmdapi.NewConfig()
	file.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthority: config.CAFile, CertificateAuthorityData: config.CAData}
	file.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: config.BearerToken}
	file.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	file.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*file, path))
	return path
}
