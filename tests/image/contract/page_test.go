package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/images"
)

// TestPage: the page of the contract has the figures of the pod that is rendered, each line of
// the check, and each recipe.
func TestPage(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "values", "templates", "README.md"))
	require.NoError(t, err)
	page := strings.Join(strings.Fields(string(data)), " ")
	template, err := ReadTemplate("")
	require.NoError(t, err)
	plan, err := NewPlan(template, "desk", "agent")
	require.NoError(t, err)
	desktop, agent := plan.pod.Spec.Containers[0], plan.pod.Spec.InitContainers[0]
	for what, written := range map[string]string{
		"user":     fmt.Sprintf("runs it as user and group %d by default", *plan.pod.Spec.SecurityContext.RunAsUser),
		"group":    fmt.Sprintf("user and group %d", *plan.pod.Spec.SecurityContext.RunAsGroup),
		"seccomp":  fmt.Sprintf("`%s` seccomp", plan.pod.Spec.SecurityContext.SeccompProfile.Type),
		"port":     fmt.Sprintf("asks port %d over http", plan.wanted.port),
		"health":   fmt.Sprintf("`GET %s` (Selkies)", plan.healthPath()),
		"interval": fmt.Sprintf("asks every %d s", agent.ReadinessProbe.PeriodSeconds),
		"home":     fmt.Sprintf("mounts a volume at `%s` by default", plan.wanted.home),
		"shm":      fmt.Sprintf("`/dev/shm` is memory, %s by default", volume(plan.pod, "dshm").EmptyDir.SizeLimit),
		"grace":    fmt.Sprintf("kills after %d s by default", *plan.pod.Spec.TerminationGracePeriodSeconds),
		"address":  "`SELKIES_ADDR=" + value(desktop, "SELKIES_ADDR") + "` and `SELKIES_PORT=" + value(desktop, "SELKIES_PORT") + "`",
		"no GPU":   "`NVIDIA_VISIBLE_DEVICES=" + value(desktop, "NVIDIA_VISIBLE_DEVICES") + "` and `SELKIES_USE_CPU=" + value(desktop, "SELKIES_USE_CPU") + "`",
		"agent":    fmt.Sprintf("%d to %d are the agent's", wire.AgentVisitorPort, wire.AgentLocalPort+1),
	} {
		require.Contains(t, page, written, what)
	}
	require.Nil(t, desktop.LivenessProbe, "the page says that a desktop is never restarted for its health")
	require.Nil(t, desktop.SecurityContext.ReadOnlyRootFilesystem, "the page says that it is writable")
	require.Equal(t, []corev1.Capability{"ALL"}, desktop.SecurityContext.Capabilities.Drop)

	one := int32(1)
	session := session()
	session.Spec.Resources.GPU = &one
	require.Contains(t, page, "`NVIDIA_DRIVER_CAPABILITIES="+value(rendered(t, session, *template), "NVIDIA_DRIVER_CAPABILITIES")+"` by default")

	template.Spec.Security.Profile = vdi.ProfileBaseline
	plan, err = NewPlan(template, "desk", "agent")
	require.NoError(t, err)
	capabilities := plan.pod.Spec.Containers[0].SecurityContext.Capabilities.Add
	require.Len(t, capabilities, 10, "the page says how many")
	for _, named := range []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "SETUID"} {
		require.Contains(t, capabilities, named)
	}

	for _, check := range slices.Concat([]string{"architecture", "program", "user", "home", "port", "variables"}, points) {
		require.Contains(t, page, "`"+check+"`")
	}
	for _, recipe := range images.Recipes() {
		require.Contains(t, page, "| `"+recipe+"` |")
	}
}

func rendered(t *testing.T, s vdi.VDISession, template vdi.VDITemplate) corev1.Container {
	t.Helper()
	r, err := renderer.New()
	require.NoError(t, err)
	template.Spec.Image = "desk"
	in := renderer.Input{Session: s, Template: template, Host: host}
	in.Platform.Sessions.Agent.Image, in.Platform.Sessions.Domain = "agent", "vdi.example.com"
	out, err := r.Render(in)
	require.NoError(t, err)
	pod, err := podIn(out)
	require.NoError(t, err)
	return pod.Spec.Containers[0]
}

func value(c corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return "(not set)"
}

func volume(pod *corev1.Pod, name string) corev1.Volume {
	for _, v := range pod.Spec.Volumes {
		if v.Name == name {
			return v
		}
	}
	return corev1.Volume{}
}
