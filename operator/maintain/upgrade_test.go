package maintain

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// upgradeOf checks an upgrade to some settings of what is in a cluster.
func upgradeOf(t *testing.T, config, templates, confirmed string, stored ...client.Object) (said string, err error) {
	t.Helper()
	j, out := jobFor(t, config, templates, confirmed, stored...)
	err = checkUpgrade(t.Context(), j)
	return out.String(), err
}

func jobFor(t *testing.T, config, templates, confirmed string, stored ...client.Object) (job, *bytes.Buffer) {
	t.Helper()
	out := &bytes.Buffer{}
	return job{
		client: fake.NewClientBuilder().WithScheme(scheme()).WithObjects(stored...).Build(), out: out,
		options: options{
			config: file(t, "config.yaml", config), templates: file(t, "templates.yaml", templates),
			namespace: "vdi-system", admission: true, proxyReads: "Ingress,IngressRoute", settings: "vdi-operator", confirmed: confirmed, confirmBy: "vdi-operator.upgradeCheck.confirmed",
		},
	}, out
}

const plain = "sessions: {domain: vdi.example.com}"

func stored(name string, change func(*vdi.VDITemplate)) *vdi.VDITemplate {
	t := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: vdi.VDITemplateSpec{Image: "a"}}
	change(t)
	return t
}

func values(text string) func(*vdi.VDITemplate) {
	return func(t *vdi.VDITemplate) { t.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(text)} }
}

func present(config string, annotations map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "vdi-system", Name: "vdi-operator", Annotations: annotations},
		Data:       map[string]string{"config.yaml": config},
	}
}

// TestUpgradeOfNothing: a fresh install has nothing that could be refused.
func TestUpgradeOfNothing(t *testing.T) {
	t.Parallel()
	said, err := upgradeOf(t, plain, "{a: {image: b}}", "")
	require.NoError(t, err)
	assert.Equal(t, "nothing else that works now would be refused after the upgrade\n", said)

	_, err = upgradeOf(t, "sessions: {domain: vdi.example.com, network: {openRanges: [10.0.0.0/16]}}", "{}", "")
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "the settings after the upgrade: ")
	require.ErrorContains(t, err, "sessions.network.openRanges[0]")
}

// TestUpgradeFindsTemplates: what was valid and would be refused, unless the new values
// change it, the settings allow it, or it was refused before.
func TestUpgradeFindsTemplates(t *testing.T) {
	t.Parallel()
	annotated := values(`{"pod":{"annotations":{"example.com/a":"b"}}}`)
	judged := func(status metav1.ConditionStatus) func(*vdi.VDITemplate) {
		return func(t *vdi.VDITemplate) {
			annotated(t)
			t.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionValid, Status: status}}
		}
	}
	said, err := upgradeOf(t, plain, "{mended: {image: a}}", "",
		stored("silent", annotated), stored("valid", judged(metav1.ConditionTrue)), stored("refused", judged(metav1.ConditionFalse)),
		stored("mended", annotated), stored("fine", func(*vdi.VDITemplate) {}))
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "--set 'vdi-operator.upgradeCheck.confirmed={template/silent,template/valid}'")
	assert.Equal(t, 2, strings.Count(said, "\n"), said)
	assert.Contains(t, said, "template/silent: no session could start from the template any more")
	assert.Contains(t, said, "an administrator can add it to sessions.allowed.annotations")

	_, err = upgradeOf(t, `sessions: {domain: vdi.example.com, allowed: {annotations: ["example.com/*"]}}`, "{}", "", stored("silent", annotated))
	require.NoError(t, err)
	said, err = upgradeOf(t, plain, "{}", "template/silent", stored("silent", annotated))
	require.NoError(t, err)
	assert.Contains(t, said, "warning, confirmed: template/silent: ")
	_, err = upgradeOf(t, plain, "{}", "template/other", stored("silent", annotated))
	require.ErrorIs(t, err, ErrRefused)
	_, err = upgradeOf(t, plain, "{}", "*", stored("silent", annotated))
	require.NoError(t, err)
}

// TestUpgradeFindsClaims: only where sessions of the template are, and the claim is.
func TestUpgradeFindsClaims(t *testing.T) {
	t.Parallel()
	template := stored("blender", values(`{"pod":{"volumes":[{"name":"a","persistentVolumeClaim":{"claimName":"assets"}}]}}`))
	session := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "a"}, Spec: vdi.VDISessionSpec{User: "a", Template: "blender"}}
	claim := func(namespace, label string) client.Object {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "assets", Labels: map[string]string{wire.LabelForDesktops: label}}}
	}
	said, err := upgradeOf(t, plain, "{}", "", template, session, claim("team", ""), claim("other", ""))
	require.ErrorIs(t, err, ErrRefused)
	assert.Contains(t, said, "claim/team/assets: ")
	assert.Contains(t, said, "kubectl label pvc -n team assets vdi.kasm.io/for-desktops=true")
	assert.NotContains(t, said, "other")
	for name, objects := range map[string][]client.Object{
		"marked":        {template, session, claim("team", "true")},
		"none":          {template, session},
		"nobody's":      {template, claim("team", "")},
		"elsewhere":     {template, session, claim("other", "")},
		"without claim": {stored("blender", func(*vdi.VDITemplate) {}), session, claim("team", "")},
	} {
		_, err = upgradeOf(t, plain, "{}", "", objects...)
		require.NoError(t, err, name)
	}
}

// TestUpgradeFindsReplacedRanges: once, at the upgrade from a version in which the list
// replaced the floor.
func TestUpgradeFindsReplacedRanges(t *testing.T) {
	t.Parallel()
	const replacing = "sessions: {domain: vdi.example.com, network: {deniedRanges: [203.0.113.0/24]}, ofAnotherVersion: 1}"
	const same = "sessions: {domain: vdi.example.com, network: {deniedRanges: [203.0.113.0/24]}}"
	said, err := upgradeOf(t, same, "{}", "", present(replacing, nil))
	require.ErrorIs(t, err, ErrRefused)
	assert.Contains(t, said, "network/deniedRanges: ")
	assert.Contains(t, said, "could no longer reach 0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10")
	for name, c := range map[string]struct {
		before client.Object
		after  string
	}{
		"it adds already":    {present(replacing, map[string]string{wire.AnnotationSettings: "2"}), same},
		"it was not set":     {present(plain, nil), same},
		"it was whole":       {present("sessions: {network: {deniedRanges: [0.0.0.0/1, 128.0.0.0/1, '::/1', '8000::/1']}}", nil), same},
		"no internet at all": {present(replacing, nil), "sessions: {domain: vdi.example.com, network: {internet: false}}"},
		"opened by name": {
			present("sessions: {network: {deniedRanges: [0.0.0.0/5, 11.0.0.0/8, 12.0.0.0/6, 16.0.0.0/4, 32.0.0.0/3, 64.0.0.0/2, 128.0.0.0/1, '::/1', '8000::/1']}}", nil),
			"sessions: {domain: vdi.example.com, network: {openRanges: [10.0.0.0/8]}}",
		},
	} {
		said, err := upgradeOf(t, c.after, "{}", "", c.before)
		require.NoError(t, err, "%s: %s", name, said)
	}
}

// TestUpgradeFindsClosedNamespaces: sessions beside the platform could not start again.
func TestUpgradeFindsClosedNamespaces(t *testing.T) {
	t.Parallel()
	in := func(namespace string) client.Object {
		return &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "a"}, Spec: vdi.VDISessionSpec{User: "a", Template: "gone"}}
	}
	said, err := upgradeOf(t, plain, "{}", "", in("vdi-system"), in("kube-system"), in("team"))
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "{namespace/kube-system,namespace/vdi-system}")
	assert.Contains(t, said, "namespace/vdi-system: sessions live in namespace vdi-system")
	_, err = upgradeOf(t, plain, "{}", "", in("team"))
	require.NoError(t, err)
}

// TestUpgradeFindsTakenPortal: no session may have the host of the login that comes, unless it
// is being deleted; what the release before was does not matter.
func TestUpgradeFindsTakenPortal(t *testing.T) {
	t.Parallel()
	const portal = "portal.vdi.example.com"
	session := func(name, host string) *vdi.VDISession {
		return &vdi.VDISession{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}, Spec: vdi.VDISessionSpec{User: "a", Template: "gone"},
			Status: vdi.VDISessionStatus{Host: host},
		}
	}
	ends := session("portal", portal)
	ends.Finalizers, ends.DeletionTimestamp = []string{"a/b"}, &metav1.Time{Time: metav1.Now().Time}
	upgradeTo := func(portalHost, confirmed string, stored ...client.Object) (string, error) {
		j, out := jobFor(t, plain, "{}", confirmed, append(stored, present(plain, map[string]string{wire.AnnotationSettings: "2"}))...)
		j.options.portalHost = portalHost
		err := checkUpgrade(t.Context(), j)
		return out.String(), err
	}

	said, err := upgradeTo(portal, "", session("portal", portal), session("alice", "alice.vdi.example.com"))
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "nothing is changed yet")
	require.ErrorContains(t, err, "{session/team/portal}")
	for _, words := range []string{"session/team/portal: its host is " + portal, "set another portal.label", "delete it and make it anew with a name"} {
		assert.Contains(t, said, words)
	}
	assert.NotContains(t, said, "alice")
	said, err = upgradeTo(portal, "session/team/portal", session("portal", portal))
	require.NoError(t, err)
	assert.Contains(t, said, "warning, confirmed: session/team/portal: ")
	for name, c := range map[string]struct {
		portal string
		stored client.Object
	}{
		"it ends":            {portal, ends},
		"no host yet":        {portal, session("portal", "")},
		"another label":      {"people.vdi.example.com", session("portal", portal)},
		"a longer name":      {portal, session("portal", "portal-2.vdi.example.com")},
		"no login at a door": {"", session("portal", portal)},
		"neither, no host":   {"", session("portal", "")},
	} {
		said, err := upgradeTo(c.portal, "", c.stored)
		require.NoError(t, err, "%s: %s", name, said)
	}
}

// TestUpgradeFindsUnreadRoutes: only at the first upgrade to a proxy that reads by the
// label, and only what others have made.
func TestUpgradeFindsUnreadRoutes(t *testing.T) {
	t.Parallel()
	u := upgrade{foreign: []string{"shop/web"}}
	require.Len(t, unreadRoutes(u), 1)
	assert.Equal(t, "route/shop/web", unreadRoutes(u)[0].key)
	assert.Contains(t, unreadRoutes(u)[0].text, "vdi.kasm.io/proxy=true")
	assert.Empty(t, unreadRoutes(upgrade{foreign: u.foreign, reads: []string{"IngressRoute"}}))
	assert.Empty(t, unreadRoutes(upgrade{foreign: u.foreign, before: &settings{adds: true}}))

	in := func(namespace, name string, change func(*unstructured.Unstructured)) client.Object {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(routeKind)
		o.SetNamespace(namespace)
		o.SetName(name)
		change(o)
		return o
	}
	s := scheme()
	s.AddKnownTypeWithName(routeKind, &unstructured.Unstructured{})
	s.AddKnownTypeWithName(routeKind.GroupVersion().WithKind("IngressRouteList"), &unstructured.UnstructuredList{})
	j := job{options: options{namespace: "vdi-system"}, client: fake.NewClientBuilder().WithScheme(s).WithObjects(
		in("shop", "web", func(*unstructured.Unstructured) {}),
		in("shop", "marked", func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{wire.LabelProxy: "true"}) }),
		in("team", "desk", func(o *unstructured.Unstructured) { o.SetLabels(ofSessions) }),
		in("vdi-system", "door", func(o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{"meta.helm.sh/release-namespace": "vdi-system"})
		}),
	).Build()}
	found, err := j.foreignRoutes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"shop/web"}, found)
}
