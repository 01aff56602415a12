package integration

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// toldKeys are what the front door has told, as far as the operator knows.
type toldKeys struct {
	mu   sync.Mutex
	keys map[string]string
}

func (k *toldKeys) Get() map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys
}

func (k *toldKeys) Changed() <-chan event.GenericEvent { return nil }

func (k *toldKeys) are(keys map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
}

// newOIDCWorld is a world with single sign-on.
func newOIDCWorld(t *testing.T, keys map[string]string) (*world, *toldKeys) {
	t.Helper()
	w := newWorld(t, func(c *platform.Config) {
		c.Access = platform.Access{Mode: wire.AccessOIDC, OIDC: platform.OIDC{IssuerURL: "https://login.example.com", ClientID: "vdi"}}
	})
	told := &toldKeys{keys: keys}
	w.operator.StatementKeys = told
	return w, told
}

func (w *world) middleware() *unstructured.Unstructured {
	w.t.Helper()
	m := newMiddleware()
	w.read(m, renderer.ForwardAuthName(desk))
	return m
}

func newMiddleware() *unstructured.Unstructured {
	m := &unstructured.Unstructured{}
	m.SetGroupVersionKind(schema.GroupVersionKind{Group: routeGVK.Group, Version: routeGVK.Version, Kind: "Middleware"})
	return m
}

func (w *world) statementKeys() *corev1.ConfigMap {
	w.t.Helper()
	keys := &corev1.ConfigMap{}
	w.read(keys, renderer.StatementKeysName(desk))
	return keys
}

// TestSingleSignOn: the proxy asks the front door about every visitor, the agent
// has its keys, and nobody is told a password.
func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	w, _ := newOIDCWorld(t, map[string]string{"1.pem": "one"})
	s := w.running()
	assert.Equal(t, &vdi.AccessStatus{Mode: vdi.AccessMode(wire.AccessOIDC)}, s.Status.Access)
	assert.Empty(t, s.Status.CredentialsSecret)
	forwardAuth := map[string]any{
		"address": "http://vdi-frontdoor.vdi-system.svc:8081/auth", "authResponseHeaders": []any{"X-Vdi-Statement"}, "trustForwardHeader": false,
	}
	assert.Equal(t, map[string]any{"forwardAuth": forwardAuth}, w.middleware().Object["spec"])
	assert.Equal(t, map[string]string{"1.pem": "one"}, w.statementKeys().Data)
	rules, _, err := unstructured.NestedSlice(w.route().Object, "spec", "routes")
	require.NoError(t, err)
	assert.Equal(t, []any{map[string]any{"name": "desk-forward-auth"}}, rules[0].(map[string]any)["middlewares"])
	args := w.pod().Spec.InitContainers[0].Args
	assert.Contains(t, args, "--mode=OIDC")
	assert.Contains(t, args, "--statement-keys-dir=/etc/vdi/statement-keys")

	before := []string{w.middleware().GetResourceVersion(), w.statementKeys().ResourceVersion, s.ResourceVersion}
	w.pass()
	assert.Equal(t, before, []string{w.middleware().GetResourceVersion(), w.statementKeys().ResourceVersion, w.session().ResourceVersion}, "a second look writes nothing")

	w.deleteSession()
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.eventually(func() bool {
		return !w.exists(newMiddleware(), renderer.ForwardAuthName(desk)) && !w.exists(&corev1.ConfigMap{}, renderer.StatementKeysName(desk))
	}, "both go with the session")
}

// TestPasswordModeHasNeither: nobody is asked, nothing signs.
func TestPasswordModeHasNeither(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.running()
	assert.Equal(t, vdi.AccessMode(wire.AccessPassword), s.Status.Access.Mode)
	assert.False(t, w.exists(newMiddleware(), renderer.ForwardAuthName(desk)))
	assert.False(t, w.exists(&corev1.ConfigMap{}, renderer.StatementKeysName(desk)))
}

// TestWithoutStatementKeys: a desktop that nobody could enter does not start, says
// why, and heals by itself; one that runs keeps the keys it has.
func TestWithoutStatementKeys(t *testing.T) {
	t.Parallel()
	w, told := newOIDCWorld(t, nil)
	w.createTemplate()
	w.createSession()
	w.pass()
	s := w.requirePhase(vdi.PhasePending)
	assert.False(t, w.podExists())
	assert.Contains(t, s.Status.Message, "vdi-frontdoor-public-keys")
	w.requireCondition(vdi.ConditionReachable, metav1.ConditionFalse, vdi.ReasonFrontDoorKeysMissing)
	w.requireCondition(vdi.ConditionStalled, metav1.ConditionFalse, vdi.ReasonAsExpected)

	told.are(map[string]string{"1.pem": "one"})
	w.start()
	pod := w.pod().UID
	told.are(nil)
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	assert.Equal(t, map[string]string{"1.pem": "one"}, w.statementKeys().Data)
	assert.Equal(t, pod, w.pod().UID)
	assert.Contains(t, condition(w.session(), vdi.ConditionUpdatePending).Message, "could not start again as things are")
	told.are(map[string]string{"1.pem": "one"})
	w.pass()
	assert.False(t, meta.IsStatusConditionTrue(w.session().Status.Conditions, vdi.ConditionUpdatePending))
}

// TestStatementKeysRotate: agents get new keys while they run, and the old ones until
// they are taken away; that is no update that waits for a restart, and no repair.
func TestStatementKeysRotate(t *testing.T) {
	t.Parallel()
	w, told := newOIDCWorld(t, map[string]string{"1.pem": "one"})
	w.running()
	pod := w.pod()
	for _, keys := range []map[string]string{
		{"1.pem": "one", "next-2.pem": "two"}, {"1.pem": "one", "2.pem": "two"}, {"2.pem": "two"},
	} {
		w.events.forget()
		told.are(keys)
		w.pass()
		assert.Equal(t, keys, w.statementKeys().Data)
		assert.Equal(t, pod.ResourceVersion, w.pod().ResourceVersion)
		assert.False(t, meta.IsStatusConditionTrue(w.session().Status.Conditions, vdi.ConditionUpdatePending))
		assert.Empty(t, w.events.all())
	}
	// Also where an update waits for a restart, so that a lost key can be shut out.
	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Image += "-2" })
	told.are(map[string]string{"3.pem": "three"})
	w.pass()
	assert.True(t, meta.IsStatusConditionTrue(w.session().Status.Conditions, vdi.ConditionUpdatePending))
	assert.Equal(t, map[string]string{"3.pem": "three"}, w.statementKeys().Data)
	assert.Equal(t, pod.UID, w.pod().UID)
}

// TestWayInIsPutBack: nobody leads the question elsewhere or adds a key.
func TestWayInIsPutBack(t *testing.T) {
	t.Parallel()
	w, _ := newOIDCWorld(t, map[string]string{"1.pem": "one"})
	w.running()
	question := w.middleware().Object["spec"]
	for name, edit := range map[string]func() client.Object{
		"another address": func() client.Object {
			m := w.middleware()
			require.NoError(t, unstructured.SetNestedField(m.Object, "http://mine.example.com", "spec", "forwardAuth", "address"))
			return m
		},
		"one more field": func() client.Object {
			m := w.middleware()
			require.NoError(t, unstructured.SetNestedField(m.Object, "X-Evil-(.*)", "spec", "forwardAuth", "authResponseHeadersRegex"))
			return m
		},
		"one more key": func() client.Object {
			keys := w.statementKeys()
			keys.Data["mine.pem"] = "mine"
			return keys
		},
		"another key": func() client.Object {
			keys := w.statementKeys()
			keys.Data["1.pem"] = "mine"
			return keys
		},
	} {
		require.NoError(t, w.overwrite(edit()), name)
		w.events.forget()
		w.pass()
		assert.Equal(t, question, w.middleware().Object["spec"], name)
		assert.Equal(t, map[string]string{"1.pem": "one"}, w.statementKeys().Data, name)
		assert.NotEmpty(t, w.events.all(), name)
	}
	require.NoError(t, w.client.Delete(w.ctx, w.middleware()))
	require.NoError(t, w.client.Delete(w.ctx, w.statementKeys()))
	w.pass()
	assert.Equal(t, question, w.middleware().Object["spec"])
	assert.Equal(t, map[string]string{"1.pem": "one"}, w.statementKeys().Data)
}

// TestPlantedKeys: an object of the name that is not ours is left alone, and
// nothing starts beside it.
func TestPlantedKeys(t *testing.T) {
	t.Parallel()
	w, _ := newOIDCWorld(t, map[string]string{"1.pem": "one"})
	w.createTemplate()
	w.createSession()
	require.NoError(t, w.client.Create(w.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: renderer.StatementKeysName(desk), Namespace: w.ns}, Data: map[string]string{"mine.pem": "mine"},
	}))
	w.pass()
	w.requireCondition(vdi.ConditionNameConflict, metav1.ConditionTrue, vdi.ReasonNameTaken)
	assert.False(t, w.podExists())
	assert.Equal(t, map[string]string{"mine.pem": "mine"}, w.statementKeys().Data)
}
