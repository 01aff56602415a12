package cluster

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func TestControlPlane(t *testing.T) {
	c, err := StartControlPlane(t.Context(), ControlPlaneOptions{Scheduler: true})
	require.NoError(t, err)
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			require.NoError(t, c.Stop())
		}
	})
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	require.NoError(t, err)

	configMaps := client.CoreV1().ConfigMaps("default")
	_, err = configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, c.RestartAPIServer(t.Context()))
	_, err = configMaps.Get(t.Context(), "kept", metav1.GetOptions{})
	require.NoError(t, err, "a restart must keep the data")

	audit, err := os.ReadFile(c.AuditLog())
	require.NoError(t, err)
	require.Contains(t, string(audit), `"name":"kept"`)

	require.NoError(t, c.Stop())
	stopped = true
	require.NoDirExists(t, c.plane.dir)
}
