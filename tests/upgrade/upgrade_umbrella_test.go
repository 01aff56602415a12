package upgrade

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

var proxyKinds = schema.GroupVersion{Group: "traefik.io", Version: "v1alpha1"}

// tlsStore is what the umbrella makes for its proxy, which the proxy's own chart does not.
func (w *world) tlsStore(ctx context.Context) error {
	store := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"defaultCertificate": map[string]any{"secretName": "vdi-wildcard"}}}}
	store.SetGroupVersionKind(proxyKinds.WithKind("TLSStore"))
	store.SetNamespace(install.Namespace)
	store.SetName("default")
	store.SetLabels(map[string]string{wire.LabelProxy: "true"})
	return w.Client.Create(ctx, store)
}

// TestUmbrellaReadsByLabel: a platform whose proxy reads everybody's objects, and whose own
// have no label yet, is upgraded while a desktop is visited all the time. Afterwards the
// proxy reads by the label, and no request has gone astray: none was answered by anybody
// but the desktop, or with another certificate. It takes the place of the proxy that the
// other tests share, so that it comes last.
func TestUmbrellaReadsByLabel(t *testing.T) {
	w.must(t, "helm", "uninstall", "proxy", "-n", install.Namespace, "--wait")
	w.must(t, "kubectl", "delete", "tlsstores.traefik.io", "default", "-n", install.Namespace)
	chart, err := standins.Assemble(t.Context(), t.TempDir())
	require.NoError(t, err)
	umbrella := func(verb string, more ...string) string {
		args := []string{
			verb, install.Release, chart, "-n", install.Namespace, "--wait", "--timeout", "5m", "-f", filepath.Join(w.root, "values", "local.yaml"),
			"--set", "vdi-operator.access.mode=Password,vdi-operator.portal.namespace=", // which the release before had
			// Time for kube-proxy to take the old pod out, and for requests under way.
			"--set", "traefik.ports.websecure.transport.lifeCycle.requestAcceptGraceTimeout=10s", "--set", "traefik.deployment.terminationGracePeriodSeconds=20",
		}
		return w.must(t, "helm", append(args, more...)...)
	}
	templates, err := w.write("umbrella.yaml", map[string]any{"vdi-operator": map[string]any{"templates": map[string]any{"page": pageTemplate()}}})
	require.NoError(t, err)
	umbrella("install", "-f", templates, "--set", "traefik.providers.kubernetesCRD.labelSelector=", "--set", "vdi-operator.sessions.proxy.reads={IngressRoute}")
	t.Cleanup(func() {
		out, err := w.try(context.WithoutCancel(t.Context()), "helm", "uninstall", install.Release, "-n", install.Namespace, "--wait")
		assert.NoError(t, err, out)
	})
	w.must(t, "kubectl", "delete", "vdi", "--all", "-n", install.Sessions, "--timeout=2m") // those of the tests before

	carol := start(t, "carol")
	carol = await(t, carol, install.Running)
	pod := podUID(t, carol)
	w.asBefore(t)
	visits := w.visits(t, carol)
	umbrella("upgrade", "-f", templates)
	visits.end(t)

	proxy := &appsv1.Deployment{}
	require.NoError(t, w.Client.Get(t.Context(), client.ObjectKey{Namespace: install.Namespace, Name: "vdi-traefik"}, proxy))
	assert.Contains(t, proxy.Spec.Template.Spec.Containers[0].Args, "--providers.kubernetesCRD.labelSelector=vdi.kasm.io/proxy=true")
	assert.Empty(t, w.unlabelled(t), "nothing of ours lacks the label")
	assert.Equal(t, pod, podUID(t, carol))
	assert.Nil(t, meta.FindStatusCondition(get(t, carol).Status.Conditions, vdi.ConditionUpdatePending), "the label is no new revision")
	noHooksLeft(t)
	w.must(t, "kubectl", "delete", "vdi", "carol", "-n", install.Sessions, "--timeout=2m")
}

// asBefore makes the objects as an earlier version left them. Its operator, which would
// not label anything, is stopped for it.
func (w *world) asBefore(t *testing.T) {
	t.Helper()
	w.must(t, "kubectl", "scale", "deployment/vdi-operator", "-n", install.Namespace, "--replicas=0")
	w.must(t, "kubectl", "wait", "--for=delete", "pod", "-l", "app=vdi-operator", "-n", install.Namespace, "--timeout=1m")
	w.must(t, "kubectl", "label", "ingressroutes.traefik.io", "--all", "-n", install.Sessions, wire.LabelProxy+"-")
	w.must(t, "kubectl", "label", "ingressroutes.traefik.io,tlsstores.traefik.io", "--all", "-n", install.Namespace, wire.LabelProxy+"-")
	// The garbage collector takes the routes of other tests' desktops.
	require.Eventually(t, func() bool { return len(w.unlabelled(t)) == 3 }, time.Minute, 100*time.Millisecond,
		"the desktop's route, the front door's and the TLS store: %v", w.unlabelled(t))
}

// unlabelled are the proxy's objects without the label.
func (w *world) unlabelled(t *testing.T) (names []string) {
	t.Helper()
	for _, kind := range []string{"IngressRoute", "Middleware", "TLSStore", "TLSOption"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(proxyKinds.WithKind(kind + "List"))
		require.NoError(t, w.Client.List(t.Context(), list))
		for _, o := range list.Items {
			if o.GetLabels()[wire.LabelProxy] != "true" {
				names = append(names, kind+" "+o.GetNamespace()+"/"+o.GetName())
			}
		}
	}
	return names
}

// visits are requests to a desktop, one after the other on connections of their own, until
// they end.
type visits struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	count int
	wrong []string
}

func (w *world) visits(t *testing.T, s *vdi.VDISession) *visits {
	t.Helper()
	user, password, err := w.Credentials(t.Context(), s)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	v := &visits{stop: stop}
	v.done.Go(func() {
		for ctx.Err() == nil {
			answer, err := w.Get(ctx, s.Status.URL, w.ProxyOnNode(), user, password)
			if ctx.Err() != nil {
				return
			}
			v.count++
			if err != nil || answer.Code != http.StatusOK || answer.Body != "<title>page</title>\n" || answer.Host != "*."+install.Domain {
				v.wrong = append(v.wrong, fmt.Sprintf("%s: %d %q with the certificate of %q: %v", time.Now().Format(time.TimeOnly), answer.Code, answer.Body, answer.Host, err))
			}
		}
	})
	return v
}

func (v *visits) end(t *testing.T) {
	t.Helper()
	v.stop()
	v.done.Wait()
	assert.Greater(t, v.count, 20)
	assert.Empty(t, v.wrong, "of %d requests", v.count)
	t.Logf("%d requests while the platform was upgraded, %d went astray", v.count, len(v.wrong))
}
