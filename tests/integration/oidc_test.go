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

// publishedKeys are what the front door has published, as far as the operator knows.
type publishedKeys struct {
	mu   sync.Mutex
	keys map[string]string
}

func (k *publishedKeys) Get() map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys
}

func (k *publishedKeys) Changed() <-chan event.GenericEvent { return nil }

func (k *publishedKeys) are(keys map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
}

// newOIDCWorld is a world with single sign-on.
func newOIDCWorld(t *testing.T, keys map[string]string) (*world, *publishedKeys) {
	t.Helper()
	return newLoginWorld(t, wire.AccessOIDC, keys)
}

// newLoginWorld is a world in one of the modes in which people log in at the front door.
func newLoginWorld(t *testing.T, mode wire.AccessMode, keys map[string]string) (*world, *publishedKeys) {
	t.Helper()
	w := newWorld(t, accessIn(mode))
	published := &publishedKeys{keys: keys}
	w.operator.StatementKeys = published
	return w, published
}

// accessIn are the settings of an access mode.
func accessIn(mode wire.AccessMode) func(*platform.Config) {
	return func(c *platform.Config) {
		c.Access = platform.Access{Mode: mode}
		if mode == wire.AccessOIDC {
			c.Access.OIDC = platform.OIDC{IssuerURL: "https://login.example.com", ClientID: "vdi"}
		}
	}
}

// changeMode is a release with another access mode: the operator starts again.
func (w *world) changeMode(mode wire.AccessMode, published *publishedKeys) {
	w.t.Helper()
	accessIn(mode)(&w.config)
	w.restart()
	w.operator.StatementKeys = published
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
// has its keys, and nobody gets a password. Where the front door knows people itself,
// sessions are as they are where an identity provider does.
func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	for _, mode := range []wire.AccessMode{wire.AccessOIDC, wire.AccessLocal} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w, _ := newLoginWorld(t, mode, map[string]string{"1.pem": "one"})
			s := w.running()
			assert.Equal(t, &vdi.AccessStatus{Mode: vdi.AccessMode(mode)}, s.Status.Access)
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
			w.secondLookWritesNothing()
			w.leavesNoWayIn()
		})
	}
}

func (w *world) secondLookWritesNothing() {
	w.t.Helper()
	before := []string{w.middleware().GetResourceVersion(), w.statementKeys().ResourceVersion, w.session().ResourceVersion}
	w.pass()
	assert.Equal(w.t, before, []string{w.middleware().GetResourceVersion(), w.statementKeys().ResourceVersion, w.session().ResourceVersion}, "a second look writes nothing")
}

// leavesNoWayIn deletes the session: what leads to it goes, too.
func (w *world) leavesNoWayIn() {
	w.t.Helper()
	w.deleteSession()
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.eventually(func() bool {
		return !w.exists(newMiddleware(), renderer.ForwardAuthName(desk)) && !w.exists(&corev1.ConfigMap{}, renderer.StatementKeysName(desk))
	}, "both go with the session")
}

// TestModeChanges: a desktop runs on in another access mode. Where its agent believes the
// front door before and after, there is nothing to start again for; one that asks for a
// password does so until its next start.
func TestModeChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after wire.AccessMode
		waits         bool // for its next start
	}{
		"an identity provider is given up": {wire.AccessOIDC, wire.AccessLocal, false},
		"an identity provider comes":       {wire.AccessLocal, wire.AccessOIDC, false},
		"people are listed":                {wire.AccessPassword, wire.AccessLocal, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, published := newLoginWorld(t, c.before, map[string]string{"1.pem": "one"})
			before := w.running().Status
			children, events := w.versions(), w.events.all()
			w.changeMode(c.after, published)
			w.pass()
			w.pass()
			now := w.requirePhase(vdi.PhaseRunning)
			assert.Equal(t, children, w.versions(), "nothing of the desktop is written")
			assert.Equal(t, c.waits, meta.IsStatusConditionTrue(now.Status.Conditions, vdi.ConditionUpdatePending))
			assert.Equal(t, before.Access, now.Status.Access, "it is of this run")
			assert.Equal(t, before.CredentialsSecret, now.Status.CredentialsSecret)
			if !c.waits {
				assert.Equal(t, events, w.events.all())
			}

			w.suspendAndResume()
			now = w.session()
			assert.Equal(t, &vdi.AccessStatus{Mode: vdi.AccessMode(c.after)}, now.Status.Access)
			assert.Empty(t, now.Status.CredentialsSecret)
		})
	}
}

func (w *world) suspendAndResume() {
	w.t.Helper()
	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.requirePhase(vdi.PhaseSuspended)
	w.change(resume)
	w.start()
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
	w, published := newOIDCWorld(t, nil)
	w.createTemplate()
	w.createSession()
	w.pass()
	s := w.requirePhase(vdi.PhasePending)
	assert.False(t, w.podExists())
	assert.Contains(t, s.Status.Message, "vdi-frontdoor-public-keys")
	w.requireCondition(vdi.ConditionReachable, metav1.ConditionFalse, vdi.ReasonFrontDoorKeysMissing)
	w.requireCondition(vdi.ConditionStalled, metav1.ConditionFalse, vdi.ReasonAsExpected)

	published.are(map[string]string{"1.pem": "one"})
	w.start()
	pod := w.pod().UID
	published.are(nil)
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	assert.Equal(t, map[string]string{"1.pem": "one"}, w.statementKeys().Data)
	assert.Equal(t, pod, w.pod().UID)
	assert.Contains(t, condition(w.session(), vdi.ConditionUpdatePending).Message, "could not start again as things are")
	published.are(map[string]string{"1.pem": "one"})
	w.pass()
	assert.False(t, meta.IsStatusConditionTrue(w.session().Status.Conditions, vdi.ConditionUpdatePending))
}

// TestStatementKeysRotate: agents get new keys while they run, and the old ones until
// they are taken away; that is no update that waits for a restart, and no repair.
func TestStatementKeysRotate(t *testing.T) {
	t.Parallel()
	w, published := newOIDCWorld(t, map[string]string{"1.pem": "one"})
	w.running()
	pod := w.pod()
	for _, keys := range []map[string]string{
		{"1.pem": "one", "next-2.pem": "two"}, {"1.pem": "one", "2.pem": "two"}, {"2.pem": "two"},
	} {
		w.events.forget()
		published.are(keys)
		w.pass()
		assert.Equal(t, keys, w.statementKeys().Data)
		assert.Equal(t, pod.ResourceVersion, w.pod().ResourceVersion)
		assert.False(t, meta.IsStatusConditionTrue(w.session().Status.Conditions, vdi.ConditionUpdatePending))
		assert.Empty(t, w.events.all())
	}
	// Also where an update waits for a restart, so that a lost key can be shut out.
	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Image += "-2" })
	published.are(map[string]string{"3.pem": "three"})
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
