package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

func (w *world) password() string {
	w.t.Helper()
	secret := &corev1.Secret{}
	w.read(secret, renderer.CredentialsName(desk))
	return string(secret.Data["password"])
}

func TestPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var logged bytes.Buffer
	w.ctx = ctrl.LoggerInto(w.ctx, funcr.New(func(prefix, args string) { logged.WriteString(prefix + args + "\n") }, funcr.Options{Verbosity: 10}))
	s := w.running()
	password := w.password()
	require.Equal(t, renderer.CredentialsName(desk), s.Status.CredentialsSecret)

	// 32 characters of a 32-letter alphabet are 160 bits.
	require.Regexp(t, "^[a-z2-7]{32}$", password)
	other := newWorld(t)
	other.running()
	require.NotEqual(t, password, other.password())

	for range 5 {
		w.pass()
		w.restart()
	}
	w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Image = "registry.example.com/desktop:2" })
	w.pass()
	require.NoError(t, w.client.Delete(w.ctx, w.pod()))
	w.podEnds(desk)
	w.start()
	require.Equal(t, password, w.password(), "the password of a session never changes behind its user's back")

	seen := w.events.all() + logged.String()
	require.NotEmpty(t, logged.String())
	for _, c := range children() {
		if c.kind == "Secret" {
			continue
		}
		o := c.new()
		w.read(o, c.name)
		seen += asJSON(t, o)
	}
	seen += asJSON(t, w.session())
	for _, form := range []string{password, base64.StdEncoding.EncodeToString([]byte(password))} {
		require.False(t, strings.Contains(seen, form), "the password stands outside its Secret")
	}
}

// TestSecretsAreAskedAbout: an operator that may read no Secret learns from the real policies
// whose one is and whether it is the one that was reported, and from the API server nothing else.
func TestSecretsAreAskedAbout(t *testing.T) {
	t.Parallel()
	p := startGuarded(t)
	p.grant(t, chartObjects(t))
	account, err := client.New(p.asOperator(t), client.Options{Scheme: run.Scheme()})
	require.NoError(t, err)
	p.letReadTemplates(t)
	bounded := func(t *testing.T) *world {
		w := newWorldOn(t, p, func(c *platform.Config) { c.Admission.Enabled = true })
		w.operator = w.newOperator(account)
		return w
	}
	restart := func(w *world) { w.operator = w.newOperator(account) }
	name := renderer.CredentialsName(desk)
	first := bounded(t)
	theirs := foreign(first.ns, "Secret")
	require.NoError(t, p.admin.Create(t.Context(), theirs))
	require.Eventually(t, func() bool {
		return apierrors.IsForbidden(account.Update(t.Context(), theirs.DeepCopyObject().(client.Object), client.DryRunAll))
	}, othersWork, glance, "the policies come into force")

	t.Run("without the policies nothing is replaced", func(t *testing.T) {
		w := newWorld(t, func(c *platform.Config) { c.Admission.Enabled = true })
		w.createTemplate()
		theirs := foreign(w.ns, "Secret")
		require.NoError(t, w.client.Create(w.ctx, theirs))
		w.createSession()
		_, err := w.operator.Reconcile(w.ctx, request(w.ns, desk))
		require.ErrorContains(t, err, "the admission policies on the operator's account are not in force")
		before := theirs.GetResourceVersion()
		w.read(theirs, name)
		require.Equal(t, before, theirs.GetResourceVersion())
	})
	t.Run("the answer holds nothing of what is there", func(t *testing.T) {
		w := bounded(t)
		s := w.running()
		before := &corev1.Secret{}
		w.read(before, name)
		asked := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name, OwnerReferences: before.OwnerReferences, Labels: before.Labels},
			Type:       before.Type, Data: map[string][]byte{"username": []byte(s.Name)},
		}
		sent := asked.DeepCopy()
		require.NoError(t, account.Update(w.ctx, asked, client.DryRunAll))
		require.Equal(t, before.UID, asked.UID)
		require.Equal(t, before.ResourceVersion, asked.ResourceVersion)
		require.Equal(t, sent.Data, asked.Data)
		require.Empty(t, asked.Annotations)
		require.True(t, apierrors.IsForbidden(account.Get(w.ctx, client.ObjectKeyFromObject(before), &corev1.Secret{})))
		after := &corev1.Secret{}
		w.read(after, name)
		require.Equal(t, before, after)
	})
	t.Run("a password that was reported stays", func(t *testing.T) {
		w := bounded(t)
		w.running()
		password := w.password()
		require.NoError(t, w.client.Delete(w.ctx, w.pod()))
		w.podEnds(desk)
		restart(w)
		w.start()
		require.Equal(t, password, w.password())
		require.True(t, w.loginTold(w.session()))
	})
	t.Run("one that is another than was reported is made anew", func(t *testing.T) {
		w := bounded(t)
		w.running()
		password := w.password()
		require.NoError(t, w.client.Delete(w.ctx, w.pod()))
		w.podEnds(desk)
		s := w.session()
		s.Status.Access.PasswordVerifier = base64.StdEncoding.EncodeToString(make([]byte, 32))
		require.NoError(t, w.client.Status().Update(w.ctx, s))
		restart(w)
		w.start()
		require.NotEqual(t, password, w.password())
		require.True(t, w.loginTold(w.session()))
	})
	t.Run("a resume makes another", func(t *testing.T) {
		w := bounded(t)
		w.running()
		password := w.password()
		w.suspend()
		w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
		w.start()
		require.NotEqual(t, password, w.password())
		require.True(t, w.loginTold(w.session()))
	})
	t.Run("so does a resume that was refused at first", func(t *testing.T) {
		w := bounded(t)
		w.running()
		password := w.password()
		w.suspend()
		w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"nonsense":true}`)} })
		w.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
		w.pass()
		require.Empty(t, w.requirePhase(vdi.PhaseFailed).Status.CredentialsSecret, "it names no password that is about to change")
		w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Values = nil })
		w.start()
		require.NotEqual(t, password, w.password())
		require.True(t, w.loginTold(w.session()))
	})
	t.Run("a namespace that ends lets its sessions go", func(t *testing.T) {
		w := bounded(t)
		w.running()
		require.NoError(t, w.client.Delete(w.ctx, w.pod()))
		w.podEnds(desk)
		restart(w)
		require.NoError(t, w.client.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}))
		w.eventually(func() bool { return !w.sessionExists() || w.session().DeletionTimestamp != nil }, "the session ends with its namespace")
		w.eventually(func() bool {
			_, err := w.operator.Reconcile(w.ctx, request(w.ns, desk))
			require.NoError(t, err)
			return !w.sessionExists()
		}, "the operator lets it go")
	})
	t.Run("a foreign one is left alone", func(t *testing.T) {
		for what, secret := range map[string]*corev1.Secret{
			"of nobody":       {StringData: map[string]string{"password": "known"}, Type: corev1.SecretTypeBasicAuth},
			"of another type": {StringData: map[string]string{"password": "known"}},
			"planted": {
				ObjectMeta: metav1.ObjectMeta{
					Labels:      map[string]string{"app.kubernetes.io/managed-by": "vdi-operator", "app.kubernetes.io/name": "vdi-session", wire.LabelUser: platform.Identity(alice)},
					Annotations: map[string]string{wire.AnnotationGivenBack: "true"},
				},
				StringData: map[string]string{"password": "known"}, Type: corev1.SecretTypeBasicAuth,
			},
		} {
			t.Run(what, func(t *testing.T) {
				w := bounded(t)
				secret.Name, secret.Namespace = name, w.ns
				require.NoError(t, w.client.Create(w.ctx, secret))
				w.createTemplate()
				w.createSession()
				w.pass()
				w.requireCondition(vdi.ConditionNameConflict, metav1.ConditionTrue, vdi.ReasonNameTaken)
				require.False(t, w.podExists())
				before := secret.ResourceVersion
				w.read(secret, name)
				require.Equal(t, before, secret.ResourceVersion)
			})
		}
	})
	t.Run("a former session's is waited for", func(t *testing.T) {
		w := bounded(t)
		w.createTemplate()
		former := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: desk, UID: "former"}}
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name, Finalizers: []string{"example.com/waits"}, OwnerReferences: []metav1.OwnerReference{
				{APIVersion: vdi.GroupVersion.String(), Kind: "VDISession", Name: former.Name, UID: former.UID, Controller: new(true)},
			}},
			Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"password": "known"},
		}
		require.NoError(t, w.client.Create(w.ctx, secret))
		t.Cleanup(func() {
			_ = p.admin.Patch(context.Background(), secret, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
		})
		w.createSession()
		w.pass()
		require.Contains(t, w.requirePhase(vdi.PhasePending).Status.Message, "is still being removed")
	})
}

// suspend waits until the desktop is suspended.
func (w *world) suspend() {
	w.t.Helper()
	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.requirePhase(vdi.PhaseSuspended)
}

// letReadTemplates is in place of a cache, which lists them.
func (p *plane) letReadTemplates(t *testing.T) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "reads-templates"}
	require.NoError(t, p.admin.Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"vdi.kasm.io"}, Resources: []string{"vditemplates"}, Verbs: []string{"get"}}},
	}))
	require.NoError(t, p.admin.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operatorNamespace, Name: operatorName}},
	}))
}

// TestNonsenseIsNotPublished: what somebody writes on the pod of a desktop that was not reported
// yet gets into the status only if it may be what it says.
func TestNonsenseIsNotPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession()
	_, err := w.operator.Reconcile(w.ctx, request(w.ns, desk))
	require.NoError(t, err)
	pod := w.pod()
	require.NotEmpty(t, pod.Annotations[wire.AnnotationPasswordVerifier])
	pod.Annotations[wire.AnnotationPasswordVerifier] = strings.Repeat("planted", 100)
	require.NoError(t, w.client.Update(w.ctx, pod))
	w.restart()
	w.podStarts(desk)
	w.pass()
	s := w.requirePhase(vdi.PhaseRunning)
	require.NotContains(t, asJSON(t, s.Status), "planted")
	require.NotEmpty(t, s.Status.CredentialsSecret)
}

func asJSON(t *testing.T, o any) string {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	return string(text)
}
