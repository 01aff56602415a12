package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session"
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

// TestLookingAtSecrets: what the operator asks instead of reading a Secret writes nothing and
// is answered with nothing secret.
func TestLookingAtSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	before := &corev1.Secret{}
	w.read(before, renderer.CredentialsName(desk))
	seen := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: before.Name}}
	seen.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	require.NoError(t, w.client.Patch(w.ctx, seen, client.RawPatch(types.MergePatchType, []byte("{}")), client.FieldOwner(session.FieldOwner)))
	require.Equal(t, before.ObjectMeta, seen.ObjectMeta, "also its resourceVersion and who owns which field")
	after := &corev1.Secret{}
	w.read(after, before.Name)
	require.Equal(t, before, after)
}

// TestAForeignSecretIsNotPublished: whoever replaces the Secret of a desktop that was not reported
// yet does not choose by which password its page lets people in.
func TestAForeignSecretIsNotPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	w.createSession()
	_, err := w.operator.Reconcile(w.ctx, request(w.ns, desk))
	require.NoError(t, err)
	require.True(t, w.podExists())
	w.restart()
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: renderer.CredentialsName(desk)}}
	require.NoError(t, w.client.Delete(w.ctx, theirs.DeepCopy()))
	theirs.Annotations = map[string]string{vdi.AnnotationPasswordVerifier: "planted"}
	require.NoError(t, w.client.Create(w.ctx, theirs))
	w.podStarts(desk)
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	require.NotContains(t, asJSON(t, w.session().Status), "planted")
}

func asJSON(t *testing.T, o any) string {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	return string(text)
}
