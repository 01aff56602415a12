package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/validate"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

// ofValidation is the label of all that a validation makes.
const ofValidation = "validate.vdi.kasm.io/run"

// whatValidates are the options an administrator of this cluster would give: it has
// no name service, and an authority of its own.
func whatValidates(t *testing.T) validate.Options {
	t.Helper()
	authority := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(authority, platform.CA, 0o600))
	return validate.Options{
		Kubeconfig: platform.Cluster.KubeconfigPath(), Namespace: install.Namespace, Template: "plain-desktop",
		Address: platform.ProxyOnNode(), Authority: authority, Patience: patience,
	}
}

func validated(t *testing.T, o validate.Options) []doctor.Line {
	t.Helper()
	began := time.Now()
	lines, err := validate.Run(t, t.Context(), o)
	require.NoError(t, err)
	t.Logf("%s\nin %.1fs", doctor.Table(lines), time.Since(began).Seconds())
	return lines
}

// unjudged names the lines of which nothing is known.
func unjudged(lines []doctor.Line) (names []string) {
	for _, l := range lines {
		if l.State == doctor.NotJudged {
			names = append(names, l.Check)
		}
	}
	return names
}

// An administrator learns that all is well, and nothing of it stays: neither of this
// run nor of one that was interrupted.
func TestValidate(t *testing.T) {
	awaitSlices(t, slices)
	left := leftovers(t)
	lines := validated(t, whatValidates(t))
	assert.Empty(t, doctor.Red(lines))
	assert.Equal(t, []string{"scraped", "relay", "DNS"}, unjudged(lines), "there is no Prometheus, relay or name service")
	assert.True(t, apierrors.IsNotFound(platform.Client.Get(t.Context(), client.ObjectKeyFromObject(left), left)))
	nothingOfValidationIsLeft(t)
}

// leftovers are what a run leaves that was killed.
func leftovers(t *testing.T) *vdi.VDISession {
	t.Helper()
	labels := map[string]string{ofValidation: "killed", "vdi.kasm.io/sessions": "true", "pod-security.kubernetes.io/enforce": "restricted"}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vdi-validate-killed", Labels: labels}}
	require.NoError(t, platform.Client.Create(t.Context(), ns))
	s := session("validate", "vdi-validate", "page")
	s.Labels, s.Namespace = map[string]string{ofValidation: "killed"}, ns.Name
	require.NoError(t, platform.Client.Create(t.Context(), s))
	await(t, s, install.Running)
	return s
}

func nothingOfValidationIsLeft(t *testing.T) {
	t.Helper()
	for _, list := range []client.ObjectList{&corev1.NamespaceList{}, &vdi.VDISessionList{}, &corev1.PodList{}} {
		require.NoError(t, platform.Client.List(t.Context(), list, client.HasLabels{ofValidation}))
		text, err := json.Marshal(list)
		require.NoError(t, err)
		assert.NotContains(t, string(text), ofValidation)
	}
	require.Eventually(t, func() bool { return homesOfValidation(t) == 0 }, patience, time.Second, "the homes are gone, too") // by the provisioner
}

func homesOfValidation(t *testing.T) (n int) {
	t.Helper()
	volumes := &corev1.PersistentVolumeList{}
	require.NoError(t, platform.Client.List(t.Context(), volumes))
	for _, v := range volumes.Items {
		if v.Spec.ClaimRef != nil && strings.HasPrefix(v.Spec.ClaimRef.Namespace, "vdi-validate-") {
			n++
		}
	}
	return n
}

// Where it cannot judge at all, it says what to set.
func TestValidateFindsNoRelease(t *testing.T) {
	o := whatValidates(t)
	o.Namespace = install.Sessions
	_, err := validate.Run(t, t.Context(), o)
	require.ErrorContains(t, err, "set NAMESPACE as `helm list -A` has it, or INSTALL=1 VALUES=FILE to install one")
	require.ErrorIs(t, err, judge.ErrNoRelease)
}

// breakage breaks one promise, and says what its line must say then.
type breakage struct {
	line, seen, remedy string
	desktop            bool // it takes one to notice
	destroy            func(*testing.T, *validate.Options)
}

// Each of these breaks one promise that needs no desktop to be judged; the others are
// in validate_long_test.go.
func TestValidateShowsWhatIsBroken(t *testing.T) {
	exactlyRed(t,
		breakage{"CRDs", `is of version "0.0.1"`, "kubectl apply --server-side", false, anOldDefinition},
		breakage{"programs", "Deployment/vdi-frontdoor is scaled to no pod", "kubectl describe", false, noFrontDoor},
		breakage{"admission", "ValidatingAdmissionPolicyBinding/sessions.vdi-operator.vdi-system is gone", "helm upgrade", false, noBinding},
		breakage{"keys", "Secret vdi-frontdoor-keys is gone", "restore the Secret from a backup", false, noKeys},
		breakage{"slices", "0 replicas", "correct the ConfigMap", false, wrongSlices},
		breakage{"metrics", "Service vdi-operator is gone", "helm upgrade brings the Service back", false, noMetricsService},
	)
}

// exactlyRed: the line of what is broken turns red, with a remedy, and no other.
func exactlyRed(t *testing.T, breakages ...breakage) {
	t.Helper()
	for _, b := range breakages {
		t.Run(b.line, func(t *testing.T) {
			o := whatValidates(t)
			o.Quick = !b.desktop
			b.destroy(t, &o)
			lines := validated(t, o)
			require.Equal(t, []string{b.line}, doctor.Red(lines))
			for _, l := range lines {
				if l.Check == b.line {
					assert.Contains(t, l.Seen, b.seen)
					assert.Contains(t, l.Remedy, b.remedy)
				}
			}
			nothingOfValidationIsLeft(t)
		})
	}
}

func anOldDefinition(t *testing.T, _ *validate.Options) {
	const crd, key = "vdisessions.vdi.kasm.io", wire.AnnotationVersion
	was := kubectl(t, "get", "crd", crd, "-o", `jsonpath={.metadata.annotations.vdi\.kasm\.io/version}`)
	require.NotEmpty(t, was)
	t.Cleanup(func() { kubectl(t, "annotate", "--overwrite", "crd", crd, key+"="+was) })
	kubectl(t, "annotate", "--overwrite", "crd", crd, key+"=0.0.1")
}

func noFrontDoor(t *testing.T, _ *validate.Options) {
	scale := func(to int) {
		kubectl(t, "scale", "-n", install.Namespace, "deployment/vdi-frontdoor", fmt.Sprintf("--replicas=%d", to))
	}
	t.Cleanup(func() {
		scale(1)
		kubectl(t, "rollout", "status", "-n", install.Namespace, "deployment/vdi-frontdoor", "--timeout", patience.String())
	})
	scale(0)
}

// without takes an object away until the test is over.
func without(t *testing.T, o client.Object) {
	t.Helper()
	require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o))
	again := o.DeepCopyObject().(client.Object)
	again.SetUID("")
	again.SetResourceVersion("")
	t.Cleanup(func() { require.NoError(t, platform.Client.Create(context.Background(), again)) })
	require.NoError(t, platform.Client.Delete(t.Context(), o))
}

func noBinding(t *testing.T, _ *validate.Options) {
	without(t, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "sessions.vdi-operator." + install.Namespace}})
}

func noKeys(t *testing.T, _ *validate.Options) {
	without(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "vdi-frontdoor-keys", Namespace: install.Namespace}})
}

func noMetricsService(t *testing.T, _ *validate.Options) {
	without(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "vdi-operator", Namespace: install.Namespace}})
}

func wrongSlices(t *testing.T, _ *validate.Options) {
	awaitSlices(t, slices)
	misconfigure(t)
}
