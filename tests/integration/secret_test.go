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
	ctrl "sigs.k8s.io/controller-runtime"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
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

func asJSON(t *testing.T, o any) string {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	return string(text)
}
