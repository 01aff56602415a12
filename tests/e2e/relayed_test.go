package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// knowsRelay reports whether the desktop gives its page a login at the relay.
const knowsRelay = `fetch("/api/turn").then(r => r.json()).then(c => c.iceServers.some(s =>
  s.credential && /^[0-9]+:/.test(s.username) && [].concat(s.urls).some(u => u.startsWith("turn:%s:3478"))))`

// A template may ask for WebRTC: with the platform's own relay its desktops
// stream, with a login that the node mounts and the agent hands on. That the
// picture comes through nothing but the relay is tests/webrtc's.
func TestDesktopOverWebRTC(t *testing.T) {
	relay := withRelay(t)
	template, err := install.Template()
	require.NoError(t, err)
	template.ObjectMeta = metav1.ObjectMeta{Name: "webrtc-desktop"}
	template.Spec.Transport = vdi.TransportWebRTC
	require.NoError(t, platform.Client.Create(t.Context(), template))
	t.Cleanup(func() { assert.NoError(t, platform.Client.Delete(context.Background(), template)) })

	s := scratch("webrtc", "lena@example.com", template.Name)
	start(t, s)
	s = await(t, s, install.Running)
	login := &corev1.Secret{}
	require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: s.Name + "-turn"}, login))
	assert.True(t, metav1.IsControlledBy(login, s))

	_, password, err := platform.Credentials(t.Context(), s)
	require.NoError(t, err)
	tab := openBrowser(t)
	tab.Do(chromedp.Navigate(s.Status.URL), chromedp.WaitVisible(passwordField), chromedp.SendKeys(passwordField, password+kb.Enter))
	tab.Comes(`(document.querySelector("video")?.videoWidth ?? 0) > 0`)
	require.Eventually(t, func() bool {
		knows, err := chromedp.Run(tab.Context, chromedp.Evaluate[bool](fmt.Sprintf(knowsRelay, relay), chromedp.EvalAwaitPromise))
		return err == nil && knows
	}, patience, time.Second, "the page can use the relay")
	tab.Screenshot("webrtc")
	relayHole(t, s, relay)
}

// relayHole: a desktop that streams over WebRTC reaches the relay where it is asked
// for logins, nothing else at its address, and only such a desktop does.
func relayHole(t *testing.T, s *vdi.VDISession, relay string) {
	t.Helper()
	plain := scratch("no-relay", "no-relay@example.com", "page")
	start(t, plain)
	await(t, plain, install.Running)
	desktop, other, node := within(t, podOf(t, s)), within(t, podOf(t, plain)), onNode(t)
	judged(t, []string{install.Sessions}, []way{
		{"a desktop over WebRTC to a relayed port", desktop, echoes(t, node, relay, 60123)},
		{"a desktop over WebRTC to another port of the relay", desktop, answers(t, node, relay, 8902)},
		{"a desktop over WebRTC to the API server at the relay's address", desktop, tcp(relay, 6443)},
		{"a desktop without WebRTC to the relay, by UDP", other, udp(relay, 3478)},
		{"a desktop without WebRTC to the relay, by TCP", other, tcp(relay, 3478)},
	}, []way{
		{"a desktop over WebRTC to the relay, by UDP", desktop, udp(relay, 3478)},
		{"a desktop over WebRTC to the relay, by TCP", desktop, tcp(relay, 3478)},
	})
}

// withRelay puts the platform's relay on the node's own network and returns its
// address. It goes with the test.
func withRelay(t *testing.T) string {
	t.Helper()
	address := platform.Cluster.NodeIP().String()
	require.NoError(t, platform.Provide(t.Context(), install.RelayImage()))
	t.Cleanup(func() { require.NoError(t, platform.Release(context.Background(), withGPUOperator()...)) })
	require.NoError(t, platform.Release(t.Context(), append(withGPUOperator(),
		"--set", "coturn.enabled=true,coturn.realm=turn.vdi.example.com,coturn.metrics.enabled=false",
		"--set", "coturn.image.repository=docker.io/vdi-platform/relay,coturn.image.tag=dev",
		"--set", "vdi-operator.sessions.turn.host="+address)...))
	return address
}
