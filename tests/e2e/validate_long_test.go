//go:build breakages

package e2e

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/validate"
)

// Each of these takes a desktop or an upgrade, and so half a minute and more: they
// are for `make test-long`.
func TestValidateShowsWhatIsBrokenOnTheWay(t *testing.T) {
	node := platform.Cluster.NodeIP().String()
	exactlyRed(t,
		breakage{"relay", node + ":3478 does not answer", "look at the relay's pods", false, noRelay},
		breakage{"DNS", "cannot be resolved", "wildcard record", true, func(_ *testing.T, o *validate.Options) { o.Address = "" }},
		breakage{"TLS", "the certificate is for " + node, "put a certificate for *.DOMAIN", true, anothersCertificate},
		breakage{"policies", "another pod reaches the desktop's port", "enforces NetworkPolicies", true, noPolicies},
	)
}

// noRelay names one that does not run.
func noRelay(t *testing.T, _ *validate.Options) {
	t.Cleanup(func() { require.NoError(t, platform.Release(context.Background(), withGPUOperator()...)) })
	require.NoError(t, platform.Release(t.Context(), append(withGPUOperator(), "--set", "vdi-operator.sessions.turn.host="+platform.Cluster.NodeIP().String())...))
}

func anothersCertificate(t *testing.T, _ *validate.Options) {
	secret := &corev1.Secret{}
	require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKey{Namespace: install.Namespace, Name: "vdi-wildcard"}, secret))
	was := secret.DeepCopy()
	shown := func(ours bool) {
		require.Eventually(t, func() bool {
			_, err := platform.Get(context.Background(), "https://auth."+install.Domain, platform.ProxyOnNode(), "", "")
			return (err == nil) == ours
		}, patience, 200*time.Millisecond, "the proxy shows the certificate")
	}
	_, certificate, key, err := install.NewCertificate(netip.MustParseAddr(platform.Cluster.NodeIP().String()))
	require.NoError(t, err)
	t.Cleanup(func() {
		was.ResourceVersion = ""
		require.NoError(t, platform.Client.Update(context.Background(), was))
		shown(true)
	})
	secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey] = certificate, key
	require.NoError(t, platform.Client.Update(t.Context(), secret))
	shown(false)
}

// noPolicies does to a validation's namespace what a network plugin does that knows
// no policies: everything is admitted.
func noPolicies(t *testing.T, _ *validate.Options) {
	watcher, err := platform.Client.Watch(t.Context(), &corev1.NamespaceList{}, client.HasLabels{ofValidation})
	require.NoError(t, err)
	var admitting sync.WaitGroup
	t.Cleanup(func() { // the channel closes, and the goroutine must not outlive its test
		watcher.Stop()
		admitting.Wait()
	})
	admitting.Go(func() {
		for e := range watcher.ResultChan() {
			if ns, ok := e.Object.(*corev1.Namespace); ok && e.Type == watch.Added {
				assert.NoError(t, platform.Client.Create(context.Background(), admitEverything(ns.Name)))
			}
		}
	})
}
